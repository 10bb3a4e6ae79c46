"""The tab *Plot*: scores against sizes, drawn in the browser from data that is sent when the tab is first seen."""

from __future__ import annotations

from importlib import resources
from typing import Any

import gradio as gr

from rb_core.leaderboard.size_plot import size_plot
from rb_core.space.results_source import ResultsSource


def build_plot(page: gr.Blocks, source: ResultsSource) -> gr.HTML:
    """Lay out the tab, inside of a tab's context of `page`. Nothing of its data is in the page itself."""

    # Gradio calls such a function with exactly one argument, which may be any JSON.
    def plot_of(board: object) -> dict[str, Any]:
        """The boards that there are, and the plot of this one, or of the first where there is none of that id."""
        boards = source.payload()["boards"]
        found = next((each for each in boards if each["id"] == board), boards[0] if boards else None)
        return {
            "boards": [{"id": each["id"], "title": each["title"]} for each in boards],
            "plot": size_plot(found, source.results(found["id"])) if found else None,
        }

    files = resources.files(__package__)
    return gr.HTML(
        html_template=files.joinpath("plot.html").read_text(encoding="utf-8"),
        js_on_load=files.joinpath("plot.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="plot",
        server_functions=[plot_of],
    )
