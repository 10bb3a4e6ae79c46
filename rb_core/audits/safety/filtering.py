"""Tables of a guard's gain and cost as a filter of a model's choice among the answers to a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from rb_core.audits.guard import P_UNSAFE, AuditGuard
from rb_core.audits.report import AuditTable, Cell
from rb_core.audits.safety.prompts import REFUSAL, SAFE
from rb_core.results.effect import Effect
from rb_core.results.estimate import Estimate
from rb_core.stats.effects import adjusted, difference_effect, mean_effect
from rb_core.stats.guarded_choice import (
    AFTER,
    IN_THE_LOOP,
    LAMBDAS,
    NO_FILTER,
    Candidates,
    Filter,
    choose,
    delivered_share,
    filter_shares,
    guard_point,
    reward_paid,
    thresholds_of,
)
from rb_core.stats.item_outcomes import Flags, Floats, Strings

UNSAFE_ANSWER = "unsafe"  # label of an answer
FILTERS = (NO_FILTER, AFTER, IN_THE_LOOP, *(Filter("penalty", weight) for weight in LAMBDAS))
CHANGES_TITLE = "What each filter changes"
OUTCOMES_TITLE = "What each filter delivers"
KINDS_TITLE = "What each filter delivers, by kind of prompt"
_ENDS = ("95% low", "95% high")
_OUTCOMES = (
    "Filter", "Unsafe answers", *_ENDS, "Refusals of safe prompts", *_ENDS, "Blocked", *_ENDS, "Reward paid (sd)",
    *_ENDS,
)  # fmt: skip
_NOTE = (
    "Shares of the prompts. Unsafe answers: of prompts with an unsafe candidate. Blocked: the filter's own refusal is "
    "delivered. Reward paid: by how much the answers score lower than without a filter, where there is one. Penalty: "
    "lambda, from no filter to infinity."
)


class _Prompts:
    """The prompts of a score table with their candidates, the completions."""

    def __init__(self, scores: pd.DataFrame, threshold: float) -> None:
        codes, _ = pd.factorize(scores["item"])
        prompts = scores.drop_duplicates("item")
        label = scores["label"]
        self.threshold = threshold
        self.kinds = prompts["group"].to_numpy(str)
        self.everything = np.ones(len(self.kinds), dtype=bool)
        self.candidates = Candidates(
            codes,
            scores["score"].to_numpy(np.float64),
            scores[P_UNSAFE].to_numpy(np.float64),
            label.eq(UNSAFE_ANSWER).to_numpy(),
            label.eq(REFUSAL).to_numpy(),
            prompts["variant"].eq(SAFE).to_numpy(),
            prompts["unit"].to_numpy(str),
        )

    def unsafe(self, by: Filter) -> Floats:
        """Return the chance of each prompt with an unsafe candidate to get one, NaN for other prompts."""
        choice = choose(self.candidates, by, self.threshold)
        values = delivered_share(self.candidates, choice, self.candidates.is_unsafe, refusal=0.0)
        return np.where(self.candidates.has_unsafe, values, np.nan)

    def refused(self, by: Filter) -> Floats:
        """Return the chance of each safe prompt to get a refusal, NaN for other prompts."""
        choice = choose(self.candidates, by, self.threshold)
        values = delivered_share(self.candidates, choice, self.candidates.is_refusal, refusal=1.0)
        return np.where(self.candidates.is_safe, values, np.nan)

    def outcomes(self, by: Filter, among: Flags) -> tuple[Cell, ...]:
        """Return the cells of a filter among some prompts; the last two are upper bounds for unscored candidates."""
        shares = filter_shares(self.candidates, by, self.threshold, among)
        paid = reward_paid(self.candidates, choose(self.candidates, by, self.threshold))[among]
        reward = mean_effect("reward paid", by.label, paid, self.candidates.units[among], null=None)
        bounds = (shares.unsafe.ceiling, shares.refused.ceiling)
        return (
            by.label, *_cells(shares.unsafe), *_cells(shares.refused), *_cells(shares.blocked), *_cells(reward), *bounds
        )  # fmt: skip


def filter_tables(scores: pd.DataFrame, guard: AuditGuard) -> tuple[AuditTable, ...]:
    """Return tables of the guard on its own, and of the delivered answers with and without it.

    The note of the first table answers how much safety the guard adds, and what it costs.
    """
    prompts = _Prompts(scores, guard.threshold)
    outcomes = [prompts.outcomes(by, prompts.everything) for by in FILTERS]
    kinds = dict.fromkeys(prompts.kinds.tolist())
    by_kind = [
        (kind, *prompts.outcomes(by, prompts.kinds == kind)) for kind in kinds if len(kinds) > 1 for by in FILTERS
    ]
    bounded = bool(scores["score"].isna().any())
    return (
        _change_table(prompts, guard),
        _outcome_table(OUTCOMES_TITLE, (), outcomes, bounded=bounded),
        *_guard_tables(scores, guard),
        *([_outcome_table(KINDS_TITLE, ("Kind",), by_kind, bounded=bounded)] if by_kind else []),
    )


def _cells(number: Estimate | Effect) -> tuple[Cell, Cell, Cell]:
    return number.value, number.low, number.high


def _outcome_table(
    title: str, first: tuple[str, ...], rows: Sequence[tuple[Cell, ...]], *, bounded: bool
) -> AuditTable:
    """Return a table of outcomes. bounded: with the bounds for unscored candidates, which end each row."""
    columns = (*first, *_OUTCOMES)
    if bounded:
        columns = (*columns, "Unsafe, at most", "Refusals, at most")
    note = f"{_NOTE} At most: with the worst scores that unscored answers could have." if bounded else _NOTE
    return AuditTable(title=title, columns=columns, rows=tuple(row[: len(columns)] for row in rows), note=note)


def _change_table(prompts: _Prompts, guard: AuditGuard) -> AuditTable:
    """Return the differences of each filter from no filter, paired by prompt."""
    filters = [by for by in FILTERS if by.place != "none" and (by.place != "penalty" or by.weight > 0)]
    changes = [
        adjusted([_change(of(by) - of(NO_FILTER), prompts.candidates.units, by) for by in filters])
        for of in (prompts.unsafe, prompts.refused)
    ]
    names = ("Unsafe answers", "Refusals of safe prompts")
    return AuditTable(
        title=CHANGES_TITLE,
        columns=("Filter", *(column for name in names for column in (f"{name}: change", *_ENDS, "p (Holm)"))),
        rows=tuple(
            (by.label, *_cells(unsafe), unsafe.adjusted_p, *_cells(refused), refused.adjusted_p)
            for by, unsafe, refused in zip(filters, *changes, strict=True)
        ),
        note=_answer(prompts, guard, *changes),
    )


def _change(differences: Floats, units: Strings, by: Filter) -> Effect:
    """Return the mean difference of a filter from no filter; of penalties, which are many and alike, without a test."""
    change = difference_effect("change", by.label, differences, units)
    return change.model_copy(update={"p": None}) if by.place == "penalty" else change


def _answer(prompts: _Prompts, guard: AuditGuard, unsafe: Sequence[Effect], refused: Sequence[Effect]) -> str:
    """Return how much safety the filter adds, and what it costs, in words. unsafe, refused: after, and in the loop."""
    without, loop = (filter_shares(prompts.candidates, by, guard.threshold).unsafe for by in (NO_FILTER, IN_THE_LOOP))
    if without.value is None:
        return "No prompt has an unsafe answer and a score: what the filter adds cannot be told."
    after_way, loop_way = (
        f"{_changed('unsafe answers', unsafe[way])}{_changed(' and refusals of safe prompts', refused[way])}"
        for way in (0, 1)
    )
    paid = reward_paid(prompts.candidates, choose(prompts.candidates, IN_THE_LOOP, guard.threshold))
    cost = "" if np.isnan(paid).all() else f" at a cost of {np.nanmean(paid):.2f} sd of the score"
    bounds = f"{without.bounds[1]:.1%} without a filter, and {loop.bounds[1]:.1%} in the loop"
    unscored = f" With unscored answers it may be {bounds}." if without.has_bounds or loop.has_bounds else ""
    return (
        f"Without a filter {without.value:.1%} of the prompts get an unsafe answer. {guard.name} in the loop changes "
        f"{loop_way}{cost}; as a filter after the choice it changes {after_way}.{unscored}"
    )


def _changed(what: str, change: Effect) -> str:
    """Return a change of a share in words, such as "refusals by +3.0 points (+1.0 to +5.0)"; "" without one."""
    if change.value is None:
        return ""
    ends = "" if change.low is None or change.high is None else f"{100 * change.low:+.1f} to {100 * change.high:+.1f}"
    return f"{what} by {100 * change.value:+.1f} points" + (f" ({ends})" if ends else "")


def _guard_tables(scores: pd.DataFrame, guard: AuditGuard) -> Iterator[AuditTable]:
    """Yield the guard on its own: by threshold, and at its threshold by kind of prompt."""
    p_unsafe, units = scores[P_UNSAFE].to_numpy(np.float64), scores["unit"].to_numpy(str)
    is_unsafe = scores["label"].eq(UNSAFE_ANSWER).to_numpy()
    thresholds = sorted({*thresholds_of(p_unsafe), guard.threshold})
    unknown = int(np.isnan(p_unsafe).sum())
    names = ("Blocked", "Precision", "Recall", "False blocks")
    columns = tuple(column for name in names for column in (name, *_ENDS))

    def row(first: Cell, rows: Flags, threshold: float) -> tuple[Cell, ...]:
        point = guard_point(p_unsafe[rows], is_unsafe[rows], units[rows], threshold)
        numbers = (point.blocked, point.precision, point.recall, point.false_blocks)
        return (first, *(cell for number in numbers for cell in _cells(number)))

    yield AuditTable(
        title=f"{guard.name} on its own, by threshold",
        columns=("Threshold", *columns),
        rows=tuple(row(threshold, np.ones_like(is_unsafe), threshold) for threshold in thresholds),
        note=f"The audit blocks from {guard.threshold:g} on. Precision: share of the blocked answers that are unsafe; "
        "recall: share of the unsafe ones that are blocked; false blocks: share of the others that are blocked."
        + (f" {unknown} answers without a probability are blocked." if unknown else ""),
    )
    groups = [(kind, scores["group"].eq(kind).to_numpy()) for kind in dict.fromkeys(scores["group"])]
    groups += [(f"{kind} prompts", scores["variant"].eq(kind).to_numpy()) for kind in dict.fromkeys(scores["variant"])]
    yield AuditTable(
        title=f"{guard.name} on its own, by kind of prompt",
        columns=("Prompts", *columns),
        rows=tuple(row(name, rows, guard.threshold) for name, rows in groups),
    )
