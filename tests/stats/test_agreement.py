"""Fleiss' kappa and Krippendorff's alpha: values of their papers, definitions, and influences of items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
import pytest

from rb_core.stats.agreement import Coefficient, agreement_of_items, fleiss_kappa, krippendorff_alpha
from rb_core.stats.item_outcomes import Floats

# Fleiss 1971, table 1: 30 patients, 5 categories, 6 raters; numbers of raters by category.
FLEISS = """
0 0 0 6 0|0 3 0 0 3|0 1 4 0 1|0 0 0 0 6|0 3 0 3 0|2 0 4 0 0|0 0 4 0 2|2 0 3 1 0|2 0 0 4 0|0 0 0 0 6
1 0 0 5 0|1 1 0 4 0|0 3 3 0 0|1 0 0 5 0|0 2 0 3 1|0 0 5 0 1|3 0 0 1 2|5 1 0 0 0|0 2 0 4 0|1 0 2 0 3
0 0 0 0 6|0 1 0 5 0|0 2 0 1 3|2 0 0 4 0|1 0 0 4 1|0 5 0 1 0|4 0 0 0 2|0 2 0 4 0|1 0 5 0 0|0 0 0 0 6
"""

# Krippendorff 2011, section C: four observers, twelve units, missing values.
OBSERVERS = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")


def counted(ratings: Sequence[Sequence[str]]) -> Floats:
    """Return the numbers of ratings by item and category, without items that have fewer than two."""
    categories = sorted({rating for item in ratings for rating in item})
    return np.array([[item.count(category) for category in categories] for item in ratings if len(item) > 1], float)


def value(coefficient: Coefficient | None) -> float:
    assert coefficient is not None
    return float(coefficient.values.mean())


def test_fleiss_kappa_is_that_of_its_paper() -> None:
    counts = np.array(
        [[int(n) for n in cell.split()] for line in FLEISS.split("\n") for cell in line.split("|") if cell]
    )
    assert counts.shape == (30, 5)
    assert value(fleiss_kappa(counts.astype(float))) == pytest.approx(0.430, abs=5e-4)


def test_krippendorff_alpha_is_that_of_its_paper() -> None:
    units = zip(*(observer.split() for observer in OBSERVERS), strict=True)
    counts = counted([[rating for rating in unit if rating != "."] for unit in units])
    assert value(krippendorff_alpha(counts)) == pytest.approx(0.743, abs=5e-4)


def disagreement(ratings: Sequence[str]) -> float:
    """Return the share of ordered pairs of different ratings."""
    return float(np.mean([a != b for a, b in permutations(ratings, 2)]))


def test_coefficients_are_those_of_their_definitions() -> None:
    """Pairs of ratings, one by one: within items, of all items with replacement (kappa) and without (alpha)."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        equal = [[str(n) for n in rng.choice(3, 4, p=(0.6, 0.3, 0.1))] for _ in range(12)]
        pooled = [rating for item in equal for rating in item]
        by_chance = 1 - sum((n / len(pooled)) ** 2 for n in Counter(pooled).values())
        observed = np.mean([disagreement(item) for item in equal])
        assert value(fleiss_kappa(counted(equal))) == pytest.approx(1 - observed / by_chance)
        assert agreement_of_items(counted(equal)).mean() == pytest.approx(1 - observed)

        unequal = [item[: rng.integers(2, 5)] for item in equal]
        pooled = [rating for item in unequal for rating in item]
        observed = sum(len(item) * disagreement(item) for item in unequal) / len(pooled)
        assert value(krippendorff_alpha(counted(unequal))) == pytest.approx(1 - observed / disagreement(pooled))


@pytest.mark.parametrize("formula", [fleiss_kappa, krippendorff_alpha])
def test_values_are_influences(formula: Callable[[Floats], Coefficient | None]) -> None:
    """An item that is added to many copies of a table moves the coefficient by its value's share."""
    rng, copies = np.random.default_rng(5), 2000
    sizes = [3] * 10 if formula is fleiss_kappa else rng.integers(2, 6, 10)
    counts = np.array([rng.multinomial(size, (0.6, 0.3, 0.1)) for size in sizes], float)
    table = np.tile(counts, (copies, 1))
    before = formula(table)
    assert before is not None
    for item, influence in zip(counts, before.values - value(before), strict=False):
        change = value(formula(np.vstack([table, item]))) - value(before)
        assert len(table) * change == pytest.approx(influence, abs=2e-3)


def test_one_category_has_no_coefficient() -> None:
    one, none = np.array([[3.0, 0.0], [3.0, 0.0]]), np.empty((0, 2))
    assert [formula(table) for formula in (fleiss_kappa, krippendorff_alpha) for table in (one, none)] == [None] * 4


def test_the_lowest_value_is_that_of_no_agreement() -> None:
    counts = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    kappa = fleiss_kappa(counts)
    assert kappa is not None
    assert (kappa.lowest, value(kappa)) == pytest.approx((-0.5, -0.5))
