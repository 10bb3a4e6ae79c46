"""Titles and descriptions of the page's views, for those who preview a link to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qs

from rb_core.leaderboard.board import Board
from rb_core.leaderboard.comparison import MAX_MODELS
from rb_core.space.html import percent_text
from rb_core.space.results_source import ResultsSource


class ShareCard(NamedTuple):
    """Title and description in the preview of a link."""

    title: str
    description: str


def share_card(source: ResultsSource, query: str, cards: Mapping[str, ShareCard], default: ShareCard) -> ShareCard:
    """Return the card of an address; cards: of each tab. Names that the results do not have are left out."""
    parameters = {name: values[0] for name, values in parse_qs(query).items()}
    boards, card = source.boards(), cards.get(parameters.get("tab", ""), default)
    named = parameters.get("model", "") if parameters.get("tab") == "model" else parameters.get("models", "")
    models = [name for name in named.split(",") if any(board.row(name) for board in boards.values())][:MAX_MODELS]
    board = boards.get(parameters.get("board", ""))
    if card is default or parameters.get("tab") == "leaderboard":
        return ShareCard(f"{board.title} · {default.title}", _standing(board)) if board else card
    if not models:
        return card
    title = f"{', '.join(models)} · {card.title}"
    if parameters["tab"] != "model":
        return ShareCard(title, card.description)
    return ShareCard(title, "; ".join(_places(boards, models[0])) + ".")


def _standing(board: Board) -> str:
    """Return the benchmark's description and its best model."""
    best = next(iter(board.ranked()), None)
    if best is None or best.headline.value is None:
        return board.description
    return (
        f"{board.description} {len(board.rows)} models; first is {best.model} with {percent_text(best.headline.value)}."
    )


def _places(boards: Mapping[str, Board], model: str) -> list[str]:
    """Return the model's score and rank interval on each board that has it."""
    places = []
    for board in boards.values():
        row = board.row(model)
        if row is None or row.headline.value is None:
            continue
        interval = row.rank_interval
        rank = f", rank {interval.best} to {interval.worst} of {len(board.ranked())}" if interval else ""
        places.append(f"{board.title}: {percent_text(row.headline.value)}{rank}")
    return places
