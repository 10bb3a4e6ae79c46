"""The Compare tab and the endpoint `compare`: a visitor chooses models, the server compares them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypedDict

import gradio as gr
from gradio.events import api

from rb_core.errors import RewardBenchError
from rb_core.leaderboard.board import Board
from rb_core.leaderboard.comparison import MAX_MODELS, MIN_MODELS, compare_models
from rb_core.space.api import RequestError, as_endpoint, check_model, find_board, type_in_words
from rb_core.space.compare.report import comparison_html
from rb_core.space.component import component
from rb_core.space.first_view import FirstView
from rb_core.space.html import message_html, render
from rb_core.space.limits import WaitingLine
from rb_core.space.results_source import ResultsSource
from rb_core.space.server import Page

CACHED_COMPARISONS = 32
MAX_WAITING = 8  # a comparison takes a second or more of CPU time, and anybody may ask for one
FIRST_WAIT = 1.0  # seconds that a document waits for the comparison of its address
_FIRST_COMPARISONS = ThreadPoolExecutor(1)


class ComparisonView(TypedDict):
    """A comparison for the browser. status: the aria-live text."""

    html: str
    status: str


class ComparisonService:
    """Compares models for the tab and the endpoint, one comparison at a time.

    The last comparisons are kept until the boards change.
    """

    def __init__(self, source: ResultsSource) -> None:
        self.source = source
        self._cache: OrderedDict[tuple[str, ...], dict[str, Any]] = OrderedDict()
        self._cached_boards: Mapping[str, Board] | None = None
        self._line = WaitingLine(MAX_WAITING)

    def choices(self) -> dict[str, Any]:
        """Return the boards that have at least two models."""
        choices = [board_choices(board) for board in self.source.boards().values()]
        return {"boards": [board for board in choices if len(board["models"]) > 1]}

    def compare(self, benchmark: str, models: list[str]) -> dict[str, Any]:
        """Return the comparison as plain JSON.

        Raises ComparisonError as `compare_models` does, and InputError if too many requests are waiting.
        """
        key = (benchmark, *models)
        with self._line.admit(), self._line.turn():
            boards = self.source.boards()
            if boards is not self._cached_boards:
                self._cache.clear()
                self._cached_boards = boards
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            comparison = compare_models(self.source, benchmark, models)
            compared = comparison.to_json()
            # Not cached without item outcomes: it is quick then, and the outcomes may be available next time.
            if comparison.by_items:
                self._cache[key] = compared
            if len(self._cache) > CACHED_COMPARISONS:
                self._cache.popitem(last=False)
            return compared

    def view(self, benchmark: str, models: list[str]) -> ComparisonView:
        """Return the comparison as HTML, or the message of the error."""
        try:
            compared = self.compare(benchmark, models)
        except RewardBenchError as error:
            return {"html": message_html(str(error)), "status": ""}
        status = f"Compared {models[0]} with {' and '.join(models[1:])} on {compared['title']}."
        return {"html": comparison_html(compared), "status": status}


def board_choices(board: Board) -> dict[str, Any]:
    """Return a board's models, best first, and a default selection: the best two, preferably with known item outcomes.

    items: the outcomes of single examples are known for this model.
    """
    models = [
        {
            "name": row.model,
            "score": row.headline.value,
            "items": row.rank_interval is not None and row.rank_interval.method == "items",
        }
        for row in board.rows
    ]
    with_items = [model["name"] for model in models if model["items"]]
    default_models = with_items[:2] if len(with_items) > 1 else [model["name"] for model in models[:2]]
    return {"id": board.id, "title": board.title, "models": models, "default_models": default_models}


def first_comparison(service: ComparisonService, parameters: Mapping[str, str]) -> FirstView:
    """Return the comparison of an address, unless it is an error or takes longer than `FIRST_WAIT`."""
    board, models = parameters.get("board", ""), parameters.get("models", "").split(",")
    future = _FIRST_COMPARISONS.submit(service.view, board, models)
    try:
        view = future.result(FIRST_WAIT)
    except TimeoutError:
        future.cancel()
        return FirstView()
    if not view["status"]:
        return FirstView()
    title = service.source.boards()[board].title
    html = render("compare/first_comparison.html", board=board, title=title, models=models, view=view)
    return FirstView(html, ".rb-cmp-result > *")


def build_compare(page: gr.Blocks, source: ResultsSource) -> None:
    """Lay out the tab inside the open `gr.Tab` and publish the endpoint; data is sent when the tab is opened."""
    service = ComparisonService(source)

    def compare_choices(_: object) -> dict[str, Any]:
        return service.choices()

    def compare_request(request: object) -> ComparisonView:
        # Anybody can call this with any JSON.
        fields = request if isinstance(request, dict) else {}
        board, models = fields.get("board"), fields.get("models")
        if not isinstance(board, str) or not isinstance(models, list) or not all(isinstance(m, str) for m in models):
            return {"html": message_html(f"Choose a benchmark and {MIN_MODELS} to {MAX_MODELS} models."), "status": ""}
        return service.view(board, models)

    if isinstance(page, Page):
        page.first_views["compare"] = partial(first_comparison, service)
    component(__package__, "compare.js", server_functions=[compare_choices, compare_request])
    # No limit by Gradio: the service limits waiting requests itself, with a message.
    api(_endpoint(source, service), api_name="compare", concurrency_limit=None)


def _endpoint(source: ResultsSource, service: ComparisonService) -> Callable[..., dict[str, Any]]:
    @as_endpoint
    def compare(benchmark: str, models: list[str]) -> dict[str, Any]:
        """Compare two to four reward models on one benchmark, with intervals and significance of their differences.

        The first model is compared with each of the others: on the same examples if their outcomes are known, otherwise
        by their published scores and standard errors. Returns an object with `models` (facts about each), `pairs` (for
        each model but the first: the verdict in words, the difference of the scores with its 95% interval and p
        value, and how many more examples would settle it), `rows` (the score, then each section and subset: every
        model's value, with bounds where examples are unscored, and every pair's difference),
        `scores` (margins, calibration and accuracy by length) and `notes` (read them before you quote a number).
        Benchmark scores and accuracies are fractions (0.5 is 50%), differences can be negative, margins are in the
        model's own units; null is unknown. A p value is of one pair and does not allow for other pairs that you looked
        at; the ranges of `rank` do. `rank` finds names of models.

        Example: {"benchmark": "rewardbench", "models": ["infly/INF-ORM-Llama3.1-70B", "nicolinho/QRM-Gemma-2-27B"]}

        Parameters:
            benchmark: the benchmark's id, for example rewardbench or rewardbench-2; `benchmarks` lists them
            models: two to four different names of models as the leaderboard spells them; the first is compared with
                each of the others
        """
        find_board(source.boards(), benchmark)
        if not isinstance(models, list):
            raise RequestError(f"models is {type_in_words(models)}; give a list of {MIN_MODELS} to {MAX_MODELS} names.")
        for number, name in enumerate(models[:MAX_MODELS], 1):  # `compare_models` refuses a longer list
            check_model(source, benchmark, name, field=f"model {number}")
        return service.compare(benchmark, models)

    return compare
