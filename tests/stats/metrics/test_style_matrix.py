"""RM-Bench's style matrix."""

from __future__ import annotations

import math

import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.stats.summary import summarize
from tests.fakes.outcomes import Row, score_table

RM = BENCHMARKS["rm-bench"]


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
