from __future__ import annotations

import numpy as np
import pytest

from rb_core.leaderboard.board import Board
from rb_core.leaderboard.board_table import board_from_json, board_to_json, detectable_text
from rb_core.stats.seed_spread import seed_spread


def test_the_interval_of_the_spread_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    covered = exceeded = 0
    for _ in range(400):
        spread = seed_spread([rng.normal(0.6, 0.01, size).tolist() for size in (3, 2, 2, 3, 2)])
        assert spread is not None
        covered += spread.low <= 0.01 <= spread.high
        exceeded += abs(float(np.diff(rng.normal(0.6, 0.01, 2))[0])) > 1.959964 * 2**0.5 * 0.01
    assert 0.925 <= covered / 400 <= 0.975
    assert exceeded / 400 <= 0.08


def test_recipes_with_one_run_say_nothing_about_seeds() -> None:
    assert seed_spread([[0.5], [0.6], []]) is None
    spread = seed_spread([[0.5], [0.61, 0.59]])
    assert spread is not None
    assert spread.degrees == 1
    assert spread.sd == pytest.approx(0.01 * 2**0.5)


def test_a_board_with_a_sweep_says_what_seeds_alone_change(bundled_boards: dict[str, Board]) -> None:
    board = bundled_boards["rewardbench-2"]
    assert board.seed_band == pytest.approx(0.032, abs=0.001)
    assert "3.2 points by their seeds alone" in detectable_text(board)
    assert board_from_json(board_to_json(board)).seed_band == pytest.approx(board.seed_band, abs=1e-5)
    assert bundled_boards["rewardbench"].seed_band is None
