"""Which conversations go through the model together, and how. Pure: token ids in, indices and positions out.

Two ways. *Bucketed*: conversations of like length, padded to the longest. *Packed*: nothing is padded, and the tokens
that a family of conversations (the completions of one prompt) begins with stand in a row once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple


def plan_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Batches of indices, longest conversations first, each of at most `batch_tokens` tokens with padding.

    Neighbours in length share a batch, so that little is padded. A conversation longer than the budget goes alone.
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
    """Rows of indices, largest families first, each of at most `batch_tokens` tokens with shared ones counted once.

    families: one key a conversation; those with the same key are expected to begin alike, and stay together where the
    budget allows. A family beyond the budget is split, and its parts repeat the shared tokens; a conversation beyond
    it goes alone. enough: a row that has so many tokens takes no further family.
    """
    parts = [part for members in _members(families) for part in _within(conversations, members, batch_tokens)]
    sizes = [unique_tokens([conversations[i] for i in part], [0] * len(part)) for part in parts]
    rows: list[list[int]] = []
    room, inside = 0, set[Hashable]()
    for number in sorted(range(len(parts)), key=lambda n: (-sizes[n], n)):
        family = families[parts[number][0]]
        # parts of one family in one row would share what all of them have in common, and so less than by themselves
        full = enough is not None and batch_tokens - room >= enough
        if not rows or sizes[number] > room or full or family in inside:
            rows.append([])
            room, inside = batch_tokens, set()
        rows[-1] += parts[number]
        room -= sizes[number]
        inside.add(family)
    return rows


def unique_tokens(conversations: Sequence[tuple[int, ...]], families: Sequence[Hashable]) -> int:
    """How many tokens a packed row of these conversations has."""
    total = 0
    for members in _members(families):
        shared = _shared([conversations[i] for i in members])
        total += shared + sum(len(conversations[i]) - shared for i in members)
    return total


class Segment(NamedTuple):
    """Tokens start..stop of a row that continue one conversation: each sees the row's tokens prefix_start..prefix_stop,
    and those of its own segment up to itself. (Half-open ranges, as slices are.)"""

    start: int
    stop: int
    prefix_start: int
    prefix_stop: int

    @property
    def offset(self) -> int:
        """The position that the first token has in its conversation."""
        return self.prefix_stop - self.prefix_start


class Row(NamedTuple):
    """Conversations packed into one row.

    ids: the tokens; positions: each one's position in its conversation; segments: they cover the row in order;
    places: one a conversation, the segment that ends it and the one that holds its shared tokens.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    segments: tuple[Segment, ...]
    places: tuple[Segment, ...]

    def where(self, conversation: int, token: int) -> int:
        """Where a conversation's token stands in the row."""
        place = self.places[conversation]
        if token < place.offset:
            return place.prefix_start + token
        return place.start + token - place.offset


def pack(conversations: Sequence[tuple[int, ...]], families: Sequence[Hashable]) -> Row:
    """Pack conversations into one row, each family's shared tokens once and first."""
    ids: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    places: dict[int, Segment] = {}

    def put(tokens: Sequence[int], prefix_start: int, prefix_stop: int) -> Segment:
        segment = Segment(len(ids), len(ids) + len(tokens), prefix_start, prefix_stop)
        ids.extend(tokens)
        positions.extend(range(segment.offset, segment.offset + len(tokens)))
        if tokens:
            segments.append(segment)
        return segment

    for members in _members(families):
        shared = _shared([conversations[i] for i in members]) if len(members) > 1 else 0
        prefix = put(conversations[members[0]][:shared], len(ids), len(ids))
        for i in members:
            places[i] = put(conversations[i][shared:], prefix.start, prefix.stop)
    return Row(tuple(ids), tuple(positions), tuple(segments), tuple(places[i] for i in range(len(conversations))))


def _members(families: Sequence[Hashable]) -> list[list[int]]:
    """The indices of each family, families in order of their first member."""
    found: dict[Hashable, list[int]] = {}
    for index, family in enumerate(families):
        found.setdefault(family, []).append(index)
    return list(found.values())


def _shared(conversations: Sequence[tuple[int, ...]]) -> int:
    """How many leading tokens all of them have in common: as many as the first and the last in dictionary order."""
    first, last = min(conversations), max(conversations)
    for index, (a, b) in enumerate(zip(first, last, strict=False)):
        if a != b:
            return index
    return min(len(first), len(last))


def _within(conversations: Sequence[tuple[int, ...]], members: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """A family in parts that fit the budget, as far as single conversations do."""
    shared = _shared([conversations[i] for i in members])
    parts: list[list[int]] = []
    room = 0
    for index in sorted(members, key=lambda i: (-len(conversations[i]), i)):
        own = len(conversations[index]) - shared
        if parts and own <= room:
            parts[-1].append(index)
            room -= own
        else:
            parts.append([index])
            room = batch_tokens - shared - own
    return parts
