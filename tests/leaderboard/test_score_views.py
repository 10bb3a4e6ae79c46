from __future__ import annotations

import numpy as np
import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.leaderboard.score_views import histogram, score_view
from rb_core.leaderboard.store import ResultsStore

STARTER = BENCHMARKS["starter"]


def test_a_score_table_gives_margins_and_calibration(bundled_store: ResultsStore) -> None:
    outcomes = bundled_store.outcomes("starter", "builtin/tiny-rm")
    assert outcomes is not None
    assert outcomes.margins is not None
    view = score_view(bundled_store.results("starter")["builtin/tiny-rm"].model, outcomes, STARTER)
    assert view["margins"]["above"] == pytest.approx((outcomes.margins > 0).mean())
    probability = 1 / (1 + np.exp(-outcomes.margins))
    assert view["calibration"]["brier"] == pytest.approx(((1 - probability) ** 2).mean())
    assert sum(row["examples"] for row in view["calibration"]["bins"]) == 300


def test_a_baseline_has_no_probabilities_and_an_accuracy_by_length(bundled_store: ResultsStore) -> None:
    outcomes = bundled_store.outcomes("starter", "baseline/longest")
    view = score_view(bundled_store.results("starter")["baseline/longest"].model, outcomes, STARTER)
    assert view["calibration"] is None
    assert view["margins"]["examples"] == 300
    accuracies = {row["name"]: row["value"] for row in view["length"]}
    assert accuracies["chosen longer"] > 0.8
    assert accuracies["chosen shorter"] < 0.1


def test_published_outcomes_have_lengths_but_no_margins(bundled_store: ResultsStore) -> None:
    name = "allenai/tulu-2-dpo-70b_ref_free"
    outcomes, result = bundled_store.outcomes("rewardbench", name), bundled_store.results("rewardbench")[name]
    view = score_view(result.model, outcomes, BENCHMARKS["rewardbench"])
    assert view["margins"] is None
    assert len(view["length"]) == 3
    assert view["style"]["value"] > view["style"]["plain"] + 0.02
    assert view["style"]["effects"]["length"]["low"] > np.log(2)
    assert score_view(result.model, None, BENCHMARKS["rewardbench"])["style"] is None


def test_a_histogram_keeps_every_margin_and_has_an_edge_at_zero() -> None:
    margins = np.concatenate([np.linspace(-1, 3, 500), [0.0, 0.0, 900.0, -900.0]])
    bins = histogram(margins)
    assert sum(bins["counts"]) == len(margins)
    zero = int(np.argmin(np.abs(bins["edges"])))
    assert bins["edges"][zero] == 0
    assert sum(bins["counts"][:zero]) == (margins <= 0).sum()
    assert sum(histogram(np.zeros(5))["counts"]) == 5
