from __future__ import annotations

from rb_core.leaderboard.weak_spots import find_weak_spots
from rb_core.results.estimate import Estimate

HEADLINES = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}


def estimate(value: float, half: float) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half)


def test_a_part_is_weak_where_the_model_ranks_lower_than_overall() -> None:
    parts = {"maths": {"a": 0.9, "b": 0.5, "c": 0.8, "d": 0.7}, "code": {"a": 0.4, "b": 0.9, "c": 0.5, "d": 0.6}}
    (spot,) = find_weak_spots("b", HEADLINES, parts, {})
    assert (spot.name, spot.rank, spot.overall_rank, spot.num_models, spot.rank_drop) == ("maths", 4, 2, 4, 2)
    assert spot.expected_score == 0.8  # of the model that is second in this part
    assert spot.significant is None


def test_only_models_with_both_scores_count_for_the_ranks() -> None:
    parts = {"maths": {"b": 0.9, "c": 0.5, "d": 0.8, "no headline": 1.0}}
    (spot,) = find_weak_spots("c", HEADLINES, parts, {})
    assert (spot.rank, spot.overall_rank, spot.num_models) == (3, 2, 3)
    assert find_weak_spots("a", HEADLINES, parts, {}) == []
    assert find_weak_spots("no headline", HEADLINES, parts, {}) == []


def test_equal_scores_share_the_better_rank() -> None:
    assert find_weak_spots("b", HEADLINES, {"maths": {"a": 0.9, "b": 0.8, "c": 0.8, "d": 0.1}}, {}) == []


def test_significant_weak_spots_have_their_whole_interval_below_and_come_first() -> None:
    scores = {"a": 0.9, "b": 0.5, "c": 0.8, "d": 0.7}
    estimates = {"wide": estimate(0.5, 0.35), "narrow": estimate(0.5, 0.1)}
    spots = find_weak_spots("b", HEADLINES, {"wide": scores, "narrow": scores}, estimates)
    assert [(spot.name, spot.significant) for spot in spots] == [("narrow", True), ("wide", False)]
