"""Prompts with labelled answers: those of this project, and files of others in three layouts.

helpful   does what a safe prompt asks for; of an unsafe one it declines the harm, and helps in a way that is safe
refusal   declines, and offers nothing
partial   answers one half of the prompt and declines the other
unsafe    complies with an unsafe prompt, or takes a safe one for unsafe and complies with that

Rows with the same prompt are one prompt with several answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rb_core.audits.model_audit import AuditItem
from rb_core.benchmarks.card import read_card_beside
from rb_core.benchmarks.example import prompt_digest
from rb_core.benchmarks.files import read_rows
from rb_core.benchmarks.layouts.base import read_answer, read_conversation
from rb_core.benchmarks.layouts.reading import prepare_row
from rb_core.benchmarks.row_location import Row, RowError, RowLocation, RowProblems
from rb_core.benchmarks.rows import read_answers, read_name, read_text
from rb_core.errors import DataError, as_text, quoted

OWN_PROMPTS = Path(__file__).with_name("prompts.jsonl")
SAFE, UNSAFE = "safe", "unsafe"  # variants: what the prompt asks for, whatever it sounds like
REFUSAL = "refusal"
ANSWER_LABELS = ("helpful", REFUSAL, "partial", "unsafe")
COMPLIES = {SAFE: "helpful", UNSAFE: "unsafe"}  # label of the answers that do what the prompt asks for

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}  # as a CSV file has them
_CONTRAST = "contrast_"
_HARMFUL, _RESPONSE = "_harmful", "_response"
_LAYOUTS = (
    "prompt, kind, safe and answers (helpful, refusal, partial, unsafe); XSTest completions (prompt, type, completion, "
    "final_label); Do-Not-Answer (question, X_response, X_harmful)"
)


class LabelledPrompts(NamedTuple):
    """Prompts whose answers can be compared: with a refusal, and with an answer that complies.

    sources: of the data; left_out: number of the other prompts in it.
    """

    items: tuple[AuditItem, ...]
    sources: tuple[str, ...]
    left_out: int


def read_prompts(path: Path, columns: Mapping[str, str] | None = None) -> LabelledPrompts:
    """Return the prompts of a file or folder. A card beside it may name columns and source.

    columns: for fields of a layout, the columns of the data that hold them. Raises DataError that names the rows that
    cannot be read, and for data without a prompt whose answers can be compared.
    """
    card = read_card_beside(path)
    merged: dict[str, AuditItem] = {}
    problems = RowProblems()
    for row, location in read_rows(path):
        with problems.collected(location):
            if isinstance(row, RowError):
                raise row
            item = _read_row(prepare_row(row, location, {**card.columns, **(columns or {})}), location)
            digest = prompt_digest(item.prompt)
            merged[digest] = _joined(merged[digest], item, location) if digest in merged else item
    problems.raise_any()
    items = tuple(item for item in merged.values() if {REFUSAL, COMPLIES[item.variant]} <= {*item.labels})
    if not items:
        raise DataError(
            f"{as_text(path.name)}: no prompt has a refusal and an answer that complies (helpful to a safe prompt, "
            "unsafe to an unsafe one)"
        )
    sources = tuple(text for text in (card.title, card.url, card.licence, card.citation) if text)
    return LabelledPrompts(items, sources or (as_text(path.name),), len(merged) - len(items))


def _read_row(row: Row, location: RowLocation) -> AuditItem:
    models = [name.removesuffix(_HARMFUL) for name in row if name.endswith(_HARMFUL)]
    if row.get("safe") is not None:
        return _read_own(row, location)
    if {"prompt", "type", "completion", "final_label"} <= row.keys():
        return _read_completion(row, location)
    if "question" in row and models:
        return _read_do_not_answer(row, models, location)
    raise RowError(location, f"is in no layout of labelled answers: {_LAYOUTS}")


def _read_own(row: Row, location: RowLocation) -> AuditItem:
    """Read a prompt with answers in the fields of their labels, each a text or a list of texts."""
    is_safe = _BOOLEANS.get(str(row["safe"]).lower())
    if is_safe is None:
        raise location.error("safe", f"is {quoted(str(row['safe']))}; expected true or false")
    answers = [
        (label, answer.text)
        for label in ANSWER_LABELS
        if row.get(label)
        for answer in read_answers(row[label], location, label)
    ]
    if not answers:
        raise RowError(location, f"has no answers; their fields are {', '.join(ANSWER_LABELS)}")
    prompt = read_conversation({name: row[name] for name in row if name not in ANSWER_LABELS}, "prompt", location)
    return AuditItem(
        id=location.default_id if row.get("id") is None else read_name(row, "id", location),
        unit=prompt_digest(prompt) if row.get("pair") is None else read_name(row, "pair", location),
        group=read_name(row, "kind", location),
        prompt=prompt,
        completions=tuple(text for _, text in answers),
        labels=tuple(label for label, _ in answers),
        variant=SAFE if is_safe else UNSAFE,
    )


def _read_completion(row: Row, location: RowLocation) -> AuditItem:
    """Read a completion of XSTest (Röttger et al. 2024, arXiv:2308.01263); types of unsafe prompts are contrasts."""
    kind = read_text(row, "type", location)
    variant = UNSAFE if kind.startswith(_CONTRAST) else SAFE
    labels = {"1_full_compliance": COMPLIES[variant], "2_full_refusal": REFUSAL, "3_partial_refusal": "partial"}
    label = read_text(row, "final_label", location)
    if label not in labels:
        raise location.error("final_label", f"is {quoted(label)}; expected {', '.join(labels)}")
    prompt = read_conversation({"prompt": row["prompt"]}, "prompt", location)
    answer = read_answer(row, "completion", location)
    kind = kind.removeprefix(_CONTRAST)
    return AuditItem(
        location.default_id, prompt_digest(prompt), kind, prompt, (answer,), (labels[label],), variant=variant
    )


def _read_do_not_answer(row: Row, models: Sequence[str], location: RowLocation) -> AuditItem:
    """Read an unsafe prompt of Do-Not-Answer (Wang et al. 2024, arXiv:2308.13387) with the answers of several models.

    All that is not harmful counts as a refusal.
    """
    labels = []
    for model in models:
        is_harmful = _BOOLEANS.get(str(row[model + _HARMFUL]).removesuffix(".0"))
        if is_harmful is None:
            raise location.error(model + _HARMFUL, f"is {quoted(str(row[model + _HARMFUL]))}; expected 0 or 1")
        labels.append("unsafe" if is_harmful else REFUSAL)
    prompt = read_conversation({"question": row["question"]}, "question", location)
    kind = "unsafe prompts" if row.get("risk_area") is None else read_text(row, "risk_area", location)
    answers = tuple(read_answer(row, model + _RESPONSE, location) for model in models)
    return AuditItem(location.default_id, prompt_digest(prompt), kind, prompt, answers, tuple(labels), variant=UNSAFE)


def _joined(first: AuditItem, other: AuditItem, location: RowLocation) -> AuditItem:
    """Return a prompt with the answers of two rows. Raises RowError where they do not agree on the prompt."""
    if (first.variant, first.group, first.unit) != (other.variant, other.group, other.unit):
        raise RowError(location, f"has the prompt of {quoted(first.id)}, but is not of the same kind, safety and pair")
    return replace(first, completions=first.completions + other.completions, labels=first.labels + other.labels)
