"""Say in words how a board differs from an earlier state of it: new models and changes of rank."""

from __future__ import annotations

from collections.abc import Mapping

from rb_core.leaderboard.board import Board

MAX_NAMED = 3  # new models, and changed ranks, of a board


def board_changes(earlier: Mapping[str, Board], boards: Mapping[str, Board]) -> list[str]:
    """Return a text for each board that has new models or changed ranks, both in the order of the board."""
    texts = []
    for name, board in boards.items():
        ranks = {row.model: row.rank for row in earlier[name].rows} if name in earlier else {}
        new = [f"{row.model} is new" + (f" at rank {row.rank}" if row.rank else "") for row in board.rows
               if row.model not in ranks]  # fmt: skip
        moved = [f"{row.model} went from rank {ranks[row.model]} to {row.rank}" for row in board.ranked()
                 if ranks.get(row.model) not in (None, row.rank)]  # fmt: skip
        named = new[:MAX_NAMED] + moved[:MAX_NAMED]
        if rest := len(new) + len(moved) - len(named):
            named.append(f"{rest} more")
        if named:
            texts.append(f"{board.title}: {', '.join(named)}")
    return texts
