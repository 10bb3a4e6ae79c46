"""Read rows of preference data into examples. The formats are described in the README beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypedDict

from rb_core.benchmarks.example import ROLES, Conversation, Example, Message
from rb_core.errors import DataError

Row = Mapping[str, Any]


class RowLocation(NamedTuple):
    """Position of a row in its file or split, for error messages and for default ids.

    source: file name, or `repository/split`; line: from 1; name: the file's stem or the split's name.
    """

    source: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}"

    def error(self, field: str, problem: str) -> DataError:
        return DataError(f"{self}: field {field!r}: {problem}")


class CompletionFields(TypedDict):
    """The fields of an `Example` that come from `chosen`, `rejected` and their authors."""

    completions: tuple[str, ...]
    num_chosen: int
    authors: tuple[str, ...]


def read_preference(row: Row, location: RowLocation) -> Example:
    """Read `id, subset, prompt, chosen, rejected`: the format of RewardBench, RewardBench 2 and the starter set."""
    return Example(
        id=read_id(row, location),
        subset=read_text(row, "subset", location),
        prompt=read_prompt(row, location),
        **read_completions(row, location),
    )


def read_preference_or_ties(row: Row, location: RowLocation) -> Example:
    """Read a row as `read_preference` does; the two versions of a Ties question, `ref:N` and `tied:N`, form a group."""
    example = read_preference(row, location)
    if example.subset.lower() != "ties":
        return example
    version, colon, number = example.id.partition(":")
    if version not in ("ref", "tied") or not colon or not number:
        raise location.error("id", f"is {example.id!r}; the id of a Ties example is ref:N or tied:N")
    return replace(example, group=f"ties:{number}")


def read_id(row: Row, location: RowLocation) -> str:
    value = required_field(row, "id", location)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise location.error("id", f"is {describe_value(value)}; expected text or a whole number")
    return str(value)


def read_text(row: Row, field: str, location: RowLocation) -> str:
    value = required_field(row, field, location)
    if not isinstance(value, str) or not value:
        raise location.error(field, f"is {describe_value(value)}; expected text")
    return value


def read_prompt(row: Row, location: RowLocation, field: str = "prompt") -> Conversation:
    return read_messages(required_field(row, field, location), location, field)


def read_messages(value: Any, location: RowLocation, field: str) -> Conversation:
    """Read text (one user turn) or a list of {"role", "content"} messages."""
    if isinstance(value, str):
        if not value.strip():
            raise location.error(field, "is empty; expected text or a list of messages")
        return (Message(role="user", content=value),)
    if not isinstance(value, list) or not value:
        raise location.error(field, f"is {describe_value(value)}; expected text or a non-empty list of messages")
    for index, message in enumerate(value):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise location.error(field, f"message {index} needs a role, one of {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str):
            raise location.error(field, f"message {index} needs its content as text")
    return tuple(Message(role=message["role"], content=message["content"]) for message in value)


def read_completions(row: Row, location: RowLocation) -> CompletionFields:
    """Read `chosen` and `rejected`, and the optional `chosen_model` and `rejected_model`."""
    chosen, rejected = (_texts(row, field, location) for field in ("chosen", "rejected"))
    authors: tuple[str, ...] = ()
    if row.get("chosen_model") is not None or row.get("rejected_model") is not None:
        authors = _authors(row, "chosen_model", len(chosen), location)
        authors += _authors(row, "rejected_model", len(rejected), location)
    return CompletionFields(completions=chosen + rejected, num_chosen=len(chosen), authors=authors)


def _texts(row: Row, field: str, location: RowLocation) -> tuple[str, ...]:
    """Read a text, a list of texts, or a conversation whose last message is the completion."""
    value = required_field(row, field, location)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        *history, last = read_messages(value, location, field)
        if last["role"] != "assistant":
            raise location.error(field, "is a conversation that does not end with an assistant message")
        if history and tuple(history) != read_prompt(row, location):
            raise location.error(field, "is a conversation whose earlier messages differ from the prompt")
        return (last["content"],)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise location.error(field, f"is {describe_value(value)}; expected text or a non-empty list of texts")
    return tuple(texts)


def _authors(row: Row, field: str, count: int, location: RowLocation) -> tuple[str, ...]:
    """Read the models that wrote the completions: one name for all, or a list; "" where the field is missing."""
    value = row.get(field)
    if value is None or isinstance(value, str):
        return (value or "",) * count
    if not isinstance(value, list) or len(value) != count or not all(isinstance(author, str) for author in value):
        raise location.error(field, f"is {describe_value(value)}; expected a model's name, or a list of {count} names")
    return tuple(value)


def required_field(row: Row, field: str, location: RowLocation) -> Any:
    """Return the field's value. Raises DataError when it is missing or null."""
    value = row.get(field)
    if value is None:
        raise location.error(field, f"is missing; the row has {', '.join(map(repr, row)) or 'no fields'}")
    return value


def describe_value(value: Any) -> str:
    """Return a value's type in words, for error messages."""
    if isinstance(value, str | list | dict) and not value:
        return "empty"
    if isinstance(value, list):
        return f"a list of {len(value)} with items of a wrong type"
    names = {str: "text", int: "a number", float: "a number", dict: "an object", bool: "true or false"}
    return names.get(type(value), type(value).__name__)
