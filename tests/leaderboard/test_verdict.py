from __future__ import annotations

from rb_core.leaderboard.verdict import p_text, points, power_text, verdict
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


def test_unscored_examples_that_could_give_the_other_model_the_lead_are_named() -> None:
    lead = Estimate(value=0.139, low=0.05, high=0.22, floor=-0.1, ceiling=0.3)
    assert verdict("a", "b", lead, 1.0, None, adjusted=False, unscored=35) == (
        "No clear difference: a leads b by 13.9 points, the 35 unscored examples could change it "
        "(95% interval 5.0 to 22.0, p = 1.00)."
    )
    noisy = Estimate(value=-0.02, low=-0.05, high=0.01, floor=-0.03, ceiling=0.001)
    assert "within noise and the 1 unscored example could change it" in verdict(
        "a", "b", noisy, 0.9, None, adjusted=False, unscored=1
    )
    same = Estimate(value=0.0, low=-0.05, high=0.05, floor=-0.03, ceiling=0.03)
    assert "to a tenth of a point and the unscored examples could change it" in verdict(
        "a", "b", same, 1.0, None, adjusted=False
    )
    certain = lead.model_copy(update={"floor": 0.01, "low": -0.01})
    assert "unscored" not in verdict("a", "b", certain, 0.06, None, adjusted=False, unscored=2)


def test_the_power_of_a_comparison_in_words() -> None:
    assert power_text(0.0213, 1873) == (
        "Smallest detectable difference: 2.1 points (80% power). About 1,900 more examples would settle this lead."
    )
    assert power_text(0.0213, 7).endswith("About 7 more examples would settle this lead.")
    assert power_text(0.0213, 10**12).endswith("This lead is too small to be settled.")
    assert power_text(0.0213) == "Smallest detectable difference: 2.1 points (80% power)."
    assert power_text(None, None) == ""


def test_unknown_differences_are_named() -> None:
    assert "cannot be compared overall" in verdict("a", "b", difference(None), None, None, adjusted=False)


def test_points_have_a_sign_and_p_is_never_zero() -> None:
    assert [points(value) for value in (0.0213, -0.005, 0.00001)] == ["+2.1", "−0.5", "0.0"]
    assert [p_text(p) for p in (0.0001, 0.0123, 0.5)] == ["p < 0.001", "p = 0.012", "p = 0.50"]
