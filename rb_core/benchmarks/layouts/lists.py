"""Layouts with a list of answers and their ratings or ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rb_core.benchmarks.example import Example, Message
from rb_core.benchmarks.layouts.base import (
    Layout,
    first_field,
    make_example,
    read_answer,
    read_conversation,
    read_number,
    read_ranked,
)
from rb_core.benchmarks.layouts.pairs import PROMPT_FIELDS, read_question
from rb_core.benchmarks.row_location import Row, RowLocation, describe_value
from rb_core.benchmarks.rows import read_answers, read_text

_ANSWERS = ("responses", "completions", "answers", "candidates", "generations", "outputs")
_MERITS = ("scores", "ratings", "rewards", "rating", "labels", "correct")
# A "ranking" may be ranks or an order of indices, and is no name of either.
_RANKS = ("ranks", "rank")


def _objects(row: Row, field: str, location: RowLocation) -> list[Mapping[str, Any]]:
    value = row[field]
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        raise location.error(field, f"is {describe_value(value)}; expected a non-empty list of objects")
    return value


def _texts(objects: list[Mapping[str, Any]], key: str, field: str, location: RowLocation) -> list[str]:
    texts = [each.get(key) for each in objects]
    if not all(isinstance(text, str) for text in texts):
        raise location.error(field, f"has an item whose {key!r} is no text")
    return [str(text) for text in texts]


def _authors(objects: list[Mapping[str, Any]]) -> list[str]:
    names = [each.get("model") for each in objects]
    return [name if isinstance(name, str) else "" for name in names] if any(names) else []


def _read_nectar(row: Row, location: RowLocation) -> Example:
    """Read Nectar: `answers` with ranks from 1; the first is chosen, all others are rejected."""
    answers = _objects(row, "answers", location)
    ranks = [answer.get("rank") for answer in answers]
    texts = _texts(answers, "answer", "answers", location)
    prompt, authors = read_conversation(row, "prompt", location), _authors(answers)
    return read_ranked(row, location, prompt, texts, ranks, "answers", lowest_first=True, authors=authors)


def _read_ultrafeedback(row: Row, location: RowLocation) -> Example:
    """Read raw UltraFeedback: `completions` with an `overall_score`, the highest of which is chosen."""
    completions = _objects(row, "completions", location)
    texts = _texts(completions, "response", "completions", location)
    scores = [completion.get("overall_score") for completion in completions]
    prompt = read_question(row, location)
    return read_ranked(
        row, location, prompt, texts, scores, "completions", subset=row.get("source"), authors=_authors(completions)
    )


def _read_rated_list(row: Row, location: RowLocation) -> Example:
    """Read a list of answers and a list of as many ratings (highest is best) or ranks (lowest is best)."""
    answers_field, merits_field = first_field(row, _ANSWERS), first_field(row, (*_MERITS, *_RANKS))
    if answers_field is None or merits_field is None:
        raise location.error("answers", "are missing, or their ratings are")
    if (answers_field, merits_field) == ("completions", "labels"):
        raise location.error(
            "completions",
            "and 'labels' may be the steps of one answer (TRL's stepwise supervision), which state no preference; for "
            "answers and whether they are good use --columns answers=completions,scores=labels",
        )
    answers = read_answers(row[answers_field], location, answers_field)
    if any(answer.history for answer in answers):
        raise location.error(answers_field, "are conversations; expected a list of texts")
    merits = [int(merit) if isinstance(merit, bool) else merit for merit in row[merits_field]]
    prompt = read_question(row, location)
    texts = [answer.text for answer in answers]
    return read_ranked(row, location, prompt, texts, merits, merits_field, lowest_first=merits_field in _RANKS)


def _has_rated_list(row: Row) -> bool:
    lists = first_field(row, _ANSWERS), first_field(row, (*_MERITS, *_RANKS))
    return first_field(row, PROMPT_FIELDS) is not None and all(isinstance(row.get(each or ""), list) for each in lists)


def _read_bbq(row: Row, location: RowLocation) -> Example:
    """Read BBQ: a question about a context with three answers, of which `label` is right."""
    label = read_number(row["label"], "label", location)
    if label not in (0, 1, 2):
        raise location.error("label", f"is {label:g}; expected 0, 1 or 2, the number of the right answer")
    answers = [read_answer(row, f"ans{index}", location) for index in range(3)]
    chosen = answers.pop(int(label))
    context, question = (read_text(row, field, location) for field in ("context", "question"))
    prompt = (Message(role="user", content=f"{context}\n{question}"),)
    return make_example(row, location, prompt, [chosen], answers, subset=row.get("category"))


def _read_choices(row: Row, location: RowLocation) -> Example:
    """Read a question with a list of choices, and the number of the right one from 0."""
    choices, answer = row["choices"], read_number(row["answer"], "answer", location)
    if len(choices) < 2 or not all(isinstance(choice, str) for choice in choices):
        raise location.error("choices", "is not a list of at least two texts")
    if answer not in range(len(choices)):
        raise location.error("answer", f"is {answer:g}; the choices are numbered from 0 to {len(choices) - 1}")
    rejected = [choice for index, choice in enumerate(choices) if index != answer]
    prompt = read_question(row, location)
    return make_example(row, location, prompt, [choices[int(answer)]], rejected, subset=row.get("subject"))


_DO_NOT_ANSWER = "_harmful"


def _read_do_not_answer(row: Row, location: RowLocation) -> Example:
    """Read Do-Not-Answer: for each model `X_response` and `X_harmful`; harmless responses are chosen."""
    models = _models(row)
    for model in models:
        if row[model + _DO_NOT_ANSWER] not in (0, 1, "0", "1"):
            raise location.error(model + _DO_NOT_ANSWER, f"is {row[model + _DO_NOT_ANSWER]!r}; expected 0 or 1")
    texts = [read_answer(row, f"{model}_response", location) for model in models]
    merits = [1 - int(row[model + _DO_NOT_ANSWER]) for model in models]
    prompt = read_conversation(row, "question", location)
    return read_ranked(row, location, prompt, texts, merits, "question", subset=row.get("risk_area"), authors=models)


def _models(row: Row) -> list[str]:
    names = [field.removesuffix(_DO_NOT_ANSWER) for field in row if field.endswith(_DO_NOT_ANSWER)]
    return [
        name for name in names if row.get(f"{name}_response") is not None and row.get(name + _DO_NOT_ANSWER) is not None
    ]


LAYOUTS = (
    Layout("Nectar", ("prompt", "answers"), _read_nectar, also=lambda row: _has_key(row["answers"], "rank")),
    Layout(
        "UltraFeedback",
        ("instruction", "completions"),
        _read_ultrafeedback,
        also=lambda row: _has_key(row["completions"], "response"),
    ),
    Layout("BBQ", ("context", "question", "ans0", "ans1", "ans2", "label"), _read_bbq),
    Layout("Do-Not-Answer", ("question",), _read_do_not_answer, also=lambda row: bool(_models(row))),
    Layout(
        "multiple choice (question, choices, answer)",
        ("question", "choices", "answer"),
        _read_choices,
        also=lambda row: isinstance(row["choices"], list),
    ),
    Layout("a list of answers with ratings or ranks", (), _read_rated_list, also=_has_rated_list),
)


def _has_key(value: Any, key: str) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and key in value[0]
