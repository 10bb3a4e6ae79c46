from __future__ import annotations

from rb_core.leaderboard.verdict import p_text, points, verdict
from rb_core.results.estimate import Estimate


def difference(value: float | None) -> Estimate:
    return Estimate() if value is None else Estimate(value=value, low=value - 0.1, high=value + 0.1)


def test_a_significant_difference_names_the_better_model() -> None:
    assert verdict("a", "b", difference(-0.4), 0.0001, "b", adjusted=True) == (
        "b is better than a by 40.0 points (95% interval 30.0 to 50.0, p < 0.001 by Holm)."
    )


def test_a_difference_within_noise_names_the_leading_model() -> None:
    assert verdict("a", "b", difference(0.02), 0.7, None, adjusted=False) == (
        "No clear difference: a leads b by 2.0 points, within noise (95% interval −8.0 to 12.0, p = 0.70)."
    )


def test_equal_scores_have_no_leading_model() -> None:
    assert "score the same to a tenth of a point" in verdict("a", "b", difference(0.0), 1.0, None, adjusted=False)


def test_unknown_differences_are_named() -> None:
    assert "cannot be compared overall" in verdict("a", "b", difference(None), None, None, adjusted=False)


def test_points_have_a_sign_and_p_is_never_zero() -> None:
    assert [points(value) for value in (0.0213, -0.005, 0.00001)] == ["+2.1", "−0.5", "0.0"]
    assert [p_text(p) for p in (0.0001, 0.0123, 0.5)] == ["p < 0.001", "p = 0.012", "p = 0.50"]
