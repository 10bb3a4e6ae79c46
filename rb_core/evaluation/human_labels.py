"""Join scores with labels that people gave, by the ids of the items."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rb_core.benchmarks.files import read_rows
from rb_core.benchmarks.layouts.base import read_number
from rb_core.benchmarks.layouts.comparisons import TIE_LABELS, label_word
from rb_core.benchmarks.row_location import Row, RowError, RowLocation, required_field
from rb_core.errors import DataError, as_text, quoted
from rb_core.evaluation.scored_prompts import SCORE_COLUMNS
from rb_core.stats.label_agreement import (
    LabelAgreement,
    LabelKind,
    compare_choices,
    compare_good,
    compare_ratings,
    letter_of,
)

ID_COLUMNS = ("id", "example_id", "row", "item", "prompt_id", "uid")
LABEL_COLUMNS = (
    "label", "human_label", "human", "rating", "preference", "preferred", "choice", "winner", "verdict", "gold",
)  # fmt: skip
_GROUP_COLUMNS = ("group", "prompt")
_GOOD = frozenset({"good", "yes", "y", "true", "1", "correct", "right", "accept", "accepted", "pass", "chosen"})
_BAD = frozenset({"bad", "no", "n", "false", "0", "-1", "incorrect", "wrong", "reject", "rejected", "fail"})
_ANSWER_WORD = re.compile(r"(completion|response|answer|output|model|assistant)[ _]?")


class ColumnNames(NamedTuple):
    """Names of the columns to join by; id and label: empty for the first known one that a file has."""

    id: str = ""
    label: str = ""
    score: str = "score"


DEFAULT_COLUMNS = ColumnNames()


class LabelRow(NamedTuple):
    """A row of the labels. completion: index of the completion that is labelled, None for a label of the whole item."""

    item: str
    completion: int | None
    label: Any
    row: Row
    location: RowLocation


class ScoreRow(NamedTuple):
    """A completion's score, NaN where unscored, and its row in the score file."""

    score: float
    row: Row


@dataclass(frozen=True)
class ScoredItem:
    """The scored completions of an item by their index. Items of one group are not independent."""

    group: str
    completions: dict[int, ScoreRow]

    def only(self, index: int | None) -> ScoredItem | None:
        """Return the item with one of its completions, None without that; the item itself without an index."""
        if index is None:
            return self
        return ScoredItem(self.group, {index: self.completions[index]}) if index in self.completions else None


class Labelled(NamedTuple):
    """A label beside what it is a label of. value: position of the preferred completion, 0 (bad) or 1 (good), or the
    rating."""

    row: LabelRow
    item: ScoredItem
    value: float


@dataclass(frozen=True, eq=False)
class LabelledItems:
    """The labels that have a score, and the numbers of what is left out.

    empty: rows without a label; ties: labels that prefer none; without_score: labels of items that the score file
    lacks; without_label: completions in the score file without a label, for choices items.
    """

    kind: LabelKind
    labelled: Sequence[Labelled]
    empty: int
    ties: int
    without_score: int
    without_label: int

    def compare(self, threshold: float | None = None, precision: float | None = None) -> LabelAgreement:
        """Return the agreement; threshold and precision as for `compare_good` and `compare_choices`.

        Raises DataError for an option that does not apply to this kind of label.
        """
        if threshold is not None and self.kind != "good or bad":
            raise DataError(f"--threshold applies to labels good and bad (these are of the kind {self.kind})")
        if precision is not None and self.kind == "rating":
            raise DataError("--precision applies to labels good and bad, and to choices (these are ratings)")
        groups = np.array([item.group for _, item, _ in self.labelled], dtype=np.str_)
        values = np.array([value for _, _, value in self.labelled])
        scores = [np.array([each.score for each in item.completions.values()]) for _, item, _ in self.labelled]
        if self.kind == "choice":
            return compare_choices(scores, values.astype(np.int64), groups, precision)
        if self.kind == "good or bad":
            return compare_good(np.concatenate(scores), values == 1, groups, threshold, precision)
        return compare_ratings(np.concatenate(scores), values, groups)


def read_labelled_items(scores: Path, labels: Path, columns: ColumnNames = DEFAULT_COLUMNS) -> LabelledItems:
    """Join a file of scores with a file of labels.

    Labels of single completions, or of items with one completion, are good or bad, or ratings; a label of an item with
    several completions says which one is preferred. Raises DataError for files that cannot be joined and for labels
    that are not understood.
    """
    rows, empty, id_column = _read_labels(labels, columns)
    items, num_items, num_completions = _read_scores(scores, columns, id_column, {row.item for row in rows})
    matched = [(row, item) for row in rows if row.item in items and (item := items[row.item].only(row.completion))]
    if not matched:
        raise DataError(
            f"{as_text(labels.name)}: {as_text(scores.name)} has a score for none of its {len(rows):,} labels; "
            "name the column with the ids, --id COLUMN"
        )
    is_choice = any(row.completion is None and len(item.completions) > 1 for row, item in matched)
    kind, values = _choices(matched) if is_choice else _grades([row for row, _ in matched])
    labelled = [
        Labelled(row, item, value) for (row, item), value in zip(matched, values, strict=True) if value is not None
    ]
    if not labelled:
        raise DataError(f"{as_text(labels.name)}: every label is a tie")
    num_labelled = len({(row.item, *([] if is_choice else item.completions)) for row, item in matched})
    return LabelledItems(
        kind=kind,
        labelled=labelled,
        empty=empty,
        ties=len(matched) - len(labelled),
        without_score=len(rows) - len(matched),
        without_label=(num_items if is_choice else num_completions) - num_labelled,
    )


def label_disagreements(items: LabelledItems, agreement: LabelAgreement) -> list[dict[str, Any]]:
    """Return a row for each disagreement, the largest first, with the columns of both files."""
    rows = []
    for index in agreement.disagreements:
        label_row, item, _ = items.labelled[index]
        completions = list(item.completions.values())
        own = completions[0].row
        if len(completions) > 1:
            own = {name: value for name, value in own.items() if name not in SCORE_COLUMNS}
        added = {
            "item": label_row.item,
            "label": str(label_row.label),
            "prediction": str(agreement.predictions[index]),
            "distance": float(agreement.distance[index]),
            "scores": [completion.score for completion in completions],
            "completions": [completion.row.get("completion") for completion in completions],
        }
        rows.append({**own, **label_row.row, **added})
    return rows


# ---- files


def _read_labels(path: Path, columns: ColumnNames) -> tuple[list[LabelRow], int, str]:
    """Return the labels, the number of rows without one, and the column with the ids."""
    rows, empty, id_column = [], 0, ""
    for row, location in read_rows(path):
        if isinstance(row, RowError):
            raise row
        id_column = id_column or _column(row, columns.id, ID_COLUMNS, "id", location)
        label_column = _column(row, columns.label, LABEL_COLUMNS, "label", location)
        label = row[label_column]
        if label is None or not str(label).strip():
            empty += 1
        else:
            rows.append(LabelRow(_item_id(row, id_column, location), _completion_index(row), label, row, location))
    if not rows:
        raise DataError(f"{as_text(path.name)}: has no labels")
    return rows, empty, id_column


def _read_scores(
    path: Path, columns: ColumnNames, id_column: str, wanted: Set[str]
) -> tuple[dict[str, ScoredItem], int, int]:
    """Return the wanted items, and how many items and completions the file has."""
    items: dict[str, ScoredItem] = {}
    counts: Counter[str] = Counter()
    for row, location in read_rows(path):
        if isinstance(row, RowError):
            raise row
        item = _item_id(row, _column(row, "", (id_column, *ID_COLUMNS), "id", location), location)
        if item in wanted:
            group = next((str(row[name]) for name in _GROUP_COLUMNS if row.get(name) is not None), item)
            completions = items.setdefault(item, ScoredItem(group, {})).completions
            index = _completion_index(row)
            index = counts[item] if index is None else index
            if index in completions:
                raise RowError(location, f"completion {index} of item {quoted(item)} has two scores")
            completions[index] = ScoreRow(_score(row, columns.score, location), row)
        counts[item] += 1
    ordered = {name: ScoredItem(item.group, dict(sorted(item.completions.items()))) for name, item in items.items()}
    return ordered, len(counts), counts.total()


def _column(row: Row, name: str, known: Sequence[str], option: str, location: RowLocation) -> str:
    """Return the column of that name, or without one the first known column that the row has."""
    if name and name not in row:
        raise RowError(location, f"has no column {name!r}; it has {', '.join(row)}")
    column = name or next((column for column in known if column in row), "")
    if not column:
        raise RowError(location, f"has no column with the {option}: pass --{option} COLUMN; it has {', '.join(row)}")
    return column


def _item_id(row: Row, column: str, location: RowLocation) -> str:
    value = required_field(row, column, location)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _completion_index(row: Row) -> int | None:
    """Return the number of the completion from the columns of `score` or `evaluate`; None without them."""
    index, completion = row.get("completion_index"), row.get("completion")
    if isinstance(index, int | float | str) and re.fullmatch(r"\d+(\.0)?", str(index)):
        return int(float(index))
    return completion if isinstance(completion, int) else None


def _score(row: Row, column: str, location: RowLocation) -> float:
    if column not in row:
        raise RowError(location, f"has no column {column!r}: pass --score COLUMN; it has {', '.join(row)}")
    return math.nan if row[column] in (None, "") else read_number(row[column], column, location)


# ---- labels


def _choices(matched: Sequence[tuple[LabelRow, ScoredItem]]) -> tuple[LabelKind, list[int | None]]:
    """Return "choice" and the position of each preferred completion, None for a tie; numbers count from 0 or from 1."""
    words = [_ANSWER_WORD.sub("", label_word(row.label)) for row, _ in matched]
    numbers = {int(word) for word in words if word.isdecimal()}
    most = max(len(item.completions) for _, item in matched)
    if numbers and 0 not in numbers and max(numbers) < most:
        raise DataError(
            f"{matched[0][0].location.source}: the labels {', '.join(map(str, sorted(numbers)))} may count completions "
            "from 0 or from 1; write letters (A, B, ...)"
        )
    first = 0 if 0 in numbers else 1
    positions: list[int | None] = []
    for word, (row, item) in zip(words, matched, strict=True):
        if len(item.completions) < 2:
            raise RowError(row.location, f"item {quoted(row.item)} has one completion: there is nothing to prefer")
        if word in TIE_LABELS:
            positions.append(None)
            continue
        position = int(word) - first if word.isdecimal() else ord(word) - ord("a") if len(word) == 1 else -1
        if not 0 <= position < len(item.completions):
            raise RowError(
                row.location,
                f"the label {quoted(str(row.label))} names none of the {len(item.completions)} completions of item "
                f"{quoted(row.item)}; expected A to {letter_of(len(item.completions) - 1)}, a number, or tie",
            )
        positions.append(position)
    return "choice", positions


def _grades(rows: Sequence[LabelRow]) -> tuple[LabelKind, list[float | None]]:
    """Return "good or bad" with 0 and 1, or "rating" with the ratings."""
    words = [label_word(row.label) for row in rows]
    if set(words) <= _GOOD | _BAD and not {"0", "-1"} <= set(words):
        return "good or bad", [float(word in _GOOD) for word in words]
    ratings: list[float | None] = []
    for row in rows:
        try:
            ratings.append(read_number(row.label, "label", row.location))
        except DataError:
            raise RowError(
                row.location,
                f"the label {quoted(str(row.label))} is not understood; expected good and bad (or yes and no, 1 and 0, "
                "correct and wrong), or ratings",
            ) from None
    return "rating", ratings
