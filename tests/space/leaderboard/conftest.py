"""A page over a small made-up board, with models of all sizes and origins and rank intervals of both methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from rb_core.leaderboard.board import Board, BoardRow
from rb_core.space.leaderboard.tab import leaderboard_table
from rb_core.space.results_source import ResultsFolder
from rb_core.space.server import Page
from tests.space.conftest import launched
from tests.space.leaderboard.tables import small_board, small_row

ROWS = [
    small_row(1, "big/one", "published", (0.90, 0.88, 0.92), parameters=70_553_706_496, interval=(1, 2, "items")),
    small_row(2, "big/two", "published", (0.89, 0.87, 0.91), parameters=8_030_261_248, interval=(1, 2, "items")),
    small_row(3, "mine/tiny", "run", (0.80, 0.79, 0.81), parameters=2_300_000, interval=(3, 3, "items")),
    small_row(None, "mine/partly", "partial run", (0.70, None, None), parameters=12_000_000_000),
    small_row(5, "alone", "published", (0.60, 0.50, 0.72), interval=(4, 6, "intervals")),
    small_row(4, "baseline/longest", "run", (0.65, 0.6, 0.70), kind="Baseline", interval=(4, 6, "intervals")),
    small_row(6, "big/weak", "run", (0.55, 0.50, 0.60), parameters=3_000_000_000),
]


class OneBoard(ResultsFolder):
    """A source of nothing but a board."""

    def __init__(self, board: Board) -> None:
        super().__init__(Path())
        self._board = board

    def boards(self) -> Mapping[str, Board]:
        return {self._board.id: self._board}


def table_page(
    *rows: BoardRow, text: str = "text", section: str = "Section", detectable: float | None = None
) -> gr.Blocks:
    demo = Page(OneBoard(replace(small_board(rows, text, section), detectable=detectable)))
    with demo:
        leaderboard_table()
    return demo


@pytest.fixture(scope="module")
def small_url() -> Iterator[str]:
    """The address of a page with nothing but the table of `ROWS`."""
    with launched(table_page(*ROWS)) as address:
        yield address
