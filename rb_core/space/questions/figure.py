"""Coordinates of a report's figure, drawn as SVG by `questions/report.html`. The tables have its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rb_core.audits.report import AuditFigure, AuditPoint

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 48
LABELS = 240  # width of the labels of a figure of intervals
ROW = 26
SERIES = 6  # shapes and colours of the style sheet, in turn


class Tick(NamedTuple):
    """A tick of an axis: its position, and its number as text."""

    at: float
    text: str


class Mark(NamedTuple):
    """A point: its place, the ends of its interval along y (None without one), its series and its words."""

    x: float
    y: float
    low: float | None
    high: float | None
    series: int
    text: str
    label: str


class Drawing(NamedTuple):
    """A figure in SVG coordinates. groups: names of the series; reference: place of the reference line; lines: series
    and path of each line that joins points."""

    kind: str
    width: float
    height: float
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Mark]
    groups: list[str]
    reference: float | None
    lines: list[tuple[int, str]]


def draw(figure: AuditFigure) -> Drawing:
    """Return the coordinates of a figure's points and axes."""
    groups = list(dict.fromkeys(point.group for point in figure.points))
    ends = [end for p in figure.points for end in (p.y, p.low, p.high) if end is not None]
    along = [*ends, *([] if figure.reference is None else [figure.reference])]
    if figure.kind == "intervals":
        to_x, x_ticks = _axis(along, LABELS, WIDTH - RIGHT)
        places = [(to_x(p.y), TOP + ROW * (row + 0.5)) for row, p in enumerate(figure.points)]
        marks = _marks(figure, places, to_x, groups)
        height = TOP + ROW * len(marks) + BOTTOM
        return Drawing(figure.kind, WIDTH, height, x_ticks, [], marks, groups, _at(to_x, figure.reference), [])
    to_x, x_ticks = _axis([p.x for p in figure.points], LEFT, WIDTH - RIGHT)
    to_y, y_ticks = _axis(along, HEIGHT - BOTTOM, TOP)
    marks = _marks(figure, [(to_x(p.x), to_y(p.y)) for p in figure.points], to_y, groups)
    reference, lines = _at(to_y, figure.reference), _lines(figure, marks)
    return Drawing(figure.kind, WIDTH, HEIGHT, x_ticks, y_ticks, marks, groups, reference, lines)


def _lines(figure: AuditFigure, marks: Sequence[Mark]) -> list[tuple[int, str]]:
    """Return series and path of the line through the points of each series, in order; none if not joined."""
    places: dict[str, list[Mark]] = {}
    for point, mark in zip(figure.points, marks, strict=True):
        places.setdefault(point.group, []).append(mark)
    return [
        (series[0].series, "M" + "L".join(f"{mark.x:.1f} {mark.y:.1f}" for mark in series))
        for series in places.values()
        if figure.joined and len(series) > 1
    ]


def _marks(
    figure: AuditFigure, places: Sequence[tuple[float, float]], along: Callable[[float], float], groups: Sequence[str]
) -> list[Mark]:
    """Return the points at their places. along: position on the axis of y, for the ends of intervals."""
    marks = []
    for point, (x, y) in zip(figure.points, places, strict=True):
        words = _words(point) + (f", {figure.x_label} {point.x:.3g}" if figure.kind == "points" else "")
        ends = _at(along, point.low), _at(along, point.high)
        marks.append(Mark(x, y, *ends, groups.index(point.group) % SERIES, words, point.label))
    return marks


def _at(position: Callable[[float], float], value: float | None) -> float | None:
    return None if value is None else position(value)


def _words(point: AuditPoint) -> str:
    interval = "" if point.low is None or point.high is None else f" ({point.low:.3g} to {point.high:.3g})"
    return f"{point.label}: {point.y:.3g}{interval}"


def _axis(values: Sequence[float], start: float, end: float) -> tuple[Callable[[float], float], list[Tick]]:
    """Return the positions of an axis that holds these values, and about five ticks at round numbers."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = 0.04 * (high - low) or 0.5
    low, high = low - margin, high + margin
    step = _round_step((high - low) / 5)
    numbers = step * np.arange(math.ceil(low / step), math.floor(high / step) + 1)

    def position(value: float) -> float:
        return start + (end - start) * (value - low) / (high - low)

    decimals = max(0, -math.floor(math.log10(step)))
    return position, [Tick(position(n), f"{n:.{decimals}f}".replace("-", "−")) for n in numbers.tolist()]


def _round_step(step: float) -> float:
    """Return the next larger of 1, 2 and 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
