"""The tab *Compare*: a visitor chooses models in the browser, the server says how they differ."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from importlib import resources
from typing import Any, TypedDict

import gradio as gr
from gradio.events import api

from rb_core.errors import RewardBenchError
from rb_core.leaderboard.comparison import LEAST, MOST, comparison
from rb_core.space.api import RequestError, answering, kind_of, known_board, known_model
from rb_core.space.compare.view import comparison_html
from rb_core.space.html import message_html
from rb_core.space.limits import WaitingLine
from rb_core.space.results_source import Payload, ResultsSource

REMEMBERED = 32


WAITING = 8  # comparisons that may stand in line; each takes a second or more of a processor, and anybody may ask


Found = dict[str, Any]


class Answer(TypedDict):
    """What the browser shows. status: for the live region."""

    html: str
    status: str


class Comparer:
    """Compares for the tab and the endpoint, one comparison at a time. The last ones are remembered for as long as the
    boards have not changed."""

    def __init__(self, source: ResultsSource) -> None:
        self._source = source
        self._known: OrderedDict[tuple[str, ...], Found] = OrderedDict()
        self._shown: Payload | None = None
        self._line = WaitingLine(WAITING)

    def choices(self) -> dict[str, Any]:
        """The boards of two models or more."""
        found = [choices_of(board) for board in self._source.payload()["boards"]]
        return {"boards": [board for board in found if len(board["models"]) > 1]}

    def compared(self, benchmark: str, models: list[str]) -> Found:
        """The comparison as plain JSON. Raises ComparisonError as `comparison` does, and InputError where too many
        others wait."""
        key = (benchmark, *models)
        with self._line.admit(), self._line.turn():
            shown = self._source.payload()
            if shown is not self._shown:
                self._known.clear()
                self._shown = shown
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
            found = comparison(self._source, benchmark, models)
            # Without outcomes it is quick, and these may only be out of reach for a moment.
            if all(pair["basis"] == "items" for pair in found["pairs"]):
                self._known[key] = found
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return found

    def answer(self, benchmark: str, models: list[str]) -> Answer:
        """The comparison as HTML, or a message saying why there is none."""
        try:
            found = self.compared(benchmark, models)
        except RewardBenchError as error:
            return {"html": message_html(str(error)), "status": ""}
        status = f"Compared {models[0]} with {' and '.join(models[1:])} on {found['title']}."
        return {"html": comparison_html(found), "status": status}


def choices_of(board: Payload) -> dict[str, Any]:
    """A board's models, best first; items: whether outcomes of single examples are known; example: a pair to begin
    with, the best two of these."""
    place = {column["role"]: i for i, column in reversed(list(enumerate(board["columns"])))}
    models = [
        {"name": row[place["model"]], "score": row[place["headline"]], "items": span is not None and span[2] == "items"}
        for row, span in zip(board["rows"], board["ranges"], strict=True)
    ]
    best = [model["name"] for model in models if model["items"]]
    example = best[:2] if len(best) > 1 else [model["name"] for model in models[:2]]
    return {"id": board["id"], "title": board["title"], "models": models, "example": example}


def build_compare(page: gr.Blocks, source: ResultsSource) -> None:
    """Lay out the tab, inside of a tab's context, and publish the endpoint `compare`. Nothing is loaded before the tab
    is opened; `page` is not changed."""
    comparer = Comparer(source)

    def compare_choices(_: object) -> dict[str, Any]:
        return comparer.choices()

    def compare_models(asked: object) -> Answer:
        # Anybody can call this with anything.
        found = asked if isinstance(asked, dict) else {}
        board, models = found.get("board"), found.get("models")
        if not isinstance(board, str) or not isinstance(models, list) or not all(isinstance(m, str) for m in models):
            return {"html": message_html(f"A benchmark and two to {MOST} models are needed."), "status": ""}
        return comparer.answer(board, models)

    files = resources.files(__package__)
    gr.HTML(
        None,
        html_template=files.joinpath("compare.html").read_text(encoding="utf-8"),
        js_on_load=files.joinpath("compare.js").read_text(encoding="utf-8"),
        server_functions=[compare_choices, compare_models],
        apply_default_css=False,
        elem_id="compare",
    )
    # As many as ask: who is served, and who is refused, the comparer says.
    api(_endpoint(source, comparer), api_name="compare", concurrency_limit=None)


def _endpoint(source: ResultsSource, comparer: Comparer) -> Callable[..., Found]:
    """The same as the tab, as JSON."""

    @answering
    def compare(benchmark: str, models: list[str]) -> dict[str, Any]:
        """Compare two to four reward models on one benchmark, and say whether their differences are noise.

        The first model is compared with each of the others, on the same examples where their outcomes are known, else
        by their published scores and errors. Returns an object with `models` (what is known of each), `pairs` (for
        each model but the first: the verdict in words, the difference of the scores with its 95% interval and p
        value), `rows` (the score, then each section and subset: every model's value, and every pair's difference),
        `scores` (margins, calibration and accuracy by length) and `notes` (read them before you quote a number).
        Values are fractions from 0 to 1, and null is not known. To find names of models, ask `leaderboard` first.

        Parameters:
            benchmark: the benchmark's id, for example rewardbench or rewardbench-2
            models: two to four different names of models as the leaderboard spells them, the reference first
        """
        known_board(source, benchmark)
        if not isinstance(models, list):
            raise RequestError(f"models is {kind_of(models)}; give a list of {LEAST} to {MOST} names.")
        # Of far too many the number is said, and they are not looked at one by one.
        for number, name in enumerate(models[:MOST], 1):
            known_model(source, benchmark, name, field=f"model {number}")
        return comparer.compared(benchmark, models)

    return compare
