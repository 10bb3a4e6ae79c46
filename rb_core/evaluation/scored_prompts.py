"""Prompts with scored completions: what `score` writes, and what best-of-N and preference filtering start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from rb_core.benchmarks.example import Conversation, prompt_digest
from rb_core.benchmarks.files import read_rows
from rb_core.benchmarks.layouts.base import read_number
from rb_core.benchmarks.prompt_rows import read_prompt_row
from rb_core.benchmarks.row_location import Row, RowError, RowLocation, required_field
from rb_core.errors import DataError, as_text
from rb_core.results.score_table import Score

# The columns that `score` adds to a row's own, one output row per completion.
ROW, COMPLETION, COMPLETION_INDEX = "row", "completion", "completion_index"
SCORE_COLUMNS = (ROW, COMPLETION, COMPLETION_INDEX, "score", "percentile", "num_tokens", "truncated", "reason")


@dataclass(frozen=True)
class ScoredPrompt:
    """A prompt with its completions and their scores, in the order of the input.

    row: the input's own columns without its completions; of a prompt that was read back from several rows
    (`read_scored_prompts`), a column in which they differ holds the list of their values, one per completion.
    row_number: of the row in the input, from 1; indices: numbers of the completions in that row, from 0.
    """

    row: Mapping[str, Any]
    row_number: int
    prompt: Conversation
    completions: tuple[str, ...]
    scores: tuple[Score, ...]
    indices: tuple[int, ...]


# What is done with scored prompts; they arrive in input order, and are not held in memory together.
PromptWriter = Callable[[Iterator[ScoredPrompt]], None]


def _joined(members: list[ScoredPrompt]) -> ScoredPrompt:
    """Return the completions of one row together, each a scored prompt, in the order of that row."""
    members = sorted(members, key=lambda member: member.indices)
    first = members[0]
    if len(members) == 1:
        return first
    row: dict[str, Any] = {}
    for name in dict.fromkeys(name for member in members for name in member.row):
        values = [member.row.get(name) for member in members for _ in member.completions]
        row[name] = values if any(value != values[0] for value in values) else values[0]
    completions = tuple(text for member in members for text in member.completions)
    scores = tuple(score for member in members for score in member.scores)
    indices = tuple(index for member in members for index in member.indices)
    if (repeated := next((index for index, after in pairwise(indices) if index == after), None)) is not None:
        raise DataError(f"row {first.row_number}: completion {repeated} is there twice; keep one of them")
    return ScoredPrompt(row, first.row_number, first.prompt, completions, scores, indices)


def is_scored(row: Row) -> bool:
    """Return True for a row that `score` wrote."""
    return set(SCORE_COLUMNS) <= row.keys()


def read_scored_prompts(path: Path) -> Iterator[ScoredPrompt]:
    """Yield the prompts of a file that `score` wrote, with the completions of one input row together.

    Raises DataError for any other file, and for one in which the completions of a row are apart.
    """
    by_completion = (_read_scored_row(row, location) for row, location in read_rows(path))
    earlier: set[int] = set()  # hashes, which take less memory than prompts
    for (number, prompt), group in groupby(by_completion, key=lambda scored: (scored.row_number, scored.prompt)):
        place = hash((number, prompt_digest(prompt)))
        if place in earlier:
            raise DataError(f"{as_text(path.name)}: the completions of row {number} are apart; sort the file by {ROW}")
        earlier.add(place)
        yield _joined(list(group))


def _read_scored_row(row: Row | RowError, location: RowLocation) -> ScoredPrompt:
    """Return the scored prompt of a row, which has one completion."""
    read = read_prompt_row(row, location)
    if not is_scored(read.row):
        missing = ", ".join(name for name in SCORE_COLUMNS if name not in read.row)
        raise RowError(location, f"was not written by `score`: it lacks {missing}; give a model with --model")
    own_columns = {name: value for name, value in read.row.items() if name not in SCORE_COLUMNS}
    number = int(_number(read.row, ROW, location))
    scores, index = (_read_score(read.row, location),), int(_number(read.row, COMPLETION_INDEX, location))
    return ScoredPrompt(own_columns, number, read.prompt, read.completions, scores, (index,))


def _read_score(row: Row, location: RowLocation) -> Score:
    num_tokens = int(_number(row, "num_tokens", location))
    truncated = str(row["truncated"]).lower() == "true"
    if row["score"] in (None, ""):  # a CSV file has no null
        return Score.unscored(str(row["reason"] or "unscored"), num_tokens, truncated)
    return Score(_number(row, "score", location), num_tokens, truncated)


def _number(row: Row, field: str, location: RowLocation) -> float:
    return read_number(required_field(row, field, location), field, location)
