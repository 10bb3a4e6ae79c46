"""The definition of a layout, and the parts that readers of layouts are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rb_core.benchmarks.example import Conversation, Example, Message
from rb_core.benchmarks.messages import parsed_text, read_prompt_text, read_tools, split_tools, with_tools
from rb_core.benchmarks.row_location import NoPreference, Row, RowLocation, describe_value, required_field
from rb_core.benchmarks.rows import read_answers, read_name

_SYSTEM_FIELDS = ("system", "system_prompt")
_MEDIA_FIELDS = ("images", "image", "videos", "video", "audios", "audio")
CONTEXT_FIELDS = ("context", "input")  # may hold a part of the question; a prompt in --columns replaces them
ROWS = "rows"  # the field in which a grouped layout finds the rows that it joins


@dataclass(frozen=True)
class Layout:
    """A way in which datasets write preferences. A row has the first layout that recognises it.

    name: as the output shows it.
    fields: fields that a row must have.
    read: reads a row. Raises DataError for a malformed row, NoPreference for a row without one.
    also: a further condition on the row.
    group_by: rows with the same value of this field are read together: `read` gets {"rows": [row, ...]}.
    """

    name: str
    fields: tuple[str, ...]
    read: Callable[[Row, RowLocation], Example]
    also: Callable[[Row], bool] = lambda row: True
    group_by: str = ""

    def recognises(self, row: Row) -> bool:
        return all(row.get(field) is not None for field in self.fields) and self.also(row)


def make_example(
    row: Row,
    location: RowLocation,
    prompt: Conversation,
    chosen: Sequence[str],
    rejected: Sequence[str],
    *,
    subset: Any = None,
    authors: tuple[str, ...] = (),
) -> Example:
    """Return an example with the row's own id, subset and group, or their defaults.

    subset: used when the row has none; by default the file's name.
    """
    group = row.get("group")
    if isinstance(group, float) and group.is_integer():
        group = int(group)
    default_subset = subset if isinstance(subset, str) and subset else location.name
    return Example(
        id=location.default_id if row.get("id") is None else read_name(row, "id", location),
        subset=default_subset if row.get("subset") is None else read_name(row, "subset", location),
        group="" if group is None else str(group),
        prompt=prompt,
        completions=(*chosen, *rejected),
        num_chosen=len(chosen),
        authors=authors,
    )


def read_context(row: Row, location: RowLocation, prompt: Conversation) -> Conversation:
    """Return the prompt with the row's system prompt, earlier turns and tools in front of it, unless it has them.

    Raises DataError for images and the like, which no model here can read.
    """
    for field in _MEDIA_FIELDS:
        if row.get(field):
            raise location.error(field, "is not empty; only text can be scored")
    system = next((row[field] for field in _SYSTEM_FIELDS if row.get(field)), "")
    if not isinstance(system, str):
        raise location.error("system", f"is {describe_value(system)}; expected text")
    history = _read_history(row, location)
    turns = [message for message in prompt if message["role"] != "system"]
    messages = list(prompt) if turns[: len(history)] == history else [*history, *prompt]
    if system.strip() and Message(role="system", content=system) not in messages:
        messages.insert(0, Message(role="system", content=system))
    conversation, tools_in_messages = split_tools(tuple(messages))
    tools = read_tools(row.get("tools") or tools_in_messages, location, "tools")
    if tools_in_messages not in ([], tools):
        raise location.error("tools", "are others than those in a message of the prompt")
    return with_tools(conversation, tools)


def _read_history(row: Row, location: RowLocation) -> list[Message]:
    """Read `history`: pairs of a user message and the assistant's answer."""
    history = parsed_text(row.get("history") or [])
    turns: list[Message] = []
    for pair in history if isinstance(history, list) else [history]:
        match pair:
            case [str(question), str(answer)]:
                turns += [Message(role="user", content=question), Message(role="assistant", content=answer)]
            case _:
                raise location.error("history", "is not a list of pairs of a question and its answer")
    return turns


def read_conversation(row: Row, field: str, location: RowLocation) -> Conversation:
    """Read a field that holds a prompt: text, a transcript or messages; with the row's context in front of it."""
    prompt = read_prompt_text(required_field(row, field, location), location, field)
    return read_context({name: value for name, value in row.items() if name != field}, location, prompt)


def read_answer(row: Row, field: str, location: RowLocation) -> str:
    """Read a field that holds one completion."""
    answers = read_answers(required_field(row, field, location), location, field)
    if len(answers) != 1 or answers[0].history:
        raise location.error(field, "holds more than one answer")
    return answers[0].text


def read_ranked(
    row: Row,
    location: RowLocation,
    prompt: Conversation,
    answers: Sequence[str],
    merits: Sequence[Any],
    field: str,
    *,
    lowest_first: bool = False,
    subset: Any = None,
    authors: Sequence[str] = (),
) -> Example:
    """Return an example whose chosen completions are those with the highest merit, and rejected all others.

    merits: one number per answer; lowest_first: they are ranks, of which the lowest is best. Raises NoPreference for
    equal merits, and DataError naming `field` for one that is not a number.
    """
    sign = -1 if lowest_first else 1
    numbers = [sign * read_number(merit, field, location) for merit in merits]
    if len(numbers) != len(answers):
        raise location.error(field, f"has {len(numbers)} values for {len(answers)} answers")
    if len(answers) < 2:
        raise NoPreference("only one answer to the prompt")
    if max(numbers) == min(numbers):
        raise NoPreference("all answers are rated alike")
    order = sorted(range(len(answers)), key=lambda index: -numbers[index])
    num_chosen = numbers.count(max(numbers))
    texts = [answers[index] for index in order]
    return make_example(
        row,
        location,
        prompt,
        texts[:num_chosen],
        texts[num_chosen:],
        subset=subset,
        authors=tuple(authors[index] for index in order) if authors else (),
    )


def read_number(value: Any, field: str, location: RowLocation) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        shown = describe_value(value) if math.isnan(number) else "infinite"
        raise location.error(field, f"is {shown}; expected a number")
    return number


def first_field(row: Mapping[str, Any], fields: Sequence[str]) -> str | None:
    """Return the first of the fields that the row has."""
    return next((field for field in fields if row.get(field) is not None), None)
