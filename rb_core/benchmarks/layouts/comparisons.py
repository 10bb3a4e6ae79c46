"""Layouts with two answers and a label that says which is better."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

from rb_core.benchmarks.example import Conversation, Example
from rb_core.benchmarks.layouts.base import (
    Layout,
    first_field,
    make_example,
    read_answer,
    read_conversation,
    read_number,
    read_ranked,
)
from rb_core.benchmarks.layouts.pairs import PROMPT_FIELDS, read_question, read_without_prompt
from rb_core.benchmarks.messages import parse_written_messages, parsed_text, read_messages, shared_beginning
from rb_core.benchmarks.row_location import NoPreference, Row, RowLocation
from rb_core.errors import quoted

# Fields of the two answers are a stem and one of these; labels may say more.
_SUFFIXES = (("1", "2"), ("a", "b"), ("A", "B"), ("0", "1"))
_ANSWER_STEMS = ("output_", "response_", "response", "answer_", "answer", "completion_", "generation_")
_LABEL_STEMS = ("", *_ANSWER_STEMS, "model_", "assistant_")
_LABEL_FIELDS = (
    "label", "preference", "winner", "preferred", "better_response_id", "better", "choice", "verdict", "labels",
    "overall_preference", "gold", "gold_label", "human_preference",
)  # fmt: skip
TIE_LABELS = frozenset({"tie", "ties", "tie (bothbad)", "both", "bothbad", "equal", "same", "none", "neither", "draw"})


class AnswerFields(NamedTuple):
    """The fields of the two answers, and what a label calls them."""

    first: str
    second: str
    first_name: str
    second_name: str


def _answer_fields(row: Row) -> AnswerFields | None:
    for stem in _ANSWER_STEMS:
        for first, second in _SUFFIXES:
            if row.get(stem + first) is not None and row.get(stem + second) is not None:
                return AnswerFields(stem + first, stem + second, first.lower(), second.lower())
    return None


def _is_labelled_pair(row: Row) -> bool:
    return None not in (first_field(row, PROMPT_FIELDS), _answer_fields(row), _label_field(row))


def _label_field(row: Row) -> str | None:
    """Return the field of the label, which may be missing in this row."""
    return first_field(row, _LABEL_FIELDS) or next((field for field in _LABEL_FIELDS if field in row), None)


def _read_labelled_pair(row: Row, location: RowLocation) -> Example:
    """Read a pair whose label is the end of the better answer's field: 2 for `output_2`, "A>B" for `answer_A`."""
    fields, label_field = _answer_fields(row), _label_field(row)
    if fields is None or label_field is None:
        raise location.error("label", "is missing, or an answer is")
    if row[label_field] in (None, ""):
        raise NoPreference("no label")
    winner = read_winner(row[label_field], fields, location, label_field)
    for other in _LABEL_FIELDS:
        if _named_answer(row.get(other), fields) == 1 - winner:
            raise location.error(
                other,
                f"and {label_field!r} name different answers: choose with --columns {label_field}={other} or "
                f"{other}={label_field}",
            )
    return _read_pair(row, location, read_question(row, location), fields, winner)


def _is_named_choice(row: Row) -> bool:
    fields = _answer_fields(row)
    named = fields is not None and _named_answer(row["chosen"], fields) is not None
    return named and first_field(row, PROMPT_FIELDS) is not None


def _read_named_choice(row: Row, location: RowLocation) -> Example:
    """Read two answers of which `chosen` names one, as in "response_2" or "B"."""
    fields = _answer_fields(row)
    if fields is None:
        raise location.error("chosen", "names an answer that the row lacks")
    winner = read_winner(row["chosen"], fields, location, "chosen")
    return _read_pair(row, location, read_question(row, location), fields, winner)


def _read_pair(row: Row, location: RowLocation, prompt: Conversation, fields: AnswerFields, winner: int) -> Example:
    answers = [read_answer(row, field, location) for field in (fields.first, fields.second)]
    return make_example(row, location, prompt, [answers[winner]], [answers[1 - winner]])


def read_winner(label: Any, fields: AnswerFields, location: RowLocation, field: str) -> int:
    """Return 0 or 1: the answer that a label calls better.

    Raises NoPreference for a tie, DataError for a label that names neither answer.
    """
    if (winner := _named_answer(label, fields)) is not None:
        return winner
    names, word = (fields.first_name, fields.second_name), label_word(label)
    is_half = names == ("1", "2") and word in ("1.5", "1.50")
    if word in TIE_LABELS or is_half or re.fullmatch(rf"{names[0]}\s*=+\s*{names[1]}", word):
        raise NoPreference("a tie")
    if word == "0" and names == ("1", "2"):
        raise location.error(
            field,
            f"is 0, in some data a tie, in others the first answer: write 'tie', or number the answers from 0 with "
            f"--columns answer_0={fields.first},answer_1={fields.second}",
        )
    raise location.error(
        field,
        f"is {quoted(str(label))}; expected {names[0]!r} for {fields.first!r}, {names[1]!r} for {fields.second!r}, "
        "or 'tie'",
    )


def _named_answer(label: Any, fields: AnswerFields) -> int | None:
    """Return 0 or 1 where a label names the first or the second answer, None for any other label."""
    names, word = (fields.first_name, fields.second_name), label_word(label)
    if names == ("1", "2") and re.fullmatch(r"1\.\d+", word) and float(word) != 1.5:
        word = f"{float(word):.0f}"  # AlpacaEval's 1.2 is a weak preference for 1
    for index, (name, answer) in enumerate(zip(names, (fields.first, fields.second), strict=True)):
        other = names[1 - index]
        is_called = word == answer.lower() or word.replace(" ", "_") in [stem + name for stem in _LABEL_STEMS]
        if is_called or re.fullmatch(rf"{name}\s*>+\s*{other}|{other}\s*<+\s*{name}", word):
            return index
    return None


def label_word(label: Any) -> str:
    """Return a label in lower case, "[[B]]" as "b", and 2.0, from a column with gaps, as "2"."""
    word = str(label).strip("[] \n").lower()
    return word.partition(".")[0] if re.fullmatch(r"\d+\.0+", word) else word


def _read_pandalm(row: Row, location: RowLocation) -> Example:
    """Read PandaLM's test set: three annotators with 0 (tie), 1 or 2; the majority decides."""
    votes = Counter(read_number(row[f"annotator{i}"], f"annotator{i}", location) for i in (1, 2, 3))
    label, count = votes.most_common(1)[0]
    if count < 2:
        raise NoPreference("the annotators disagree")
    if label == 0:
        raise NoPreference("a tie")
    fields = AnswerFields("response1", "response2", "1", "2")
    return _read_pair(
        row, location, read_question(row, location), fields, read_winner(label, fields, location, "annotator1")
    )


def _read_shp(row: Row, location: RowLocation) -> Example:
    fields = AnswerFields("human_ref_A", "human_ref_B", "1", "0")
    prompt = read_conversation(row, "history", location)
    winner = read_winner(row["labels"], fields, location, "labels")
    example = _read_pair(row, location, prompt, fields, winner)
    return (
        example
        if row.get("domain") is None
        else make_example(row, location, prompt, example.completions[:1], example.completions[1:], subset=row["domain"])
    )


def _read_helpsteer2_preference(row: Row, location: RowLocation) -> Example:
    return _read_strength(row, location, "prompt", ("response_1", "response_2"), "preference_strength")


def _read_helpsteer3(row: Row, location: RowLocation) -> Example:
    return _read_strength(row, location, "context", ("response1", "response2"), "overall_preference")


def _read_strength(
    row: Row, location: RowLocation, prompt_field: str, answer_fields: tuple[str, str], field: str
) -> Example:
    """Read a preference from -3 (the first answer is much better) to 3 (the second one is)."""
    preference = read_number(row[field], field, location)
    prompt = read_conversation(row, prompt_field, location)
    answers = [read_answer(row, each, location) for each in answer_fields]
    return read_ranked(row, location, prompt, answers, [-preference, preference], field, subset=row.get("domain"))


def _read_webgpt(row: Row, location: RowLocation) -> Example:
    question = row["question"]
    prompt = question.get("full_text") if isinstance(question, dict) else question
    answers = [read_answer(row, field, location) for field in ("answer_0", "answer_1")]
    return read_ranked(
        row,
        location,
        read_conversation({"question": prompt}, "question", location),
        answers,
        [row["score_0"], row["score_1"]],
        "score_0",
    )


def _read_arena(row: Row, location: RowLocation) -> Example:
    """Read two conversations with a winner, as Chatbot Arena and MT-Bench publish them.

    MT-Bench's `turn` 1 judges the first answers of conversations that go on.
    """
    fields = AnswerFields("conversation_a", "conversation_b", "a", "b")
    winner = read_winner(row["winner"], fields, location, "winner")
    conversations = [
        read_messages(parse_written_messages(row[field], location, field), location, field)
        for field in (fields.first, fields.second)
    ]
    if row.get("turn") == 1:
        conversations = [_first_turn(conversation) for conversation in conversations]
    shared = len(shared_beginning(conversations))
    if any(len(conversation) > shared + 1 for conversation in conversations):
        raise NoPreference("the conversations differ before their last messages")
    answers = [list(conversation) for conversation in conversations]
    return read_without_prompt({**row, "chosen": answers[winner], "rejected": answers[1 - winner]}, location)


def _first_turn(conversation: Conversation) -> Conversation:
    """Return the messages up to the first answer."""
    roles = [message["role"] for message in conversation]
    return conversation[: roles.index("assistant") + 1] if "assistant" in roles else conversation


def _read_arena_texts(row: Row, location: RowLocation) -> Example:
    """Read Chatbot Arena's conversations as lists of the users' and of the models' messages, written as JSON."""
    questions, *answers = (parsed_text(row[field]) for field in ("prompt", "response_a", "response_b"))
    conversations = []
    for field, texts in zip(("response_a", "response_b"), answers, strict=True):
        if not isinstance(questions, list) or not isinstance(texts, list) or len(texts) != len(questions):
            raise location.error(field, "is not a list with an answer to each message in 'prompt'")
        turns = zip(questions, texts, strict=True)
        conversations.append(
            [
                {"role": role, "content": text}
                for pair in turns
                for role, text in zip(("user", "assistant"), pair, strict=True)
            ]
        )
    votes = [read_number(row[field], field, location) for field in ("winner_model_a", "winner_model_b", "winner_tie")]
    if sorted(votes) != [0, 0, 1]:
        raise location.error("winner_model_a", "and 'winner_model_b', 'winner_tie' are not one 1 and two 0")
    winner = ("model_a", "model_b", "tie")[votes.index(1)]
    return _read_arena(
        {**row, "winner": winner, "conversation_a": conversations[0], "conversation_b": conversations[1]}, location
    )


# Before the layouts whose `chosen` is the answer itself.
NAMED_CHOICE = Layout("two answers of which 'chosen' names one", ("chosen",), _read_named_choice, also=_is_named_choice)

LAYOUTS = (
    Layout("SHP", ("history", "human_ref_A", "human_ref_B", "labels"), _read_shp),
    Layout("HelpSteer3", ("context", "response1", "response2", "overall_preference"), _read_helpsteer3),
    Layout(
        "HelpSteer2 preferences",
        ("prompt", "response_1", "response_2", "preference_strength"),
        _read_helpsteer2_preference,
    ),
    Layout(
        "PandaLM", ("instruction", "response1", "response2", "annotator1", "annotator2", "annotator3"), _read_pandalm
    ),
    Layout("WebGPT comparisons", ("question", "answer_0", "answer_1", "score_0", "score_1"), _read_webgpt),
    Layout(
        "Chatbot Arena texts",
        ("prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie"),
        _read_arena_texts,
    ),
    Layout("Chatbot Arena conversations", ("conversation_a", "conversation_b", "winner"), _read_arena),
    Layout(
        "PKU-SafeRLHF (better_response_id)",
        ("prompt", "response_0", "response_1", "better_response_id"),
        _read_labelled_pair,
    ),
    Layout("two answers and a label", (), _read_labelled_pair, also=_is_labelled_pair),
)
