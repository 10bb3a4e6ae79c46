"""Batches: every conversation once, within the budget, the same whenever they are planned."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rb_core.packing import plan_batches

LENGTHS = st.lists(st.integers(0, 600), max_size=60)
BUDGET = st.integers(1, 2000)


@given(LENGTHS, BUDGET)
def test_each_index_is_in_exactly_one_batch(lengths: list[int], batch_tokens: int) -> None:
    """Nothing is lost and nothing is scored twice; no batch is empty."""
    batches = plan_batches(lengths, batch_tokens)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(batches)


@given(LENGTHS, BUDGET)
@example([100, 100, 100], 200)
@example([5], 1)
def test_a_batch_stays_within_the_budget_unless_it_is_one_conversation(lengths: list[int], batch_tokens: int) -> None:
    """Rows times the longest row, padding included, is at most the budget; what is longer goes alone."""
    for batch in plan_batches(lengths, batch_tokens):
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= batch_tokens


@given(LENGTHS, BUDGET)
def test_the_longest_come_first(lengths: list[int], batch_tokens: int) -> None:
    """Memory is at its peak in the first batch, and neighbours in length share a batch."""
    order = [lengths[index] for batch in plan_batches(lengths, batch_tokens) for index in batch]
    assert order == sorted(lengths, reverse=True)


@given(LENGTHS, BUDGET)
def test_the_plan_depends_on_its_arguments_alone(lengths: list[int], batch_tokens: int) -> None:
    """A run that is started again makes the same plan, whatever sequence type the lengths come in."""
    assert plan_batches(lengths, batch_tokens) == plan_batches(tuple(lengths), batch_tokens)


@given(LENGTHS, BUDGET, st.randoms(use_true_random=False))
def test_the_shape_of_the_plan_does_not_depend_on_the_order(
    lengths: list[int], batch_tokens: int, shuffle: random.Random
) -> None:
    """The same conversations in another order make batches of the same lengths."""
    moved = list(lengths)
    shuffle.shuffle(moved)
    shape = [[lengths[i] for i in batch] for batch in plan_batches(lengths, batch_tokens)]
    assert [[moved[i] for i in batch] for batch in plan_batches(moved, batch_tokens)] == shape


@given(LENGTHS, BUDGET)
def test_no_batch_has_room_for_the_next_conversation(lengths: list[int], batch_tokens: int) -> None:
    """A batch is closed only when one more row of its width would not fit."""
    batches = plan_batches(lengths, batch_tokens)
    for batch in batches[:-1]:
        assert (len(batch) + 1) * lengths[batch[0]] > batch_tokens


@pytest.mark.parametrize(
    ("lengths", "batch_tokens", "batches"),
    [
        ([], 100, []),  # nothing to do
        ([3, 9, 5], 100, [[1, 2, 0]]),  # all in one
        ([3, 9, 5], 1, [[1], [2], [0]]),  # each alone
        ([10, 10, 10], 20, [[0, 1], [2]]),  # ties in order of index; exactly the budget
        ([500, 2, 2], 20, [[0], [1, 2]]),  # longer than the budget: alone, and the rest go on
    ],
)
def test_plans_by_hand(lengths: list[int], batch_tokens: int, batches: list[list[int]]) -> None:
    """A table of small cases."""
    assert plan_batches(lengths, batch_tokens) == batches
