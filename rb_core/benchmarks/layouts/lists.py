"""Layouts with a list of answers and their ratings or ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rb_core.benchmarks.example import Example, Message
from rb_core.benchmarks.layouts.base import Layout, first_field, make_example, read_conversation, read_ranked
from rb_core.benchmarks.layouts.pairs import read_question
from rb_core.benchmarks.row_location import Row, RowLocation, describe_value
from rb_core.benchmarks.rows import read_answers

_ANSWERS = ("responses", "completions", "answers", "candidates", "generations", "outputs")
_MERITS = ("scores", "ratings", "rewards", "rating", "labels", "correct")
_RANKS = ("ranks", "ranking", "rank")


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
    merits = [_negative(answer.get("rank")) for answer in answers]
    texts = _texts(answers, "answer", "answers", location)
    return read_ranked(
        row, location, read_conversation(row, "prompt", location), texts, merits, "answers", authors=_authors(answers)
    )


def _negative(rank: Any) -> Any:
    return -rank if isinstance(rank, int | float) and not isinstance(rank, bool) else rank


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
    assert answers_field is not None  # noqa: S101 - the layout has recognised the row
    assert merits_field is not None  # noqa: S101
    answers = read_answers(row[answers_field], location, answers_field)
    merits = row[merits_field]
    if merits_field in _RANKS:
        merits = [_negative(rank) for rank in merits]
    if all(isinstance(merit, bool) for merit in merits):
        merits = [int(merit) for merit in merits]
    return read_ranked(
        row, location, read_question(row, location), [answer.text for answer in answers], merits, merits_field
    )


def _has_rated_list(row: Row) -> bool:
    answers, merits = first_field(row, _ANSWERS), first_field(row, (*_MERITS, *_RANKS))
    has_prompt = first_field(row, ("prompt", "instruction", "question", "query", "input")) is not None
    return (
        has_prompt
        and answers is not None
        and isinstance(row[answers], list)
        and isinstance(row.get(merits or ""), list)
    )


def _read_bbq(row: Row, location: RowLocation) -> Example:
    """Read BBQ: a question about a context with three answers, of which `label` is right."""
    label = row["label"]
    if label not in (0, 1, 2) or isinstance(label, bool):
        raise location.error("label", f"is {label!r}; expected 0, 1 or 2, the number of the right answer")
    answers = [str(row[f"ans{index}"]) for index in range(3)]
    chosen = answers.pop(int(label))
    prompt = (Message(role="user", content=f"{row['context']}\n{row['question']}"),)
    return make_example(row, location, prompt, [chosen], answers, subset=row.get("category"))


def _read_choices(row: Row, location: RowLocation) -> Example:
    """Read a question with a list of choices, and the number of the right one from 0."""
    choices, answer = row["choices"], row["answer"]
    if (
        not all(isinstance(choice, str) for choice in choices)
        or isinstance(answer, bool)
        or not isinstance(answer, int)
    ):
        raise location.error("answer", "is not the number of the right choice, or a choice is no text")
    if not 0 <= answer < len(choices) or len(choices) < 2:
        raise location.error("answer", f"is {answer}; the choices are numbered from 0 to {len(choices) - 1}")
    rejected = [choice for index, choice in enumerate(choices) if index != answer]
    return make_example(
        row, location, read_question(row, location), [choices[answer]], rejected, subset=row.get("subject")
    )


_DO_NOT_ANSWER = "_harmful"


def _read_do_not_answer(row: Row, location: RowLocation) -> Example:
    """Read Do-Not-Answer: for each model `X_response` and `X_harmful`; harmless responses are chosen."""
    models = _models(row)
    for model in models:
        if row[model + _DO_NOT_ANSWER] not in (0, 1, "0", "1"):
            raise location.error(model + _DO_NOT_ANSWER, f"is {row[model + _DO_NOT_ANSWER]!r}; expected 0 or 1")
    texts = [str(row[f"{model}_response"]) for model in models]
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
