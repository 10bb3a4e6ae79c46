"""Read rows of preference data into examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from rb_core.benchmarks.example import ROLES, Conversation, Example, Message
from rb_core.errors import DataError

Row = Mapping[str, Any]


class RowLocation(NamedTuple):
    """Where a row stands, for messages; `name` is the file's stem or the split's name."""

    source: str
    line: int
    name: str

    def error(self, field_name: str, problem: str) -> DataError:
        return DataError(f"{self.source}:{self.line}: field {field_name!r}: {problem}")


# Rows


def read_messages(value: Any, location: RowLocation, field_name: str) -> Conversation:
    """A prompt as text (one user turn) or as a list of {"role", "content"} messages."""
    if isinstance(value, str):
        if not value.strip():
            raise location.error(field_name, "is empty; expected text or a list of messages")
        return (Message(role="user", content=value),)
    if not isinstance(value, list) or not value:
        raise location.error(field_name, f"is {describe_value(value)}; expected text or a non-empty list of messages")
    for index, message in enumerate(value):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise location.error(field_name, f"message {index} needs a role, one of {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str):
            raise location.error(field_name, f"message {index} needs its content as text")
    return tuple(Message(role=message["role"], content=message["content"]) for message in value)


def read_completions(value: Any, location: RowLocation, field_name: str) -> tuple[str, ...]:
    """Completions as one text or a list of texts."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise location.error(field_name, f"is {describe_value(value)}; expected text or a non-empty list of texts")
    return tuple(texts)


def read_id(row: Row, location: RowLocation) -> str:
    value = required_field(row, "id", location)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise location.error("id", f"is {describe_value(value)}; expected text or a whole number")
    return str(value)


def read_preference(row: Row, location: RowLocation) -> Example:
    """`prompt, chosen, rejected` and `subset`, the layout of RewardBench, RewardBench 2 and the starter benchmark."""
    return Example(
        id=read_id(row, location),
        subset=read_text(row, "subset", location),
        prompt=read_messages(required_field(row, "prompt", location), location, "prompt"),
        **read_answers(row, location),
    )


def read_ties_aware(row: Row, location: RowLocation) -> Example:
    """As `read_preference`; the two versions of a Ties question, `ref:N` and `tied:N`, form one group."""
    example = read_preference(row, location)
    kind, colon, number = example.id.partition(":")
    if example.subset.lower() != "ties":
        return example
    if kind not in ("ref", "tied") or not colon or not number:
        raise location.error("id", f"is {example.id!r}; a Ties example is called ref:N or tied:N")
    return replace(example, group=f"ties:{number}")


def read_answers(row: Row, location: RowLocation) -> dict[str, Any]:
    chosen, rejected = (_answers(row, name, location) for name in ("chosen", "rejected"))
    found = {"completions": chosen + rejected, "num_chosen": len(chosen)}
    if row.get("chosen_model") is None and row.get("rejected_model") is None:
        return found
    wrote = tuple(author for name, texts in (("chosen_model", chosen), ("rejected_model", rejected)) for author in _authors(row, name, len(texts), location))
        row, "rejected_model", len(rejected), location
    )
    return found | {"authors": wrote}


def _authors(row: Row, name: str, number: int, location: RowLocation) -> tuple[str, ...]:
    """The models that wrote the completions: one name for all of them, or a list; "" where it is not said."""
    value = row.get(name)
    if value is None or isinstance(value, str):
        return (value or "",) * number
    if not isinstance(value, list) or len(value) != number or not all(isinstance(author, str) for author in value):
        raise location.error(name, f"is {describe_value(value)}; expected a model's name, or a list of {number} names")
    return tuple(value)


def _answers(row: Row, name: str, location: RowLocation) -> tuple[str, ...]:
    """Text, a list of texts, or a conversation: messages whose last is the assistant's answer."""
    value = required_field(row, name, location)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        messages = read_messages(value, location, name)
        if messages[-1]["role"] != "assistant":
            raise location.error(name, "is a conversation that does not end with an assistant message")
        before, prompt = messages[:-1], row.get("prompt")
        if before and before != read_messages(prompt, location, "prompt"):
            raise location.error(name, "is a conversation whose earlier messages are not the prompt's")
        return (messages[-1]["content"],)
    return read_completions(value, location, name)


def required_field(row: Row, name: str, location: RowLocation) -> Any:
    value = row.get(name)
    if value is None:
        raise location.error(name, f"is missing; the row has {', '.join(map(repr, row)) or 'no fields'}")
    return value


def read_text(row: Row, name: str, location: RowLocation) -> str:
    value = required_field(row, name, location)
    if not isinstance(value, str) or not value:
        raise location.error(name, f"is {describe_value(value)}; expected text")
    return value


def describe_value(value: Any) -> str:
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object", bool: "true or false"}
    if isinstance(value, str | list | dict) and not value:
        return "empty"
    if isinstance(value, list):
        return f"a list of {len(value)} of which not all fit"
    return names.get(type(value), type(value).__name__)
