"""Outcomes as arrays, with scores in ragged form."""

from __future__ import annotations

import numpy as np

from rb_core.stats.outcome_files import outcomes_of_table
from tests.fakes.outcomes import PAIRS, score_table

TABLE = score_table(
    [
        ("x", "a", "p", 1, (2.0, 1.0)),
        ("y", "b", "q", 2, (5.0, 3.0, 4.0, 0.0)),
        ("z", "a", "p", 1, (1.0, 1.0, 0.5)),
    ]
)


def test_outcomes_of_a_table() -> None:
    outcomes = outcomes_of_table(TABLE, PAIRS)
    assert outcomes.example_ids.tolist() == ["x", "y", "z"]
    assert outcomes.groups.tolist() == ["p", "q", "p"]
    assert outcomes.credits.tolist() == [1.0, 0.0, 0.5]
    assert outcomes.margins is not None
    assert outcomes.spreads is not None
    assert outcomes.margins.tolist() == [1.0, -1.0, 0.0]
    assert outcomes.spreads.tolist() == [0.0, 2.0, 0.0]


def test_taking_examples_takes_their_scores() -> None:
    """By indices in any order, and by a mask."""
    outcomes = outcomes_of_table(TABLE, PAIRS)
    for rows, ids in ((np.array([2, 1]), ["z", "y"]), (np.array([False, True, True]), ["y", "z"])):
        taken = outcomes.take(rows)
        assert taken.example_ids.tolist() == ids
        assert taken.scores is not None
        by_id = {"y": ([5.0, 3.0], [4.0, 0.0]), "z": ([1.0], [1.0, 0.5])}
        assert [(c.tolist(), r.tolist()) for c, r in taken.scores] == [by_id[name] for name in ids]
    assert len(outcomes.take(np.array([], dtype=int))) == 0


def test_the_rows_of_an_example_need_not_be_neighbours() -> None:
    outcomes = outcomes_of_table(TABLE.iloc[[0, 2, 1, 3, 4, 6, 5, 7, 8]], PAIRS)
    assert outcomes.credits.tolist() == [1.0, 0.0, 0.5]
