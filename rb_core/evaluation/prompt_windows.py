"""Windows: parts of an input that are planned and scored by themselves, so that memory does not grow with it.

A window holds some thousand completions, enough to fill batches. Consecutive rows with equal prompts are in one window
and make one completion set, so that their tokens are shared.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, groupby, islice
from typing import Any, NamedTuple, TypeVar

from rb_core.benchmarks.example import AssistantTurn, CompletionSet, shuffled_order
from rb_core.benchmarks.prompt_rows import PromptRow, read_prompt_row
from rb_core.benchmarks.row_location import Row
from rb_core.errors import DataError, ModelError
from rb_core.evaluation.scored_prompts import SCORE_COLUMNS, ScoredPrompt, is_scored
from rb_core.results.score_table import Score
from rb_core.scorers.base import Cell, Plan, Scorer, scores_by_cell

T = TypeVar("T")
log = logging.getLogger(__name__)

# A window ends with the group that reaches one of these. An unfinished run goes on only with the same values.
WINDOW_COMPLETIONS = 4096
WINDOW_CHARACTERS = 2**23


class BlindedSet(NamedTuple):
    """A completion set, and for each of its completions the index in the order of the input."""

    completion_set: CompletionSet
    order: list[int]


class Window(NamedTuple):
    """Consecutive rows of the input. first_row: number of the first, from 1; groups: rows with equal prompts."""

    first_row: int
    groups: tuple[tuple[PromptRow, ...], ...]

    @property
    def num_completions(self) -> int:
        return sum(len(row.completions) for group in self.groups for row in group)

    def blinded(self, seed: int) -> list[BlindedSet]:
        """Return a completion set per group, its completions in an order that (seed, number of its first row) fixes.

        The order in a file may say which completions are better: in a preference file the chosen ones come first.
        """
        blinded, number = [], self.first_row
        for group in self.groups:
            completions = [text for row in group for text in row.completions]
            order = shuffled_order(len(completions), f"{seed}:{number}")
            shown = tuple(completions[index] for index in order)
            blinded.append(BlindedSet(CompletionSet(group[0].prompt, shown), order))
            number += len(group)
        return blinded

    def scored_prompts(self, scores: Sequence[Score]) -> Iterator[ScoredPrompt]:
        """Yield each row with its scores. scores: of all completions, in the order of the input."""
        first = 0
        for number, row in enumerate((row for group in self.groups for row in group), start=self.first_row):
            last = first + len(row.completions)
            indices, own_scores = tuple(range(len(row.completions))), tuple(scores[first:last])
            yield ScoredPrompt(own_columns(row), number, row.prompt, row.completions, own_scores, indices)
            first = last


def prompt_windows(rows: Iterable[PromptRow]) -> Iterator[Window]:
    """Divide rows into windows."""
    groups: list[tuple[PromptRow, ...]] = []
    first_row, completions, characters = 1, 0, 0
    for group in _groups(rows):
        groups.append(group)
        completions += sum(len(row.completions) for row in group)
        characters += sum(_num_characters(row) for row in group)
        if completions >= WINDOW_COMPLETIONS or characters >= WINDOW_CHARACTERS:
            yield Window(first_row, tuple(groups))
            first_row += sum(map(len, groups))
            groups, completions, characters = [], 0, 0
    if groups:
        yield Window(first_row, tuple(groups))


def _groups(rows: Iterable[PromptRow]) -> Iterator[tuple[PromptRow, ...]]:
    """Yield consecutive rows with equal prompts together, up to the size of a window."""
    for _, equal_prompts in groupby(rows, key=lambda row: row.prompt):
        group: list[PromptRow] = []
        size = characters = 0
        for row in equal_prompts:
            group.append(row)
            size += len(row.completions)
            characters += _num_characters(row)
            if size >= WINDOW_COMPLETIONS or characters >= WINDOW_CHARACTERS:
                yield tuple(group)
                group, size, characters = [], 0, 0
        if group:
            yield tuple(group)


def _num_characters(row: PromptRow) -> int:
    """Return the characters of all conversations of a row."""
    prompt = sum(len(message["content"]) for message in row.prompt)
    return sum(prompt + len(text) for text in row.completions)


class WindowPlan(NamedTuple):
    """The plan of a window. refused: why the scorer cannot read a completion set, by its index in `blinded`; the plan
    is of the others."""

    window: Window
    blinded: list[BlindedSet]
    plan: Plan
    refused: dict[int, str]

    def scores_in_order(self, scores: Iterable[Sequence[Score]]) -> list[Score]:
        """Return the scores of all completions in the order of the input, given those of the plan's batches."""
        by_cell = scores_by_cell(self.plan.batches, scores)
        planned = count()
        in_order = []
        for index, (_, order) in enumerate(self.blinded):
            if index in self.refused:
                in_order += [Score.unscored(self.refused[index])] * len(order)
                continue
            number, position = next(planned), {completion: shown for shown, completion in enumerate(order)}
            in_order += [by_cell[Cell(number, position[completion])] for completion in range(len(order))]
        return in_order


def plan_window(scorer: Scorer, window: Window, seed: int) -> WindowPlan:
    """Plan a window. One conversation that a model's template refuses must not end a run that has scored many."""
    blinded = window.blinded(seed)
    sets = [each.completion_set for each in blinded]
    try:
        return WindowPlan(window, blinded, scorer.plan(sets), {})
    except ModelError:
        refused = _refused(scorer, sets)
        if not refused:
            raise
    reason = next(iter(refused.values()))
    log.warning("%d prompts from row %d on are unscored: %s", len(refused), window.first_row, reason)
    readable = [completion_set for index, completion_set in enumerate(sets) if index not in refused]
    return WindowPlan(window, blinded, scorer.plan(readable), refused)


def _refused(scorer: Scorer, sets: Sequence[CompletionSet]) -> dict[int, str]:
    """Return why the scorer cannot plan a completion set, by the index of the set."""
    refused = {}
    for index, completion_set in enumerate(sets):
        try:
            scorer.plan([completion_set])
        except ModelError as error:
            refused[index] = str(error)
    return refused


def own_columns(row: PromptRow) -> dict[str, Any]:
    """Return a row without its completions, and without what an earlier `score` added to it.

    Where the prompt is in the same columns as the completions, or in one of another name, `prompt` is added, so that
    the output can be read by itself. Raises DataError where another column has a name that `score` writes.
    """
    own = {name: value for name, value in row.row.items() if name not in row.fields}
    if is_scored(row.row):
        own = {name: value for name, value in own.items() if name not in SCORE_COLUMNS}
    if clash := next((name for name in own if name in SCORE_COLUMNS), None):
        raise row.location.error(clash, "has the name of a column that `score` writes; rename it")
    return own if _holds_prompt(own, row) else own | {"prompt": list(row.prompt)}


def _holds_prompt(columns: Row, row: PromptRow) -> bool:
    """Return True if the prompt of a row can be read from these of its columns."""
    if len(row.prompt) == 1 and columns.get("prompt") == row.prompt[0]["content"]:
        return True
    try:
        return read_prompt_row({**columns, "completion": "-"}, row.location).prompt == row.prompt
    except DataError:
        return False


def completion_as_text(completion: str) -> str:
    """Return a completion as a table holds it: an assistant turn with calls or reasoning as its messages in JSON."""
    if isinstance(completion, AssistantTurn):
        return json.dumps(completion.messages, ensure_ascii=False)
    return completion


def in_parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of at most `size`."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
