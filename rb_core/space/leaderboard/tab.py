"""The Leaderboard tab: boards become one JSON value, which a component draws, sorts and filters in the browser."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rb_core.space.component import component
from rb_core.space.leaderboard.custom_ranking import CustomRankings
from rb_core.space.results_source import ResultsSource, page_json

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


def leaderboard_table(value: dict[str, Any], **options: Any) -> gr.HTML:
    """Return the component that draws these boards."""
    return component(__package__, *SCRIPTS, value=value, **options)


def build_leaderboard(page: gr.Blocks, results: ResultsSource) -> None:
    """Lay out the tab in the tab's context of `page`; a page that is opened later gets newer results."""
    initial = results.boards()
    rankings = CustomRankings(results)

    def custom_ranking(request: object) -> dict[str, Any]:
        return rankings.ranking(request)  # anybody can call this with any JSON

    table = leaderboard_table(page_json(results), server_functions=[custom_ranking])
    status = gr.HTML("", apply_default_css=False, elem_id="results-line", elem_classes="rb-results-line")

    def refresh() -> tuple[Any, str]:
        boards = results.boards()
        # The page carries `initial` already: sending it twice would double the visitor's wait.
        table_json = gr.skip() if boards is initial else page_json(results)
        return table_json, results.status_html()

    page.load(refresh, outputs=[table, status], show_progress="hidden", queue=False, api_visibility="private")
