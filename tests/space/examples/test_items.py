from __future__ import annotations

import numpy as np
import pytest

from rb_core.audits.labels import Suspect
from rb_core.space.examples.items import BINS, FILTERS, Items, ItemView, difficulty, offered_filters
from rb_core.stats.item_outcomes import Floats, ItemOutcomes

SUSPECT = {"i3": Suspect(1.0, 0.99, "")}


def outcomes_of(model: str, values: list[float], lengths: Floats | None = None) -> ItemOutcomes:
    ids = np.array([f"i{n}" for n in range(len(values))])
    subsets = np.array(["first", "first", "second", "second"][: len(values)])
    return ItemOutcomes(model, "b", ids, subsets, ids, np.array(values), lengths=lengths)


@pytest.fixture
def items() -> Items:
    """The best model, one that ties on i1 and did not score i2, and the worst."""
    lengths = np.array([0.5, -0.5, 0.0, np.nan])
    models = [("worst", [1.0, 0.0, 0.0, 0.0]), ("best", [1.0, 1.0, 1.0, 0.0]), ("middle", [1.0, 0.5, np.nan, 0.0])]
    return Items.of_outcomes([outcomes_of(name, values, lengths) for name, values in models], "b", SUSPECT)


def chosen(items: Items, name: str, a: str = "best", b: str = "middle") -> list[str]:
    lengths = {"i0": 1, "i1": 2, "i2": 30, "i3": 4}
    view = ItemView(items, items.models.index(a), items.models.index(b), frozenset({"second"}), lengths)
    return [str(item) for item in items.ids[FILTERS[name].choose(view)]]


def test_models_come_best_first_and_a_tie_or_an_unscored_item_is_not_right(items: Items) -> None:
    assert items.models == ("best", "middle", "worst")
    assert items.right[1].tolist() == [True, False, False, False]
    assert items.wrong[1].tolist() == [False, True, False, True]
    assert items.share_wrong.tolist() == [0.0, 2 / 3, 0.5, 1.0]
    assert items.hardest_first(np.ones(4, dtype=bool)) == [3, 1, 2, 0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all", ["i0", "i1", "i2", "i3"]),
        ("wrong", ["i3"]),
        ("only-a", ["i1"]),
        ("only-b", []),
        ("both", ["i0"]),
        ("neither", ["i3"]),
        ("unsolved", ["i3"]),
        ("suspect", ["i3"]),
        ("longer", ["i0"]),
        ("shorter", ["i1"]),
        ("long", ["i2"]),
        ("refusals", ["i2", "i3"]),
    ],
)
def test_a_filter_chooses_the_items_that_it_names(items: Items, name: str, expected: list[str]) -> None:
    assert chosen(items, name) == expected


def test_strong_models_are_named_only_where_there_are_many(items: Items) -> None:
    assert "strong" not in offered_filters(ItemView(items, None, None, frozenset(), None))
    many = [outcomes_of(f"m{n}", [1.0, 0.0, float(n > 4), float(n > 15)]) for n in range(20)]
    of_many = Items.of_outcomes(many, "b", {})
    view = ItemView(of_many, None, None, frozenset(), None)
    assert of_many.num_strong == 10
    assert "strong" in offered_filters(view)
    assert of_many.ids[FILTERS["strong"].choose(view)].tolist() == ["i1"]


def test_every_item_is_in_one_bin_of_difficulty_and_a_bin_has_its_lower_end() -> None:
    models = [outcomes_of(f"m{n}", [float(n >= 7), float(n >= 3), 0.0, 1.0]) for n in range(10)]
    counts = difficulty(Items.of_outcomes(models, "b", {}), np.ones(4, dtype=bool))
    assert len(counts) == BINS
    assert [place for place, count in enumerate(counts) for _ in range(count)] == [0, 3, 7, 9]
