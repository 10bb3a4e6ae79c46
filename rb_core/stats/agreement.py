"""Agreement of raters beyond chance: Fleiss' kappa and Krippendorff's alpha, and Cohen's kappa of two raters.

All are 1 - observed / expected disagreement of two ratings of the same item. Tables have a row per item and a column
per category; a cell is the number of raters that chose this category for this item. Cohen's kappa, for two raters who
are not interchangeable, is computed of a confusion matrix.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rb_core.stats.item_outcomes import Codes, Floats


class Coefficient(NamedTuple):
    """A coefficient of agreement as a mean over items, so that it has the interval of a mean.

    values: by item, the coefficient plus the item's influence on it (Hampel 1974, doi:10.2307/2285666); lowest: the
    coefficient if no two raters agreed, with the same expected disagreement.
    """

    values: Floats
    lowest: float


def agreement_of_items(counts: Floats) -> Floats:
    """Return the share of pairs of raters that agree, by item. Each item needs two raters or more."""
    raters = counts.sum(axis=1)
    agreement: Floats = (counts * (counts - 1)).sum(axis=1) / (raters * (raters - 1))
    return agreement


def fleiss_kappa(counts: Floats) -> Coefficient | None:
    """Return Fleiss' kappa (1971, doi:10.1037/h0031619). Each item has the same number of raters, two or more.

    None without items, and if all ratings are of one category.
    """
    return _beyond_chance(counts, 1.0)


def krippendorff_alpha(counts: Floats) -> Coefficient | None:
    """Return Krippendorff's nominal alpha (2011, Computing Krippendorff's Alpha-Reliability).

    Items may differ in their numbers of raters, two or more. None without items, and if all ratings are of one
    category.
    """
    ratings = counts.sum()
    return _beyond_chance(counts, ratings / (ratings - 1))


def _beyond_chance(counts: Floats, correction: float) -> Coefficient | None:
    """Return 1 - observed / expected disagreement, in which an item counts as often as it has ratings.

    correction: factor of the expected disagreement, which without it is that of ratings drawn with replacement.
    """
    if not len(counts):
        return None
    raters = counts.sum(axis=1)
    shares = counts.sum(axis=0) / raters.sum()
    expected = correction * float(1 - shares @ shares)
    if not expected:
        return None
    disagreement = 1 - agreement_of_items(counts)
    weights = raters / raters.mean()
    observed = float((weights * disagreement).mean())
    # derivative of the quotient by the weight of an item, which moves the observed disagreement and the shares
    change = -2 * correction * (counts / raters[:, None] - shares) @ shares
    influence = (observed * change / expected - (disagreement - observed)) / expected
    return Coefficient(1 - observed / expected + weights * influence, 1 - 1 / expected)


def confusion_matrix(labels: Codes, predictions: Codes, num_categories: int) -> Floats:
    """Return the number of items by label (row) and prediction (column); both are numbered from 0."""
    cells = np.bincount(labels * num_categories + predictions, minlength=num_categories**2)
    return cells.reshape(num_categories, num_categories).astype(np.float64)


def cohen_kappa(confusion: Floats, *, quadratic: bool = False) -> float:
    """Return Cohen's kappa of two raters (1960, doi:10.1177/001316446002000104).

    confusion: a matrix by `confusion_matrix`; quadratic: weigh a disagreement by the square of its distance, for
    categories in an order (Cohen 1968, doi:10.1037/h0026256). NaN when both raters use one and the same category.
    """
    category = np.arange(len(confusion))
    distance = np.abs(category[:, None] - category)
    weights = distance**2 if quadratic else distance > 0
    total = confusion.sum()
    expected = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / total if total else confusion
    expected_disagreement = float((weights * expected).sum())
    return 1 - float((weights * confusion).sum()) / expected_disagreement if expected_disagreement else math.nan
