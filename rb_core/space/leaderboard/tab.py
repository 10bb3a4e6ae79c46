"""The Leaderboard tab: a component fetches a board from its plain address, and draws, sorts and filters it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rb_core.space.component import component
from rb_core.space.leaderboard.custom_ranking import CustomRankings
from rb_core.space.results_source import ResultsSource

# They share one scope, in this order.
SCRIPTS = (
    "filters.js",
    "leaderboard_data.js",
    "leaderboard_table.js",
    "leaderboard_axes.js",
    "leaderboard_card.js",
    "leaderboard_controls.js",
    "leaderboard_address.js",
    "leaderboard.js",
)


def leaderboard_table(**options: Any) -> gr.HTML:
    """Return the component that draws the boards of the page's results.

    They are no value of the component, because gradio would watch every cell, which takes longer than to draw them.
    """
    return component(__package__, *SCRIPTS, **options)


def build_leaderboard(page: gr.Blocks, results: ResultsSource) -> None:
    """Lay out the tab in the tab's context of `page`; a page that is opened later gets newer results."""
    rankings = CustomRankings(results)

    def custom_ranking(request: object) -> dict[str, Any]:
        return rankings.ranking(request)  # anybody can call this with any JSON

    leaderboard_table(server_functions=[custom_ranking])
    status = gr.HTML("", apply_default_css=False, elem_id="results-line", elem_classes="rb-results-line")
    page.load(results.status_html, None, status, show_progress="hidden", queue=False, api_visibility="private")
