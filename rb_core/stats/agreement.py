"""Agreement of raters beyond chance: Fleiss' kappa and Krippendorff's alpha.

Both are 1 - observed / expected disagreement of two ratings of the same item. Tables have a row per item and a column
per category; a cell is the number of raters that chose this category for this item.
"""

from __future__ import annotations

from typing import NamedTuple

from rb_core.stats.item_outcomes import Floats


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
