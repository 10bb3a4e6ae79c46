"""Read rows in any known layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rb_core.benchmarks.example import AssistantTurn, Example
from rb_core.benchmarks.layouts.base import CONTEXT_FIELDS, ROWS, Layout
from rb_core.benchmarks.layouts.pairs import STANDARD
from rb_core.benchmarks.layouts.registry import LAYOUTS
from rb_core.benchmarks.messages import parse_written_messages
from rb_core.benchmarks.row_location import (
    NoPreference,
    Row,
    RowError,
    RowLocation,
    RowProblems,
    describe_value,
    required_field,
)
from rb_core.errors import DataError

REPEATED_PROMPT = "completions that repeat the prompt, which is taken off"
_STANDARD_FIELDS = ("prompt", "chosen", "rejected")
_LONG_PROMPT = 10  # characters
_JOINED = {"prompt": "\n", "id": "/", "subset": "/", "group": "/"}  # what stands between several columns of a field


@dataclass
class Reading:
    """Examples with their locations, and counts: of rows by layout, and of rows left out by reason."""

    examples: list[tuple[Example, RowLocation]] = field(default_factory=list)
    layouts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def parse_columns(text: str) -> dict[str, str]:
    """Return the mapping in "prompt=question,rejected=ans1+ans2". Raises DataError for another form."""
    columns: dict[str, str] = {}
    for pair in text.split(",") if text else ():
        name, equals, column = pair.partition("=")
        if not (name.strip() and equals and column.strip()) or name.strip() in columns:
            raise DataError(
                f"--columns {text!r}: expected FIELD=COLUMN,..., such as prompt=question,chosen=good,rejected=bad"
            )
        columns[name.strip()] = column.strip()
    return columns


def read_layouts(
    rows: Iterable[tuple[Row | RowError, RowLocation]], columns: Mapping[str, str] | None = None
) -> Reading:
    """Read each row in the first layout that recognises it.

    columns: for a field of a layout the column that holds it, a path "column.key.0", or several joined by "+", which
        are lines of a prompt, parts A/B of an id, subset or group, or otherwise a list.
    Raises DataError that names the rows that cannot be read.
    """
    reading, problems = Reading(), RowProblems()
    groups: dict[tuple[str, str], tuple[Layout, list[Row], RowLocation]] = {}
    for row, location in rows:
        with problems.collected(location):
            if isinstance(row, RowError):
                raise row
            fields = prepare_row(row, location, columns or {})
            layout = _layout_of(fields, location)
            reading.layouts[layout.name] += 1
            if layout.group_by:
                key = (layout.name, repr((fields[layout.group_by], fields.get("system"))))
                groups.setdefault(key, (layout, [], location))[1].append(fields)
            else:
                _read(layout, fields, location, reading)
    for layout, members, location in groups.values():
        with problems.collected(location):
            _read(layout, {ROWS: members}, location, reading)
    problems.raise_any()
    _strip_repeated_prompts(reading)
    return reading


def _read(layout: Layout, row: Row, location: RowLocation, reading: Reading) -> None:
    try:
        reading.examples.append((layout.read(row, location), location))
    except NoPreference as reason:
        reading.left_out[f"{layout.name}: {reason}"] += 1


def prepare_row(row: Row, location: RowLocation, columns: Mapping[str, str]) -> Row:
    """Return the row with its columns renamed, and with messages that are written as text parsed."""
    named = {name: _column(row, path, location) for name, path in columns.items()}
    for name, between in _JOINED.items():
        if "+" in columns.get(name, "") and isinstance(named[name], list):
            named[name] = between.join(map(str, named[name]))
    used = {column for path in columns.values() for column in (path, *path.split("+"))}
    if "prompt" in columns:
        used.update(CONTEXT_FIELDS)
    row = {**{column: value for column, value in row.items() if column not in used}, **named}
    return {name: parse_written_messages(value, location, name) for name, value in row.items()}


def _column(row: Row, path: str, location: RowLocation) -> Any:
    """Return the value at a path of --columns."""
    if path in row:
        return required_field(row, path, location)
    if "+" in path:
        return [_column(row, part, location) for part in path.split("+")]
    column, *keys = path.split(".")
    value = required_field(row, column, location)
    for key in keys:
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, TypeError, ValueError):
            raise location.error(column, f"has no {path!r}: {key!r} of {describe_value(value)}") from None
    return value


def _layout_of(row: Row, location: RowLocation) -> Layout:
    layout = next((layout for layout in LAYOUTS if layout.recognises(row)), None)
    if layout is None:
        if sum(row.get(field) is not None for field in _STANDARD_FIELDS) == 2:
            return STANDARD  # whose reader names the missing field
        fields = ", ".join(f"{name!r}{' (null)' * (value is None)}" for name, value in row.items()) or "no fields"
        names = "; ".join(layout.name for layout in LAYOUTS)
        raise RowError(
            location,
            f"is in no known layout; it has {fields}. Name the fields with --columns "
            f"prompt=COLUMN,chosen=COLUMN,rejected=COLUMN. Known layouts: {names}",
        )
    return layout


def _strip_repeated_prompts(reading: Reading) -> None:
    """Take the prompt off the completions where those of all rows begin with it.

    A short prompt decides nothing: an answer to "Hi" may begin with "Hi". Raises DataError when most rows repeat their
    prompt, but not all.
    """
    long_prompts = [entry for entry in reading.examples if len(_prompt_text(entry[0])) >= _LONG_PROMPT]
    others = [location for example, location in long_prompts if not _repeats_prompt(example)]
    num_repeated = len(long_prompts) - len(others)
    if num_repeated and not others:
        reading.examples = [(_without_prompt(example), location) for example, location in reading.examples]
        reading.layouts = Counter({f"{name}; {REPEATED_PROMPT}": count for name, count in reading.layouts.items()})
    elif num_repeated > len(others):
        raise DataError(
            f"{others[0]}: the completions do not begin with the prompt, but those of {num_repeated} of "
            f"{len(long_prompts)} rows do: take the prompt off the completions, or put it in front of all"
        )


def _prompt_text(example: Example) -> str:
    """Return the text of a prompt of one user message, "" for any other prompt."""
    users = [message for message in example.prompt if message["role"] != "system"]
    return users[0]["content"].strip() if len(users) == 1 else ""


def _repeats_prompt(example: Example) -> bool:
    """Return True if all completions begin with the words of the prompt."""
    prompt = _prompt_text(example)
    return all(
        not isinstance(text, AssistantTurn) and _begins_with_words(text.lstrip(), prompt)
        for text in example.completions
    )


def _begins_with_words(text: str, beginning: str) -> bool:
    """Return True if a text begins with another, and the last word of that does not go on."""
    after = text[len(beginning) : len(beginning) + 1]
    return text.startswith(beginning) and not (beginning[-1:].isalnum() and (after.isalnum() or after == "_"))


def _without_prompt(example: Example) -> Example:
    prompt = _prompt_text(example)
    if not prompt or not _repeats_prompt(example):
        return example
    return replace(
        example, completions=tuple(text.lstrip().removeprefix(prompt).lstrip() for text in example.completions)
    )
