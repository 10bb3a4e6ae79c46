"""Plan which conversations go through the model together, and pack them. Pure: token ids in, indices and positions out.

There are two ways. *Bucketed*: conversations of similar length, padded to the longest. *Packed*: no padding, and the
tokens that a family of conversations (the completions of one prompt) begins with stand in a row once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple


def plan_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Return batches of indices, longest conversations first, each of at most `batch_tokens` tokens with padding.

    Neighbours in length share a batch, which keeps padding small. A conversation longer than the budget goes alone.
    The plan depends on nothing but its arguments: a run that is started again makes the same one.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for index in order:
        # the first of a batch is its longest and sets the width of all its rows
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def plan_rows(
    conversations: Sequence[tuple[int, ...]], families: Sequence[Hashable], batch_tokens: int, enough: int | None = None
) -> list[list[int]]:
    """Return rows of indices, largest families first, each of at most `batch_tokens` tokens with shared ones counted
    once.

    families: one key per conversation; those with the same key probably begin alike, and stay together if the budget
    allows. A family beyond the budget is split, and its parts repeat the shared tokens; a conversation beyond it goes
    alone, with those that it begins with. enough: a row that has so many tokens takes no further family.
    """
    parts = [part for members in _members(families) for part in _split(conversations, members, batch_tokens)]
    sizes = [unique_tokens([conversations[i] for i in part], [0] * len(part)) for part in parts]
    rows: list[list[int]] = []
    room, families_in_row = 0, set[Hashable]()
    for number in sorted(range(len(parts)), key=lambda n: (-sizes[n], n)):
        family = families[parts[number][0]]
        # parts of one family in one row would share what all of them have in common, which is less than each alone
        full = enough is not None and batch_tokens - room >= enough
        if not rows or sizes[number] > room or full or family in families_in_row:
            rows.append([])
            room, families_in_row = batch_tokens, set()
        rows[-1] += parts[number]
        room -= sizes[number]
        families_in_row.add(family)
    return rows


def unique_tokens(conversations: Sequence[tuple[int, ...]], families: Sequence[Hashable]) -> int:
    """Return the number of tokens in a packed row of these conversations."""
    total = 0
    for members in _members(families):
        carriers = set(_carriers(conversations, members).values())
        shared = _num_shared([conversations[i] for i in carriers])
        total += shared + sum(len(conversations[i]) - shared for i in carriers)
    return total


class Segment(NamedTuple):
    """Tokens start..stop of a row that continue one conversation, as half-open ranges.

    Each token sees the row's tokens prefix_start..prefix_stop, and those of its own segment up to itself.
    """

    start: int
    stop: int
    prefix_start: int
    prefix_stop: int

    @property
    def offset(self) -> int:
        """The position of the first token in its conversation."""
        return self.prefix_stop - self.prefix_start


class Row(NamedTuple):
    """Conversations packed into one row.

    ids: the tokens; positions: of each token in its conversation; segments: cover the row in order; endings: for each
    conversation the segment that ends it, which refers to its shared tokens; a conversation that another one of its
    family begins with has no tokens of its own, and the ending of that one.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    segments: tuple[Segment, ...]
    endings: tuple[Segment, ...]

    def index_of(self, conversation: int, token: int) -> int:
        """Return the index in the row of a conversation's token."""
        ending = self.endings[conversation]
        if token < ending.offset:
            return ending.prefix_start + token
        return ending.start + token - ending.offset


def pack(conversations: Sequence[tuple[int, ...]], families: Sequence[Hashable]) -> Row:
    """Pack conversations into one row, each family's shared tokens once and first."""
    ids: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    endings: dict[int, Segment] = {}

    def append(tokens: Sequence[int], prefix_start: int, prefix_stop: int) -> Segment:
        segment = Segment(len(ids), len(ids) + len(tokens), prefix_start, prefix_stop)
        ids.extend(tokens)
        positions.extend(range(segment.offset, segment.offset + len(tokens)))
        if tokens:
            segments.append(segment)
        return segment

    for members in _members(families):
        carrier_of = _carriers(conversations, members)
        carriers = [i for i in members if carrier_of[i] == i]
        shared = _num_shared([conversations[i] for i in carriers]) if len(carriers) > 1 else 0
        prefix = append(conversations[carriers[0]][:shared], len(ids), len(ids))
        for i in carriers:
            endings[i] = append(conversations[i][shared:], prefix.start, prefix.stop)
        endings |= {i: endings[carrier_of[i]] for i in members}
    return Row(tuple(ids), tuple(positions), tuple(segments), tuple(endings[i] for i in range(len(conversations))))


def _members(families: Sequence[Hashable]) -> list[list[int]]:
    """Return the indices of each family, families in order of their first member."""
    members: dict[Hashable, list[int]] = {}
    for index, family in enumerate(families):
        members.setdefault(family, []).append(index)
    return list(members.values())


def _carriers(conversations: Sequence[tuple[int, ...]], members: Sequence[int]) -> dict[int, int]:
    """Return for each member the one that holds all its tokens: itself, or one that begins with it and is itself held
    by no other."""
    order = sorted(members, key=lambda i: conversations[i])
    carriers = {order[-1]: order[-1]}
    for i, following in zip(order[-2::-1], order[:0:-1], strict=True):  # what begins with a conversation comes next
        begins = conversations[following][: len(conversations[i])] == conversations[i]
        carriers[i] = carriers[following] if begins else i
    return carriers


def _num_shared(conversations: Sequence[tuple[int, ...]]) -> int:
    """Return the length of the common prefix: that of the first and the last in lexicographic order."""
    first, last = min(conversations), max(conversations)
    for index, (a, b) in enumerate(zip(first, last, strict=False)):
        if a != b:
            return index
    return min(len(first), len(last))


def _split(conversations: Sequence[tuple[int, ...]], members: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Split a family into parts that fit the budget, unless a single conversation does not."""
    carrier_of = _carriers(conversations, members)
    held: dict[int, list[int]] = {}
    for index in members:
        held.setdefault(carrier_of[index], []).append(index)
    shared = _num_shared([conversations[i] for i in held])
    parts: list[list[int]] = []
    room = 0
    for index in sorted(held, key=lambda i: (-len(conversations[i]), i)):
        own_tokens = len(conversations[index]) - shared
        if not parts or own_tokens > room:
            parts.append([])
            room = batch_tokens - shared
        parts[-1] += held[index]
        room -= own_tokens
    return parts
