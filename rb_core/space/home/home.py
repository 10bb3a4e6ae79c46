"""The introduction above the leaderboard, and the rows that the server draws before gradio is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

import gradio as gr
from markupsafe import Markup

from rb_core.space.html import render
from rb_core.space.results_source import ResultsSource, boards_json

NUM_ROWS = 25
# Parameters of an address for which the first rows of a board are what the browser is going to draw.
PLAIN = {"tab", "board", "__theme", "__sign"}


def build_home() -> None:
    """Lay out what a reward model is, and the ways into the page."""
    gr.HTML(render("home/home.html"), apply_default_css=False, elem_id="home")


def first_rows(source: ResultsSource, query: str, title: str, tabs: Sequence[Any]) -> Markup:
    """Return the list of boards as a script and, for the plain address of a board, the beginning of its table.

    The script of an address of the leaderboard also requests the board, before gradio has loaded.
    """
    parameters = parse_qs(query)
    boards = source.boards()
    board = boards.get(parameters.get("board", [""])[0]) or next(iter(boards.values()), None)
    if parameters.get("tab", [tabs[0].id]) != [tabs[0].id]:
        board = None
    return render(
        "home/first_rows.html",
        header=render("header.html", title=title),
        home=render("home/home.html"),
        tabs=tabs,
        boards=boards,
        board=board,
        rows=[] if board is None or parameters.keys() - PLAIN else board.ranked()[:NUM_ROWS],
        results=boards_json(source),
    )
