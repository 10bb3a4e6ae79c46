"""The introduction above the leaderboard, and the rows that the server draws before gradio is there."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr

from rb_core.space.first_view import FirstView
from rb_core.space.html import render
from rb_core.space.results_source import ResultsSource

NUM_ROWS = 25
# Parameters of an address for which the first rows of a board are what the browser is going to draw.
PLAIN = {"tab", "board", "__theme", "__sign"}


def build_home() -> None:
    """Lay out what a reward model is, and the ways into the page."""
    gr.HTML(render("home/home.html"), apply_default_css=False, elem_id="home")


def first_rows(source: ResultsSource, parameters: Mapping[str, str]) -> FirstView:
    """Return the board of an address and, for a plain one, the beginning of its table."""
    boards = source.boards()
    board = boards.get(parameters.get("board", "")) or next(iter(boards.values()), None)
    if board is None:
        return FirstView()
    rows = [] if parameters.keys() - PLAIN else board.ranked()[:NUM_ROWS]
    if not rows:
        return FirstView(board=board.id)
    home = render("home/home.html")
    html = render("home/first_rows.html", home=home, boards=boards, board=board, rows=rows)
    return FirstView(html, ".rb-board :is(.rb-rest tr, .rb-title)", board.id)
