"""Read rows of preference data into examples. The formats are described in the README beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypedDict

from rb_core.benchmarks.example import AssistantTurn, Conversation, Example, Message, messages_of
from rb_core.benchmarks.messages import read_messages, shared_beginning
from rb_core.benchmarks.row_location import Row, RowError, RowLocation, describe_value, required_field
from rb_core.stats.metrics import TIES
from rb_core.stats.metrics.base import Metric


class CompletionFields(TypedDict):
    """The fields of an `Example` that come from `chosen`, `rejected` and their authors."""

    completions: tuple[str, ...]
    num_chosen: int
    authors: tuple[str, ...]


def read_preference(row: Row, location: RowLocation) -> Example:
    """Read `id, subset, prompt, chosen, rejected`: the format of RewardBench, RewardBench 2 and the starter set."""
    return Example(
        id=read_name(row, "id", location),
        subset=read_name(row, "subset", location),
        prompt=read_prompt(row, location),
        **read_completions(row, location),
    )


def read_preference_or_ties(row: Row, location: RowLocation) -> Example:
    """Read a row as `read_preference` does; the two versions of a Ties question, `ref:N` and `tied:N`, form a group."""
    example = read_preference(row, location)
    if example.subset.lower() != "ties":
        return example
    return fitted_to_metric(example, TIES, location)


def fitted_to_metric(example: Example, metric: Metric, location: RowLocation, num_styles: int = 0) -> Example:
    """Return the example with the group that the metric demands. Raises DataError for one that cannot have the metric.

    num_styles: the number of the benchmark's style levels.
    """
    num_rejected = len(example.completions) - example.num_chosen
    if reason := metric.unfit_reason(example.id, example.num_chosen, num_rejected, num_styles):
        raise RowError(location, f"does not fit the metric {metric.name!r}: {reason}")
    return replace(example, group=metric.group_of(example.id) or example.group)


def read_name(row: Row, field: str, location: RowLocation) -> str:
    """Read text, or a whole number, which some formats store as 1.0."""
    value = required_field(row, field, location)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise location.error(field, f"is {describe_value(value)}; expected text or a whole number")
    return str(value)


def read_text(row: Row, field: str, location: RowLocation) -> str:
    value = required_field(row, field, location)
    if not isinstance(value, str) or not value:
        raise location.error(field, f"is {describe_value(value)}; expected text")
    return value


def read_prompt(row: Row, location: RowLocation, field: str = "prompt") -> Conversation:
    return read_messages(required_field(row, field, location), location, field)


def read_completions(row: Row, location: RowLocation) -> CompletionFields:
    """Read `chosen` and `rejected`, and the optional `chosen_model` and `rejected_model`."""
    chosen, rejected = (_texts(row, field, location) for field in ("chosen", "rejected"))
    authors = read_authors(row, (len(chosen), len(rejected)), location)
    return CompletionFields(completions=chosen + rejected, num_chosen=len(chosen), authors=authors)


def read_authors(row: Row, counts: tuple[int, int], location: RowLocation) -> tuple[str, ...]:
    """Read `chosen_model` and `rejected_model`; empty when the row has neither. counts: of chosen and rejected."""
    fields = ("chosen_model", "rejected_model")
    if all(row.get(field) is None for field in fields):
        return ()
    chosen, rejected = (_authors(row, field, count, location) for field, count in zip(fields, counts, strict=True))
    return chosen + rejected


def _texts(row: Row, field: str, location: RowLocation) -> tuple[str, ...]:
    answers = read_answers(required_field(row, field, location), location, field)
    if any(answer.history and answer.history != read_prompt(row, location) for answer in answers):
        raise location.error(field, "is a conversation whose earlier messages differ from the prompt")
    return tuple(answer.text for answer in answers)


class AnswerInContext(NamedTuple):
    """A completion, with the messages before it where the data has them."""

    history: Conversation
    text: str


def read_answers(value: Any, location: RowLocation, field: str) -> list[AnswerInContext]:
    """Read a text, a conversation whose last message is the completion, or a list of texts or of conversations."""
    if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        return [_read_answer(value, location, field)]
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(each, str | list) for each in values):
        raise location.error(field, f"is {describe_value(value)}; expected text or a non-empty list of texts")
    return [
        AnswerInContext((), each) if isinstance(each, str) else _read_answer(each, location, field) for each in values
    ]


def _read_answer(value: Any, location: RowLocation, field: str) -> AnswerInContext:
    messages = read_messages(value, location, field)
    if is_assistant_turn(messages):
        return AnswerInContext((), completion_of(*messages))
    *history, last = messages
    if last["role"] != "assistant":
        raise location.error(field, "is a conversation that does not end with an assistant message")
    return AnswerInContext(tuple(history), completion_of(last))


def completion_of(*messages: Message) -> str:
    """Return messages as a completion: the text of a plain one, else an `AssistantTurn`."""
    is_plain = len(messages) == 1 and messages[0].keys() <= {"role", "content"}
    return messages[0]["content"] if is_plain else AssistantTurn(*messages)


def is_assistant_turn(messages: Sequence[Message]) -> bool:
    """Return True for an assistant's message, and for an agent's calls and their results that end with one."""
    roles = [message["role"] for message in messages]
    return bool(roles) and {roles[0], roles[-1]} == {"assistant"} and set(roles) <= {"assistant", "tool"}


def split_last_turns(conversations: Sequence[Conversation]) -> tuple[Conversation, list[Conversation]]:
    """Return the messages with which all conversations begin, and what follows in each, a call with its results."""
    length = len(shared_beginning(conversations))
    while length and any(turn["role"] == "tool" for each in conversations for turn in each[length : length + 1]):
        length -= 1
    return conversations[0][:length], [conversation[length:] for conversation in conversations]


def with_shared_history(answers: list[AnswerInContext]) -> list[AnswerInContext]:
    """Return the answers of agents, which differ before their last message, with all their own messages in them.

    What all conversations begin with is the history, up to the calls whose results differ. Other answers are returned
    as they are.
    """
    if not all(answer.history for answer in answers) or len({repr(answer.history) for answer in answers}) == 1:
        return answers
    conversations = [(*answer.history, *messages_of(answer.text)) for answer in answers]
    history, turns = split_last_turns(conversations)
    if not history or not all(map(is_assistant_turn, turns)):
        return answers
    return [AnswerInContext(history, completion_of(*turn)) for turn in turns]


def _authors(row: Row, field: str, count: int, location: RowLocation) -> tuple[str, ...]:
    """Read the models that wrote the completions: one name for all, or a list; "" where the field is missing."""
    value = row.get(field)
    if value is None or isinstance(value, str):
        return (value or "",) * count
    if not isinstance(value, list) or len(value) != count or not all(isinstance(author, str) for author in value):
        raise location.error(field, f"is {describe_value(value)}; expected a model's name, or a list of {count} names")
    return tuple(value)
