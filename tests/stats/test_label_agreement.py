"""Agreement with labels: figures of scikit-learn 1.9 and scipy, and the coverage of intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from rb_core.results.estimate import Estimate
from rb_core.stats.agreement import cohen_kappa
from rb_core.stats.item_outcomes import Floats, Strings
from rb_core.stats.label_agreement import (
    TIE,
    UNSCORED,
    LabelAgreement,
    compare_choices,
    compare_good,
    compare_ratings,
    roc_area,
)

SCORES = np.array([0.3, 1.2, -0.7, 2.2, 0.3, 1.9, -1.1, 0.8, 0.8, -0.2, 1.4, 2.9, 0.1, -1.6, 0.5, 1.2])
GOOD = np.array([0, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1], dtype=bool)
RATINGS = np.array([2, 4, 1, 5, 3, 4, 1, 2, 4, 2, 3, 5, 1, 1, 4, 3], dtype=np.float64)
JUDGE = np.array([3, 4, 1, 5, 2, 5, 1, 3, 4, 2, 4, 5, 2, 1, 2, 3], dtype=np.float64)
EACH = np.arange(16).astype(np.str_)


def values(agreement: LabelAgreement) -> dict[str, float | None]:
    return {name: estimate.value for name, estimate in agreement.coefficients.items()}


def test_good_or_bad_equals_scikit_learn() -> None:
    """roc_auc_score(GOOD, SCORES), and the others of GOOD and SCORES >= 1."""
    agreement = compare_good(SCORES, GOOD, EACH, threshold=1.0)
    assert values(agreement) == pytest.approx({"Cohen's kappa": 0.75, "AUC": 0.953125})
    assert agreement.accuracy is not None
    assert agreement.accuracy.value == pytest.approx(0.875)
    assert agreement.confusion is not None
    assert agreement.confusion.counts.tolist() == [[8, 0], [2, 6]]
    assert (agreement.base_label, agreement.base_rate) == ("bad", 0.5)


def test_ratings_of_a_judge_equal_scikit_learn_and_scipy() -> None:
    """cohen_kappa_score(RATINGS, JUDGE, weights="quadratic"), confusion_matrix, spearmanr and kendalltau."""
    agreement = compare_ratings(JUDGE, RATINGS, EACH)
    expected = {"weighted kappa": 0.8377281947261663, "Spearman's rho": 0.8383163913793076}
    assert values(agreement) == pytest.approx({**expected, "Kendall's tau-b": 0.7586298943737626})
    assert agreement.accuracy is not None
    assert agreement.accuracy.value == pytest.approx(0.5625)
    assert agreement.confusion is not None
    table = [[3, 1, 0, 0, 0], [0, 1, 2, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 2, 1], [0, 0, 0, 0, 2]]
    assert agreement.confusion.counts.tolist() == table
    assert cohen_kappa(np.array(table, dtype=float)) == pytest.approx(0.4536585365853658)


def test_correlations_of_scores_equal_scipy() -> None:
    coefficients = values(compare_ratings(SCORES, RATINGS, EACH))
    assert coefficients["Spearman's rho"] == pytest.approx(0.8691424952370134)
    assert coefficients["Kendall's tau-b"] == pytest.approx(0.7543280103698715)


def test_without_a_threshold_as_many_are_predicted_as_labelled() -> None:
    agreement = compare_ratings(SCORES, RATINGS, EACH)
    assert Counter(agreement.predictions) == Counter(f"{rating:g}" for rating in RATINGS)
    by_order = np.sort(RATINGS)[np.argsort(np.argsort(SCORES, kind="stable"))]
    untied = [index for index, score in enumerate(SCORES) if (score == SCORES).sum() == 1]
    assert [float(agreement.predictions[index]) for index in untied] == by_order[untied].tolist()


def test_choices_with_ties_and_unscored_completions() -> None:
    scores = [np.array(row) for row in ([2.0, 1.0], [1.0, 1.0], [0.0, 3.0], [np.nan, 1.0], [5.0, 1.0])]
    agreement = compare_choices(scores, np.array([0, 1, 0, 0, 0]), np.array(["a", "b", "c", "d", "e"]))
    assert agreement.predictions.tolist() == ["A", TIE, "B", UNSCORED, "A"]
    assert agreement.accuracy is not None
    assert agreement.accuracy.value == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert agreement.accuracy.bounds == pytest.approx((2.5 / 5, 3.5 / 5))
    assert (agreement.accuracy.scored, agreement.accuracy.unscored, agreement.accuracy.ties) == (4, 1, 1)
    assert agreement.disagreements.tolist() == [2, 1]
    assert agreement.distance[[2, 1]].tolist() == [3, 0]
    assert (agreement.base_label, agreement.base_rate) == ("A", 0.8)
    assert agreement.confusion is not None
    assert agreement.confusion.counts.tolist() == [[2, 1, 0], [0, 0, 1]]


def test_an_unscored_item_is_in_no_coefficient_and_wrong_in_the_floor() -> None:
    scores = SCORES.copy()
    scores[0] = np.nan
    agreement = compare_good(scores, GOOD, EACH, threshold=1.0)
    assert agreement.coefficients["AUC"].value == pytest.approx(roc_area(SCORES[1:], GOOD[1:]))
    assert agreement.predictions[0] == UNSCORED
    assert agreement.accuracy is not None
    assert agreement.accuracy.bounds == pytest.approx((13 / 16, 14 / 16))


def test_disagreements_begin_with_the_worst() -> None:
    scores = np.array([9.0, 8.0, 1.0, 0.0, 4.0, 5.0])
    agreement = compare_good(scores, np.array([False, True, True, False, False, True]), np.arange(6).astype(str))
    assert agreement.disagreements.tolist() == [0, 2]


def test_nothing_scored_and_one_label_have_no_coefficients() -> None:
    nothing = np.full(16, np.nan)
    for agreement in (compare_good(nothing, GOOD, EACH), compare_ratings(nothing, RATINGS, EACH)):
        assert set(values(agreement).values()) == {None}
        assert agreement.accuracy is not None
        assert (agreement.accuracy.value, agreement.accuracy.bounds) == (None, (0.0, 1.0))
    assert set(values(compare_good(SCORES, np.ones(16, dtype=bool), EACH)).values()) == {None}


def test_many_different_ratings_are_compared_by_order_alone() -> None:
    ratings = np.linspace(0, 1, 16) ** 2
    agreement = compare_ratings(ratings[::-1].copy(), ratings, EACH)
    assert values(agreement)["Spearman's rho"] == pytest.approx(-1)
    many = compare_ratings(np.arange(40.0), np.linspace(0, 1, 40), np.arange(40).astype(str))
    assert (many.accuracy, many.confusion) == (None, None)
    assert values(many) == pytest.approx({"Spearman's rho": 1, "Kendall's tau-b": 1})


@pytest.mark.soak
@pytest.mark.parametrize(("num_groups", "size"), [(50, 1), (150, 1), (60, 3)])
@pytest.mark.parametrize("quality", [0.5, 2.0])
def test_intervals_hold_the_true_value(num_groups: int, size: int, quality: float) -> None:
    """Items of one group are alike; the truth is that of very many groups."""
    rng = np.random.default_rng(7)

    def draw(groups: int) -> tuple[Floats, Floats]:
        shared = np.repeat(rng.normal(size=groups) * (size > 1), size)
        latent = (shared + rng.normal(size=groups * size)) / np.sqrt(1 + (size > 1))
        return quality * latent + rng.normal(size=latent.shape) + 0.5 * shared, latent

    def estimates(scores: Floats, latent: Floats, groups: Strings) -> Iterator[tuple[str, Estimate]]:
        graded = compare_good(scores, latent > 0.5, groups)
        rated = compare_ratings(scores, np.digitize(latent, [-1, 0, 0.5, 1.5]) + 1.0, groups)
        for name, agreement in (("good", graded), ("rating", rated)):
            assert agreement.accuracy is not None
            yield f"{name} accuracy", agreement.accuracy
            yield from agreement.coefficients.items()

    names = np.repeat(np.arange(num_groups), size).astype(np.str_)
    truth = {name: estimate.value for name, estimate in estimates(*draw(10_000), np.arange(10_000 * size).astype(str))}
    held: Counter[str] = Counter()
    repetitions = 100
    for _ in range(repetitions):
        for name, estimate in estimates(*draw(num_groups), names):
            assert None not in (estimate.low, estimate.high, truth[name])
            held[name] += estimate.low <= truth[name] <= estimate.high  # type: ignore[operator]
    assert min(held.values()) / repetitions > 0.93 - 2 * np.sqrt(0.05 * 0.95 / repetitions), held
