"""The Plot tab: any two numbers of a board against each other, drawn in the browser from data that is sent when the tab
is first opened."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rb_core.space.component import component
from rb_core.space.plot.data import plot_data
from rb_core.space.results_source import ResultsSource


def build_plot(page: gr.Blocks, source: ResultsSource) -> gr.HTML:
    """Lay out the tab in the tab's context of `page`."""

    # Gradio calls such a function with exactly one argument, which may be any JSON.
    def plot_of(board_id: object) -> dict[str, Any]:
        """Return the list of boards, and the plot of this board, or of the first one if there is none of that id."""
        boards = list(source.boards().values())
        board = next((board for board in boards if board.id == board_id), boards[0] if boards else None)
        plot = board and plot_data(board, source.results(board.id), source.traits(board.id), source.registry())
        return {"boards": [{"id": board.id, "title": board.title} for board in boards], "plot": plot}

    return component(__package__, "filters.js", "axes.js", "plot.js", server_functions=[plot_of])
