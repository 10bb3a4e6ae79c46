"""The content that each view may show, read from the files of the results without the views' own code."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from math import ceil, exp
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

import rb_core.space
from rb_core.audits.labels import MIN_MODELS, outcome_matrix, reported_suspects
from rb_core.audits.report import AuditReport, AuditTable, Cell
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.leaderboard.board import Board
from rb_core.leaderboard.board_table import detectable_text
from rb_core.leaderboard.comparison import compare_models
from rb_core.leaderboard.custom_scores import custom_board, uneven_text
from rb_core.leaderboard.hub_links import hub_page
from rb_core.leaderboard.model_registry import openness
from rb_core.leaderboard.model_report import model_report
from rb_core.space.questions.topics import find_page, question_pages
from rb_core.space.results_source import ResultsSource
from rb_core.version import __version__
from tests.space.shown_numbers import Scope, plain
from tests.space.views import View

SPACE = Path(rb_core.space.__file__).parent
PAGE = 10  # items
SHOWN_SPOTS = 6  # strengths or weaknesses of a model


@cache
def fixed_words() -> list[str]:
    """Texts with numbers that stand in the page's templates and scripts as they are, such as “95% interval”."""
    files = [*SPACE.rglob("*.html"), *SPACE.rglob("*.js"), *SPACE.rglob("labels.py"), *SPACE.rglob("form.py")]
    sources = [re.sub(r"<[^>]*>|\$\{[^}]*\}", "\n\n", file.read_text(encoding="utf-8")) for file in files]
    sources += [re.sub(r"\{[{%#].*?[}%#]\}", "\n\n", source, flags=re.S) for source in sources]
    texts = [plain(text) for source in sources for text in re.split(r"\n\s*\n|[`'\"]", source)]
    return [text for text in dict.fromkeys(texts) if re.search(r"\d", text) and re.search(r"[^\W\d_]{2}|×", text)]


def page_scope(results: ResultsSource) -> Scope:
    """Return the scope that all views have: names and words with numbers."""
    registry, scope = results.registry(), Scope().add(*fixed_words(), __version__)
    for board in results.boards().values():
        scope.add(board.title, [row.model for row in board.rows], [row.model.rpartition("/")[2] for row in board.rows])
        scope.add(board.licence, board.citation, board.description)
        scope.add([(part.name, part.description) for part in (*board.sections, *board.subsets)])
        scope.add([row.organisation for row in board.rows], [f"{row.organisation}/" for row in board.rows])
    for model in registry.models:
        scope.add(model.licence, model.base_model)
    for spec in BENCHMARKS.values():
        scope.add([part.description for part in (*spec.sections, *spec.subsets)])
    scope.values.clear()
    return scope


def question_scope(results: ResultsSource, view: View) -> Scope:
    scope = page_scope(results)
    pages = question_pages(results.reports())
    if "question" not in view.parameters:
        return scope.add(*((page.topic.question, page.reports[0].answer[0]) for page in pages))
    page = find_page(pages, view.parameters["question"])
    assert page
    for report in page.reports:
        _add_report(scope.child(report.question, report.question), report)
    return scope.add(*(report.question for report in page.reports))


def _add_report(scope: Scope, report: AuditReport) -> None:
    """Sentences stand as they are in the report; a row may show its own cells alone, and a mark its own point."""
    scope.add(report.answer, report.cautions, report.method, report.sources, report.title)
    for table in report.tables:
        scope.add(table.title, table.note, table.columns, len(table.rows))
        for row in table.rows:
            scope.child(str(row[0]), row)
    if figure := report.figure:
        scope.add(figure.title, figure.x_label, figure.y_label)
        for point in figure.points:
            numbers = [point.x, point.y, point.low, point.high]
            scope.add(point.label, point.group, point.panel, f"{figure.x_label} {point.x:.3g}")
            scope.child(point.label, numbers, figure.x_label)
            for owner in (scope, scope.child(point.panel)):
                owner.values.append(sum((p.panel, p.group) == (point.panel, point.group) for p in figure.points))


def compare_scope(results: ResultsSource, view: View) -> Scope:
    scope = page_scope(results)
    first = next(iter(results.boards().values()))
    known = [row.model for row in first.rows if row.rank_interval and row.rank_interval.method == "items"]
    names = view.parameters["models"].split(",") if "models" in view.parameters else known[:2]  # the best two
    compared = compare_models(results, view.parameters.get("board", first.id), names).to_json()
    scope.add(names, [name.rpartition("/")[2] for name in names], compared["title"], compared["notes"])
    for pair in compared["pairs"]:
        scope.add(pair["verdict"], pair["basis_words"], pair["power_words"])
        if agreement := pair["agreement"]:
            scope.add(agreement, _shown_to_both(agreement))
            scope.child("All examples", agreement, _shown_to_both(agreement))
    for row in compared["rows"]:
        agreements = [pair["agreement"] for pair in row["pairs"] if pair["agreement"]]
        scope.child(row["name"], row, list(map(_shown_to_both, agreements)))
    for view_of_scores in compared["scores"]:
        _add_scores(scope, view_of_scores)
    return scope


def _shown_to_both(agreement: Mapping[str, Any]) -> int:
    return sum(agreement[name] for name in ("both", "only_a", "only_b", "neither"))


def _add_scores(scope: Scope, scores: Mapping[str, Any]) -> None:
    """Add margins, calibration and accuracy by length of a model: each table and figure may show its own."""
    name = scores["model"].rpartition("/")[2]
    own = scope.child(name, scores["style"], _without(scores["margins"] or {}, "histogram"))
    if margins := scores["margins"]:
        edges, counts = margins["histogram"]["edges"], margins["histogram"]["counts"]
        wrong = sum(count for edge, count in zip(edges, counts, strict=False) if edge < 0)
        scope.child(f"Margins of {name}", wrong, sum(counts), edges[0], edges[-1])
        scope.add([f"{100 * float(quantile):.0f}%" for quantile in margins["quantiles"]])
    if calibration := scores["calibration"]:
        own.add(calibration["ece"], calibration["brier"])
        scope.child(f"Calibration of {name}", len(calibration["bins"]))
        for row in calibration["bins"]:
            scope.child(f"{100 * row['start']:.0f} to {100 * row['end']:.0f}%", row)
    for effect in ((scores["style"] or {}).get("effects") or {}).values():
        own.add([exp(effect[end]) for end in ("value", "low", "high")])  # odds
    for row in scores["length"]:
        scope.child(row["name"].capitalize(), row)


def model_scope(results: ResultsSource, view: View) -> Scope:
    if "model" not in view.parameters:
        return page_scope(results).add(len({row.model for board in results.boards().values() for row in board.rows}))
    report = model_report(results, view.parameters["model"]).to_json()
    scope = page_scope(results).add(_without(report, "results"))
    for entry in report["results"]:
        own = scope.child(entry["benchmark"]["title"], _without(entry, "parts", "weak_spots", "strengths"))
        own.add(sum(part["level"] == "subset" and part["estimate"]["value"] is not None for part in entry["parts"]))
        own.add([max(0, len(spots) - SHOWN_SPOTS) for spots in (entry["weak_spots"], entry["strengths"])])
        for part in entry["parts"]:
            own.child(part["name"], part)
            own.add(part["name"], part.get("chance"))
        for spot in (*entry["weak_spots"], *entry["strengths"]):
            own.child(spot["name"], spot)
        for trait in results.traits(entry["benchmark"]["id"]):
            if view.parameters["model"] in trait.values:
                own.child(trait.label, trait.values[view.parameters["model"]]._asdict())
                own.add(trait.description)
    scope.add(*(_finding(table, row) for report in results.reports() for table in report.tables for row in table.rows))
    return scope


def _finding(table: AuditTable, row: tuple[Cell, ...]) -> str:
    """Return a row of a report, without the name of its model, as a sentence."""
    cells = [
        (n, column, cell) for n, (column, cell) in enumerate(zip(table.columns, row, strict=True)) if column != "Model"
    ]
    return "; ".join(f"{column} {table.cell_text(n, cell)}" for n, column, cell in cells if cell is not None)


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def leaderboard_scope(results: ResultsSource, view: View) -> Scope:
    board, traits = results.boards()[view.parameters["board"]], results.traits(view.parameters["board"])
    scope = page_scope(results).add(detectable_text(board), uneven_text(board), board.sources, board.newest)
    scope.add(board.chance.model_dump(), len(board.rows), 0)
    _add_filters(scope, board, results)
    searched = [row for row in board.rows if view.parameters.get("q", "") in row.model.lower()]
    scope.add(len(searched), 1 / max(1, sum(section.required for section in board.sections)))
    weights = [section.weight or 0.0 for section in board.sections]
    scope.add([weight / (sum(weights) or 1.0) for weight in weights])
    tiers = [row.tier for row in board.rows if row.tier]
    scope.add(tiers, [f"Tier {tier}" for tier in tiers])
    for row in board.rows:
        result = results.results(board.id)[row.model]
        estimates = [result.headline or row.headline, *result.sections.values(), *result.subsets.values()]
        own = scope.child(row.model, [[e.value, e.low, e.high, e.floor, e.ceiling, e.stderr] for e in estimates])
        own.add(row.rank, row.tier, row.parameters, row.coverage, row.consistency)
        if row.rank_interval:
            own.add(row.rank_interval[:2], row.rank_interval.worst - (row.rank or 0))
        own.add(*(trait.values[row.model]._asdict() for trait in traits if row.model in trait.values))
        own.add(*(list(row.sections.values()), list(row.subsets.values())))
        scope.inner[plain(f"{row.model} best baseline")] = own
    scope.add(max((row.headline.value or 0.0 for row in board.rows if row.kind == "Baseline"), default=None))
    for sweep in {row.sweep for row in board.rows if row.sweep}:
        scores = [row.headline.value for row in board.rows if row.sweep == sweep and row.headline.value is not None]
        scope.child(sweep, min(scores), max(scores), len(scores))
    return scope


def _add_filters(scope: Scope, board: Board, results: ResultsSource) -> None:
    """Add what the filters show: how many models are of each kind, maker, openness, year and licence, and the sizes."""
    sizes = [row.parameters for row in board.rows if row.parameters]
    scope.add(len(board.rows) - len(sizes))
    if sizes:  # the ends of the slider
        scope.add(min(sizes) / 1e9, max(sizes) / 1e9, 10 * ceil(max(sizes) / 1e10))
    folded = sum(row.sweep is not None for row in board.rows)
    scope.add(folded, len(board.rows) - folded)
    registered = [results.registry().get(row.model) for row in board.rows]
    has_weights = [hub_page(row.model, row.kind) is not None for row in board.rows]
    degrees = [openness(known, has_weights=has) for known, has in zip(registered, has_weights, strict=True)]
    years = [known.released.year if known and known.released else None for known in registered]
    for facts in (degrees, years, [known.licence if known else None for known in registered]):
        scope.add(list(Counter(facts).values()), *(str(fact) for fact in facts))
    for values in (Counter(row.kind for row in board.rows), Counter(row.organisation for row in board.rows)):
        for name, count in values.items():
            scope.child(name or "(none)", count)


def plot_scope(results: ResultsSource, view: View) -> Scope:
    board = results.boards()[view.parameters["board"]]
    scope = page_scope(results)
    scored = [row for row in board.rows if row.rank is not None]
    shown = [row for row in scored if row.parameters]
    incomplete = len(board.rows) - len(scored)
    scope.add(len(board.rows), len(shown), len(board.rows) - len(shown), incomplete, len(scored) - len(shown))
    for kind, count in Counter(row.kind for row in shown).items():
        scope.child(kind, count)
    _add_filters(scope, board, results)
    for row in board.rows:
        headline = results.results(board.id)[row.model].headline or row.headline
        own = scope.child(row.model, headline.value, headline.low, headline.high, row.rank, row.parameters)
        own.add(row.rank_interval[:2] if row.rank_interval else None)
    return scope


def choose_scope(results: ResultsSource, view: View) -> Scope:
    board, largest = results.boards()["rewardbench-2"], float(view.parameters.get("max_size", "inf")) * 1e9
    is_bounded, registry = largest < float("inf"), results.registry()
    rows = [row for row in board.ranked() if row.kind != "Baseline"]
    fit = [row for row in rows if not is_bounded or (row.parameters or largest + 1) <= largest]
    unknown = sum(is_bounded and not row.parameters for row in rows)
    weights = {section.name: 1.0 for section in board.sections}
    names = [row.model for row in fit]
    ranked = custom_board(board, results.results(board.id), results.ranking_outcomes(board.id), weights, names)
    group = [row for row in ranked.rows if row.rank_interval and row.rank_interval.best == 1]
    scope = page_scope(results).add(len(group), len(fit), unknown, len(rows) - len(fit) - unknown, board.newest)
    scope.add(detectable_text(ranked), 1 / len(weights), min(4, len(group)))
    licences = [registered.licence if (registered := registry.get(row.model)) else None for row in fit]
    scope.add(licences.count(None), sum(row.status == "published" for row in fit))
    for row in group:
        own = scope.child(row.model, row.headline.value, row.headline.low, row.headline.high, row.rank, row.parameters)
        own.add(row.rank_interval[:2] if row.rank_interval else None, dict(row.sections))
        own.add(max(other.headline.value or 0 for other in group) - (row.headline.value or 0))
        own.add([max(o.sections.get(name, 0) for o in group) - score for name, score in row.sections.items()])
        for other in results.boards():
            traits = (trait for trait in results.traits(other) if row.model in trait.values)
            own.add(*(trait.values[row.model]._asdict() for trait in traits))
    downstream = next(report for report in results.reports() if report.audit == "downstream")
    for benchmark, outcome, *numbers in downstream.tables[0].rows:
        scope.add(benchmark, outcome)
        scope.child(f"{benchmark} score and {outcome}", numbers)
    if figure := downstream.figure:
        for name in {point.group for point in figure.points}:
            values = [point.y for point in figure.points if point.group == name]
            scope.add(mean(values), len(values))
    return scope


def examples_scope(results: ResultsSource, view: View) -> Scope:
    board = results.boards()[view.parameters["board"]]
    scope = page_scope(results)
    outcomes = [known for known in results.ranking_outcomes(board.id).values() if known is not None]
    suspects = reported_suspects(results.reports(), board.id)
    counts: Counter[str] = Counter()
    if outcomes:
        matrix = outcome_matrix(outcomes, board.id, min_models=1)
        known, wrong = np.isfinite(matrix.credits), np.isfinite(matrix.credits) & (matrix.credits != 1)
        strong = matrix.strong if len(outcomes) >= MIN_MODELS else matrix.credits[:0]
        items = list(zip(matrix.item_ids, matrix.subsets, strict=True))
        counts.update(subset for _, subset in items)
        figure = scope.child("Items by the share of models that are wrong", list(range(0, 101, 10)))
        figure.add(_bins(wrong.sum(0) / known.sum(0)))
        scope.add(len(items), ceil(len(items) / PAGE), 1, len(strong), _bins(wrong.sum(0) / known.sum(0)))
        for n, (item, subset) in enumerate(items):
            own = scope.child(f"Item {item}", item, int(wrong[:, n].sum()), int(known[:, n].sum()), len(strong))
            own.add(
                int((np.isfinite(strong[:, n]) & (strong[:, n] != 1)).sum()), len(outcomes) - int(known[:, n].sum())
            )
            own.add(suspects[item].probability_wrong if item in suspects else None)
            part = scope.child(subset)
            part.values.append(float(n))
        for subset in counts:
            places = [n for n, (_, name) in enumerate(items) if name == subset]
            unsolved = int((wrong.sum(0) == known.sum(0))[places].sum())
            scope.inner[plain(subset)].values[:] = []
            scope.child(subset, unsolved, sum(items[n][0] in suspects for n in places))
    _add_parts(scope, board, counts)
    if board.id == "starter":
        for line in (SPACE.parent / "builtin" / "starter.jsonl").read_text(encoding="utf-8").splitlines():
            example = json.loads(line)
            texts = scope.child(f"Item {example['id']}")
            for answers in (example["chosen"], example["rejected"]):
                texts.add(answers, list(range(1, 1 + (len(answers) if isinstance(answers, list) else 0))))
            texts.add(example["prompt"])
    return scope


def _bins(shares: Any) -> list[int]:
    """Return the numbers of items by share of models that are wrong, in ten bins; all wrong is in the last."""
    return np.bincount(np.minimum((shares * 10 + 1e-9).astype(int), 9), minlength=10).tolist()


def _add_parts(scope: Scope, board: Board, counts: Mapping[str, int]) -> None:
    """Add the number of items, median and best score of the board and of each subset."""
    ranked = board.ranked()
    headlines = [row.headline.value for row in ranked if row.headline.value is not None]
    scope.add(len(headlines), median(headlines), max(headlines), board.chance.headline)
    sizes = {part.name: part.num_examples for part in (*board.subsets, *board.sections)}
    if spec := BENCHMARKS.get(board.id):
        sizes |= {subset.name: subset.count for subset in spec.subsets}
    for name in {*sizes, *counts}:
        scores = [score for row in ranked if (score := row.subsets.get(name, row.sections.get(name))) is not None]
        own = scope.child(name, counts.get(name) or sizes.get(name))
        own.add(median(scores) if scores else None, max(scores, default=None))


SCOPES: Mapping[str, Callable[[ResultsSource, View], Scope]] = {
    "leaderboard": leaderboard_scope,
    "plot": plot_scope,
    "choose": choose_scope,
    "examples": examples_scope,
    "questions": question_scope,
    "compare": compare_scope,
    "model": model_scope,
}
