"""Which conversations go through the model together. Pure: lengths in, index lists out."""

from __future__ import annotations

from collections.abc import Sequence


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
