"""Audit of labels: items that strong models agree to miss, how likely their labels are wrong, and what that changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rb_core.audits.corrections import Correction, corrected
from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable, Cell
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import ResultError
from rb_core.files import write_atomically
from rb_core.leaderboard.board import spec_of_results
from rb_core.leaderboard.hub_links import discussion_page
from rb_core.leaderboard.store import ResultsStore
from rb_core.stats.composition import compose
from rb_core.stats.item_outcomes import Codes, Flags, Floats, ItemOutcomes
from rb_core.stats.label_errors import LabelErrors, fit_label_errors
from rb_core.stats.rank_intervals import rank_of

NUM_STRONG = 30
SHOWN_ITEMS, SHOWN_MODELS = 200, 20
SUSPECT_COLUMNS = ("Item", "Subset", "Missed by the best", "Missed by all", "Probability wrong", "Verdict")
MIN_MODELS = 10
LIKELY = 0.5  # the lowest probability of a suspect


@dataclass(frozen=True)
class OutcomeMatrix:
    """Credits of models on the items that most of them have: (models, items), NaN where unknown."""

    outcomes: tuple[ItemOutcomes, ...]
    item_ids: tuple[str, ...]
    subsets: tuple[str, ...]
    credits: Floats

    @cached_property
    def best_first(self) -> Codes:
        """The models' places by mean credit."""
        return np.argsort(-np.nanmean(self.credits, axis=1), kind="stable")

    @cached_property
    def strong(self) -> Floats:
        """The rows of the best models by mean credit."""
        rows: Floats = self.credits[self.best_first[: min(NUM_STRONG, len(self.credits) // 2)]]
        return rows

    @cached_property
    def missed(self) -> Floats:
        """Share of the models that miss each item."""
        return np.asarray(1 - np.nanmean(self.credits, axis=0))

    @cached_property
    def missed_by_strong(self) -> Floats:
        return np.asarray(1 - np.nanmean(self.strong, axis=0))

    def discrimination(self) -> Floats:
        """Return the correlation of each item's credits with the models' mean credit on the other items.

        NaN for an item that all models get right, or all miss.
        """
        filled = np.where(np.isnan(self.credits), np.nanmean(self.credits, axis=0), self.credits)
        others = (filled.sum(axis=1, keepdims=True) - filled) / (filled.shape[1] - 1)
        x, y = filled - filled.mean(axis=0), others - others.mean(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((x * y).sum(axis=0) / np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0)))


class Suspect(NamedTuple):
    """An item whose label is probably wrong, as a report lists it. verdict: that of a reader, empty without one."""

    missed_by_best: float
    probability_wrong: float
    verdict: str


@dataclass(frozen=True)
class LabelAudit:
    """The fitted outcomes of a benchmark. suspects: places of the items to read, most suspect first."""

    spec: BenchmarkSpec
    matrix: OutcomeMatrix
    errors: LabelErrors
    suspects: list[int]


def audit_labels(root: Path, benchmark: str) -> LabelAudit:
    """Fit the model of wrong labels to the item outcomes in a results root.

    Raises ResultError with too few models whose outcomes are known.
    """
    store = ResultsStore(root)
    store.refresh()
    results = list(store.results(benchmark).values())
    if not results:
        raise ResultError(f"{root}: no results of {benchmark}")
    matrix = outcome_matrix(list(store.known_outcomes(benchmark).values()), benchmark)
    errors = fit_label_errors(matrix.credits, matrix.subsets)
    return LabelAudit(spec_of_results(results), matrix, errors, find_suspects(matrix, errors))


def write_suspects(audit: LabelAudit, path: Path, data: Path | None = None) -> int:
    """Write the suspects with their texts as JSON lines, for a reader. Return their number.

    data: file with the benchmark's examples, instead of the dataset on the hub at the benchmark's revision. Raises
    DataError if it cannot be read, ResultError if it has none of the items.
    """
    examples = {example.id: example for example in load_benchmark(audit.spec.id, data=data).examples}
    lines = []
    for place in audit.suspects:
        example = examples.get(audit.matrix.item_ids[place])
        if example is not None:
            row = {
                "item": example.id,
                "subset": example.subset,
                "probability_wrong": round(float(audit.errors.wrong[place]), 4),
                "missed_by_best": round(float(audit.matrix.missed_by_strong[place]), 4),
                "prompt": list(example.prompt),
                "chosen": list(example.completions[: example.num_chosen]),
                "rejected": list(example.completions[example.num_chosen :]),
            }
            lines.append(json.dumps(row, ensure_ascii=False))
    if not lines:
        raise ResultError(f"{data or audit.spec.id}: has none of the {len(audit.suspects)} suspects")
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    return len(lines)


def labels_report(audit: LabelAudit, corrections: list[Correction]) -> AuditReport:
    """Return the report, with the board as the verdicts of readers correct it."""
    spec, matrix, suspects = audit.spec, audit.matrix, audit.suspects
    benchmark = spec.id
    all_missed = int((matrix.missed_by_strong == 1).sum())
    num_strong = len(matrix.strong)
    saturated = float((matrix.missed_by_strong == 0).mean())
    return AuditReport(
        audit=_report_name(benchmark),
        title=f"Labels of {spec.title}",
        question=f"Which labels of {spec.title} may be wrong, and would it change the board?",
        answer=(
            f"{len(suspects)} of {len(matrix.item_ids):,} items have a label that is probably wrong by the outcomes of "
            f"{len(matrix.outcomes)} models: the better a model is, the more often it misses them, and most of the "
            f"{num_strong} best do. {all_missed} are missed by all of these.",
            _board_sentence(matrix, suspects, spec),
            f"All of the {num_strong} best models get {saturated:.0%} of the items right: these items no longer tell "
            "the best models apart.",
        ),
        tables=(
            _suspect_table(audit, corrections),
            _subset_table(matrix, suspects, audit.spec.id),
            _board_table(matrix, suspects, corrections, spec),
        ),
        figure=_figure(matrix, suspects),
        cautions=(
            "A suspect is a reason to read an item, not a verdict: models that learned from the same data err alike.",
            "Items that are hard on purpose, such as adversarial ones, are told from wrong labels only by the order of "
            "the models that miss them.",
            "Nothing on the board is changed by this report. Verdicts of readers are in corrections.jsonl.",
        ),
        method=(
            "Rasch model of ability and difficulty (1960), difficulties normal within a subset, with a hidden class of "
            "items whose label is wrong (as in Dawid and Skene 1979), fitted by EM. Suspects: the items with the "
            "highest probability, as many as keep the expected share of right labels among them below 5%, that most of "
            "the best models miss. Discrimination: correlation of an item with the mean of the others."
        ),
        sources=tuple(dict.fromkeys(o.source or f"score files of {benchmark} here" for o in matrix.outcomes)),
        command=f"python -m rb_core audit labels {benchmark} --out leaderboard_data --overwrite",
    )


def reported_suspects(reports: Iterable[AuditReport], benchmark: str) -> dict[str, Suspect]:
    """Return the suspects that the report on a benchmark's labels lists, by item; empty without a report."""
    report = next((report for report in reports if report.audit == _report_name(benchmark)), None)
    tables = [table for table in report.tables if table.columns == SUSPECT_COLUMNS] if report else []
    return {
        str(item): Suspect(float(missed_by_best or 0), float(wrong or 0), str(verdict))
        for table in tables
        for item, _, missed_by_best, _, wrong, verdict in table.rows
    }


def _report_name(benchmark: str) -> str:
    return f"labels-{benchmark}"


def outcome_matrix(outcomes: Sequence[ItemOutcomes], benchmark: str, *, min_models: int = MIN_MODELS) -> OutcomeMatrix:
    """Return the credits of all models on the items of the model that has most.

    Raises ResultError with too few models.
    """
    if len(outcomes) < min_models:
        raise ResultError(f"{benchmark}: item outcomes of {len(outcomes)} models; at least {min_models} are needed")
    longest = max(outcomes, key=len)
    places = {item: place for place, item in enumerate(longest.example_ids.tolist())}
    matrix = np.full((len(outcomes), len(places)), np.nan)
    for row, model in zip(matrix, outcomes, strict=True):
        if np.array_equal(model.example_ids, longest.example_ids):
            row[:] = model.credits
            continue
        known = np.array([item in places for item in model.example_ids.tolist()])
        row[[places[item] for item in model.example_ids[known].tolist()]] = model.credits[known]
    answered = np.isfinite(matrix).any(axis=0)
    return OutcomeMatrix(
        tuple(outcomes),
        tuple(longest.example_ids[answered].tolist()),
        tuple(longest.subsets[answered].tolist()),
        matrix[:, answered],
    )


def find_suspects(matrix: OutcomeMatrix, errors: LabelErrors) -> list[int]:
    """Return the places of items to read: probably wrong, and missed by most of the best models; these first."""
    likely = [place for place in errors.suspects(0.05) if errors.wrong[place] >= LIKELY]
    probable = [place for place in likely if matrix.missed_by_strong[place] > 0.5]
    return sorted(probable, key=lambda place: (-matrix.missed_by_strong[place], -errors.wrong[place]))


def _suspect_table(audit: LabelAudit, corrections: Sequence[Correction]) -> AuditTable:
    matrix, errors, suspects = audit.matrix, audit.errors, audit.suspects
    verdicts = {correction.item: f"{correction.verdict} ({correction.who})" for correction in corrections}
    rows: list[tuple[Cell, ...]] = [
        (
            matrix.item_ids[place], matrix.subsets[place], float(matrix.missed_by_strong[place]),
            float(matrix.missed[place]), float(errors.wrong[place]), verdicts.get(matrix.item_ids[place], ""),
        )
        for place in suspects[:SHOWN_ITEMS]
    ]  # fmt: skip
    more = len(suspects) - len(rows)
    return AuditTable(
        title="Items to read",
        columns=SUSPECT_COLUMNS,
        rows=tuple(rows),
        note=f"{more} more are not listed." if more > 0 else "",
        links=_report_links(audit, len(rows)),
        subsets_of=audit.spec.id,
    )


def _report_links(audit: LabelAudit, count: int) -> tuple[str, ...] | None:
    """Return for each listed suspect the address of a new discussion on the benchmark's dataset, if it has one."""
    if audit.spec.source is None:
        return None
    matrix = audit.matrix
    return tuple(
        discussion_page(
            audit.spec.source.repo,
            f"Label of item {matrix.item_ids[place]} ({matrix.subsets[place]})",
            f"{matrix.missed_by_strong[place]:.0%} of the {len(matrix.strong)} best models prefer the other answer. "
            "Verdict (wrong, no answer, right or unclear) and reason:",
        )
        for place in audit.suspects[:count]
    )


def _subset_table(matrix: OutcomeMatrix, suspects: Sequence[int], benchmark: str) -> AuditTable:
    subsets, discrimination = np.array(matrix.subsets), matrix.discrimination()
    rows: list[tuple[Cell, ...]] = []
    for name in dict.fromkeys(matrix.subsets):
        here = subsets == name
        known = discrimination[here & np.isfinite(discrimination)]
        rows.append(
            (
                name, int(here.sum()), float((matrix.missed[here] == 0).mean()),
                float((matrix.missed_by_strong[here] == 0).mean()), float(known.mean()) if len(known) else None,
                sum(matrix.subsets[place] == name for place in suspects),
            )
        )  # fmt: skip
    return AuditTable(
        title="Saturation and discrimination by subset",
        columns=("Subset", "Items", "All models right", "All of the best right", "Discrimination", "Suspects"),
        rows=tuple(rows),
        subsets_of=benchmark,
    )


def _headlines(outcomes: Sequence[ItemOutcomes], spec: BenchmarkSpec) -> dict[str, float]:
    """Return the headline of each model that has one."""
    headlines = {}
    for model in outcomes:
        composition = compose(model, spec)
        if composition.headline is not None:
            headlines[model.model] = composition.value(composition.headline)
    return headlines


def _without(matrix: OutcomeMatrix, places: Sequence[int]) -> list[ItemOutcomes]:
    left_out = {matrix.item_ids[place] for place in places}
    kept: list[Flags] = [np.array([item not in left_out for item in o.example_ids.tolist()]) for o in matrix.outcomes]
    return [outcomes.take(rows) for outcomes, rows in zip(matrix.outcomes, kept, strict=True)]


def _ranked(headlines: Mapping[str, float]) -> dict[str, int]:
    return {model: rank_of(value, headlines.values()) for model, value in headlines.items()}


def _board_sentence(matrix: OutcomeMatrix, suspects: Sequence[int], spec: BenchmarkSpec) -> str:
    before, after = _headlines(matrix.outcomes, spec), _headlines(_without(matrix, suspects), spec)
    ranks, new_ranks = _ranked(before), _ranked(after)
    moves = [abs(ranks[model] - new_ranks[model]) for model in after]
    gain = float(np.median([after[model] - before[model] for model in after]))
    return (
        f"Without them the median score is {100 * gain:.1f} points higher, and {sum(move >= 3 for move in moves)} of "
        f"{len(moves)} models move by three ranks or more (at most {max(moves)})."
    )


def _board_table(
    matrix: OutcomeMatrix, suspects: Sequence[int], corrections: list[Correction], spec: BenchmarkSpec
) -> AuditTable:
    published = _headlines(matrix.outcomes, spec)
    without = _headlines(_without(matrix, suspects), spec)
    as_corrected = _headlines([corrected(outcomes, corrections) for outcomes in matrix.outcomes], spec)
    ranks, ranks_without, ranks_corrected = map(_ranked, (published, without, as_corrected))
    best = sorted(published, key=lambda model: ranks[model])[:SHOWN_MODELS]
    rows = [
        (
            model, ranks[model], published[model], ranks_without[model], without[model], ranks_corrected[model],
            as_corrected[model],
        )
        for model in best
    ]  # fmt: skip
    return AuditTable(
        title="The board as published, without the suspects, and as corrected",
        columns=(
            "Model", "Rank", "Score", "Rank without suspects", "Score without suspects", "Rank as corrected",
            "Score as corrected",
        ),
        rows=tuple(rows),
        note="Ranks among the models whose outcomes of single items are known. Scores are fractions.",
    )  # fmt: skip


def _figure(matrix: OutcomeMatrix, suspects: Sequence[int]) -> AuditFigure:
    """Return the items that a part of the best models miss, by the share of all models that miss them."""
    shown = set(np.flatnonzero(matrix.missed_by_strong >= 0.3).tolist()) | set(suspects)
    return AuditFigure(
        kind="points",
        title="Items that many of the best models miss: suspects are missed less often by the others",
        x_label="Share of all models that miss the item",
        y_label="Share of the best models that miss it",
        points=tuple(
            AuditPoint(
                label=f"{matrix.item_ids[place]} ({matrix.subsets[place]})",
                x=float(matrix.missed[place]),
                y=float(matrix.missed_by_strong[place]),
                group="label probably wrong" if place in suspects else "other items",
                named=place in suspects and bool(matrix.missed_by_strong[place] == 1),
            )
            for place in sorted(shown, key=lambda place: place not in suspects)
        ),
    )
