"""Recommend models for a use: those that no other candidate is shown to beat, with reasons and code.

The group is not the best model: it is all that the data cannot tell apart from the best, by the rank intervals of the
candidates among themselves (see `rb_core.stats.rank_intervals`).
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rb_core.audits.traits import BASELINE, TraitValue
from rb_core.errors import quoted
from rb_core.leaderboard.board import Board, BoardRow
from rb_core.leaderboard.board_table import detectable_text
from rb_core.leaderboard.custom_scores import custom_board
from rb_core.leaderboard.hub_links import hub_page
from rb_core.leaderboard.model_registry import ModelRegistry, openness
from rb_core.results.schema import Result
from rb_core.space.api import RequestError, find_board, type_in_words
from rb_core.space.choose.loading_code import loading_code
from rb_core.space.choose.uses import CONSISTENCY, USES, Use
from rb_core.space.limits import WaitingLine
from rb_core.space.results_source import ResultsSource
from rb_core.stats.item_outcomes import ItemOutcomes

PREFERRED = "rewardbench-2"  # the benchmark that outcomes of RLHF and best-of-N were measured against
SHOWN = 8
MAX_REASONS = 4
BEHIND = 0.05  # from which distance to the group's best a section is named as a weakness
CACHED_ANSWERS = 64
MAX_WAITING = 8
BILLION = 1e9
PERMISSIVE = frozenset({"apache-2.0", "mit", "bsd-3-clause"})
LICENCE_CHOICES = {"": "Any or unknown", "permissive": "Permissive (Apache-2.0, MIT)", "known": "Any that is stated"}
OPENNESS_CHOICES = {"": "Any", "weights": "Weights can be downloaded", "data": "Weights and training data are declared"}


@dataclass(frozen=True)
class Wish:
    """The needs of a visitor. weights: of sections, empty for equal ones; sizes: in parameters, None for any."""

    use: str = "rlhf"
    benchmark: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    min_size: float | None = None
    max_size: float | None = None
    licence: str = ""
    openness: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        weights = frozenset(self.weights.items())
        return self.use, self.benchmark, weights, self.min_size, self.max_size, self.licence, self.openness


def parse_wish(fields: dict[str, Any]) -> Wish:
    """Return the wish in JSON; sizes are in billions. Raises RequestError, naming the field, for another type."""
    texts = {}
    for name in ("use", "benchmark", "licence", "openness"):
        value = fields.get(name) or ""
        if not isinstance(value, str):
            raise RequestError(f"{name} is {type_in_words(value)}; give text.")
        texts[name] = value
    weights = fields.get("weights") or {}
    if not isinstance(weights, dict) or not all(type(weight) in (int, float) for weight in weights.values()):
        raise RequestError("weights are numbers by section, such as {'Math': 2, 'Safety': 1}.")
    return Wish(
        use=texts["use"] or "rlhf",
        benchmark=texts["benchmark"],
        weights=weights,
        min_size=_size("min_size", fields.get("min_size")),
        max_size=_size("max_size", fields.get("max_size")),
        licence=texts["licence"],
        openness=texts["openness"],
    )


def _size(name: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise RequestError(f"{name} is not a number of billions of parameters, such as 8.")
    return value * BILLION


class Recommender:
    """Answers wishes, one at a time. The last answers are kept until the boards change."""

    def __init__(self, source: ResultsSource) -> None:
        self._source = source
        self._line = WaitingLine(MAX_WAITING)
        self._boards: Mapping[str, Board] | None = None
        self._answers: OrderedDict[tuple[object, ...], dict[str, Any]] = OrderedDict()
        self._outcomes: dict[str, Mapping[str, ItemOutcomes | None]] = {}
        self._evidence: dict[str, list[str]] = {}
        self._known_traits: dict[tuple[str, str], dict[str, Any]] = {}

    def choices(self) -> dict[str, Any]:
        """Return the uses, benchmarks with their sections, licences and degrees of openness to choose from."""
        boards = [board for board in self._source.boards().values() if len(board.ranked()) > 1]
        boards.sort(key=lambda board: board.id != PREFERRED)
        return {
            "uses": {name: use.label for name, use in USES.items()},
            "boards": [{"id": board.id, "title": board.title, "sections": section_choices(board)} for board in boards],
            "licences": LICENCE_CHOICES,
            "openness": OPENNESS_CHOICES,
        }

    def answer(self, wish: Wish) -> dict[str, Any]:
        """Return the recommendation. Raises RequestError or WeightsError for a wish that cannot be answered."""
        if wish.use not in USES:
            raise RequestError(f"There is no use {quoted(wish.use)}; known are {', '.join(USES)}.")
        _check_choices(wish)
        with self._line.admit(), self._line.turn():
            boards = self._current_boards()
            if wish.key not in self._answers:
                default = PREFERRED if PREFERRED in boards else next(iter(boards), "")
                self._answers[wish.key] = self._recommend(wish, find_board(boards, wish.benchmark or default))
                if len(self._answers) > CACHED_ANSWERS:
                    self._answers.popitem(last=False)
            self._answers.move_to_end(wish.key)
            return self._answers[wish.key]

    def rank(self, wish: Wish, fits: Callable[[BoardRow], bool]) -> tuple[Board, dict[str, int]]:
        """Return the wish's board with the rows that fit ranked among themselves, and the number left out by reason.

        Without weights the score is the benchmark's own. Raises as `answer` does.
        """
        _check_choices(wish)
        with self._line.admit(), self._line.turn():
            board = find_board(self._current_boards(), wish.benchmark)
            candidates, left_out = find_candidates(board, wish, self._source.registry())
            rows = [row for row in candidates if fits(row)]
            if others := len(candidates) - len(rows):
                left_out["another kind, organisation or name"] = others
            return self._rank(board, wish.weights or None, rows), left_out

    def _rank(self, board: Board, weights: Mapping[str, float] | None, rows: Sequence[BoardRow]) -> Board:
        results = self._source.results(board.id)
        if not results:
            raise RequestError(f"The results of {board.title} cannot be read now; try again in some minutes.")
        if board.id not in self._outcomes:
            self._outcomes[board.id] = self._source.ranking_outcomes(board.id)
        return custom_board(board, results, self._outcomes[board.id], weights, [row.model for row in rows])

    def _current_boards(self) -> Mapping[str, Board]:
        """Return the boards, and forget what was kept of older ones."""
        boards = self._source.boards()
        if boards is not self._boards:
            self._answers.clear()
            self._outcomes, self._known_traits = {}, self._read_traits(boards)
            self._evidence = {name: use.evidence(self._source.reports()) for name, use in USES.items()}
            self._boards = boards
        return boards

    def _recommend(self, wish: Wish, board: Board) -> dict[str, Any]:
        use, registry = USES[wish.use], self._source.registry()
        weights = dict(wish.weights) or {s["name"]: s["weight"] for s in section_choices(board)}
        candidates, left_out = find_candidates(board, wish, registry)
        ranked = self._rank(board, weights, candidates)
        results = self._source.results(board.id)
        group = [row for row in ranked.rows if row.rank_interval is not None and row.rank_interval.best == 1]
        if use.smallest_first:
            group.sort(key=lambda row: (row.parameters is None, row.parameters or 0))
        without = [row.model for row in ranked.rows if row.rank is not None and row.rank_interval is None]
        return {
            "use": wish.use,
            "use_label": use.label,
            "benchmark": board.id,
            "title": board.title,
            "weights": {name: weight for name, weight in weights.items() if weight},
            "candidates": sum(row.rank is not None for row in ranked.rows),
            "left_out": left_out,
            "tied": len(group),
            "smallest_first": use.smallest_first,
            "group": [self._entry(row, group, results[row.model], registry, use) for row in group[:SHOWN]],
            "more": [row.model for row in group[SHOWN:]],
            "without_interval": without,
            "detectable_text": detectable_text(ranked),
            "advice": list(use.advice),
            "evidence": self._evidence[wish.use],
            "not_known": not_known(ranked, candidates, registry),
        }

    def _entry(
        self, row: BoardRow, group: Sequence[BoardRow], result: Result, registry: ModelRegistry, use: Use
    ) -> dict[str, Any]:
        """Return a recommended model with its score, the reasons for and against it, and its code."""
        registered = registry.get(row.model)
        return {
            "model": row.model,
            "organisation": row.organisation,
            "kind": row.kind,
            "parameters": row.parameters,
            "licence": registered.licence if registered else None,
            "base_model": registered.base_model if registered else None,
            "openness": openness(registered, has_weights=has_weights(row)),
            "hub": hub_page(row.model, row.kind),
            "score": {name: getattr(row.headline, name) for name in ("value", "low", "high", "floor", "ceiling")},
            "rank": row.rank,
            "range": list(row.rank_interval[:2]) if row.rank_interval else [],
            "sections": dict(row.sections),
            "reasons": reasons(row, group),
            "traits": self._traits(row, use),
            **loading_code(result, registered.base_model if registered else None, use),
        }

    def _traits(self, row: BoardRow, use: Use) -> list[dict[str, Any]]:
        """Return the traits that matter for the use, each from the first board that has it."""
        traits = []
        for key in use.traits:
            if key == CONSISTENCY and row.consistency is not None:
                traits.append({"label": "Same verdict in both orders", **TraitValue(row.consistency)._asdict()})
            elif (known := self._known_traits.get((key, row.model))) is not None:
                traits.append(known)
        return traits

    def _read_traits(self, boards: Mapping[str, Board]) -> dict[tuple[str, str], dict[str, Any]]:
        """Return every trait by its key and model."""
        known: dict[tuple[str, str], dict[str, Any]] = {}
        for board in boards.values():
            for trait in self._source.traits(board.id):
                for model, value in trait.values.items():
                    entry = {"label": trait.label, **value._asdict(), "board": board.title}
                    known.setdefault((trait.key, model), entry)
        return known


def _check_choices(wish: Wish) -> None:
    choices = (("licence", wish.licence, LICENCE_CHOICES), ("openness", wish.openness, OPENNESS_CHOICES))
    for name, value, known in choices:
        if value not in known:
            raise RequestError(f"{name} is {quoted(value)}; choose one of {', '.join(filter(None, known))}.")


def section_choices(board: Board) -> list[dict[str, Any]]:
    """Return the sections with equal weights, and without one those that not all scores include."""
    uneven = board.uneven_sections
    return [
        {"name": s.name, "description": s.description, "weight": 0.0 if s.name in uneven else 1.0}
        for s in board.sections
    ]


def has_weights(row: BoardRow) -> bool:
    return hub_page(row.model, row.kind) is not None


def find_candidates(board: Board, wish: Wish, registry: ModelRegistry) -> tuple[list[BoardRow], dict[str, int]]:
    """Return the rows that may be recommended, and how many were left out for each reason."""
    left_out: Counter[str] = Counter()
    candidates = []
    for row in board.ranked():
        if row.kind == BASELINE:
            continue
        reason = next((text for text, fits in _conditions(wish, row, registry).items() if not fits()), None)
        if reason is None:
            candidates.append(row)
        else:
            left_out[reason] += 1
    return candidates, dict(left_out)


def _conditions(wish: Wish, row: BoardRow, registry: ModelRegistry) -> dict[str, Callable[[], bool]]:
    """Return the conditions of a wish, each by the reason why a row is left out without it."""
    registered = registry.get(row.model)
    licence = (registered.licence if registered else None) or ""
    bounded = wish.min_size is not None or wish.max_size is not None
    low, high = wish.min_size or 0.0, wish.max_size if wish.max_size is not None else float("inf")
    is_open = openness(registered, has_weights=has_weights(row)) or ""
    return {
        "size not known": lambda: not bounded or row.parameters is not None,
        "another size": lambda: not bounded or low <= (row.parameters or 0) <= high,
        "licence not known": lambda: not wish.licence or bool(licence),
        "another licence": lambda: wish.licence != "permissive" or licence.lower() in PERMISSIVE,
        "weights not known to be open": lambda: not wish.openness or is_open.startswith("Weights"),
        "training data not declared": lambda: wish.openness != "data" or "training data" in is_open,
    }


def reasons(row: BoardRow, group: Sequence[BoardRow]) -> list[str]:
    """Return what speaks for and against a model within its group, at most MAX_REASONS sentences."""
    if len(group) == 1:
        return []  # the summary says it
    texts = ["The highest score for these weights."] if row.rank == 1 else [_behind_text(row, group)]
    sizes = [other.parameters for other in group if other.parameters]
    if row.parameters and len(sizes) > 1 and row.parameters == min(sizes):
        texts.append("None of the group is known to be smaller.")
    best = {name: max(other.sections.get(name, 0.0) for other in group) for name in row.sections}
    strong = [name for name, score in row.sections.items() if score == best[name]]
    if strong:
        texts.append(f"The group’s best in {_list_text(strong)}.")
    gaps = {name: best[name] - score for name, score in row.sections.items() if best[name] - score >= BEHIND}
    if gaps:
        worst = max(gaps, key=lambda name: gaps[name])
        texts.append(f"{100 * gaps[worst]:.1f} points below the group’s best in {worst}.")
    return texts[:MAX_REASONS]


def _behind_text(row: BoardRow, group: Sequence[BoardRow]) -> str:
    first = max(other.headline.value or 0.0 for other in group)
    behind = f"{100 * (first - (row.headline.value or 0.0)):.1f}"
    return "As good as the first." if behind == "0.0" else f"{behind} points behind the first, within noise."


def _list_text(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def not_known(board: Board, candidates: Sequence[BoardRow], registry: ModelRegistry) -> list[str]:
    """Return what the recommendation does not know, as sentences."""
    sections = _list_text([section.name for section in board.sections])
    registered = [registry.get(row.model) for row in candidates]
    unlicensed = sum(1 for model in registered if model is None or model.licence is None)
    published = sum(row.status == "published" for row in candidates)
    newest = f" The newest result here is of {board.newest}." if board.newest else ""
    return [
        f"Your prompts, language and policy: {board.title} asks about {sections} only. Score some hundred pairs of "
        "your own with the command “evaluate --benchmark FILE” before you decide.",
        f"Licences: unknown for {unlicensed} of the {len(candidates)} candidates. Read the model’s card.",
        "Speed, memory and price: only the number of parameters is known.",
        f"Models that are not on this board.{newest}",
        f"{published} of the {len(candidates)} candidates’ scores are as published by others, not measured here.",
        "Whether a model saw the benchmark’s data in training.",
    ]
