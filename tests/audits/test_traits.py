"""The traits of a board's models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rb_core.audits.refusals import SAFE, UNSAFE
from rb_core.audits.traits import BASELINE, NO_OUTCOMES, board_traits, traits_json
from rb_core.leaderboard.board import Board, BoardRow
from rb_core.results.estimate import Estimate
from rb_core.stats.item_outcomes import ItemOutcomes

SUBSETS = [*SAFE * 4, *UNSAFE]


def row(model: str, score: float, kind: str = "Sequence classifier") -> BoardRow:
    return BoardRow(1, model, kind, "run", Estimate(value=score), None, None, None, {}, {})


def board(*rows: BoardRow) -> Board:
    return Board("rewardbench", *[""] * 5, (), (), rows, (), None)


def outcomes(credits_: list[float], lengths: list[int] | None = None) -> ItemOutcomes:
    ids = np.array([str(i) for i in range(len(SUBSETS))])
    known = ItemOutcomes("m", "rewardbench", ids, np.array(SUBSETS), ids, np.array(credits_))
    return known if lengths is None else replace(known, lengths=np.array(lengths))


def test_traits_come_from_outcomes_and_from_baselines_with_a_reason_where_there_is_none() -> None:
    rows = (
        row("a/b", 0.9),
        row("c/d", 0.5),
        row("baseline/longest", 0.6, BASELINE),
        row("baseline/random", 0.5, BASELINE),
    )
    known = outcomes([1, 1, 1, 0, 0, 0, 1, 1], [1, 1, -1, -1, 1, 1, -1, 0])
    traits = {trait.key: trait for trait in board_traits(board(*rows), {"a/b": known, "baseline/longest": known})}
    assert traits["over-refusal"].values["a/b"].value == pytest.approx(0.25)
    assert traits["under-refusal"].values["a/b"].value == pytest.approx(0.5)
    gap = traits["length-gap"].values["a/b"]
    assert gap.value == pytest.approx(2 / 4 - 2 / 3)
    assert gap.low is not None
    assert gap.high is not None
    assert gap.low < gap.value < gap.high
    assert {model: v.value for model, v in traits["lift"].values.items()} == pytest.approx({"a/b": 0.3, "c/d": -0.1})
    assert traits["over-refusal"].missing == {
        "c/d": NO_OUTCOMES,
        "baseline/longest": "a baseline",
        "baseline/random": "a baseline",
    }
    cells = {trait["key"]: trait["cells"] for trait in traits_json(board(*rows), list(traits.values()))}
    assert cells["lift"] == [[0.3, None, None], [-0.1, None, None], "a baseline", "a baseline"]


def test_a_trait_that_no_model_has_is_left_out() -> None:
    assert board_traits(board(row("a/b", 0.9)), {}) == ()
    keys = [trait.key for trait in board_traits(board(row("a/b", 0.9)), {"a/b": outcomes([1.0] * len(SUBSETS))})]
    assert keys == ["over-refusal", "under-refusal"]
