"""Audit of length: how much more often a model is right where the better answer is the longer one."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import ResultError
from rb_core.leaderboard.board import spec_of_results
from rb_core.leaderboard.store import ResultsStore
from rb_core.results.estimate import Estimate
from rb_core.results.schema import kind_label
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.length import accuracy_by_length
from rb_core.stats.significance import Z95

SHOWN = 15


class LengthGap(NamedTuple):
    """Accuracy where the chosen completion is longer and where it is shorter, as fractions with intervals."""

    model: str
    kind: str
    longer: Estimate
    shorter: Estimate

    @property
    def gap(self) -> float:
        return (self.longer.value or 0.0) - (self.shorter.value or 0.0)

    @property
    def half_width(self) -> float:
        """Half of the gap's 95% interval; the two classes have no example in common."""
        return float(Z95 * np.hypot(self.longer.stderr or 0.0, self.shorter.stderr or 0.0))


def length_report(root: Path, benchmark: str) -> AuditReport:
    """Return the report on a benchmark's models in a results root, where outcomes and lengths of items are known.

    Raises ResultError if there are none.
    """
    store = ResultsStore(root)
    store.refresh()
    results, known = store.results(benchmark), store.known_outcomes(benchmark)
    gaps = [
        gap
        for model, outcomes in known.items()
        if (gap := length_gap(model, kind_label(results[model].model), outcomes, spec_of_results([results[model]])))
    ]
    if not gaps:
        raise ResultError(f"{root}: no model of {benchmark} with known lengths of its items' completions")
    gaps.sort(key=lambda gap: -gap.gap)
    title = spec_of_results(list(results.values())).title
    median = float(np.median([gap.gap for gap in gaps]))
    most, least = gaps[0], min(gaps, key=lambda gap: abs(gap.gap))
    items = (most.longer.scored or 0) + (most.shorter.scored or 0)
    return AuditReport(
        audit=f"length-{benchmark}",
        title="Length",
        question=f"Are models right on {title} because the better answer is the longer one?",
        answer=(
            f"Half of {len(gaps)} models are at least {100 * median:.1f} points more accurate where the chosen answer "
            "is the longer one.",
            f"{most.model} is right in {most.longer.value:.1%} of the pairs with a longer chosen answer and in "
            f"{most.shorter.value:.1%} of those with a shorter one; {least.model} in {least.longer.value:.1%} and "
            f"{least.shorter.value:.1%}.",
        ),
        tables=(_kind_table(gaps), _gap_table(gaps)),
        figure=_figure(gaps, {most.model, least.model}),
        cautions=(
            f"The texts of {items:,} items with different lengths are known; the two classes have different items, and "
            "subsets differ in both length and difficulty.",
            "A gap may be a preference for length or for what longer answers have: more detail, more formatting.",
        ),
        method=(
            "Accuracy by the sign of the difference in characters between chosen and rejected completions. The "
            "interval of a gap adds the variances of the two accuracies."
        ),
        sources=tuple(dict.fromkeys(o.source for o in known.values() if o.source)),
        command=f"python -m rb_core audit length {benchmark} --out leaderboard_data --overwrite",
    )


def length_gap(model: str, kind: str, outcomes: ItemOutcomes, spec: BenchmarkSpec) -> LengthGap | None:
    """Return a model's length gap; None where lengths, or outcomes of one of the two classes, are not known."""
    accuracies = accuracy_by_length(outcomes, spec)
    longer, shorter = accuracies.get("chosen longer"), accuracies.get("chosen shorter")
    if not longer or not shorter or longer.value is None or shorter.value is None:
        return None
    return LengthGap(model, kind, longer, shorter)


def _figure(gaps: list[LengthGap], named: set[str]) -> AuditFigure:
    return AuditFigure(
        kind="points",
        title="Accuracy where the chosen answer is shorter, by accuracy where it is longer",
        x_label="Accuracy where the chosen answer is longer",
        y_label="Accuracy where it is shorter",
        points=tuple(
            AuditPoint(
                label=gap.model,
                x=gap.longer.value or 0.0,
                y=gap.shorter.value or 0.0,
                group=gap.kind,
                named=gap.model in named,
            )
            for gap in gaps
        ),
        diagonal=True,
    )


def _kind_table(gaps: list[LengthGap]) -> AuditTable:
    by_kind: dict[str, list[float]] = defaultdict(list)
    for gap in gaps:
        by_kind[gap.kind].append(gap.gap)
    ordered = sorted(by_kind.items(), key=lambda entry: -len(entry[1]))
    rows = [(kind, len(values), float(np.median(values)), min(values), max(values)) for kind, values in ordered]
    return AuditTable(
        title="Length gap by kind of model",
        columns=("Kind", "Models", "Median gap", "Smallest", "Largest"),
        rows=tuple(rows),
    )


def _gap_table(gaps: list[LengthGap]) -> AuditTable:
    shown = gaps if len(gaps) <= 2 * SHOWN else gaps[:SHOWN] + gaps[-SHOWN:]
    rows = [
        (g.model, g.longer.value, g.shorter.value, g.gap, g.gap - g.half_width, g.gap + g.half_width) for g in shown
    ]
    return AuditTable(
        title="Models with the largest and with the smallest gaps",
        columns=("Model", "Chosen longer", "Chosen shorter", "Gap", "95% low", "95% high"),
        rows=tuple(rows),
    )
