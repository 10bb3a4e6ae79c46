"""The items of a benchmark with the outcomes of all models on them, and the filters by which a visitor chooses items.

A model is right on an item when it earns full credit, as in the counts of Compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from rb_core.audits.labels import MIN_MODELS, Suspect, outcome_matrix
from rb_core.benchmarks.example import Example, message_text
from rb_core.stats.item_outcomes import Flags, Floats, ItemOutcomes, Strings

BINS = 10
LONG_SHARE = 0.1
REFUSALS = "Safety"  # the section in which benchmarks ask whether a model refuses if and only if it should


@dataclass(frozen=True)
class Items:
    """Items in the order of the data, and models in the order of their mean credit, best first.

    right, scored: (models, items); num_strong: how many of the first models are called strong; lengths: see
    `ItemOutcomes`; suspects: items whose label is probably wrong. Without known outcomes there are no models.
    """

    ids: Strings
    subsets: Strings
    models: tuple[str, ...]
    right: Flags
    scored: Flags
    num_strong: int = 0
    lengths: Floats | None = None
    suspects: Mapping[str, Suspect] = field(default_factory=dict)

    @classmethod
    def of_outcomes(cls, outcomes: Sequence[ItemOutcomes], benchmark: str, suspects: Mapping[str, Suspect]) -> Items:
        """Return the items of the model that has most, with the outcomes of all models."""
        matrix = outcome_matrix(outcomes, benchmark, min_models=1)
        earned = matrix.credits[matrix.best_first]
        by_id = {} if (longest := max(outcomes, key=len)).lengths is None else dict(
            zip(longest.example_ids.tolist(), longest.lengths.tolist(), strict=True)
        )  # fmt: skip
        return cls(
            np.array(matrix.item_ids, dtype=np.str_),
            np.array(matrix.subsets, dtype=np.str_),
            tuple(outcomes[place].model for place in matrix.best_first.tolist()),
            earned == 1,
            np.isfinite(earned),
            len(matrix.strong) if len(outcomes) >= MIN_MODELS else 0,
            np.array([by_id[item] for item in matrix.item_ids]) if by_id else None,
            suspects,
        )

    @classmethod
    def of_examples(cls, examples: Iterable[Example]) -> Items:
        """Return the items of a benchmark without known outcomes."""
        pairs = [(example.id, example.subset) for example in examples]
        ids, subsets = np.array(pairs, dtype=np.str_).reshape(-1, 2).T
        nothing = np.zeros((0, len(pairs)), dtype=bool)
        return cls(ids, subsets, (), nothing, nothing)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def wrong(self) -> Flags:
        """(models, items): scored, but not with full credit."""
        return self.scored & ~self.right

    @cached_property
    def share_wrong(self) -> Floats:
        """Share of the models that are wrong, of those that scored the item; NaN without any."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.wrong.sum(axis=0) / self.scored.sum(axis=0))

    @cached_property
    def is_suspect(self) -> Flags:
        return np.array([item in self.suspects for item in self.ids.tolist()], dtype=bool)

    def missed_by_all(self, num_models: int) -> Flags:
        """Return the items that none of the first `num_models` models is right on, and at least one is wrong on."""
        return np.asarray(self.wrong[:num_models].any(axis=0) & ~self.right[:num_models].any(axis=0))

    def hardest_first(self, members: Flags) -> list[int]:
        """Return the places of these items, those that most models are wrong on first."""
        places = np.flatnonzero(members)
        order = np.argsort(-np.nan_to_num(self.share_wrong[places]), kind="stable")
        return [int(place) for place in places[order]]


def difficulty(items: Items, members: Flags) -> list[int]:
    """Return the numbers of these items by the share of models that are wrong, in `BINS` bins of equal width.

    A bin includes its lower end, and the last one both; items that no model scored are left out.
    """
    shares = items.share_wrong[members]
    shares = shares[np.isfinite(shares)]
    # rounded, because 0.7 x 10 is below 7 in floating point
    bins = np.minimum(np.floor(np.round(shares * BINS, 9)), BINS - 1).astype(np.int64)
    return [int(count) for count in np.bincount(bins, minlength=BINS)]


class ItemView(NamedTuple):
    """The input of filters: items, the rows of A and B, the parts that are about refusals, and text lengths.

    lengths: characters of prompt and completions by item; None where the texts are not known.
    """

    items: Items
    a: int | None
    b: int | None
    refusals: frozenset[str]
    lengths: Mapping[str, int] | None


class ItemFilter(NamedTuple):
    """A choice of items. num_models: how many models it is about, A or A and B."""

    label: str
    choose: Callable[[ItemView], Flags]
    num_models: int = 0


def _pair(right_a: bool, right_b: bool) -> Callable[[ItemView], Flags]:
    """Return the choice of the items that both scored, by whether A and B are right."""

    def choose(view: ItemView) -> Flags:
        items = view.items
        outcomes = [
            items.right[row] if is_right else items.wrong[row]
            for row, is_right in ((view.a, right_a), (view.b, right_b))
        ]
        return outcomes[0] & outcomes[1]

    return choose


def _longest(view: ItemView) -> Flags:
    lengths = np.array([(view.lengths or {}).get(item, 0) for item in view.items.ids.tolist()])
    known = lengths[lengths > 0]
    return lengths >= np.quantile(known, 1 - LONG_SHARE) if len(known) else np.zeros(len(lengths), dtype=bool)


def _by_length(sign: int) -> Callable[[ItemView], Flags]:
    def choose(view: ItemView) -> Flags:
        lengths = view.items.lengths
        return np.zeros(len(view.items), dtype=bool) if lengths is None else sign * np.nan_to_num(lengths) > 0

    return choose


FILTERS: Mapping[str, ItemFilter] = {
    "all": ItemFilter("All items", lambda view: np.ones(len(view.items), dtype=bool)),
    "wrong": ItemFilter("Wrong for A", lambda view: np.asarray(view.items.wrong[view.a]), 1),
    "only-b": ItemFilter("Wrong for A, right for B", _pair(False, True), 2),
    "only-a": ItemFilter("Right for A, wrong for B", _pair(True, False), 2),
    "both": ItemFilter("Right for both A and B", _pair(True, True), 2),
    "neither": ItemFilter("Wrong for both A and B", _pair(False, False), 2),
    "strong": ItemFilter(
        "All strong models disagree with the label", lambda view: view.items.missed_by_all(view.items.num_strong)
    ),
    "unsolved": ItemFilter("No model is right", lambda view: view.items.missed_by_all(len(view.items.models))),
    "suspect": ItemFilter("Label probably wrong", lambda view: view.items.is_suspect),
    "longer": ItemFilter("The better answer is longer", _by_length(1)),
    "shorter": ItemFilter("The better answer is shorter", _by_length(-1)),
    "long": ItemFilter("The longest tenth by text", _longest),
    "refusals": ItemFilter("Refusals", lambda view: np.isin(view.items.subsets, list(view.refusals))),
}


def offered_filters(view: ItemView) -> list[str]:
    """Return the names of the filters that make sense for these items."""
    items = view.items
    needs = {
        "wrong": bool(items.models),
        **dict.fromkeys(("only-b", "only-a", "both", "neither"), len(items.models) > 1),
        "strong": items.num_strong > 0,
        "unsolved": bool(items.models),
        "suspect": bool(items.suspects),
        **dict.fromkeys(("longer", "shorter"), items.lengths is not None),
        "long": view.lengths is not None,
        "refusals": bool(view.refusals),
    }
    return [name for name in FILTERS if needs.get(name, True)]


def text_length(example: Example) -> int:
    """Return the number of characters of a prompt and its completions."""
    return sum(len(message_text(message)) for message in example.prompt) + sum(map(len, example.completions))
