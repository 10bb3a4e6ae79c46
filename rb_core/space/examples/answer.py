"""The answer to a request for examples, as JSON: for the tab, which renders it, and for the endpoint `examples`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rb_core.audits.labels import reported_suspects
from rb_core.benchmarks.example import Example, message_text
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import quoted
from rb_core.leaderboard.board import Board, BoardRow, spec_of_results
from rb_core.space.api import RequestError, find_board
from rb_core.space.examples.items import FILTERS, REFUSALS, Items, ItemView, difficulty, offered_filters
from rb_core.space.examples.texts import TextCache, Texts
from rb_core.space.results_source import ResultsSource
from rb_core.stats.item_outcomes import Flags, ItemOutcomes
from rb_core.stats.metrics import ACCURACY

PAGE_SIZE = 10
MAX_TEXT = 20_000  # characters of one message or completion
MAX_SCORE_FILES = 24  # of runs, read for the outcomes of single items


class ExamplesRequest(NamedTuple):
    """A choice of items. subset: a subset or section, empty for the whole benchmark; a, b: models; page: from 1.

    item: id of the only item to show, empty for all.
    """

    benchmark: str
    subset: str = ""
    filter: str = "all"
    a: str = ""
    b: str = ""
    page: int = 1
    item: str = ""


class ExamplesService:
    """Answers requests for examples. Records and items of benchmarks are kept until the boards change."""

    def __init__(self, source: ResultsSource, texts: TextCache) -> None:
        self._source = source
        self._texts = texts
        self._boards: Mapping[str, Board] | None = None
        self._specs: dict[str, BenchmarkSpec] = {}
        self._items: dict[str, Items | None] = {}

    def choices(self) -> list[dict[str, Any]]:
        """Return the benchmarks with their sections and subsets, those with known outcomes first."""
        boards = sorted(self._current_boards().values(), key=lambda board: not _has_outcomes(board))
        return [
            {"id": board.id, "title": board.title, "sections": _sections(spec)}
            for board in boards
            if (spec := self._spec(board.id)) is not None
        ]

    def answer(self, request: ExamplesRequest, *, wait: float = 0.0) -> dict[str, Any]:
        """Return the items of a request with counts, difficulty, and what the part tests.

        wait: seconds to wait for texts that are being read. Raises RequestError for a name that does not exist.
        """
        board = find_board(self._current_boards(), request.benchmark)
        spec = self._spec(board.id)
        if spec is None:
            raise RequestError(f"The results of {board.title} cannot be read now; try again in some minutes.")
        found = self._texts.get(board.id, wait)
        items = self._outcome_items(board.id) or Items.of_examples(found.texts.examples.values())
        subsets = _subsets_of(spec, request.subset)
        lengths = found.texts.lengths if found.texts.examples else None
        a, b = _model_row(items, request.a, "a"), _model_row(items, request.b, "b")
        view = ItemView(items, a, b, _refusals(spec), lengths)
        members = np.isin(items.subsets, subsets)
        members_chosen = members & _chosen(view, request)
        if request.item:
            members_chosen &= _only(items, request.item)
        chosen = items.hardest_first(members_chosen)
        pages = max(1, -(-len(chosen) // PAGE_SIZE))
        page = min(max(1, request.page), pages)
        shown = chosen[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
        return {
            "benchmark": board.id,
            "title": board.title,
            "subset": request.subset,
            "filter": request.filter,
            "filter_label": FILTERS[request.filter].label,
            "filters": {name: FILTERS[name].label for name in offered_filters(view)},
            "a": request.a,
            "b": request.b,
            "item": request.item,
            "about": _about(board, spec, request.subset, items, members),
            "parts": [] if request.subset in spec.subset_names else _parts(board, spec, subsets, items),
            "count": len(chosen),
            "of": int(members.sum()),
            "page": page,
            "pages": pages,
            "texts": found.state,
            "texts_message": found.message,
            "revision": found.texts.revision,
            "models": list(items.models),
            "strong": items.num_strong,
            "items": [_item(items, place, found.texts) for place in shown],
        }

    def models(self, request: object) -> list[str]:
        """Return the models with known outcomes, best first, of the benchmark in a request that may be wrong."""
        benchmark = request.get("benchmark") if isinstance(request, dict) else None
        known = isinstance(benchmark, str) and benchmark in self._current_boards()
        items = self._outcome_items(str(benchmark)) if known else None
        return list(items.models) if items else []

    def _current_boards(self) -> Mapping[str, Board]:
        """Return the boards, and forget what was kept of older ones."""
        boards = self._source.boards()
        if boards is not self._boards:
            self._specs, self._items, self._boards = {}, {}, boards
        return boards

    def _spec(self, benchmark: str) -> BenchmarkSpec | None:
        specs = self._specs
        if benchmark not in specs and (results := self._source.results(benchmark)):
            specs[benchmark] = spec_of_results(list(results.values()))
        return specs.get(benchmark)

    def _outcome_items(self, benchmark: str) -> Items | None:
        by_benchmark = self._items
        if benchmark not in by_benchmark:
            outcomes = self._known_outcomes(benchmark)
            suspects = reported_suspects(self._source.reports(), benchmark) if outcomes else {}
            by_benchmark[benchmark] = Items.of_outcomes(outcomes, benchmark, suspects) if outcomes else None
        return by_benchmark[benchmark]

    def _known_outcomes(self, benchmark: str) -> list[ItemOutcomes]:
        """Return the outcomes that ranked models were compared by, and those in the score files of others, best first.

        On the hub the second ones are downloaded, so that there is a limit to them.
        """
        outcomes, results = dict(self._source.ranking_outcomes(benchmark)), self._source.results(benchmark)
        runs = [row.model for row in self._current_boards()[benchmark].ranked() if outcomes.get(row.model) is None]
        with_scores = [model for model in runs if model in results and results[model].scores is not None]
        outcomes |= {model: self._source.outcomes(benchmark, model) for model in with_scores[:MAX_SCORE_FILES]}
        return [known for known in outcomes.values() if known is not None]


def _has_outcomes(board: Board) -> bool:
    return any(row.rank_interval and row.rank_interval.method == "items" for row in board.rows)


def _sections(spec: BenchmarkSpec) -> list[dict[str, Any]]:
    """Return the sections with the names of their subsets, and at last the subsets in no section."""
    sections = [{"name": section.name, "subsets": list(section.weights)} for section in spec.sections]
    rest = [subset.name for subset in spec.subsets if spec.section_of(subset.name) is None]
    return sections + ([{"name": "", "subsets": rest}] if rest else [])


def _subsets_of(spec: BenchmarkSpec, part: str) -> list[str]:
    """Return the subsets of a part: one subset, those of a section, or all. Raises RequestError for another name."""
    if not part:
        return [subset.name for subset in spec.subsets]
    if part in spec.subset_names:
        return [part]
    section = next((section for section in spec.sections if section.name == part), None)
    if section is None:
        names = ", ".join(sorted({*spec.subset_names, *(section.name for section in spec.sections)}))
        raise RequestError(f"{spec.title} has no subset {quoted(part)}; it has {names}.")
    return list(section.weights)


def _refusals(spec: BenchmarkSpec) -> frozenset[str]:
    return frozenset(name for section in spec.sections if section.name == REFUSALS for name in section.weights)


def _model_row(items: Items, name: str, field: str) -> int | None:
    if not name:
        return None
    if name not in items.models:
        raise RequestError(f"{field}: the outcomes of single items are not known for {quoted(name)}.")
    return items.models.index(name)


def _chosen(view: ItemView, request: ExamplesRequest) -> Flags:
    """Return the mask of the items that the filter chooses. Raises RequestError for one that cannot be applied."""
    offered = offered_filters(view)
    if request.filter not in FILTERS:
        raise RequestError(f"There is no filter {quoted(request.filter)}; known are {', '.join(FILTERS)}.")
    chosen = FILTERS[request.filter]
    if request.filter == "long" and view.lengths is None:
        return np.zeros(len(view.items), dtype=bool)  # while texts are read, or where there are none
    if request.filter not in offered:
        raise RequestError(f"The filter “{chosen.label}” needs outcomes of single items, which are not known here.")
    if None in (view.a, view.b)[: chosen.num_models]:
        raise RequestError(f"The filter “{chosen.label}” needs {'A and B' if chosen.num_models == 2 else 'model A'}.")
    return chosen.choose(view)


def _only(items: Items, item: str) -> Flags:
    """Return the mask of one item. Raises RequestError for an id that no item has."""
    mask: Flags = items.ids == item
    if not mask.any():
        raise RequestError(f"There is no item {quoted(item)} here.")
    return mask


def _about(board: Board, spec: BenchmarkSpec, part: str, items: Items, members: Flags) -> dict[str, Any]:
    """Return what a part tests, how its items are scored, and how hard they are."""
    subset = next((subset for subset in spec.subsets if subset.name == part), None)
    section = spec.section_of(part) or next((section for section in spec.sections if section.name == part), None)
    described = subset or section
    return {
        "name": part or spec.title,
        "description": (described.description if described else spec.description) or spec.description,
        "section": section.name if section and section.name != part else None,
        "section_description": section.description if section and subset else "",
        "rule": section.metric.label if section and section.metric != ACCURACY else None,
        "items": int(members.sum()) or (subset.count if subset else None),
        "chance": (board.chance.subsets | board.chance.sections).get(part) if part else board.chance.headline,
        "licence": spec.licence,
        "citation": spec.citation,
        "url": spec.url,
        "scores": _model_scores(board, part),
        "difficulty": difficulty(items, members) if items.models else None,
    }


def _model_scores(board: Board, part: str) -> dict[str, Any] | None:
    """Return number, median and best score of the models in a part; None without any."""
    scores = {row.model: _score(row, part) for row in board.ranked()}
    known = {model: score for model, score in scores.items() if score is not None}
    if not known:
        return None
    best = max(known, key=lambda model: known[model])
    return {"models": len(known), "median": float(np.median(list(known.values()))), "best": known[best], "model": best}


def _score(row: BoardRow, part: str) -> float | None:
    return row.subsets.get(part, row.sections.get(part)) if part else row.headline.value


def _parts(board: Board, spec: BenchmarkSpec, subsets: Iterable[str], items: Items) -> list[dict[str, Any]]:
    """Return for each subset what it tests, and how hard its items are."""
    descriptions = {subset.name: subset for subset in spec.subsets}
    parts = []
    for name in subsets:
        members = items.subsets == name
        section = spec.section_of(name)
        is_known = bool(items.models and members.any())
        if not members.any() and _model_scores(board, name) is None and items.models:
            continue  # a subset that no published outcomes have, such as a prior set
        parts.append(
            {
                "name": name,
                "section": section.name if section else None,
                "description": descriptions[name].description or (section.description if section else ""),
                "items": int(members.sum()) or descriptions[name].count,
                "difficulty": difficulty(items, members) if is_known else None,
                "unsolved": int(items.missed_by_all(len(items.models))[members].sum()) if is_known else None,
                "suspects": int(items.is_suspect[members].sum()) if is_known else None,
                "scores": _model_scores(board, name),
            }
        )
    return parts


def _item(items: Items, place: int, texts: Texts) -> dict[str, Any]:
    """Return an item with its texts, and the models that are wrong on it, best first."""
    item = str(items.ids[place])
    names = np.array(items.models, dtype=np.str_)
    suspect, example = items.suspects.get(item), texts.examples.get(item)
    return {
        "id": item,
        "subset": str(items.subsets[place]),
        "scored": int(items.scored[:, place].sum()),
        "wrong": names[items.wrong[:, place]].tolist() if items.models else [],
        "unscored": names[~items.scored[:, place]].tolist() if items.models else [],
        "strong_wrong": int(items.wrong[: items.num_strong, place].sum()),
        "suspect": suspect._asdict() if suspect else None,
        **_texts_json(example),
    }


def _texts_json(example: Example | None) -> dict[str, Any]:
    """Return prompt, chosen and rejected completions; null where the texts are not known."""
    if example is None:
        return {"prompt": None, "chosen": None, "rejected": None}
    completions = [_cut(text) for text in example.completions]
    return {
        "prompt": [{"role": message["role"], "text": _cut(message_text(message))} for message in example.prompt],
        "chosen": completions[: example.num_chosen],
        "rejected": completions[example.num_chosen :],
    }


def _cut(text: str) -> str:
    rest = len(text) - MAX_TEXT
    return text if rest <= 0 else f"{text[:MAX_TEXT]} … ({rest:,} more characters)"
