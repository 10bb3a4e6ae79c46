"""The expected score of random choice, against the mean score of many random models."""

from __future__ import annotations

import numpy as np
import pytest

from rb_core.stats.item_outcomes import CompletionScores, ItemOutcomes, Strings
from rb_core.stats.metrics import ACCURACY, BEST, PAIRS, STYLE_MATRIX, TIES
from rb_core.stats.metrics.base import Metric

SHAPES = {"ref:1": (1, 4), "tied:1": (3, 5), "ref:2": (1, 2), "tied:2": (2, 4), "ref:3": (1, 5), "tied:3": (4, 7)}


def scores_of(values: list[float] | None = None, shapes: dict[str, tuple[int, int]] = SHAPES) -> CompletionScores:
    sizes = np.array([n for _, n in shapes.values()])
    is_chosen = np.concatenate([np.arange(n) < c for c, n in shapes.values()])
    return CompletionScores(np.array(values or np.zeros(sizes.sum())), is_chosen, np.cumsum(sizes) - sizes)


def score(metric: Metric, scores: CompletionScores, ids: Strings) -> float:
    earned, tied = metric.item_credits(scores, "none")
    spreads = scores.best_chosen() - scores.worst_chosen()
    outcomes = ItemOutcomes(
        "m", "b", ids, ids, ids, earned, margins=scores.margins(), spreads=spreads, tied=tied, scores=scores
    )
    parts = metric.parts(outcomes, "none")
    assert parts is not None
    return sum(weight * parts.measures[name].mean for name, weight in parts.coefficients.items())


def test_simple_shapes_have_the_chances_of_counting() -> None:
    """1 of 2, 1 of 4, and 2 of 4: six choices of two, half of all completions chosen."""
    for (chosen, total), every, any_chosen in (((1, 2), 1 / 2, 1 / 2), ((1, 4), 1 / 4, 1 / 4), ((2, 4), 1 / 6, 1 / 2)):
        scores, ids = scores_of(shapes={"a": (chosen, total)}), np.array(["a"])
        assert ACCURACY.chance(scores, ids) == pytest.approx(every)
        assert BEST.chance(scores, ids) == pytest.approx(any_chosen)
        assert PAIRS.chance(scores, ids) == STYLE_MATRIX.chance(scores, ids) == 0.5


@pytest.mark.parametrize(
    "models", [pytest.param(3000, id="quick"), pytest.param(100_000, id="long", marks=pytest.mark.soak)]
)
@pytest.mark.parametrize("metric", [ACCURACY, PAIRS, BEST, TIES], ids=lambda metric: metric.name)
def test_it_is_the_mean_of_random_models(metric: Metric, models: int) -> None:
    rng, ids = np.random.default_rng(0), np.array(list(SHAPES))
    drawn = [score(metric, scores_of(rng.random(27).tolist()), ids) for _ in range(models)]
    expected = metric.chance(scores_of(), ids)
    assert expected is not None
    error = np.std(drawn) / np.sqrt(models)
    assert abs(np.mean(drawn) - expected) < 4 * error


def test_ties_without_both_versions_of_a_question_have_none() -> None:
    shapes = {"ref:1": (1, 4), "tied:2": (2, 4)}
    assert TIES.chance(scores_of(shapes=shapes), np.array(list(shapes))) is None
