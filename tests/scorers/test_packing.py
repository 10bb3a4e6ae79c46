"""Batches and rows hold every conversation once, within the budget, and are the same in every plan."""

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


@given(LENGTHS, BUDGET, st.randoms(use_true_random=False))
@example([100, 100, 100], 200, random.Random(0))
@example([5], 1, random.Random(0))
def test_every_conversation_is_in_one_batch_within_the_budget(
    lengths: list[int], batch_tokens: int, shuffle: random.Random
) -> None:
    batches = plan_batches(lengths, batch_tokens)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(batches)
    shape = [[lengths[index] for index in batch] for batch in batches]
    assert all(len(batch) == 1 or len(batch) * max(batch) <= batch_tokens for batch in shape)
    assert all((len(batch) + 1) * batch[0] > batch_tokens for batch in shape[:-1])  # no room for another one
    assert list(itertools.chain(*shape)) == sorted(lengths, reverse=True)
    assert plan_batches(tuple(lengths), batch_tokens) == batches
    shuffled = list(lengths)
    shuffle.shuffle(shuffled)
    assert [[shuffled[i] for i in batch] for batch in plan_batches(shuffled, batch_tokens)] == shape


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
    assert plan_batches(lengths, batch_tokens) == batches


# ---- rows


@st.composite
def families(draw: st.DrawFn) -> tuple[list[Ids], list[int]]:
    """Draw conversations and the family of each, in any order.

    Those of a family mostly begin alike; some have no token in common, some are the beginning of another, some equal.
    """
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
    """Return the length of the common prefix, counted token by token."""
    places = zip(*conversations, strict=False)
    return len(list(itertools.takewhile(lambda tokens: len(set(tokens)) == 1, places)))


def fewest(conversations: Sequence[Ids], keys: Sequence[int]) -> int:
    """Return the tokens of a row with each family's common prefix once, and without conversations that others begin
    with: no two-level sharing has fewer."""
    total = 0
    for key in set(keys):
        distinct = {ids for ids, other in zip(conversations, keys, strict=True) if other == key}
        mine = [ids for ids in distinct if not any(other[: len(ids)] == ids for other in distinct - {ids})]
        total += sum(map(len, mine)) - (len(mine) - 1) * common(mine)
    return total


def is_single(conversations: Sequence[Ids]) -> bool:
    """Return True for one conversation, with or without beginnings of it."""
    longest = max(conversations, key=len)
    return all(longest[: len(ids)] == ids for ids in conversations)


def picked(case: tuple[list[Ids], list[int]], row: Sequence[int]) -> tuple[list[Ids], list[int]]:
    return [case[0][i] for i in row], [case[1][i] for i in row]


@given(FAMILIES, st.integers(1, 60))
@example(SPLIT_IN_TWO_THAT_SHARE_MORE, 11)
def test_every_conversation_is_in_one_row_within_the_budget(case: tuple[list[Ids], list[int]], budget: int) -> None:
    conversations, keys = case
    rows = plan_rows(conversations, keys, budget)
    assert sorted(index for row in rows for index in row) == list(range(len(conversations)))
    assert all(rows)
    assert all(is_single(picked(case, row)[0]) or len(pack(*picked(case, row)).ids) <= budget for row in rows)
    for family in set(keys):
        members = {i for i, other in enumerate(keys) if other == family}
        if fewest(*picked(case, sorted(members))) <= budget:
            assert sum(bool(members & set(row)) for row in rows) == 1
    assert rows == plan_rows(tuple(conversations), [("prompt", key) for key in keys], budget)
    total = sum(map(len, conversations))
    assert len(plan_rows(conversations, keys, max(total, 1))) == bool(conversations)
    longer = [ids for ids in conversations if len(ids) > 1]
    assert all(is_single([longer[i] for i in row]) for row in plan_rows(longer, [0] * len(longer), 1))


@given(FAMILIES)
def test_a_row_has_each_token_once_and_every_conversation_sees_only_itself(case: tuple[list[Ids], list[int]]) -> None:
    """Attention sees of a row only each segment's prefix and own tokens: the beginning of its conversation."""
    conversations, keys = case
    row = pack(conversations, keys)
    assert len(row.ids) == len(row.positions) == unique_tokens(conversations, keys) == fewest(conversations, keys)
    assert len(row.endings) == len(conversations)
    owners: dict[int, set[int]] = {}
    for index, (ids, family) in enumerate(zip(conversations, keys, strict=True)):
        indices = [row.index_of(index, token) for token in range(len(ids))]
        assert tuple(row.ids[i] for i in indices) == ids
        assert [row.positions[i] for i in indices] == list(range(len(ids)))
        for i in indices:
            owners.setdefault(i, set()).add(family)
        (segment,) = [each for each in row.segments if each.start <= indices[-1] < each.stop]
        seen = [*range(segment.prefix_start, segment.prefix_stop), *range(segment.start, indices[-1] + 1)]
        assert tuple(row.ids[i] for i in seen) == ids
    assert sorted(owners) == list(range(len(row.ids)))
    assert all(len(families) == 1 for families in owners.values())


@given(FAMILIES)
def test_segments_cover_the_row_in_order(case: tuple[list[Ids], list[int]]) -> None:
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


@pytest.mark.parametrize(
    ("conversations", "keys", "ids", "positions", "segments"),
    [
        ([(7, 8, 1), (7, 8, 2)], "aa", (7, 8, 1, 2), (0, 1, 2, 2), [(0, 2, 0, 0), (2, 3, 0, 2), (3, 4, 0, 2)]),
        # one the beginning of the other: nothing is its own
        ([(7, 8), (7, 8, 2)], "aa", (7, 8, 2), (0, 1, 2), [(0, 3, 0, 0)]),
        # beginnings of one of two
        (
            [(7,), (7, 8, 2), (7, 8), (7, 9)],
            "aaaa",
            (7, 8, 2, 9),
            (0, 1, 2, 1),
            [(0, 1, 0, 0), (1, 3, 0, 1), (3, 4, 0, 1)],
        ),
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
    row = pack(conversations, keys)
    assert isinstance(row, Row)
    assert (row.ids, row.positions) == (ids, positions)
    assert [tuple(segment) for segment in row.segments] == segments


def test_no_conversations_make_no_rows() -> None:
    assert plan_rows([], [], 100) == []
    assert pack([], []) == Row((), (), (), ())
    assert unique_tokens([], []) == 0
