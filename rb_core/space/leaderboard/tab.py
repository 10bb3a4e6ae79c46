"""The Leaderboard tab: boards become one JSON value, which a component draws, sorts and filters in the browser."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rb_core.space.component import component
from rb_core.space.results_source import Payload, ResultsSource

# They share one scope, in this order.
SCRIPTS = (
    "leaderboard_data.js",
    "leaderboard_table.js",
    "leaderboard_controls.js",
    "leaderboard_address.js",
    "leaderboard.js",
)


def leaderboard_table(value: Payload) -> gr.HTML:
    """Return the component that draws these boards."""
    return component(__package__, *SCRIPTS, value=value)


def build_leaderboard(page: gr.Blocks, results: ResultsSource) -> None:
    """Lay out the tab in the tab's context of `page`; a page that is opened later gets newer results."""
    initial = results.payload()
    table = leaderboard_table(initial)
    status = gr.HTML("", apply_default_css=False, elem_id="results-line", elem_classes="rb-results-line")

    def refresh() -> tuple[Any, str]:
        payload = results.payload()
        # The page carries `initial` already: sending it twice would double the visitor's wait.
        return gr.skip() if payload is initial else payload, results.status_html()

    page.load(refresh, outputs=[table, status], show_progress="hidden", queue=False, api_visibility="private")
