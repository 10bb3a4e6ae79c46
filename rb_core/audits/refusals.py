"""Audit of refusals: how often a model prefers to refuse a safe prompt, and to comply with an unsafe one.

The two are opposite errors: their mean, a Safety score, hides which one a model makes. (Röttger et al. 2024, XSTest,
arXiv:2308.01263; Brahman et al. 2024, arXiv:2407.12043.)
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable, Cell
from rb_core.errors import ResultError
from rb_core.leaderboard.store import ResultsStore
from rb_core.results.estimate import Estimate
from rb_core.results.schema import kind_label
from rb_core.stats.correlation import MIN_PAIRS, correlate_ranks
from rb_core.stats.intervals import mean_estimate
from rb_core.stats.item_outcomes import ItemOutcomes

BENCHMARK = "rewardbench"
SAFE = ("xstest-should-respond",)  # the chosen answer complies
UNSAFE = ("xstest-should-refuse", "refusals-dangerous", "refusals-offensive", "donotanswer")  # the chosen one refuses

# (rule, over-refusal, under-refusal) of preferences that need no model.
RULES = (("always prefers the refusal", 1.0, 0.0), ("never prefers the refusal", 0.0, 1.0))


class RefusalErrors(NamedTuple):
    """The two error rates of a model, as fractions with intervals."""

    model: str
    kind: str
    over: Estimate
    under: Estimate


def refusals_report(root: Path) -> AuditReport:
    """Return the report on RewardBench's models in a results root whose outcomes of single items are known.

    Raises ResultError if there are none.
    """
    store = ResultsStore(root)
    store.refresh()
    known = store.known_outcomes(BENCHMARK)
    models = [
        RefusalErrors(name, kind_label(store.results(BENCHMARK)[name].model), *errors)
        for name, outcomes in known.items()
        if (errors := refusal_errors(outcomes)) is not None
    ]
    if len(models) < MIN_PAIRS:
        raise ResultError(
            f"{root}: item outcomes of {len(models)} models of {BENCHMARK}; at least {MIN_PAIRS} are needed"
        )
    rates = np.array([(model.over.value, model.under.value) for model in models], dtype=np.float64)
    correlation = correlate_ranks(rates[:, 0], rates[:, 1])
    medians = _medians(models)
    return AuditReport(
        audit="refusals",
        title="Over- and under-refusal",
        question="Does a model prefer to refuse safe requests, or to comply with unsafe ones?",
        answer=(
            f"The median of {len(models)} models prefers a refusal for {np.median(rates[:, 0]):.0%} of the safe "
            f"prompts and compliance for {np.median(rates[:, 1]):.0%} of the unsafe ones.",
            f"The two errors are only weakly related (Spearman's rank correlation {correlation.spearman:.2f}, "
            f"{correlation.low:.2f} to {correlation.high:.2f}): one Safety score does not say which one a model makes.",
            _kinds_sentence(medians),
            _opposites_sentence(models),
        ),
        tables=(_kind_table(medians), _model_table(models)),
        figure=AuditFigure(
            kind="points",
            title="Over-refusal and under-refusal of each model; the ideal is the lower left corner",
            x_label="Over-refusal: prefers to refuse a safe prompt",
            y_label="Under-refusal: prefers to comply with an unsafe one",
            points=tuple(_map_points(models)),
            ideal=(0.0, 0.0),
        ),
        cautions=(
            "The unsafe prompts are of four sources of different difficulty, pooled by number of items.",
            "A reward model's preference is not what a policy trained with it will do.",
            "Some labels are disputed.",
        ),
        method=(
            f"Over-refusal: share of the pairs of {', '.join(SAFE)} in which the refusal is preferred; under-refusal: "
            f"share of the pairs of {', '.join(UNSAFE)} in which compliance is preferred; ties count as errors. "
            "Intervals as on the board; that of the rank correlation by Bonett and Wright (2000, "
            "doi:10.1007/BF02294183)."
        ),
        sources=tuple(dict.fromkeys(o.source for o in known.values() if o.source)),
        command="python -m rb_core audit refusals --out leaderboard_data --overwrite",
    )


def refusal_errors(outcomes: ItemOutcomes) -> tuple[Estimate, Estimate] | None:
    """Return over- and under-refusal; None if a model has no scored pair of one of the two."""
    estimates = []
    for subsets in (SAFE, UNSAFE):
        part = outcomes.take(np.isin(outcomes.subsets, subsets))
        if not part.scored.any():
            return None
        estimates.append(mean_estimate(1 - part.credits, part.groups))
    over, under = estimates
    return over, under


def _medians(models: list[RefusalErrors]) -> dict[str, tuple[int, float, float]]:
    """Return number of models and median errors by kind, the most frequent kind first."""
    by_kind: dict[str, list[RefusalErrors]] = defaultdict(list)
    for model in models:
        by_kind[model.kind].append(model)
    ordered = sorted(by_kind.items(), key=lambda entry: -len(entry[1]))
    return {
        kind: (len(group), _median([m.over for m in group]), _median([m.under for m in group]))
        for kind, group in ordered
    }


def _median(estimates: list[Estimate]) -> float:
    return float(np.median([estimate.value or 0.0 for estimate in estimates]))


def _kinds_sentence(medians: dict[str, tuple[int, float, float]]) -> str:
    parts = [
        f"{kind} {over:.3f} over, {under:.3f} under (n = {n})" for kind, (n, over, under) in medians.items() if n > 3
    ]
    return f"Medians by kind of model: {'; '.join(parts)}."


def _map_points(models: list[RefusalErrors]) -> list[AuditPoint]:
    """Return the points of the models and of two rules without a model; best model and opposites are named."""
    named = {min(models, key=_larger_error).model, *(model.model for model in _opposites(models))}
    points = [
        AuditPoint(
            label=m.model, x=m.over.value or 0.0, y=m.under.value or 0.0, group=m.kind, named=m.model in named
        )
        for m in models
    ]  # fmt: skip
    rules = [AuditPoint(label=rule, x=over, y=under, named=True) for rule, over, under in RULES]
    return points + rules


def _larger_error(model: RefusalErrors) -> float:
    return max(model.over.value or 0.0, model.under.value or 0.0)


def _opposites(models: list[RefusalErrors]) -> tuple[RefusalErrors, ...]:
    """Return two models of the better half with the same mean error whose errors differ most; () without any."""

    def mean(model: RefusalErrors) -> float:
        return ((model.over.value or 0.0) + (model.under.value or 0.0)) / 2

    def skew(model: RefusalErrors) -> float:
        return (model.over.value or 0.0) - (model.under.value or 0.0)

    better = sorted(models, key=mean)[: len(models) // 2]
    pairs = [(a, b) for a in better for b in better if skew(a) > skew(b) and abs(mean(a) - mean(b)) < 0.01]
    return max(pairs, key=lambda pair: skew(pair[0]) - skew(pair[1]), default=())


def _opposites_sentence(models: list[RefusalErrors]) -> str:
    opposites = _opposites(models)
    if not opposites:
        return "No two models have the same mean error."
    texts = [f"{m.model} {m.over.value or 0.0:.3f} over and {m.under.value or 0.0:.3f} under" for m in opposites]
    return f"Two models with the same mean error can be opposites: {texts[0]}, {texts[1]}."


def _kind_table(medians: dict[str, tuple[int, float, float]]) -> AuditTable:
    nulls: list[tuple[Cell, ...]] = [(rule, None, over, under) for rule, over, under in RULES]
    rows: list[tuple[Cell, ...]] = [(kind, *values) for kind, values in medians.items()]
    return AuditTable(
        title="Median errors by kind of model, and of two rules without a model",
        columns=("Kind", "Models", "Over-refusal", "Under-refusal"),
        rows=tuple(rows + nulls),
    )


def _model_table(models: list[RefusalErrors]) -> AuditTable:
    rows = [
        (
            m.model, m.kind, m.over.value, m.over.low, m.over.high, m.under.value, m.under.low, m.under.high,
        )
        for m in sorted(models, key=_larger_error)
    ]  # fmt: skip
    return AuditTable(
        title="All models, those whose larger error is smallest first",
        columns=("Model", "Kind", "Over-refusal", "95% low", "95% high", "Under-refusal", "95% low", "95% high"),
        rows=tuple(rows),
    )
