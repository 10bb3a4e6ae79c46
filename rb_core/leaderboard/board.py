"""Results become a table with pointers to its columns, so that no reader guesses from names. No torch, no gradio."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import TypeAdapter

from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.leaderboard.sizes import parameters
from rb_core.results.estimate import Estimate
from rb_core.results.schema import KIND_LABELS, Result
from rb_core.results.storage import read_results

ColumnRole = Literal[
    "rank", "model", "kind", "status", "headline", "low", "high", "coverage", "consistency", "parameters", "section",
    "subset",
]  # fmt: skip


Cell = str | float | int | None


@dataclass(frozen=True)
class Column:
    """One column. role says what its values are; parent is the section of a subset; count its number of examples.

    weight: a section's weight in the headline, None for other columns; required: False for a section that the headline
    does without where a model lacks it. Scores and bounds are fractions from 0 to 1, parameters a number of them; None
    is not evaluated, or not known.
    """

    key: str
    label: str
    role: ColumnRole
    parent: str | None = None
    description: str = ""
    count: int | None = None
    weight: float | None = None
    required: bool = True


@dataclass(frozen=True)
class Board:
    """The table of one benchmark: columns and rows of cells in the same order, best headline first.

    sources: where its published rows come from; newest: the latest date in them (UTC).
    """

    id: str
    title: str
    description: str
    url: str
    licence: str
    citation: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sources: tuple[str, ...]
    newest: str | None

    def index(self, role: ColumnRole) -> int:
        """The place of the first column of that role."""
        return next(i for i, column in enumerate(self.columns) if column.role == role)

    def frame(self) -> pd.DataFrame:
        """The board as a pandas table, columns by label."""
        return pd.DataFrame(
            [list(row) for row in self.rows], columns=[column.label for column in self.columns], dtype=object
        )

    def payload(self) -> dict[str, Any]:
        """The board as plain JSON, for the page. Fractions are rounded to 5 digits."""
        return asdict(self) | {
            "columns": [asdict(column) for column in self.columns],
            "rows": [[round(c, 5) if isinstance(c, float) else c for c in row] for row in self.rows],
        }

    @classmethod
    def from_payload(cls, payload: Any) -> Board:
        """A board from what `payload` gives. Raises ValueError for anything else: it may be what others wrote."""
        found = _BOARD.validate_python(payload)
        roles = {column.role for column in found.columns}
        if missing := sorted(set(_FIXED_ROLES) - roles):
            raise ValueError(f"{found.id}: no column for {', '.join(missing)}")
        if found.url and not found.url.startswith(("https://", "http://")):
            raise ValueError(f"{found.id}: its url is no address of the web")
        for row in found.rows:
            if len(row) != len(found.columns):
                raise ValueError(f"{found.id}: a row of {len(row)} cells for {len(found.columns)} columns")
            for column, cell in zip(found.columns, row, strict=True):
                if isinstance(cell, str) != (column.role in _TEXT_ROLES):
                    raise ValueError(f"{found.id}: the column {column.key} has a cell of another kind")
                if isinstance(cell, float) and not math.isfinite(cell):
                    raise ValueError(f"{found.id}: a cell that is no finite number")
        return found


_BOARD = TypeAdapter(Board)


_FIXED_ROLES: tuple[ColumnRole, ...] = (
    "rank",
    "model",
    "kind",
    "status",
    "headline",
    "low",
    "high",
    "coverage",
    "parameters",
)


_TEXT_ROLES: frozenset[ColumnRole] = frozenset(("model", "kind", "status"))


def boards(root: Path) -> tuple[dict[str, Board], list[str]]:
    """A board for each benchmark with results below root, known benchmarks first; and messages for refused files."""
    found, refused = read_results(root)
    return {benchmark: board(results) for benchmark, results in by_benchmark(found).items()}, refused


def by_benchmark(found: Iterable[Result]) -> dict[str, list[Result]]:
    """Results by the benchmark's id, known benchmarks first."""
    grouped: dict[str, list[Result]] = {}
    for result in found:
        grouped.setdefault(result.benchmark.id, []).append(result)
    order = [b for b in BENCHMARKS if b in grouped] + sorted(grouped.keys() - BENCHMARKS.keys())
    return {benchmark: grouped[benchmark] for benchmark in order}


def board(found: Sequence[Result]) -> Board:
    """The board of one benchmark's results (one or more, all of the same benchmark)."""
    spec = spec_of(found)
    columns = _columns(spec, found)
    ordered = sorted(found, key=lambda r: (-_rankable(r), r.model.name.lower()))
    ranks = _ranks([_rankable(result) for result in ordered])
    rows = tuple(
        tuple(_cell(column, result, rank) for column in columns) for result, rank in zip(ordered, ranks, strict=True)
    )
    return Board(
        id=spec.id,
        title=spec.title,
        description=spec.description,
        url=spec.url,
        licence=spec.licence,
        citation=spec.citation,
        columns=columns,
        rows=rows,
        sources=tuple(sorted({r.published.source.split(":")[0] for r in found if r.published})),
        newest=max((date for r in found if (date := _date(r))), default=None),
    )


def spec_of(found: Sequence[Result]) -> BenchmarkSpec:
    """The record of these results' benchmark; for a file of somebody's own, one section over the subsets they have."""
    benchmark = found[0].benchmark
    if benchmark.id in BENCHMARKS:
        return BENCHMARKS[benchmark.id]
    counts: dict[str, int] = {}
    for result in found:
        counts |= result.benchmark.subsets
    return custom_spec(benchmark.id, counts)


_CONSISTENCY = Column(
    "consistency",
    "Keeps verdict",
    "consistency",
    description="Of a judge: share of the pairs on which it keeps to its verdict when the completions change places",
)


def _columns(spec: BenchmarkSpec, found: Sequence[Result]) -> tuple[Column, ...]:
    """The fixed columns, then the sections and subsets that any result has; consistency where there is a judge's."""
    sections = {name for result in found for name in result.sections}
    subsets = {name for result in found for name in result.subsets}
    columns = [
        Column("rank", "Rank", "rank", description="Place by score; equal scores share it"),
        Column("model", "Model", "model"),
        Column("kind", "Kind", "kind", description="How the model turns a conversation into a score"),
        Column("status", "Origin", "status", description="Scored with this package, or published elsewhere"),
        Column("score", "Score", "headline", description="The benchmark's headline: the weighted mean of its sections"),
        Column("low", "95% low", "low", description="Lower end of the score's 95% interval"),
        Column("high", "95% high", "high", description="Upper end of the score's 95% interval"),
        Column("coverage", "Coverage", "coverage", description="Share of the examples that the model could score"),
        *([_CONSISTENCY] if any(_consistency(result) is not None for result in found) else []),
        Column(
            "parameters",
            "Parameters",
            "parameters",
            description="Number of parameters: of a run as loaded, of a published model as its name or card says",
        ),
    ]
    columns += [
        Column(
            f"section:{s.name}",
            s.name,
            "section",
            description=s.description,
            count=_examples_of(s, spec),
            weight=s.headline_weight,
            required=s.required,
        )
        for s in spec.sections
        if s.name in sections
    ]
    for subset in spec.subsets:
        section = spec.section_of(subset.name)
        alone = section is not None and len(section.weights) == 1
        if subset.name in subsets and not alone:
            parent = section.name if section else None
            columns.append(
                Column(f"subset:{subset.name}", subset.name, "subset", parent, subset.description, subset.count)
            )
    return tuple(columns)


def _examples_of(section: Section, spec: BenchmarkSpec) -> int | None:
    """How many examples the section's subsets have together; None where that of one is not known."""
    counts = [subset.count for subset in spec.subsets if subset.name in section.weights]
    return None if None in counts else sum(count or 0 for count in counts)


def _cell(column: Column, result: Result, rank: int | None) -> Cell:
    headline = result.headline or Estimate(value=None)
    fixed: Mapping[ColumnRole, Cell] = {
        "rank": rank,
        "model": result.model.name,
        "kind": KIND_LABELS[result.model.kind],
        "status": _status(result),
        "headline": headline.value,
        "low": headline.low,
        "high": headline.high,
        "coverage": result.counts.scored / result.counts.examples if result.counts else None,
        "consistency": _consistency(result),
        "parameters": parameters(result),
    }
    if column.role in fixed:
        return fixed[column.role]
    values = result.sections if column.role == "section" else result.subsets
    estimate = values.get(column.label)
    return estimate.value if estimate else None


def _consistency(result: Result) -> float | None:
    """The position consistency of a judge; None of a panel, whose members have each their own."""
    kept = result.judging.position_consistency if result.judging else None
    return kept.value if kept else None


def _status(result: Result) -> str:
    if result.status == "published":
        return "published"
    return "partial run" if result.benchmark.limit is not None else "run"


def _rankable(result: Result) -> float:
    """The headline to rank by; minus infinity where there is none, or where only a part was scored."""
    if result.headline is None or result.headline.value is None or result.benchmark.limit is not None:
        return -math.inf
    return result.headline.value


def _ranks(values: Sequence[float]) -> list[int | None]:
    """1-based places of values in descending order; equal values share the best place."""
    return [None if value == -math.inf else values.index(value) + 1 for value in values]


def _date(result: Result) -> str | None:
    return result.run.started[:10] if result.run else result.published.retrieved if result.published else None
