"""Scores by token, prepared for the template: the values of the line, and the change at each token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from rb_core.space.try_a_pair.result import PairResult

WIDTH, HEIGHT, EDGE = 600, 72, 6  # of the line chart, in units of its viewBox
MAX_ROWS = 400  # of the table; the JSON has all tokens


class MarkedToken(NamedTuple):
    """A token with the score after it, and the change of the score at it."""

    text: str
    value: float
    change: float
    strength: float  # absolute change, divided by the largest of all completions


class TokenLine(NamedTuple):
    """The tokens of a completion, and the points of their line chart."""

    number: int  # of the completion, from 1
    tokens: list[MarkedToken]
    points: list[tuple[float, float]]
    first: float
    last: float
    low: float
    high: float
    ends_at_score: bool  # False where the model is read at an earlier token than the last


def token_lines(result: PairResult) -> list[TokenLine]:
    """Return a line for each completion that has a trace."""
    traces = {number: completion.trace for number, completion in enumerate(result.completions, 1) if completion.trace}
    rewards = {number: [token.reward for token in trace] for number, trace in traces.items()}
    if result.trace_kind == "added":
        values, changes = {number: list(accumulate(added)) for number, added in rewards.items()}, rewards
    else:
        values = rewards
        changes = {number: [0.0, *(b - a for a, b in pairwise(running))] for number, running in rewards.items()}
    largest = max((abs(change) for line in changes.values() for change in line), default=0.0) or 1.0
    return [
        TokenLine(
            number,
            [
                MarkedToken(token.text, value, change, abs(change) / largest)
                for token, value, change in zip(trace, values[number], changes[number], strict=True)
            ],
            chart_points(values[number]),
            first=values[number][0],
            last=values[number][-1],
            low=min(values[number]),
            high=max(values[number]),
            ends_at_score=math.isclose(
                values[number][-1], result.completions[number - 1].score.value, rel_tol=1e-3, abs_tol=1e-3
            ),
        )
        for number, trace in traces.items()
    ]


def chart_points(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return the (x, y) of a line chart, with y downwards and the values scaled to the height of the chart."""
    low, span = min(values), (max(values) - min(values)) or 1.0
    step = (WIDTH - 2 * EDGE) / max(1, len(values) - 1)
    return [
        (EDGE + index * step, HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (value - low) / span)
        for index, value in enumerate(values)
    ]
