"""What a model is bad at: ranks within parts against its overall rank."""

from __future__ import annotations

from rb_core.leaderboard.weak_spots import weak_spots
from rb_core.results.estimate import Estimate

HEADLINES = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}


def estimate(value: float, half: float) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half)


def test_a_part_is_weak_where_the_model_ranks_lower_than_overall() -> None:
    """The second of four that is last in a part has dropped two places; a part where it is first is none."""
    parts = {"maths": {"a": 0.9, "b": 0.5, "c": 0.8, "d": 0.7}, "code": {"a": 0.4, "b": 0.9, "c": 0.5, "d": 0.6}}
    (spot,) = weak_spots("b", HEADLINES, parts, {})
    assert (spot.name, spot.rank, spot.overall, spot.of, spot.drop) == ("maths", 4, 2, 4, 2)
    assert spot.par == 0.8  # of the model that is second in this part
    assert spot.clear is None


def test_only_models_with_both_numbers_are_compared() -> None:
    """Who lacks the part, or has no headline, moves neither rank: the third overall is second of those who have it."""
    parts = {"maths": {"b": 0.9, "c": 0.5, "d": 0.8, "no headline": 1.0}}
    (spot,) = weak_spots("c", HEADLINES, parts, {})
    assert (spot.rank, spot.overall, spot.of) == (3, 2, 3)
    assert weak_spots("a", HEADLINES, parts, {}) == []
    assert weak_spots("no headline", HEADLINES, parts, {}) == []


def test_equal_scores_share_the_better_place() -> None:
    """A model that ties for its own rank is not weak there."""
    assert weak_spots("b", HEADLINES, {"maths": {"a": 0.9, "b": 0.8, "c": 0.8, "d": 0.1}}, {}) == []


def test_a_drop_is_clear_only_where_the_whole_interval_lies_below() -> None:
    """The same drop is clear with a narrow interval and may be noise with a wide one; clear ones come first."""
    scores = {"a": 0.9, "b": 0.5, "c": 0.8, "d": 0.7}
    own = {"wide": estimate(0.5, 0.35), "narrow": estimate(0.5, 0.1)}
    found = weak_spots("b", HEADLINES, {"wide": scores, "narrow": scores}, own)
    assert [(spot.name, spot.clear) for spot in found] == [("narrow", True), ("wide", False)]
