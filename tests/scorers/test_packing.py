"""Batches and rows: every conversation once, within the budget, the same whenever they are planned."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rb_core.scorers.packing import Row, pack, plan_batches, plan_rows, unique_tokens

Ids = tuple[int, ...]

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


# ---- rows


@st.composite
def families(draw: st.DrawFn) -> tuple[list[Ids], list[int]]:
    """Conversations and the family of each, in any order. Those of a family mostly begin alike; some have no token in
    common, some are the beginning of another, and some are equal."""
    tokens = st.lists(st.integers(0, 2), max_size=6).map(tuple)
    members = []
    for family in range(draw(st.integers(0, 4))):
        shared = draw(st.lists(st.integers(0, 9), max_size=8).map(tuple))
        own = draw(st.lists(tokens, min_size=1, max_size=5))
        stray = draw(st.lists(tokens, max_size=1))
        members += [((*shared, *ids), family) for ids in own] + [(ids, family) for ids in stray]
    members = [(ids or (0,), family) for ids, family in members]
    members = draw(st.permutations(members))
    return [ids for ids, _ in members], [family for _, family in members]


FAMILIES = families()
SPLIT_IN_TWO_THAT_SHARE_MORE = ([(1, 2, 2, 2, 2, 3), (1, 2, 2, 2, 2, 4), (1, 5, 5)], [0, 0, 0])


def common(conversations: Sequence[Ids]) -> int:
    """How many leading tokens all have in common, counted one place after another."""
    places = zip(*conversations, strict=False)
    return len(list(itertools.takewhile(lambda tokens: len(set(tokens)) == 1, places)))


def fewest(conversations: Sequence[Ids], keys: Sequence[int]) -> int:
    """Tokens of a row in which each family's common beginning stands once: no two-level sharing has fewer."""
    total = 0
    for key in set(keys):
        mine = [ids for ids, other in zip(conversations, keys, strict=True) if other == key]
        total += sum(map(len, mine)) - (len(mine) - 1) * common(mine)
    return total


def picked(given_: tuple[list[Ids], list[int]], row: Sequence[int]) -> tuple[list[Ids], list[int]]:
    return [given_[0][i] for i in row], [given_[1][i] for i in row]


@given(FAMILIES, st.integers(1, 60))
def test_each_conversation_is_in_exactly_one_row(case: tuple[list[Ids], list[int]], budget: int) -> None:
    """Nothing is lost, nothing is scored twice, and no row is empty."""
    rows = plan_rows(*case, budget)
    assert sorted(index for row in rows for index in row) == list(range(len(case[0])))
    assert all(rows)


@given(FAMILIES, st.integers(1, 60))
@example(SPLIT_IN_TWO_THAT_SHARE_MORE, 11)
def test_a_row_stays_within_the_budget_unless_it_is_one_conversation(
    case: tuple[list[Ids], list[int]], budget: int
) -> None:
    """What a row has when it is packed is at most the budget; only what is longer by itself goes alone."""
    for row in plan_rows(*case, budget):
        assert len(row) == 1 or len(pack(*picked(case, row)).ids) <= budget


@given(FAMILIES, st.integers(1, 60))
def test_a_family_that_fits_is_not_torn_apart(case: tuple[list[Ids], list[int]], budget: int) -> None:
    """Completions of one prompt are in one row wherever the budget allows, so that the prompt is read once."""
    rows = plan_rows(*case, budget)
    for family in set(case[1]):
        members = {i for i, other in enumerate(case[1]) if other == family}
        if fewest(*picked(case, sorted(members))) <= budget:
            assert sum(bool(members & set(row)) for row in rows) == 1


@given(FAMILIES, st.integers(1, 60))
def test_rows_depend_on_their_arguments_alone(case: tuple[list[Ids], list[int]], budget: int) -> None:
    """A run that is started again makes the same rows, whatever the families are called."""
    conversations, keys = case
    rows = plan_rows(conversations, keys, budget)
    assert rows == plan_rows(tuple(conversations), [("prompt", key) for key in keys], budget)


@given(FAMILIES)
def test_one_budget_for_all_makes_one_row(case: tuple[list[Ids], list[int]]) -> None:
    """With room for everything there is a single row; with room for nothing each conversation goes alone."""
    total = sum(map(len, case[0]))
    assert len(plan_rows(*case, max(total, 1))) == bool(case[0])
    distinct = [ids for ids in case[0] if len(ids) > 1]
    assert all(len(row) == 1 for row in plan_rows(distinct, [0] * len(distinct), 1))


@given(FAMILIES)
def test_the_tokens_of_a_row_are_as_few_as_sharing_a_beginning_makes_them(case: tuple[list[Ids], list[int]]) -> None:
    """A row has each family's common beginning once and nothing else twice, and is counted right beforehand."""
    assert len(pack(*case).ids) == unique_tokens(*case) == fewest(*case)


@given(FAMILIES)
def test_every_token_is_found_again_at_its_place_and_position(case: tuple[list[Ids], list[int]]) -> None:
    """`where` leads to each token of each conversation, and its position there is that in the conversation."""
    row = pack(*case)
    assert len(row.endings) == len(case[0])
    for index, ids in enumerate(case[0]):
        places = [row.index_of(index, token) for token in range(len(ids))]
        assert tuple(row.ids[place] for place in places) == ids
        assert [row.positions[place] for place in places] == list(range(len(ids)))


@given(FAMILIES)
def test_no_token_of_a_row_is_nobodys(case: tuple[list[Ids], list[int]]) -> None:
    """Every place of the row is some conversation's, and only of one family."""
    row = pack(*case)
    owners: dict[int, set[int]] = {}
    for index, (ids, family) in enumerate(zip(*case, strict=True)):
        for token in range(len(ids)):
            owners.setdefault(row.index_of(index, token), set()).add(family)
    assert sorted(owners) == list(range(len(row.ids)))
    assert all(len(found) == 1 for found in owners.values())


@given(FAMILIES)
def test_segments_cover_the_row_in_order(case: tuple[list[Ids], list[int]]) -> None:
    """They begin at 0, leave no gap, overlap nowhere, are not empty, and look back to a segment that begins a
    conversation."""
    row = pack(*case)
    stop = 0
    for segment in row.segments:
        assert segment.start == stop
        assert segment.stop > segment.start
        assert segment.prefix_stop <= segment.start
        assert segment.offset == row.positions[segment.start]
        if segment.offset:
            assert row.positions[segment.prefix_start : segment.prefix_stop] == tuple(range(segment.offset))
        stop = segment.stop
    assert stop == len(row.ids) == len(row.positions)


@given(FAMILIES)
def test_a_token_may_look_back_at_its_own_conversation_only(case: tuple[list[Ids], list[int]]) -> None:
    """What a segment sees of its prefix and of itself is, token by token, the beginning of each of its conversations.

    This is all that attention is told of a row, so that nothing of one conversation reaches another.
    """
    row = pack(*case)
    for index, ids in enumerate(case[0]):
        place = row.index_of(index, len(ids) - 1)
        (segment,) = [each for each in row.segments if each.start <= place < each.stop]
        seen = [*range(segment.prefix_start, segment.prefix_stop), *range(segment.start, place + 1)]
        assert tuple(row.ids[i] for i in seen) == ids


@pytest.mark.parametrize(
    ("conversations", "keys", "ids", "positions", "segments"),
    [
        ([(7, 8, 1), (7, 8, 2)], "aa", (7, 8, 1, 2), (0, 1, 2, 2), [(0, 2, 0, 0), (2, 3, 0, 2), (3, 4, 0, 2)]),
        # one the beginning of the other: nothing is its own
        ([(7, 8), (7, 8, 2)], "aa", (7, 8, 2), (0, 1, 2), [(0, 2, 0, 0), (2, 3, 0, 2)]),
        # the same twice
        ([(7, 8), (7, 8)], "aa", (7, 8), (0, 1), [(0, 2, 0, 0)]),
        # of different families, however alike
        ([(7, 8), (7, 8)], "ab", (7, 8, 7, 8), (0, 1, 0, 1), [(0, 2, 0, 0), (2, 4, 2, 2)]),
        # nothing in common
        ([(1, 2), (3,)], "aa", (1, 2, 3), (0, 1, 0), [(0, 2, 0, 0), (2, 3, 0, 0)]),
        # families one after the other, however they were mixed
        (
            [(1, 2), (5, 6), (1, 3)],
            "aba",
            (1, 2, 3, 5, 6),
            (0, 1, 1, 0, 1),
            [(0, 1, 0, 0), (1, 2, 0, 1), (2, 3, 0, 1), (3, 5, 3, 3)],
        ),
    ],
)
def test_rows_by_hand(
    conversations: list[Ids], keys: str, ids: Ids, positions: Ids, segments: list[tuple[int, int, int, int]]
) -> None:
    """A table of small cases."""
    row = pack(conversations, keys)
    assert isinstance(row, Row)
    assert (row.ids, row.positions) == (ids, positions)
    assert [tuple(segment) for segment in row.segments] == segments


def test_no_conversations_make_no_rows() -> None:
    """Nothing to do is done without an error."""
    assert plan_rows([], [], 100) == []
    assert pack([], []) == Row((), (), (), ())
    assert unique_tokens([], []) == 0
