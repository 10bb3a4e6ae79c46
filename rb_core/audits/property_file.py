"""The user's own audit: a small YAML file with a question, and pairs by group in it or in a file beside it.

Fields: name, title, question, effect ("accuracy" or "shift"), pairs or data, and optionally meaning, sources, columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from rb_core.audits.model_audit import ORIGINAL, AuditItem, ModelAudit, Planted
from rb_core.audits.pairs import (
    accuracy_contrasts,
    accuracy_effects,
    item_pairs,
    shift_effects,
    simulate_pairs,
    simulate_shifts,
)
from rb_core.audits.report import AuditName, Text
from rb_core.benchmarks.card import read_yaml
from rb_core.benchmarks.example import prompt_digest
from rb_core.benchmarks.files import read_rows
from rb_core.benchmarks.layouts.base import read_conversation
from rb_core.benchmarks.layouts.pairs import read_standard
from rb_core.benchmarks.layouts.reading import prepare_row
from rb_core.benchmarks.row_location import Row, RowError, RowLocation, RowProblems
from rb_core.benchmarks.rows import read_name, read_text
from rb_core.results.effect import Effect
from rb_core.results.estimate import Record
from rb_core.stats.item_outcomes import Floats

_METHODS = {
    "accuracy": "Share of the pairs of a group in which the chosen completion scores above the rejected one; a tie "
    "counts one half. Each group is compared with all others; p values are adjusted by Holm (1979) over "
    "all tests of the audit.",
    "shift": "Mean over the pairs of a group of (score of the changed completion - score of the original one), in "
    "standard deviations of the original scores; Student's t test, p values adjusted by Holm (1979) over all "
    "tests of the audit.",
}
_MEANINGS = {
    "accuracy": "A group is marked where the model is right more or less often than in the other groups.",
    "shift": "A group is marked where the change alone raises or lowers the score.",
}


class Property(Record):
    """The fields of the file. data: a file beside it; pairs: instead, its rows; columns: field -> column.

    A row has `group`, `prompt`, and for accuracy `chosen` and `rejected`, for a shift `original` and `changed`, with
    `changed_prompt` where the prompt changes, too. `unit` joins rows that are not independent; by default those with
    the same prompt.
    """

    name: AuditName
    title: Annotated[str, Field(max_length=100)] = ""
    question: Text
    effect: Literal["accuracy", "shift"] = "accuracy"
    data: Text = ""
    pairs: list[dict[str, Any]] = []
    columns: dict[str, str] = {}
    meaning: Text = ""
    sources: list[Text] = []

    @model_validator(mode="after")
    def _check(self) -> Property:
        if bool(self.data) == bool(self.pairs):
            raise ValueError("pairs: give the file either pairs, a list of rows, or data, the name of a file")
        if Path(self.data).is_absolute() or ".." in Path(self.data).parts:
            raise ValueError("data: name a file beside this one or below it")
        return self


class PropertyAudit(ModelAudit):
    """An audit that a file defines. folder: of the file; None for one that is known from a result only."""

    kind: ClassVar[str] = "property"

    def __init__(self, definition: Property, folder: Path | None = None) -> None:
        self._definition = definition
        self._folder = folder
        self.title = definition.title or definition.name
        self.question = definition.question
        self.meaning = definition.meaning or _MEANINGS[definition.effect]
        self.method = _METHODS[definition.effect]
        self.sources = tuple(definition.sources)

    @property
    def name(self) -> str:
        return self._definition.name

    @property
    def settings(self) -> dict[str, Any]:
        """The definition without the rows."""
        without_rows = self._definition.model_dump(mode="json", exclude={"pairs", "columns"})
        return without_rows | {"data": self._definition.data or "pairs"}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> PropertyAudit:
        return cls(Property.model_validate(settings))

    @cached_property
    def _items(self) -> tuple[AuditItem, ...]:
        read = _read_pair if self._definition.effect == "accuracy" else _read_change
        items: list[AuditItem] = []
        problems = RowProblems()
        for row, location in self._rows():
            with problems.collected(location):
                if isinstance(row, RowError):
                    raise row
                fields = prepare_row(row, location, self._definition.columns)
                items += read(fields, location)
        problems.raise_any()
        return tuple(items)

    def _rows(self) -> Iterator[tuple[Row | RowError, RowLocation]]:
        if self._definition.pairs:
            for number, row in enumerate(self._definition.pairs, 1):
                yield row, RowLocation(self.name, number, self.name)
        elif self._folder is not None:
            yield from read_rows(self._folder / self._definition.data)

    def items(self) -> Sequence[AuditItem]:
        return self._items

    def effects(self, scores: pd.DataFrame) -> list[Effect]:
        if self._definition.effect == "shift":
            return shift_effects(scores)
        pairs = item_pairs(scores)
        return [*accuracy_contrasts(pairs), *accuracy_effects(pairs)]

    def simulate(self, scores: pd.DataFrame, rng: np.random.Generator, planted: Planted | None = None) -> Floats | None:
        if self._definition.effect == "shift":
            return simulate_shifts(scores, rng, planted)
        return simulate_pairs(scores, rng, planted)


def read_property(path: Path) -> PropertyAudit:
    """Return the audit that a file defines. Raises DataError, naming file and field, for any other file."""
    return PropertyAudit(read_yaml(path, Property, "effect: shift"), path.parent)


def _read_pair(row: Row, location: RowLocation) -> Iterator[AuditItem]:
    """Read a row with a chosen and a rejected completion, or several of each."""
    example = read_standard({name: value for name, value in row.items() if name != "group"}, location)
    labels = ["chosen"] * example.num_chosen + ["rejected"] * (len(example.completions) - example.num_chosen)
    yield AuditItem(
        id=example.id,
        unit=read_name(row, "unit", location) if "unit" in row else example.group,
        group=read_name(row, "group", location),
        prompt=example.prompt,
        completions=example.completions,
        labels=tuple(labels),
    )


def _read_change(row: Row, location: RowLocation) -> Iterator[AuditItem]:
    """Read a row with an original and a changed completion: an item for each, so that their prompts may differ."""
    group, base = read_name(row, "group", location), location.default_id
    prompt = read_conversation(row, "prompt", location)
    unit = read_name(row, "unit", location) if "unit" in row else prompt_digest(prompt)
    changed_prompt = read_conversation(row, "changed_prompt", location) if row.get("changed_prompt") else prompt
    for variant, prompt_of_variant in ((ORIGINAL, prompt), ("changed", changed_prompt)):
        answer = read_text(row, variant, location)
        yield AuditItem(
            f"{base}-{variant}", unit, group, prompt_of_variant, (answer,), ("answer",), variant=variant, base=base
        )
