"""Best-of-k: the quality of the completion that a model picks among k of a prompt's completions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rb_core.results.estimate import Estimate
from rb_core.stats.intervals import mean_estimate
from rb_core.stats.item_outcomes import Floats, Strings


class LabelledScores(NamedTuple):
    """The completions of one prompt: scores (NaN where unscored), and labels from 0 (wrong) to 1 (correct)."""

    scores: Floats
    labels: Floats


class CurvePoint(NamedTuple):
    """Expected label of the pick among k completions, by the model, at random, and by the labels themselves.

    prompts: those with at least k completions, which all three are means of; a prompt with fewer has no such subset.
    """

    k: int
    prompts: int
    best_of: Estimate
    random: Estimate
    oracle: Estimate


def expected_best(scores: Floats, labels: Floats) -> Floats:
    """Return the mean label of the best-scored completion over all subsets of size k, for k = 1 to n.

    This is the unbiased estimator of best-of-k from n samples. With a completions below a score and b not above it, a
    subset of k has its best score there with probability (C(b, k) - C(a, k)) / C(n, k), which completions with equal
    scores share evenly (as Chen et al. 2021, arXiv:2107.03374, for right and wrong answers). An unscored completion
    stays in the subsets and is never picked while another is scored; a subset of unscored ones earns 0.
    """
    unscored = np.isnan(scores)
    values, labels = np.where(unscored, -np.inf, scores), np.where(unscored, 0.0, labels)
    return _picked_at(values) @ labels


def best_of_bounds(scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Return floor and ceiling of `expected_best`: unscored completions have the best scores and are wrong, or right.

    So they bound the value that any scores of the unscored completions would give.
    """
    unscored = np.isnan(scores)
    chances = _picked_at(np.where(unscored, np.inf, scores))
    return chances @ np.where(unscored, 0.0, labels), chances @ np.where(unscored, 1.0, labels)


def best_of_curve(prompts: Sequence[LabelledScores], groups: Strings) -> list[CurvePoint]:
    """Return the points of best-of-k for k = 1 to the largest number of completions; groups are independent."""
    largest = max((len(prompt.scores) for prompt in prompts), default=0)
    model, floors, ceilings, randoms, oracles = (np.full((len(prompts), largest), np.nan) for _ in range(5))
    for row, (scores, labels) in enumerate(prompts):
        n = len(scores)
        model[row, :n] = expected_best(scores, labels)
        is_whole = not np.isnan(scores).any()
        floors[row, :n], ceilings[row, :n] = [model[row, :n]] * 2 if is_whole else best_of_bounds(scores, labels)
        randoms[row, :n] = labels.mean()
        oracles[row, :n] = expected_best(labels, labels)
    points = []
    for column in range(largest):
        rows = ~np.isnan(model[:, column])
        best, random, oracle = (
            mean_estimate(values[rows, column], groups[rows]) for values in (model, randoms, oracles)
        )
        bounds = {"floor": float(floors[rows, column].mean()), "ceiling": float(ceilings[rows, column].mean())}
        points.append(CurvePoint(column + 1, int(rows.sum()), best.model_copy(update=bounds), random, oracle))
    return points


def _picked_at(values: Floats) -> Floats:
    """Return the chance of each completion to be picked among k, as an array (k - 1, completion)."""
    ordered = np.sort(values)
    below, not_above = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    within = _subset_shares(len(values))
    chances: Floats = (within[:, not_above] - within[:, below]) / (not_above - below)
    return chances


@functools.lru_cache(maxsize=8)
def _subset_shares(n: int) -> Floats:
    """Return C(b, k) / C(n, k), the share of subsets of k that lie within b completions, as an array (k - 1, b)."""
    j, b = np.arange(n)[:, None], np.arange(n + 1)
    shares: Floats = np.cumprod(np.maximum(b - j, 0) / (n - j), axis=0)
    return shares
