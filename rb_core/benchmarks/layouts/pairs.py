"""Layouts with fields for the chosen and the rejected answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rb_core.benchmarks.example import Conversation, Example, Message
from rb_core.benchmarks.layouts.base import (
    CONTEXT_FIELDS,
    Layout,
    first_field,
    make_example,
    read_context,
    read_conversation,
)
from rb_core.benchmarks.messages import read_messages, read_turns, split_tools, with_tools
from rb_core.benchmarks.row_location import Row, RowLocation, describe_value, required_field
from rb_core.benchmarks.rows import (
    AnswerInContext,
    completion_of,
    is_assistant_turn,
    read_answers,
    read_authors,
    split_last_turns,
    with_shared_history,
)

_QUESTION_FIELDS = ("instruction", "question", "query", "input")
_CONVERSATION_FIELDS = ("messages", "conversation", "context")
PROMPT_FIELDS = ("prompt", *_QUESTION_FIELDS, *_CONVERSATION_FIELDS)


def read_standard(row: Row, location: RowLocation) -> Example:
    """Read `prompt`, `chosen` and `rejected`."""
    _refuse_more_context(row, "prompt", location)
    return _read_pair(row, location, read_conversation(row, "prompt", location))


def _read_pair(
    row: Row, location: RowLocation, prompt: Conversation, fields: tuple[str, str] = ("chosen", "rejected")
) -> Example:
    """Read answers to a prompt from the fields of the chosen and of the rejected ones.

    Each field has a text, a list of texts, a conversation that repeats the prompt, or a list of conversations. Where
    the conversations say more than the prompt (a system message, earlier turns), they are the prompt.
    """
    chosen, rejected = (_read_answers(row, field, location) for field in fields)
    answers = with_shared_history([*chosen, *rejected])
    chosen, rejected = answers[: len(chosen)], answers[len(chosen) :]
    prompt = merge_histories(prompt, [*chosen, *rejected], location, fields)
    authors = read_authors(row, (len(chosen), len(rejected)), location)
    texts = ([answer.text for answer in answers] for answers in (chosen, rejected))
    return make_example(row, location, prompt, *texts, authors=authors)


def _read_answers(row: Row, field: str, location: RowLocation) -> list[AnswerInContext]:
    """Read the answers in a field; in a transcript that repeats the prompt, the answer is what follows it."""
    value = required_field(row, field, location)
    after_prompt = _after_prompt(row, value)
    return read_answers(value if after_prompt is None else after_prompt, location, field)


def _after_prompt(row: Row, answer: Any) -> str | None:
    """Return what follows the prompt in a transcript that begins with it, None for any other answer."""
    prompt = row.get("prompt")
    if not isinstance(prompt, str) or not isinstance(answer, str):
        return None
    if answer.startswith(prompt.rstrip()) and read_turns(prompt) is not None:
        return answer.removeprefix(prompt.rstrip()).removeprefix(" ")
    match read_turns(answer):
        case ({"role": "user", "content": question}, {"role": "assistant", "content": text}):
            return text if question.strip() == prompt.strip() else None
    return None


def merge_histories(
    prompt: Conversation, answers: Sequence[AnswerInContext], location: RowLocation, fields: Sequence[str]
) -> Conversation:
    """Return the conversation before the answers: the prompt, or theirs, of which the prompt is beginning or end.

    fields: those that hold the answers. Raises DataError for conversations that differ before their last message.
    """
    histories = [answer.history for answer in answers if answer.history]
    if not histories:
        return prompt
    prompt, tools = split_tools(prompt)
    history, tools_of_history = split_tools(histories[0])
    if tools and tools_of_history not in ([], tools):
        raise location.error(fields[0], "is a conversation with other tools than the prompt")
    if any(other != histories[0] for other in histories):
        subject = f"and {fields[1]!r} are" if len(fields) > 1 else "has"
        raise location.error(fields[0], f"{subject} conversations that differ before their last message")
    whole, part = (history, prompt) if len(history) > len(prompt) else (prompt, history)
    if part not in (whole[: len(part)], whole[len(whole) - len(part) :]):
        raise location.error(fields[0], "is a conversation whose earlier messages differ from the prompt")
    return with_tools(whole, tools or tools_of_history)


def read_without_prompt(row: Row, location: RowLocation) -> Example:
    """Read `chosen` and `rejected`, conversations or transcripts whose shared beginning is the prompt."""
    chosen, rejected = (_read_conversation(row, field, location) for field in ("chosen", "rejected"))
    prompt, answers = split_last_turns([chosen, rejected])
    if chosen == rejected:
        prompt, answers = chosen[:-1], [chosen[-1:], rejected[-1:]]
    if not prompt or not all(map(is_assistant_turn, answers)):
        raise location.error(
            "chosen",
            "and 'rejected' are conversations that differ in more than the assistant's last turn, with its calls of "
            "tools and their results",
        )
    texts = [[completion_of(*answer)] for answer in answers]
    return make_example(row, location, read_context(row, location, prompt), *texts)


def _read_conversation(row: Row, field: str, location: RowLocation) -> Conversation:
    value = required_field(row, field, location)
    if not isinstance(value, str):
        return read_messages(value, location, field)
    turns = read_turns(value)
    if turns is None:
        raise location.error(
            field,
            "is text, and the row has no prompt that it answers; without a prompt it has to be a list of messages or a "
            'transcript of "Human:" and "Assistant:" turns (or name the prompt: --columns prompt=FIELD)',
        )
    return turns


def _is_without_prompt(row: Row) -> bool:
    if first_field(row, ("prompt", *_QUESTION_FIELDS)):
        return False
    is_text = isinstance(row["chosen"], str) and read_turns(row["chosen"]) is None
    return not (is_text and first_field(row, _CONVERSATION_FIELDS))


def read_instruction(row: Row, location: RowLocation) -> Example:
    """Read a pair whose prompt has another name."""
    return _read_pair(row, location, read_question(row, location))


def read_question(row: Row, location: RowLocation) -> Conversation:
    """Read the first field that holds a question or a conversation; `input` continues an `instruction`."""
    field = first_field(row, PROMPT_FIELDS) or "prompt"
    prompt = read_conversation(row, field, location)
    if field in ("prompt", *_QUESTION_FIELDS):
        _refuse_more_context(row, field, location)
    added = row.get("input") if field == "instruction" else None
    if added:
        if not isinstance(added, str):
            raise location.error("input", f"is {describe_value(added)}; expected text")
        prompt = (*prompt[:-1], Message(role="user", content=f"{prompt[-1]['content']}\n{added}"))
    return prompt


def _refuse_more_context(row: Row, field: str, location: RowLocation) -> None:
    """Raise DataError for text beside the question that may be a part of it; `input` belongs to an `instruction`."""
    for other in CONTEXT_FIELDS if field != "instruction" else ("context",):
        if row.get(other) and row[other] != row[field]:
            raise location.error(
                other,
                f"is not read beside {field!r}: use --columns prompt={other}+{field}, or prompt={field} to leave it "
                "out",
            )


def _read_medical(row: Row, location: RowLocation) -> Example:
    prompt = read_conversation(row, "question", location)
    return _read_pair(row, location, prompt, ("response_chosen", "response_rejected"))


def _read_argilla(row: Row, location: RowLocation) -> Example:
    return _read_pair(row, location, read_question(row, location), ("chosen_response", "rejected_response"))


def _read_sharegpt(row: Row, location: RowLocation) -> Example:
    return _read_pair(row, location, read_conversation(row, "conversations", location))


def _read_openai(row: Row, location: RowLocation) -> Example:
    request = row["input"]
    if not isinstance(request, dict) or "messages" not in request:
        raise location.error("input", "has no 'messages'")
    prompt = read_conversation(request, "messages", location)
    return _read_pair(row, location, prompt, ("preferred_output", "non_preferred_output"))


def _read_rmb_pair(row: Row, location: RowLocation) -> Example:
    chosen, rejected = (_rmb_answer(row[field], location, field) for field in ("chosen", "reject"))
    prompt = read_conversation(row, "conversation_input", location)
    return make_example(row, location, prompt, [chosen], [rejected], subset=row.get("category_path"))


def _read_rmb_list(row: Row, location: RowLocation) -> Example:
    losers = row["loser_list"]
    if not isinstance(losers, list) or not losers:
        raise location.error("loser_list", f"is {describe_value(losers)}; expected a non-empty list of answers")
    prompt = read_conversation(row, "conversation_input", location)
    best = _rmb_answer(row["bon_best"], location, "bon_best")
    rejected = [_rmb_answer(loser, location, "loser_list") for loser in losers]
    return make_example(row, location, prompt, [best], rejected, subset=row.get("category_path"))


def _rmb_answer(value: Any, location: RowLocation, field: str) -> str:
    answer = value.get("answer") if isinstance(value, dict) else value
    if not isinstance(answer, str):
        raise location.error(field, "has no 'answer' that is text")
    return answer


STANDARD = Layout("prompt, chosen and rejected", ("prompt", "chosen", "rejected"), read_standard)

LAYOUTS = (
    Layout(
        "transcripts beside the prompt that they begin with",
        STANDARD.fields,
        read_standard,
        also=lambda row: any(_after_prompt(row, row[field]) is not None for field in ("chosen", "rejected")),
    ),
    STANDARD,
    Layout("OpenAI preferences", ("input", "preferred_output", "non_preferred_output"), _read_openai),
    Layout("RMB pairs", ("conversation_input", "chosen", "reject"), _read_rmb_pair),
    Layout("RMB best of N", ("conversation_input", "bon_best", "loser_list"), _read_rmb_list),
    Layout("ShareGPT pairs (LLaMA-Factory)", ("conversations", "chosen", "rejected"), _read_sharegpt),
    Layout("MedicalGPT pairs", ("question", "response_chosen", "response_rejected"), _read_medical),
    Layout(
        "Argilla pairs (chosen_response, rejected_response)",
        ("chosen_response", "rejected_response"),
        _read_argilla,
        also=lambda row: first_field(row, PROMPT_FIELDS) is not None,
    ),
    Layout(
        "conversations without a prompt column", ("chosen", "rejected"), read_without_prompt, also=_is_without_prompt
    ),
    Layout("instruction, question or messages, with chosen and rejected", ("chosen", "rejected"), read_instruction),
)
