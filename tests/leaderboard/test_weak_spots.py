from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom

from rb_core.benchmarks.custom import custom_spec
from rb_core.leaderboard.weak_spots import find_strengths, find_weak_spots, p_below
from rb_core.results.estimate import Estimate
from rb_core.stats.intervals import proportion_estimate
from rb_core.stats.rank_intervals import Standing, rank_models

HEADLINES = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}


def test_a_part_is_weak_where_the_model_ranks_lower_than_overall() -> None:
    parts = {"maths": {"a": 0.9, "b": 0.5, "c": 0.8, "d": 0.7}, "code": {"a": 0.4, "b": 0.9, "c": 0.5, "d": 0.6}}
    (spot,) = find_weak_spots("b", HEADLINES, parts, {}, 2)
    assert (spot.name, spot.rank, spot.overall_rank, spot.num_models, spot.rank_drop) == ("maths", 4, 2, 4, 2)
    assert spot.expected_score == 0.8  # of the model that is second in this part
    assert spot.significant is None


def test_only_models_with_both_scores_count_for_the_ranks() -> None:
    parts = {"maths": {"b": 0.9, "c": 0.5, "d": 0.8, "no headline": 1.0}}
    (spot,) = find_weak_spots("c", HEADLINES, parts, {}, None)
    assert (spot.rank, spot.overall_rank, spot.num_models) == (3, 2, 3)
    assert find_weak_spots("a", HEADLINES, parts, {}, None) == []
    assert find_weak_spots("no headline", HEADLINES, parts, {}, None) == []


def test_equal_scores_share_the_better_rank() -> None:
    assert find_weak_spots("b", HEADLINES, {"maths": {"a": 0.9, "b": 0.8, "c": 0.8, "d": 0.1}}, {}, 2) == []


def test_weak_spots_that_are_significant_among_all_parts_come_first() -> None:
    scores = {"a": 0.9, "b": 0.5, "c": 0.8, "d": 0.7}
    few, many = proportion_estimate(0.5, 8), proportion_estimate(0.5, 80)
    spots = find_weak_spots("b", HEADLINES, {"few": scores, "many": scores}, {"few": few, "many": many}, 2)
    assert [(spot.name, spot.significant) for spot in spots] == [("many", True), ("few", False)]
    twenty = {f"part {n}": scores for n in range(20)}
    spots = find_weak_spots("b", HEADLINES, twenty, dict.fromkeys(twenty, proportion_estimate(0.5, 20)), 2)
    assert not any(spot.significant for spot in spots)
    assert find_weak_spots("b", HEADLINES, {"part": scores}, {"part": proportion_estimate(0.5, 20)}, 2)[0].significant


def test_a_part_is_not_weak_within_the_rank_interval() -> None:
    """A model that may be last overall is last in a part without being weaker there."""
    parts = {"maths": {"a": 0.9, "b": 0.5, "c": 0.8, "d": 0.7}}
    (spot,) = find_weak_spots("b", HEADLINES, parts, {"maths": proportion_estimate(0.5, 500)}, 4)
    assert spot.significant is False
    (spot,) = find_weak_spots("b", HEADLINES, parts, {"maths": proportion_estimate(0.5, 500)}, None)
    assert spot.significant is None


@pytest.mark.parametrize(
    ("right", "examples", "expected"), [(2, 100, 0.1), (0, 20, 0.2), (16, 20, 0.95), (30, 80, 0.5)]
)
def test_p_is_that_of_the_binomial_test(right: int, examples: int, expected: float) -> None:
    estimate = proportion_estimate(right / examples, examples)
    assert estimate.value is not None
    assert estimate.stderr is not None
    assert p_below(estimate.value, estimate.stderr, expected) == pytest.approx(
        binom.cdf(right, examples, expected), rel=1e-3
    )
    assert p_below(1.01, 0.1, 0.9) == 1.0


@pytest.mark.parametrize("boards", [6, pytest.param(60, marks=pytest.mark.soak)])
def test_at_most_one_in_twenty_models_has_a_significant_weak_spot_by_chance(boards: int) -> None:
    """Models that differ in one ability, the same in all 23 parts: every weak spot is noise."""
    rng = np.random.default_rng(0)
    sizes = np.array([100, 95, 95, 40, 40, 28, 40, 47, 46, 92, 100, 100, 154, 154, 250, 154, 447, *[164] * 6])
    spec, spotted, models = custom_spec("null"), 0, 20
    for board in range(boards):
        difficulty, ability = rng.normal(0.5, 0.8, len(sizes)), rng.normal(0.8, 0.5 * (board % 3), models)
        shares = rng.binomial(sizes, expit(ability[:, None] + difficulty)) / sizes
        headlines = {str(m): float(np.average(shares[m], weights=sizes)) for m in range(models)}
        parts = {str(s): {str(m): float(shares[m, s]) for m in range(models)} for s in range(len(sizes))}
        ordered = sorted(headlines, key=lambda name: -headlines[name])
        standings = [Standing(name, proportion_estimate(headlines[name], sizes.sum()), frozenset()) for name in ordered]
        for name, interval in zip(ordered, rank_models(standings, spec).intervals, strict=True):
            assert interval is not None
            estimates = {part: proportion_estimate(scores[name], sizes[int(part)]) for part, scores in parts.items()}
            spots = find_weak_spots(name, headlines, parts, estimates, interval.worst)
            spotted += any(spot.significant for spot in spots)
    assert spotted <= 0.05 * boards * models


def test_strengths_are_weak_spots_of_the_scores_upside_down() -> None:
    """Both ends have the same p; a part at the overall rank is neither."""
    headlines = {name: 0.9 - 0.1 * place for place, name in enumerate("abcde")}
    high, low = ({name: score for name, score in headlines.items() if name != "c"} | {"c": c} for c in (0.95, 0.45))
    estimates = {name: Estimate(value=value, stderr=0.05) for name, value in (("high", 0.95), ("low", 0.45))}
    parts = {"high": high, "low": low, "same": headlines}
    (strength,) = find_strengths("c", headlines, parts, estimates, 3)
    assert (strength.name, strength.rank, strength.overall_rank, strength.rank_drop) == ("high", 1, 3, -2)
    assert strength.score.value == pytest.approx(0.95)
    assert strength.expected_score == 0.8
    turned = {name: {model: 1 - score for model, score in scores.items()} for name, scores in parts.items()}
    mirrored = {name: Estimate(value=1 - (e.value or 0), stderr=e.stderr) for name, e in estimates.items()}
    (weakness,) = find_weak_spots("c", {m: 1 - s for m, s in headlines.items()}, turned, mirrored, 3)
    assert weakness.p == strength.p
