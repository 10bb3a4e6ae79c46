"""The best completion of each prompt, and what picking it is worth where it is known which completions are correct."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from rb_core.benchmarks.example import prompt_digest
from rb_core.benchmarks.messages import parsed_text
from rb_core.benchmarks.prompt_rows import PromptRow
from rb_core.errors import DataError
from rb_core.evaluation.prompt_windows import completion_as_text, own_columns
from rb_core.evaluation.score_writers import ColumnTypes, OutputRows
from rb_core.evaluation.scored_prompts import ScoredPrompt
from rb_core.stats.best_of import CurvePoint, LabelledScores, best_of_curve

BEST_TYPES: ColumnTypes = {
    "row": pa.int64(),
    "completion": pa.string(),
    "completion_index": pa.int64(),
    "score": pa.float64(),
    "margin": pa.float64(),
    "num_completions": pa.int64(),
    "num_unscored": pa.int64(),
    "tied": pa.list_(pa.string()),
    "reason": pa.string(),
}

_CURVES = ("best_of", "random", "oracle")
CURVE_TYPES: ColumnTypes = {
    "k": pa.int64(),
    "prompts": pa.int64(),
    **{f"{name}{end}": pa.float64() for name in _CURVES for end in ("", "_low", "_high")},
    "best_of_floor": pa.float64(),
    "best_of_ceiling": pa.float64(),
}


class Candidate(NamedTuple):
    """One completion of a prompt, with the row that it is from and its place in that row."""

    source: ScoredPrompt
    place: int

    @property
    def completion(self) -> str:
        return self.source.completions[self.place]

    @property
    def score(self) -> float:
        return self.source.scores[self.place].value


def candidates_by_prompt(scored_prompts: Iterable[ScoredPrompt]) -> Iterator[list[Candidate]]:
    """Yield the completions of each prompt, of consecutive rows with the same prompt together."""
    for _, sources in groupby(scored_prompts, key=lambda scored: scored.prompt):
        yield [Candidate(source, index) for source in sources for index in range(len(source.completions))]


@dataclass
class BestOfTally:
    """Counts of a run of best-of-N, and the labels of its curve.

    correct: the column that says which completions are correct, "" without one; unlabelled: prompts that it leaves out
    because a completion has no label.
    """

    correct: str = ""
    prompts: int = 0
    tied: int = 0
    with_unscored: int = 0
    without_score: int = 0
    unlabelled: int = 0
    _labelled: list[LabelledScores] = field(default_factory=list)
    _groups: list[str] = field(default_factory=list)

    def add_labels(self, candidates: list[Candidate]) -> None:
        labels: list[float | None] = []
        for source in (candidate.source for candidate in candidates if candidate.place == 0):
            try:
                labels += _labels(source.row, self.correct, len(source.completions))
            except DataError as error:
                raise DataError(f"row {source.row_number}: {error}") from None
        if any(label is None for label in labels):
            self.unlabelled += 1
            return
        scores = np.array([candidate.score for candidate in candidates])
        self._labelled.append(LabelledScores(scores, np.array(labels, dtype=np.float64)))
        self._groups.append(prompt_digest(candidates[0].source.prompt))

    def curve(self) -> list[CurvePoint]:
        """Return best-of-k beside random choice and the labels' own choice; rows of one prompt are one group."""
        return best_of_curve(self._labelled, np.array(self._groups, dtype=np.str_))


def best_rows(scored_prompts: Iterable[ScoredPrompt], tally: BestOfTally) -> OutputRows:
    """Yield the row of each prompt's best completion, with its margin over the next one.

    Of completions with equal scores the first is taken, and `tied` holds the texts of the others. Unscored completions
    are never taken; `num_unscored` counts them, and `reason` is that of the first one.
    """
    for candidates in candidates_by_prompt(scored_prompts):
        tally.prompts += 1
        if tally.correct:
            tally.add_labels(candidates)
        scored = [candidate for candidate in candidates if not math.isnan(candidate.score)]
        unscored = [candidate for candidate in candidates if math.isnan(candidate.score)]
        ranked = sorted(scored, key=lambda candidate: -candidate.score)
        best = ranked[0] if ranked else candidates[0]
        tied = [candidate for candidate in ranked[1:] if candidate.score == best.score]
        tally.tied += bool(tied)
        tally.with_unscored += bool(unscored)
        tally.without_score += not ranked
        yield {
            **best.source.row,
            "row": best.source.row_number,
            "completion": completion_as_text(best.completion) if ranked else None,
            "completion_index": best.source.indices[best.place] if ranked else None,
            "score": best.score if ranked else None,
            "margin": best.score - ranked[1].score if len(ranked) > 1 else None,
            "num_completions": len(candidates),
            "num_unscored": len(unscored),
            "tied": [completion_as_text(candidate.completion) for candidate in tied],
            "reason": unscored[0].source.scores[unscored[0].place].reason if unscored else None,
        }


def curve_rows(curve: Iterable[CurvePoint]) -> list[dict[str, Any]]:
    """Return the curve as rows of a table: shares from 0 to 1 with 95% intervals."""
    rows = []
    for point in curve:
        row: dict[str, Any] = {"k": point.k, "prompts": point.prompts}
        for name in _CURVES:
            estimate = getattr(point, name)
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        rows.append(row | {"best_of_floor": point.best_of.floor, "best_of_ceiling": point.best_of.ceiling})
    return rows


def check_labels(row: PromptRow, column: str) -> None:
    """Raise DataError unless a row of the input has a label for each of its completions in this column."""
    own, count = own_columns(row), len(row.completions)
    if count > 1 and not isinstance(parsed_text(own.get(column, [])), list):
        raise DataError(f"--correct {column}: one label for {count} completions; expected a list with one for each")
    _labels(own, column, count)


def _labels(row: Mapping[str, Any], column: str, num_completions: int) -> list[float | None]:
    """Return from 0 to 1 how correct each completion of a row is; None without a label.

    One label is that of all completions: where a table of scores has it in each of their rows. Raises DataError for a
    column that is missing, or has another number of labels than there are completions.
    """
    if column not in row:
        raise DataError(f"--correct {column}: no such column; the row has {', '.join(row) or 'no other columns'}")
    value = parsed_text(row[column])
    values = value if isinstance(value, list) else [value] * num_completions
    if len(values) != num_completions:
        raise DataError(f"--correct {column}: {len(values)} labels for {num_completions} completions")
    return [_label(each, column) for each in values]


def _label(value: Any, column: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        label = float({"true": 1, "false": 0}.get(str(value).lower(), value))
    except (TypeError, ValueError):
        label = math.nan
    if not 0 <= label <= 1:
        raise DataError(f"--correct {column}: {value!r} is no label; expected true or false, or a number from 0 to 1")
    return label
