"""The tab *Leaderboard*: boards become one JSON value, which a component draws, sorts and filters in the browser."""

from __future__ import annotations

from importlib import resources
from typing import Any

import gradio as gr

from rb_core.space.results_source import Payload, ResultsSource

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
