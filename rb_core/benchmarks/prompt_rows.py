"""Read rows without labels: a prompt with one or more completions, or a conversation that ends with its completion.

A preference file is read as well: its chosen and rejected completions are completions like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rb_core.benchmarks.example import Conversation
from rb_core.benchmarks.layouts.base import first_field, read_context
from rb_core.benchmarks.layouts.pairs import LAYOUTS, PROMPT_FIELDS, merge_histories, read_question
from rb_core.benchmarks.layouts.reading import prepare_row
from rb_core.benchmarks.messages import parsed_text, read_messages, read_turns
from rb_core.benchmarks.row_location import Row, RowError, RowLocation, required_field
from rb_core.benchmarks.rows import AnswerInContext, completion_of, read_answers, with_shared_history

# Fields that hold completions, the most explicit names first; those in the plural may hold a list as JSON.
_LISTS = ("completions", "responses", "answers", "candidates", "generations", "outputs")
COMPLETION_FIELDS = ("completions", "completion", *_LISTS[1:], "response", "answer", "generation", "output")
CONVERSATION_FIELDS = ("messages", "conversation", "conversations", "chat")
# Keys of the text of a completion that is an object, such as {"text": ..., "model": ...}.
_TEXT_KEYS = ("text", "completion", "response", "answer")
_PAIR_FIELDS = {name for layout in LAYOUTS for name in layout.fields} - {
    *PROMPT_FIELDS,
    "conversations",
    "conversation_input",
}


class PromptRow(NamedTuple):
    """A prompt with its completions.

    row: the row as it is in the file; fields: its fields that hold the completions, a list in one of them or one in
    each.
    """

    row: Row
    location: RowLocation
    prompt: Conversation
    completions: tuple[str, ...]
    fields: tuple[str, ...]


def read_prompt_row(row: Row | RowError, location: RowLocation, columns: Mapping[str, str] | None = None) -> PromptRow:
    """Read a row. columns: for a field the column that holds it, as for `read_layouts`.

    Raises DataError for a row without a prompt or without completions, and for malformed ones.
    """
    if isinstance(row, RowError):
        raise row
    columns = columns or {}
    named = prepare_row(row, location, columns)

    def from_fields(prompt: Conversation, completions: tuple[str, ...], *fields: str) -> PromptRow:
        held_in = tuple(column for field in fields for column in columns.get(field, field).split("+"))
        return PromptRow(row, location, prompt, completions, held_in)

    may_be_pair = not _PAIR_FIELDS.isdisjoint(named) and not set(columns).intersection(COMPLETION_FIELDS)
    if may_be_pair and (pair := next((layout for layout in LAYOUTS if layout.recognises(named)), None)):
        example = pair.read(named, location)
        return from_fields(example.prompt, example.completions, *(name for name in pair.fields if name in _PAIR_FIELDS))
    mapped_first = sorted(COMPLETION_FIELDS, key=lambda name: name not in columns)
    if field := first_field(named, mapped_first):
        return from_fields(*_read_completions(named, field, location), field)
    if field := first_field(named, CONVERSATION_FIELDS):
        prompt, completion = _read_whole_conversation(named, field, location)
        return from_fields(prompt, (completion,), field)
    raise RowError(location, _describe_unknown(named))


def _read_completions(row: Row, field: str, location: RowLocation) -> tuple[Conversation, tuple[str, ...]]:
    """Read completions beside their prompt, or conversations that hold it."""
    value = required_field(row, field, location)
    if field in _LISTS and isinstance(parsed := parsed_text(value), list):
        value = parsed
    if isinstance(value, list):
        value = [_text_of(part) for part in value]
    answers = with_shared_history(read_answers(value, location, field))
    context = {name: content for name, content in row.items() if name not in COMPLETION_FIELDS}
    if first_field(context, PROMPT_FIELDS) is None and answers[0].history:
        prompt = read_context(context, location, answers[0].history)
    elif first_field(context, PROMPT_FIELDS) is None and (whole := first_field(context, CONVERSATION_FIELDS)):
        prompt = read_messages(context[whole], location, whole)
    else:
        prompt = read_question(context, location)
    completions = tuple(answer.text for answer in answers)
    prompt = merge_histories(prompt, answers, location, [field])
    # A conversation that ends with the completion beside it, as a table of scores has them.
    if prompt[-1]["role"] == "assistant" and len(prompt) > 1 and completions == (completion_of(prompt[-1]),):
        prompt = prompt[:-1]
    return prompt, completions


def _text_of(part: Any) -> Any:
    """Return the text of a completion that is an object with a text; anything else as it is."""
    if isinstance(part, dict) and not part.keys() & {"role", "from"}:
        return next((part[key] for key in _TEXT_KEYS if isinstance(part.get(key), str)), part)
    return part


def _read_whole_conversation(row: Row, field: str, location: RowLocation) -> tuple[Conversation, str]:
    """Read a conversation that ends with an assistant message, which is the completion."""
    value = required_field(row, field, location)
    turns = read_turns(value) if isinstance(value, str) else None
    *history, last = turns or read_messages(value, location, field)
    if last["role"] != "assistant" or not history:
        raise location.error(field, "has to be a conversation that ends with an assistant message, the completion")
    context = {name: content for name, content in row.items() if name != field}
    answer = AnswerInContext(tuple(history), completion_of(last))
    return read_context(context, location, answer.history), answer.text


def _describe_unknown(row: Row) -> str:
    fields = ", ".join(f"{name!r}{' (null)' * (value is None)}" for name, value in row.items()) or "no fields"
    return (
        f"has no completion; it has {fields}. Name the fields with --columns prompt=COLUMN,completion=COLUMN; a row is "
        f"a prompt with {', '.join(COMPLETION_FIELDS[:4])}, ..., or a conversation in 'messages'"
    )
