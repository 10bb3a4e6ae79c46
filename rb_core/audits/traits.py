"""The traits of a board's models: what a score does not say, from outcomes and results that are already there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rb_core.audits.length import length_gap
from rb_core.audits.refusals import refusal_errors
from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.leaderboard.board import DIGITS, Board, BoardRow
from rb_core.results.schema import KIND_LABELS
from rb_core.stats.item_outcomes import ItemOutcomes

BASELINE = KIND_LABELS["baseline"]
NO_OUTCOMES = "outcomes of single examples are not known"
NO_REFUSALS = "no pairs with a refusal"


class TraitValue(NamedTuple):
    """A fraction, or a difference of two, with the ends of its 95% interval where known."""

    value: float
    low: float | None = None
    high: float | None = None


class Trait(NamedTuple):
    """A trait and its values by model; `missing` has the reason for each model without a value."""

    key: str
    label: str
    description: str
    values: Mapping[str, TraitValue]
    missing: Mapping[str, str]


_DESCRIPTIONS = {
    "length-gap": (
        "Length gap",
        "Accuracy where the better answer is the longer one, minus accuracy where it is the shorter one; 0 is best",
    ),
    "over-refusal": ("Over-refusal", "Share of safe prompts for which the model prefers the refusal; 0 is best"),
    "under-refusal": (
        "Under-refusal",
        "Share of unsafe prompts for which the model prefers the answer that complies; 0 is best",
    ),
    "lift": ("Lift", "Score minus that of the best baseline, which reads no meaning"),
}


def board_traits(
    board: Board, outcomes: Mapping[str, ItemOutcomes | None], spec: BenchmarkSpec | None = None
) -> tuple[Trait, ...]:
    """Return the traits that at least one model of the board has a value of.

    Args:
        outcomes: those of single examples by model, where known.
        spec: needed for a benchmark that is not registered.
    """
    spec = spec or BENCHMARKS.get(board.id) or custom_spec(board.id)
    baselines = [row.headline.ranked_by or 0.0 for row in board.ranked() if row.kind == BASELINE]
    best_baseline = max(baselines, default=None)
    cells = {row.model: _traits_of(row, outcomes.get(row.model), spec, best_baseline) for row in board.rows}
    traits = (
        Trait(
            key,
            label,
            description,
            {model: cell for model, by_key in cells.items() if isinstance(cell := by_key[key], TraitValue)},
            {model: cell for model, by_key in cells.items() if isinstance(cell := by_key[key], str)},
        )
        for key, (label, description) in _DESCRIPTIONS.items()
    )
    return tuple(trait for trait in traits if trait.values)


def _traits_of(
    row: BoardRow, outcomes: ItemOutcomes | None, spec: BenchmarkSpec, best_baseline: float | None
) -> dict[str, TraitValue | str]:
    """Return each trait's value; if it is missing, the reason instead."""
    if row.kind == BASELINE:
        return dict.fromkeys(_DESCRIPTIONS, "a baseline")
    over, under = _refusals(outcomes)
    gap = _length_gap(row, outcomes, spec)
    return {"length-gap": gap, "over-refusal": over, "under-refusal": under, "lift": _lift(row, best_baseline)}


def _length_gap(row: BoardRow, outcomes: ItemOutcomes | None, spec: BenchmarkSpec) -> TraitValue | str:
    if outcomes is None:
        return NO_OUTCOMES
    gap = length_gap(row.model, row.kind, outcomes, spec)
    if gap is None:
        return "lengths of the answers are not known"
    return TraitValue(gap.gap, gap.gap - gap.half_width, gap.gap + gap.half_width)


def _refusals(outcomes: ItemOutcomes | None) -> tuple[TraitValue | str, TraitValue | str]:
    if outcomes is None:
        return NO_OUTCOMES, NO_OUTCOMES
    errors = refusal_errors(outcomes)
    if errors is None:
        return NO_REFUSALS, NO_REFUSALS
    over, under = (TraitValue(e.value, e.low, e.high) if e.value is not None else NO_REFUSALS for e in errors)
    return over, under


def _lift(row: BoardRow, best_baseline: float | None) -> TraitValue | str:
    value = row.headline.ranked_by
    if best_baseline is None:
        return "no baseline on this board"
    return "no rank" if row.rank is None or value is None else TraitValue(value - best_baseline)


def traits_json(board: Board, traits: Sequence[Trait]) -> list[dict[str, Any]]:
    """Return the traits as the page has them; cells: for each row [value, low, high] or the reason for none."""

    def cell(trait: Trait, model: str) -> list[float | None] | str:
        if model in trait.missing:
            return trait.missing[model]
        return [None if part is None else round(part, DIGITS) for part in trait.values[model]]

    return [
        {
            "key": trait.key,
            "label": trait.label,
            "description": trait.description,
            "cells": [cell(trait, row.model) for row in board.rows],
        }
        for trait in traits
    ]
