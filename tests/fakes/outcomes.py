"""Score tables and item outcomes made by hand, and simulated ones whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.spec import Section
from rb_core.stats.item_outcomes import ItemOutcomes, Rows

Row = tuple[str, str, str, int, Sequence[float]]  # id, subset, group, number of chosen, scores

PAIRS = custom_spec("custom-pairs", {"a": 1, "b": 1})
PLAIN = custom_spec("plain", {"s": 1})


def score_table(rows: Sequence[Row], tokens: Sequence[int] = ()) -> pd.DataFrame:
    """Return a score table with an example per row; tokens: lengths of the completions of each example."""
    flat = [
        (i, subset, group, c, c < chosen, score, tokens[c] if tokens else 10, False, "NaN" if math.isnan(score) else "")
        for i, subset, group, chosen, scores in rows
        for c, score in enumerate(scores)
    ]
    columns = ["example_id", "subset", "group", "completion", "is_chosen", "score", "num_tokens", "truncated", "reason"]
    frame = pd.DataFrame(flat, columns=columns).astype({"score": "float64"})
    return frame.assign(num_completion_tokens=frame["num_tokens"])


def pairs(subset: str, credits: Sequence[float]) -> list[Row]:
    """Return pairs of one subset: 1 right, 0 wrong, 0.5 tied, NaN unscored."""
    margins = [math.nan if math.isnan(credit) else 2 * credit - 1 for credit in credits]
    return [(f"{subset}-{i}", subset, f"{subset}-{i}", 1, (m, 0.0)) for i, m in enumerate(margins)]


def item_outcomes(
    model: str,
    credits: Sequence[float],
    *,
    subsets: Sequence[str] = (),
    groups: Sequence[str] = (),
    ids: Sequence[str] = (),
    benchmark: str = "plain",
) -> ItemOutcomes:
    """Return outcomes of a model; by default of one subset, each example its own group."""
    names = np.array(ids or [f"e{n}" for n in range(len(credits))], dtype=np.str_)
    return ItemOutcomes(
        model=model,
        benchmark=benchmark,
        example_ids=names,
        subsets=np.array(subsets or ["s"] * len(credits), dtype=np.str_),
        groups=np.array(groups, dtype=np.str_) if groups else names,
        credits=np.array(credits, dtype=np.float64),
    )


def without_scores(outcomes: ItemOutcomes, rows: Rows) -> ItemOutcomes:
    """Return the outcomes with some examples unscored."""
    columns = {"credits": outcomes.credits, "margins": outcomes.margins, "spreads": outcomes.spreads}
    changed = {name: column.copy() for name, column in columns.items() if column is not None}
    for column in changed.values():
        column[rows] = math.nan
    return replace(outcomes, **changed)


SIMULATED = replace(
    custom_spec("plain", {"s": 1, "t": 1, "u": 1}),
    sections=(Section("S", {"s": 2.0, "t": 1.0}), Section("T", {"u": 1.0}, headline_weight=0.5)),
)
SIMULATED_SIZES = {"s": 100, "t": 60, "u": 80}
EASE = np.array([0.3, 0.6, 0.95])  # probability of a right answer, by prompt, each as likely


def simulate_outcomes(rng: np.random.Generator, powers: Sequence[float]) -> list[ItemOutcomes]:
    """Return outcomes of a model per power on `SIMULATED`, two examples per prompt.

    A model is right with probability ease ** power, where the ease of a prompt is the same for all models.
    """
    subsets = [name for name, size in SIMULATED_SIZES.items() for _ in range(size)]
    groups = [f"{name}{n // 2}" for name, size in SIMULATED_SIZES.items() for n in range(size)]
    ease = rng.choice(EASE, len(subsets) // 2).repeat(2)
    return [
        item_outcomes(
            f"m{n}", (rng.random(len(ease)) < ease**power).astype(float).tolist(), subsets=subsets, groups=groups
        )
        for n, power in enumerate(powers)
    ]
