"""Best-of-k against its definition, and the coverage of its intervals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rb_core.stats.best_of import LabelledScores, best_of_bounds, best_of_curve, expected_best
from rb_core.stats.item_outcomes import Floats

N = 8


def enumerated(scores: Floats, labels: Floats) -> list[float]:
    """Pick in every subset: the mean label of its best-scored completions, 0 if none of them has a score."""
    means = []
    for k in range(1, len(scores) + 1):
        picked = []
        for subset in itertools.combinations(range(len(scores)), k):
            scored = [i for i in subset if not np.isnan(scores[i])]
            best = [i for i in scored if scores[i] == max(scores[j] for j in scored)]
            picked.append(np.mean([labels[i] for i in best]) if best else 0.0)
        means.append(float(np.mean(picked)))
    return means


@pytest.mark.parametrize("distinct", [2, 4, 1000], ids=["many ties", "some ties", "no ties"])
@pytest.mark.parametrize("unscored", [0, 1, 3, N])
def test_best_of_k_is_that_of_all_subsets(distinct: int, unscored: int) -> None:
    rng = np.random.default_rng(distinct + unscored)
    for labels in (rng.integers(0, 2, N).astype(float), rng.random(N)):
        scores = rng.integers(0, distinct, N).astype(float)
        scores[rng.permutation(N)[:unscored]] = np.nan
        assert expected_best(scores, labels) == pytest.approx(enumerated(scores, labels), abs=1e-12)


def test_no_scores_of_unscored_completions_pass_the_bounds() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        scores, labels = rng.integers(0, 6, N).astype(float), rng.random(N)
        unscored = rng.permutation(N)[: rng.integers(1, N + 1)]
        partly = scores.copy()
        partly[unscored] = np.nan
        floor, ceiling = best_of_bounds(partly, labels)
        for values in (expected_best(scores, labels), expected_best(partly, labels)):
            assert (values >= floor - 1e-12).all()
            assert (values <= ceiling + 1e-12).all()


def test_leaving_the_correct_completions_unscored_never_helps() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        scores, labels = rng.normal(size=N), rng.integers(0, 2, N).astype(float)
        partly = np.where((labels == 1) & (rng.random(N) < 0.5), np.nan, scores)
        assert (expected_best(partly, labels) <= expected_best(scores, labels) + 1e-12).all()


def test_a_curve_has_random_and_oracle_and_counts_prompts() -> None:
    prompts = [
        LabelledScores(np.array([3.0, 2.0, 1.0]), np.array([1.0, 0.0, 0.0])),
        LabelledScores(np.array([1.0, 2.0]), np.array([1.0, 0.0])),
        LabelledScores(np.array([1.0, np.nan]), np.array([0.0, 1.0])),
    ]
    curve = best_of_curve(prompts, np.array(["a", "b", "c"]))
    assert [(point.k, point.prompts) for point in curve] == [(1, 3), (2, 3), (3, 1)]
    assert [point.best_of.value for point in curve] == pytest.approx([(1 / 3 + 1 / 2 + 0) / 3, (2 / 3) / 3, 1])
    assert [point.random.value for point in curve] == pytest.approx([(1 / 3 + 1 / 2 + 1 / 2) / 3] * 2 + [1 / 3])
    assert [point.oracle.value for point in curve] == pytest.approx([(1 / 3 + 1 / 2 + 1 / 2) / 3, (2 / 3 + 2) / 3, 1])
    assert curve[1].best_of.bounds == pytest.approx(((2 / 3) / 3, (2 / 3 + 1) / 3))
    assert best_of_curve([], np.array([], dtype=str)) == []


def test_a_large_pool_stays_exact() -> None:
    """C(n, k) of 1,000 completions is beyond floating point; the best of all is the best."""
    n = 1000
    labels = np.arange(n) / (n - 1)
    expected = expected_best(labels, labels)
    assert expected[[0, n - 1]] == pytest.approx([0.5, 1.0])
    k = np.arange(1, n + 1)
    assert expected == pytest.approx((k * (n + 1) / (k + 1) - 1) / (n - 1))  # mean of the largest of k numbers


@pytest.mark.soak
@pytest.mark.parametrize("group_size", [1, 3])
@pytest.mark.parametrize("quality", [0.5, 2.0])
def test_intervals_hold_the_true_value(group_size: int, quality: float) -> None:
    """Rows of one prompt share its difficulty; the truth is the mean over very many prompts."""
    rng = np.random.default_rng(5)
    num_groups = 60

    def draw(groups: int) -> list[LabelledScores]:
        difficulty = np.repeat(rng.beta(1, 2, groups), group_size)
        labels = (rng.random((len(difficulty), N)) < difficulty[:, None]).astype(float)
        scores = quality * labels + rng.normal(size=labels.shape)
        return [LabelledScores(*row) for row in zip(scores, labels, strict=True)]

    truth = np.mean([expected_best(*prompt) for prompt in draw(60_000 // group_size)], axis=0)
    names = np.repeat([str(i) for i in range(num_groups)], group_size)
    repetitions = 1000
    held = np.zeros(N)
    for _ in range(repetitions):
        for k, point in enumerate(best_of_curve(draw(num_groups), names)):
            assert point.best_of.low is not None
            assert point.best_of.high is not None
            held[k] += point.best_of.low <= truth[k] <= point.best_of.high
    error = 2 * np.sqrt(0.05 * 0.95 / repetitions)
    assert (held / repetitions > 0.93 - error).all(), held
    assert (held / repetitions < 0.98 + error).all(), held
