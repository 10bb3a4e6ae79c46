"""The smallest score above which a wanted share of the items is right."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rb_core.stats.intervals import interval, weighted_mean
from rb_core.stats.item_outcomes import Floats, Strings
from rb_core.stats.metrics.base import Measure

_RISK = 0.05  # that a threshold is reported whose true precision is below the wanted one
_STEP = 0.75  # of the numbers of accepted items that are tried


class PrecisionThreshold(NamedTuple):
    """Items with a score of at least `threshold`.

    precision: share of the accepted items that are right, at least `low` in 95% of samples; recall: share of the right
    items that are accepted; reached: `low` is at least the wanted precision.
    """

    wanted: float
    reached: bool
    threshold: float
    accepted: int
    precision: float
    low: float
    recall: float


def threshold_for_precision(
    scores: Floats, is_right: Floats, groups: Strings, wanted: float
) -> PrecisionThreshold | None:
    """Return the threshold that accepts most items with at least the wanted precision, above 0 and below 1.

    The numbers of items to accept that are tried are fixed without looking at the labels, and their limits are
    corrected for all tries (Bonferroni): so the precision holds for new items with 95% probability, although the
    threshold is chosen. If no threshold reaches it, the one with the highest limit is returned with `reached` false;
    None for fewer items than could show this precision if all were right.
    """
    fewest = math.ceil(math.log(_RISK) / math.log(wanted))
    if len(scores) < fewest:
        return None
    sizes = [len(scores)]
    while (smaller := math.floor(sizes[-1] * _STEP)) >= fewest:
        sizes.append(smaller)
    ordered, num_right = np.sort(scores)[::-1], float(is_right.sum())
    tries = []
    for threshold in dict.fromkeys(float(ordered[size - 1]) for size in sizes):
        accepted = scores >= threshold
        mean = weighted_mean({"right": Measure(is_right[accepted], groups[accepted])}, {"right": 1.0})
        low, _ = interval(mean.value, mean.variance, mean.num_groups, tail=_RISK / len(sizes))
        recall = float(is_right[accepted].sum()) / num_right if num_right else 0.0
        tries.append(PrecisionThreshold(wanted, low >= wanted, threshold, int(accepted.sum()), mean.value, low, recall))
    return next((each for each in tries if each.reached), max(tries, key=lambda each: each.low))
