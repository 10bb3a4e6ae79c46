"""The tab *Leaderboard*: boards become one JSON value, which a component draws, sorts and filters in the browser."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import gradio as gr

from rb_core import __version__
from rb_core.benchmarks import BENCHMARKS, BenchmarkSpec
from rb_core.collection import Collection, Outcomes, board_ranges
from rb_core.leaderboard import Board
from rb_core.model_page import HubPlace
from rb_core.outcomes import ItemOutcomes
from rb_core.results import KIND_LABELS, Result, git_state

# Generative models are mostly behind APIs, and what scores without a checkpoint has no page on the hub.
HUB_KINDS = frozenset(KIND_LABELS[kind] for kind in ("classifier", "custom-classifier", "implicit"))
NOT_ON_HUB = ("baseline/", "builtin/", "local/", "unknown/")

Payload = dict[str, Any]


class ResultsSource(Protocol):
    """Where the page's boards come from, and the results and outcomes behind them."""

    def payload(self) -> Payload:
        """The boards as plain JSON: the same object for as long as they have not changed."""

    def line(self) -> str:
        """Which results these are, as HTML; empty where there is nothing to say."""

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """The whole results behind a board, by model; empty where there are none, or where they cannot be had now."""

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """What a model earned example by example; None where it is not known, or cannot be had now."""

    def on_hub(self) -> HubPlace | None:
        """Where the shown results lie on the hub; None for those of a folder."""


class ResultsFolder:
    """The results below a root as the page shows them; read again only when a file there has changed."""

    def __init__(self, root: Path) -> None:
        self.collection = Collection(root)
        self._payload: Payload = {"boards": [], "refused": 0}
        self._lock = threading.Lock()
        self._commit, _ = git_state()

    def payload(self) -> Payload:
        """The value of the leaderboard: the same object for as long as no file has changed."""
        found = self.collection
        with self._lock:  # of several visitors one reads, and the others see what it has read
            if found.refresh():
                self._payload = page_payload(found.boards(), len(found.refused), found.outcomes, found.specs())
            return self._payload

    def line(self) -> str:
        """The version and commit that these results came with."""
        at = f" at commit <code>{self._commit[:7]}</code>" if self._commit else ""
        return f"Results that came with this page, rb_core {__version__}{at}."

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """The results below the root."""
        self.payload()
        return self.collection.results(benchmark)

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """From the score table below the root, or the published outcomes there."""
        self.payload()
        return self.collection.outcomes(benchmark, model)

    def on_hub(self) -> HubPlace | None:
        """Nowhere: they lie in a folder."""
        return None


def page_payload(
    found: Mapping[str, Board],
    refused: int,
    outcomes: Outcomes = lambda benchmark, model: None,
    specs: Mapping[str, BenchmarkSpec] = BENCHMARKS,
) -> Payload:
    """All boards as plain JSON, each with a link and a range of ranks a row, and the number of refused files."""
    return {
        "boards": [
            each.payload() | {"links": links(each), "ranges": board_ranges(each, outcomes, specs.get(name))}
            for name, each in found.items()
        ],
        "refused": refused,
    }


def links(board: Board) -> list[str | None]:
    """For each row the model's page on the hub, or None where it has none."""
    model, kind = board.index("model"), board.index("kind")
    return [hub_page(str(row[model]), str(row[kind])) for row in board.rows]


def hub_page(model: str, kind: str) -> str | None:
    """The model's page on the hub; None for names without an organisation and for what is not on the hub."""
    if kind not in HUB_KINDS or "/" not in model or model.startswith(NOT_ON_HUB):
        return None
    return f"https://huggingface.co/{model}"


# One script to the browser, in this order; they share one scope.
SCRIPTS = (
    "leaderboard_data.js",
    "leaderboard_table.js",
    "leaderboard_controls.js",
    "leaderboard_address.js",
    "leaderboard.js",
)


def leaderboard_table(value: Payload) -> gr.HTML:
    """The boards as a table that a visitor searches, filters, sorts and takes away.

    A function, since gradio writes a stub file beside the module of every component class.
    """
    files = resources.files(__package__)
    return gr.HTML(
        value,
        html_template=files.joinpath("leaderboard.html").read_text(encoding="utf-8"),
        js_on_load="\n".join(files.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS),
        apply_default_css=False,
        elem_id="leaderboard",
    )


def build_leaderboard(page: gr.Blocks, results: ResultsSource) -> None:
    """Lay out the tab, inside of a tab's context, and let a page that is opened later show newer results."""
    shown = results.payload()
    table = leaderboard_table(shown)
    line = gr.HTML("", apply_default_css=False, elem_id="results-line", elem_classes="rb-results-line")

    def newer() -> tuple[Any, str]:
        now = results.payload()
        # The page carries `shown` already: sending it twice would double what a visitor waits for.
        return gr.skip() if now is shown else now, results.line()

    page.load(newer, outputs=[table, line], show_progress="hidden", queue=False, api_visibility="private")
