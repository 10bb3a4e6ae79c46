"""The report of one model over all benchmarks: for its page and for the endpoint `model`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rb_core.errors import ResultError, quoted
from rb_core.leaderboard.board import Board, BoardRow, spec_of_results
from rb_core.leaderboard.hub_links import HubPlace, dataset_repo, discussion_page, hub_page, source_files
from rb_core.leaderboard.model_registry import ModelRegistry, RegisteredModel
from rb_core.leaderboard.reproduce import reproduce_commands
from rb_core.leaderboard.style_text import style_json
from rb_core.leaderboard.weak_spots import WeakSpot, find_strengths, find_weak_spots
from rb_core.results.estimate import Estimate
from rb_core.results.schema import KIND_LABELS, Published, Result
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.length import accuracy_by_length
from rb_core.stats.rank_intervals import rank_of
from rb_core.stats.style_control import style_control


class ModelSource(Protocol):
    """A source of boards and results; the page's ResultsSource is one."""

    def boards(self) -> Mapping[str, Board]:
        """Return the boards by benchmark."""

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """Return the results of a benchmark by model."""

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """Return a model's outcomes of single examples; None where only aggregates are known."""

    def registry(self) -> ModelRegistry:
        """Return what is known of the models beyond their results, and their other names."""

    def on_hub(self) -> HubPlace | None:
        """Return the results' place on the hub; None for those of a folder."""


class UnknownModelError(ResultError):
    """No board has a model of that name."""


@dataclass(frozen=True)
class BenchmarkReport:
    """A model on one benchmark. result: None while the result file behind the board has not been read.

    outcomes: of a published result, if they are known; what a run's outcomes give is in its result.
    """

    board: Board
    row: BoardRow
    result: Result | None
    hub: HubPlace | None
    outcomes: ItemOutcomes | None = None

    def weak_spots(self) -> list[WeakSpot]:
        """Return the weak spots among the subsets, and among the sections without a subset score of the model."""
        worst_rank = self.row.rank_interval.worst if self.row.rank_interval else None
        return find_weak_spots(*self._placed_parts(), worst_rank)

    def strengths(self) -> list[WeakSpot]:
        """Return the parts among the same ones in which the model ranks higher than it does overall."""
        best_rank = self.row.rank_interval.best if self.row.rank_interval else None
        return find_strengths(*self._placed_parts(), best_rank)

    def _placed_parts(
        self,
    ) -> tuple[str, dict[str, float], dict[str, dict[str, float]], dict[str, Estimate]]:
        """Return the model, all headlines, all scores by part, and the model's estimates by part."""
        with_subsets = {subset.section for subset in self.board.subsets if subset.name in self.row.subsets}
        scores = {s.name: self._scores("sections", s.name) for s in self.board.sections if s.name not in with_subsets}
        scores |= {s.name: self._scores("subsets", s.name) for s in self.board.subsets}
        ranked = self.board.ranked()
        headlines = {row.model: value for row in ranked if (value := row.headline.ranked_by) is not None}
        estimates = self.result.sections | self.result.subsets if self.result else {}
        return self.row.model, headlines, scores, estimates

    def field_scores(self) -> dict[tuple[str, str], list[float]]:
        """Return the scores of all models with a rank by level ("score", "section" or "subset") and name."""
        headlines = [row.headline.value for row in self.board.ranked()]
        scores = {("score", ""): [value for value in headlines if value is not None]}
        for level, parts in (("section", self.board.sections), ("subset", self.board.subsets)):
            scores |= {(level, part.name): list(self._scores(f"{level}s", part.name).values()) for part in parts}
        return scores

    def _scores(self, level: str, name: str) -> dict[str, float]:
        """Return the score in a section or subset of every model that has a rank. level: "sections" or "subsets"."""
        by_model = {row.model: getattr(row, level) for row in self.board.ranked()}
        return {model: values[name] for model, values in by_model.items() if name in values}

    def to_json(self) -> dict[str, Any]:
        board, row = self.board, self.row
        benchmark = ("id", "title", "description", "url", "licence", "citation")
        parts = [self._part("section", s.name, None, s.description) for s in board.sections]
        parts += [self._part("subset", s.name, s.section, s.description) for s in board.subsets]
        return {
            "benchmark": {name: getattr(board, name) for name in benchmark},
            "kind": row.kind,
            "origin": row.status,
            "parameters": row.parameters,
            "hub": hub_page(row.model, row.kind),
            "report": self._discussion_page(),
            "rank": row.rank,
            "of": len(board.ranked()),
            "range": list(row.rank_interval) if row.rank_interval else None,
            "tier": row.tier,
            "coverage": row.coverage,
            "score": _json(row.headline, include={"value", "low", "high", "floor", "ceiling", "no_interval"}),
            "parts": parts,
            "weak_spots": [spot.to_json() for spot in self.weak_spots()],
            "strengths": [spot.to_json() for spot in self.strengths()],
        } | (_result_json(self.result, self.hub) | self._style_json(self.result) if self.result else {})

    def _discussion_page(self) -> str | None:
        """Return the address at which this result can be reported, None without a dataset on the hub.

        It is the repository of the results, or the benchmark's dataset for those of a folder.
        """
        repo = self.hub.repo if self.hub else dataset_repo(self.board.url)
        if repo is None:
            return None
        score = self.row.headline.value
        facts = [
            ("Model", self.row.model),
            ("Benchmark", f"{self.board.title} ({self.board.id})"),
            ("Score", "none" if score is None else f"{100 * score:.1f}"),
        ]
        facts += [("Result file", self.result.path().as_posix())] if self.result else []
        facts += [("Commit of the results", self.hub.commit)] if self.hub else []
        facts += [("Published in", self.result.published.source)] if self.result and self.result.published else []
        lines = ["What is wrong, and how can it be checked?", "", "", *(f"- {name}: {text}" for name, text in facts)]
        return discussion_page(repo, f"Result of {self.row.model} on {self.board.title}", "\n".join(lines))

    def _style_json(self, result: Result) -> dict[str, Any]:
        """Return accuracy by length and at equal style: from the result, or from published outcomes."""
        length, style = result.length, result.style
        if self.outcomes is not None:
            spec = spec_of_results([result])
            length, style = accuracy_by_length(self.outcomes, spec), style_control(self.outcomes, spec)
        return {"length": {name: _json(estimate) for name, estimate in length.items()}, "style": style_json(style)}

    def _part(self, level: str, name: str, section: str | None, description: str) -> dict[str, Any]:
        """Return a section or subset with the model's estimate and its rank among the models that have a score."""
        estimate = getattr(self.result, f"{level}s").get(name) if self.result else None
        scores = self._scores(f"{level}s", name)
        rank = rank_of(scores[self.row.model], scores.values()) if self.row.model in scores else None
        return {
            "name": name,
            "level": level,
            "section": section,
            "description": description,
            "rank": rank,
            "of": len(scores),
            "chance": getattr(self.board.chance, f"{level}s").get(name),
            "estimate": _json(estimate or Estimate(value=getattr(self.row, f"{level}s").get(name))),
        }


@dataclass(frozen=True)
class ModelReport:
    """A model on all benchmarks, in the order of the boards. registered: what the registry knows of it."""

    model: str
    benchmarks: tuple[BenchmarkReport, ...]
    registered: RegisteredModel | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as the endpoint `model` publishes it."""
        rows = [report.row for report in self.benchmarks]
        pages = (hub_page(row.model, row.kind) for row in rows)
        facts = _json(self.registered, exclude={"name", "kind", "recipe"}, exclude_defaults=True)
        return {
            "model": self.model,
            "organisation": ModelRegistry(filter(None, [self.registered])).organisation_of(self.model),
            "kind": rows[0].kind,
            "parameters": next((row.parameters for row in rows if row.parameters), None),
            "hub": next((page for page in pages if page), None),
            "facts": facts or {},
            "results": [report.to_json() for report in self.benchmarks],
        }


def model_report(source: ModelSource, model: str) -> ModelReport:
    """Return the report of a model, under its canonical name if it is asked for by another one.

    Raises UnknownModelError, with similar names, if no board has the model.
    """
    boards, hub, registered = source.boards().values(), source.on_hub(), source.registry().get(model)
    if registered is not None and any(board.row(registered.name) for board in boards):
        model = registered.name
    reports = []
    for board in boards:
        if (row := board.row(model)) is not None:
            result = source.results(board.id).get(model)
            outcomes = source.outcomes(board.id, model) if result and result.scores is None else None
            reports.append(BenchmarkReport(board, row, result, hub, outcomes))
    if not reports:
        last_part = model.lower().rpartition("/")[2]
        similar = [name for name in model_names(boards) if last_part and last_part in name.lower()][:5]
        hint = f" Did you mean {', '.join(similar)}?" if similar else ""
        raise UnknownModelError(f"No board has a model named {quoted(model)}.{hint}")
    return ModelReport(model, tuple(reports), registered)


def model_names(boards: Iterable[Board]) -> list[str]:
    """Return the names of all models on any board in alphabetical order."""
    return sorted({row.model for board in boards for row in board.rows}, key=lambda name: (name.lower(), name))


def _result_json(result: Result, hub: HubPlace | None) -> dict[str, Any]:
    """Return what a result file records beside its scores, the commands that reproduce it, and its files."""
    settings = _json(result.model, exclude={"name"}, exclude_none=True) | {"kind": KIND_LABELS[result.model.kind]}
    files = [("Result (JSON)", result.path().as_posix())]
    files += [("Scores (parquet)", result.scores.path)] if result.scores else []
    return {
        "headline": _json(result.headline),
        "absent": result.absent,
        "matrices": {name: _json(matrix, exclude_none=True) for name, matrix in result.matrices.items()},
        "margins": _json(result.margins),
        "counts": _json(result.counts),
        "judging": _json(result.judging),
        "notes": _json(result.notes),
        "settings": settings,
        "data": _json(result.benchmark, exclude={"subsets"}, exclude_none=True),
        "run": _json(result.run, exclude={"command"}, exclude_none=True),
        "published": _published_json(result.published) if result.published else None,
        "commands": [{"what": c.purpose, "command": c.command} for c in reproduce_commands(result, hub)],
        "files": [
            {"what": what, "path": path, "url": f"{hub.address}/{path}" if hub else None} for what, path in files
        ],
    }


def _published_json(published: Published) -> dict[str, Any]:
    links = [{"text": f"{file.repo} at {file.commit[:9]}", "url": file.url} for file in source_files(published.source)]
    return published.model_dump(mode="json") | {"links": links}


def _json(record: Any, **options: Any) -> Any:
    return None if record is None else record.model_dump(mode="json", **options)
