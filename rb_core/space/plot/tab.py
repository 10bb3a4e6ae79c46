"""The Plot tab: scores against sizes, drawn in the browser from data that is sent when the tab is first opened."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rb_core.leaderboard.size_plot import size_plot
from rb_core.space.component import component
from rb_core.space.results_source import ResultsSource


def build_plot(page: gr.Blocks, source: ResultsSource) -> gr.HTML:
    """Lay out the tab in the tab's context of `page`."""

    # Gradio calls such a function with exactly one argument, which may be any JSON.
    def plot_of(board_id: object) -> dict[str, Any]:
        """Return the list of boards, and the plot of this board, or of the first one if there is none of that id."""
        boards = list(source.boards().values())
        board = next((board for board in boards if board.id == board_id), boards[0] if boards else None)
        return {
            "boards": [{"id": board.id, "title": board.title} for board in boards],
            "plot": size_plot(board, source.results(board.id)).to_json() if board else None,
        }

    return component(__package__, "plot.js", server_functions=[plot_of])
