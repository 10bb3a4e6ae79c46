"""Join scores with labels that people gave, by the ids of the items."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rb_core.benchmarks.files import read_rows
from rb_core.benchmarks.layouts.base import read_number
from rb_core.benchmarks.layouts.comparisons import TIE_LABELS, label_word
from rb_core.benchmarks.row_location import Row, RowError, RowLocation, required_field
from rb_core.errors import DataError, as_text, quoted
from rb_core.evaluation.scored_prompts import COMPLETION, COMPLETION_INDEX, ROW, SCORE_COLUMNS
from rb_core.stats.label_agreement import (
    LabelAgreement,
    LabelKind,
    compare_choices,
    compare_good,
    compare_ratings,
    letter_of,
)

ID_COLUMNS = ("row", "id", "example_id", "item", "prompt_id", "uid")
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
    """The scored completions of an item, in the order of rows and of completions in a row, by both numbers.

    Items of one group are not independent.
    """

    group: str
    completions: dict[tuple[int, int], ScoreRow]

    def only(self, index: int | None) -> ScoredItem:
        """Return the item with the completions of this index; the item itself without one."""
        if index is None:
            return self
        return ScoredItem(self.group, {place: row for place, row in self.completions.items() if place[1] == index})


class Labelled(NamedTuple):
    """A label beside what it is a label of. value: position of the preferred completion, 0 (bad) or 1 (good), or the
    rating."""

    row: LabelRow
    item: ScoredItem
    value: float


@dataclass(frozen=True, eq=False)
class LabelledItems:
    """The labels that have a score, and counts of the labels and scores that are left out.

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
    label_id, score_id = _id_columns(labels, scores, columns.id)
    rows, empty = _read_labels(labels, label_id, columns.label)
    items, num_items, num_completions = _read_scores(scores, score_id, columns.score, {row.item for row in rows})
    matched = list(_match(rows, items))
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


def _match(rows: Sequence[LabelRow], items: Mapping[str, ScoredItem]) -> Iterator[tuple[LabelRow, ScoredItem]]:
    """Yield each label that has a score with what it is a label of."""
    for row in rows:
        item = items[row.item].only(row.completion) if row.item in items else None
        if item is None or not item.completions:
            continue
        if row.completion is not None and len(item.completions) > 1:
            raise RowError(
                row.location,
                f"item {quoted(row.item)} has several completions {row.completion}: add the column {ROW}",
            )
        yield row, item


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


def _id_columns(labels: Path, scores: Path, name: str) -> tuple[str, str]:
    """Return the columns with the ids: the one that is named, a known one that both files have, or one in each."""
    (label_row, label_location), (score_row, score_location) = _first_row(labels), _first_row(scores)
    shared = [column for column in ID_COLUMNS if column in label_row and column in score_row]
    known = (*shared, *ID_COLUMNS)
    label_column = _column(label_row, name, known, "id", label_location)
    return label_column, _column(score_row, "", (label_column, *known), "id", score_location)


def _first_row(path: Path) -> tuple[Row, RowLocation]:
    row, location = next(read_rows(path), (None, None))
    if row is None or location is None:
        raise DataError(f"{as_text(path.name)}: has no rows")
    if isinstance(row, RowError):
        raise row
    return row, location


def _read_labels(path: Path, id_column: str, name: str) -> tuple[list[LabelRow], int]:
    """Return the labels, and the number of rows without one."""
    rows, empty = [], 0
    for row, location in read_rows(path):
        if isinstance(row, RowError):
            raise row
        label = row[_column(row, name, LABEL_COLUMNS, "label", location)]
        if label is None or not str(label).strip():
            empty += 1
        else:
            rows.append(LabelRow(_item_id(row, id_column, location), _completion_index(row), label, row, location))
    if not rows:
        raise DataError(f"{as_text(path.name)}: has no labels")
    return rows, empty


def _read_scores(
    path: Path, id_column: str, score_column: str, wanted: Set[str]
) -> tuple[dict[str, ScoredItem], int, int]:
    """Return the wanted items, and how many items and completions the file has."""
    items: dict[str, ScoredItem] = {}
    counts: Counter[str] = Counter()
    for row, location in read_rows(path):
        if isinstance(row, RowError):
            raise row
        item = _item_id(row, id_column, location)
        if item in wanted:
            group = next((str(row[name]) for name in _GROUP_COLUMNS if row.get(name) is not None), item)
            completions = items.setdefault(item, ScoredItem(group, {})).completions
            index = _completion_index(row)
            place = (_whole_number(row.get(ROW)) or 0, counts[item] if index is None else index)
            if place in completions:
                raise RowError(location, f"completion {place[1]} of item {quoted(item)} has two scores")
            completions[place] = ScoreRow(_score(row, score_column, location), row)
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
    completion = row.get(COMPLETION)
    index = _whole_number(row.get(COMPLETION_INDEX))
    return index if index is not None else completion if isinstance(completion, int) else None


def _whole_number(value: Any) -> int | None:
    """Return a number from 0, also in a text or as 2.0; None for anything else."""
    is_number = not isinstance(value, bool) and re.fullmatch(r"\d+(\.0+)?", str(value))
    return int(float(value)) if is_number else None


def _score(row: Row, column: str, location: RowLocation) -> float:
    if column not in row:
        raise RowError(location, f"has no column {column!r}: pass --score COLUMN; it has {', '.join(row)}")
    is_missing = row[column] is None or str(row[column]).strip().lower() in ("", "nan")
    return math.nan if is_missing else read_number(row[column], column, location)


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
