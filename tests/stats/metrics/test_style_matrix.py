"""RM-Bench's style matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.stats.summary import summarize
from tests.fakes.outcomes import Row, score_table

RM = BENCHMARKS["rm-bench"]


def test_hard_normal_and_easy_are_means_of_the_matrix() -> None:
    """They are the mean wins above, on and below the diagonal of the 3 x 3 matrix, weighted like the score."""
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    wins = {}
    for subset in RM.subsets:
        values = rng.normal(size=(20, 6))
        rows += [(f"{subset.name}/{i}", subset.name, f"{subset.name}{i}", 3, v) for i, v in enumerate(values)]
        wins[subset.name] = (values[:, :3, None] > values[:, None, 3:]).mean(axis=0)
    summary = summarize(score_table(rows), RM)
    chat = summary.matrices["Chat"]
    assert [cell.value for row in chat.cells for cell in row] == pytest.approx(wins["chat"].ravel().tolist())
    assert chat.hard.value == pytest.approx(wins["chat"][np.triu_indices(3, 1)].mean())
    assert chat.normal.value == pytest.approx(np.diag(wins["chat"]).mean())
    assert chat.easy.value == pytest.approx(wins["chat"][np.tril_indices(3, -1)].mean())
    safety = (wins["safety-refuse"] + wins["safety-response"]) / 2
    overall = (wins["chat"] + wins["code"] + wins["math"] + safety) / 4
    assert summary.sections["Safety"].value == pytest.approx(safety.mean())
    assert summary.matrices["All"].hard.value == pytest.approx(overall[np.triu_indices(3, 1)].mean())
    assert summary.headline is not None
    assert summary.headline.value == pytest.approx(overall.mean())


def test_a_tied_pair_earns_nothing_and_an_unscored_completion_leaves_out_the_prompt() -> None:
    rows: list[Row] = [
        ("1", "chat", "1", 3, (1.0, 1.0, 1.0, 1.0, 0.0, 0.0)),
        ("2", "chat", "2", 3, (1.0, 1.0, 1.0, 0.0, 0.0, math.nan)),
    ]
    summary = summarize(score_table(rows), RM)
    section = summary.sections["Chat"]
    assert (section.value, section.scored, section.ties) == (pytest.approx(6 / 9), 1, 1)
    assert [cell.value for cell in summary.matrices["Chat"].cells[0]] == [0.0, 1.0, 1.0]
    assert "All" not in summary.matrices
