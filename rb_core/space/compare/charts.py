"""Coordinates of the Compare tab's small charts, drawn as SVG by `charts.html`. They repeat numbers from tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

AGREEMENT_KINDS = ("both", "a", "b", "neither")  # classes of the style sheet
TICK_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
MAX_TICKS = 3  # on each side of zero


class IntervalMark(NamedTuple):
    """Horizontal positions of a value and of its interval's ends, which are None without an interval."""

    value: float
    low: float | None
    high: float | None


def difference_mark(difference: Mapping[str, Any], reach: float) -> IntervalMark | None:
    """Return the positions of a difference on an axis from -reach to reach; None without a value or an axis."""
    if difference["value"] is None or reach <= 0:
        return None
    return _mark(difference, lambda number: 60 + 54 * max(-1.0, min(1.0, number / reach)))


class DifferenceAxis(NamedTuple):
    """An axis of differences with zero in the middle. reach: the difference at each end; ticks: what is labelled."""

    reach: float
    ticks: list[float]

    def x(self, difference: float) -> float:
        """Return the position of a difference, from 0 to 100."""
        return 50 + 50 * max(-1.0, min(1.0, difference / self.reach))


def difference_axis(pairs: Sequence[Mapping[str, Any]]) -> DifferenceAxis | None:
    """Return the axis of all differences, intervals and detectable differences; None without any difference."""
    ends = [pair["difference"][name] for pair in pairs for name in ("value", "low", "high")]
    ends += [pair["detectable"] for pair in pairs]
    largest = max((abs(end) for end in ends if end is not None), default=0.0)
    if not largest:
        return None
    step = next(step for step in TICK_STEPS if largest / step <= MAX_TICKS)
    last = math.ceil(largest / step)
    ticks = [step * n for n in range(-last, last + 1) if step * abs(n) <= largest]
    return DifferenceAxis(1.08 * largest, ticks)


def accuracy_mark(accuracy: Mapping[str, Any]) -> IntervalMark:
    """Return the positions of an accuracy on an axis from 0 to 1."""
    return _mark(accuracy, lambda number: 4 + 112 * number)


def _mark(estimate: Mapping[str, Any], position: Callable[[float], float]) -> IntervalMark:
    ends = (estimate["low"], estimate["high"])
    low, high = (None, None) if None in ends else map(position, ends)
    return IntervalMark(position(estimate["value"]), low, high)


class Rect(NamedTuple):
    """A bar of a chart. kind: its class in the style sheet."""

    kind: str
    x: float
    y: float
    width: float
    height: float


def agreement_bars(counts: Sequence[int]) -> list[Rect]:
    """Return the parts of one bar: both right, only the first, only the second, neither. Empty without examples."""
    bars, start = [], 0.0
    for kind, count in zip(AGREEMENT_KINDS, counts, strict=True):
        width = 160 * count / (sum(counts) or 1)
        bars.append(Rect(kind, start, 1, width, 12))
        start += width
    return bars if sum(counts) else []


class MarginChart(NamedTuple):
    """A histogram of margins. zero: position of margin 0; ends: (position, margin, anchor) of the axis labels."""

    bars: list[Rect]
    zero: float
    ends: list[tuple[float, float, str]]
    wrong: int
    total: int


def margin_chart(histogram: Mapping[str, Any]) -> MarginChart:
    """Return the chart of examples by margin; the model is right above 0 and wrong (hatched) below."""
    edges, counts = histogram["edges"], histogram["counts"]
    low, high, top = float(edges[0]), float(edges[-1]), max(counts) or 1

    def x(margin: float) -> float:
        return 8 + 284 * (margin - low) / (high - low)

    bars = []
    for (left, right), count in zip(pairwise(edges), counts, strict=True):
        if count:
            height, width = 96 * count / top, max(x(right) - x(left) - 1, 1)
            bars.append(Rect("a" if left >= 0 else "b", x(left), 108 - height, width, height))
    ends = [(x(margin), margin, anchor) for margin, anchor in ((low, "start"), (high, "end"))]
    apart = [end for end in ends if abs(end[0] - x(0.0)) > 40]  # an end near zero would cover the label of zero
    wrong = sum(count for left, count in zip(edges, counts, strict=False) if left < 0)
    return MarginChart(bars, x(0.0), apart, wrong, sum(counts))


class Dot(NamedTuple):
    """A point of the calibration curve."""

    x: float
    y: float
    radius: float


def calibration_x(probability: float) -> float:
    return 34 + 360 * (probability - 0.5)


def calibration_y(right: float) -> float:
    return 180 - 168 * right


def calibration_dots(bins: Sequence[Mapping[str, Any]]) -> list[Dot]:
    """Return the bins' points: share of right choices against Bradley-Terry probability, area by number of examples."""
    largest = max((row["examples"] for row in bins), default=1)
    return [
        Dot(
            calibration_x(row["probability"]),
            calibration_y(row["right"]),
            2.5 + 4.5 * (row["examples"] / largest) ** 0.5,
        )
        for row in bins
    ]
