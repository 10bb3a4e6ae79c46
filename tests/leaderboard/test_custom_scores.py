from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from rb_core.leaderboard.board import Board
from rb_core.leaderboard.custom_scores import WeightsError, custom_board, custom_board_json, even_board, uneven_text
from rb_core.leaderboard.store import ResultsStore
from rb_core.stats.item_outcomes import ItemOutcomes
from tests.fakes.unscored_runs import SILENT


def own_weights(board: Board) -> dict[str, float]:
    return {section.name: section.weight or 0.0 for section in board.sections}


def outcomes_of(store: ResultsStore, benchmark: str) -> Mapping[str, ItemOutcomes | None]:
    return {model: store.outcomes(benchmark, model) for model in store.results(benchmark)}


@pytest.mark.parametrize("benchmark", ["rewardbench", "starter"])
def test_the_benchmarks_own_weights_give_its_own_board(
    bundled_store: ResultsStore, bundled_boards: dict[str, Board], benchmark: str
) -> None:
    """Up to the rounding of published sections. Rank intervals come from item outcomes, as on the board."""
    board = bundled_boards[benchmark]
    outcomes = outcomes_of(bundled_store, benchmark)
    custom = custom_board(board, bundled_store.results(benchmark), outcomes, own_weights(board))
    assert custom.detectable == pytest.approx(board.detectable, rel=1e-6)
    for row in board.ranked():
        other = custom.row(row.model)
        assert other is not None
        assert other.headline.value == pytest.approx(row.headline.value, abs=1e-4)
        assert other.headline.stderr == pytest.approx(row.headline.stderr, rel=0.05, abs=0.01)
        assert (other.rank_interval, other.tier) == (row.rank_interval, row.tier)
        assert abs((other.rank or 0) - (row.rank or 0)) <= 2


def test_some_models_are_ranked_among_themselves(bundled_store: ResultsStore, bundled_boards: dict[str, Board]) -> None:
    """Their scores stay the benchmark's; the order stays that of the board; fewer comparisons settle more of them."""
    board = bundled_boards["rewardbench"]
    outcomes = outcomes_of(bundled_store, "rewardbench")
    among = [row for row in board.ranked() if row.organisation == "Ai2"]
    custom = custom_board(
        board, bundled_store.results("rewardbench"), outcomes, models={row.model for row in among} | {"no/such"}
    )
    assert [row.model for row in custom.ranked()] == [row.model for row in among]
    assert custom.ranked()[0].tier == 1
    for row in custom.rows:
        official = board.row(row.model)
        assert official is not None
        assert row.headline == official.headline
        if row.rank is not None:
            assert row.rank_interval is not None
            assert 1 <= row.rank_interval.best <= row.rank <= row.rank_interval.worst <= len(among)


def test_a_section_without_weight_is_left_out(bundled_store: ResultsStore, bundled_boards: dict[str, Board]) -> None:
    board = bundled_boards["rewardbench"]
    outcomes = outcomes_of(bundled_store, "rewardbench")
    weights = {"Chat": 1.0, "Safety": 3.0, "Reasoning": 0.0}
    custom = custom_board(board, bundled_store.results("rewardbench"), outcomes, weights)
    assert [section.name for section in custom.sections] == ["Chat", "Safety"]
    values = []
    for row in custom.ranked():
        assert row.headline.value == pytest.approx((row.sections["Chat"] + 3 * row.sections["Safety"]) / 4, abs=1e-9)
        assert row.rank_interval is not None
        assert row.rank is not None
        assert row.rank_interval.best <= row.rank <= row.rank_interval.worst
        values.append(row.headline.value)
    assert values == sorted(values, reverse=True)
    # Models without a score of their own, for want of another section, have one here.
    assert len(custom.ranked()) > len(board.ranked())
    content = custom_board_json(custom)
    assert content["rows"][custom.rows[0].model]["rank"] == 1
    assert content["ranges"][custom.rows[0].model][:2] == list(custom.rows[0].rank_interval or ())[:2]
    assert "points apart" in content["detectable_text"]


def test_unscored_examples_are_bounded_and_count_as_failed(silent_root: Path) -> None:
    store = ResultsStore(silent_root)
    store.refresh()
    board = store.boards()["starter"]
    weights = {"Chat": 1.0, "Safety": 1.0}
    custom = custom_board(board, store.results("starter"), outcomes_of(store, "starter"), weights)
    row = custom.row(SILENT)
    assert row is not None
    headline = row.headline
    assert headline.floor is not None
    assert headline.value is not None
    assert headline.ceiling is not None
    assert headline.floor < headline.value < headline.ceiling
    better = [other for other in custom.ranked() if (other.headline.ranked_by or 0.0) > headline.floor]
    assert row.rank == 1 + len(better)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"Nonsense": 1.0}, "has no section"),
        ({"Chat": -1.0}, "weight of Chat is not a number from 0"),
        ({"Chat": math.inf}, "weight of Chat is not a number from 0"),
        ({"Chat": 10**400}, "weight of Chat is not a number from 0"),
        ({"Chat": 0.0}, "no section has a weight"),
        ({}, "no section has a weight"),
    ],
)
def test_weights_that_give_no_score_are_refused(
    bundled_store: ResultsStore, bundled_boards: dict[str, Board], weights: dict[str, float], message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        custom_board(bundled_boards["starter"], bundled_store.results("starter"), {}, weights)


def test_a_board_with_uneven_scores_is_ranked_by_the_sections_that_all_have(
    bundled_store: ResultsStore, bundled_boards: dict[str, Board]
) -> None:
    board = bundled_boards["rewardbench"]
    assert uneven_text(board) == "98 of the 206 scores include Prior Sets, 108 do not."
    with_prior_sets = {row.model for row in board.rows if row.includes == "Prior Sets"}
    assert with_prior_sets == {row.model for row in board.rows if "Prior Sets" in row.sections}
    even = even_board(board, bundled_store.results("rewardbench"), outcomes_of(bundled_store, "rewardbench"))
    assert [section.name for section in even.sections] == ["Chat", "Chat Hard", "Safety", "Reasoning"]
    assert all(row.includes is None for row in even.rows)
    for row in even.ranked():
        assert row.headline.value == pytest.approx(sum(row.sections.values()) / 4)
        assert row.rank_interval is not None
        assert row.rank_interval.best <= (row.rank or 0) <= row.rank_interval.worst


@pytest.mark.parametrize("benchmark", ["rewardbench-2", "starter"])
def test_a_board_with_even_scores_is_as_published(
    bundled_store: ResultsStore, bundled_boards: dict[str, Board], benchmark: str
) -> None:
    board = bundled_boards[benchmark]
    assert uneven_text(board) == ""
    assert even_board(board, bundled_store.results(benchmark), {}) is board
