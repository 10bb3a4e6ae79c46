"""Coordinates of a report's figure, drawn as SVG by `questions/figure.html`. The tables have its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rb_core.audits.report import AuditFigure, AuditPoint
from rb_core.space.questions.figure_labels import BOLD, Label, LabelPlacer, fit, text_width

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 56, 20, 24, 48
ROW = 24
MAX_ROW_NAME = 300  # width of the longest name of a row in a figure of intervals
ROW_GAP = 12  # between the name of a row and the plot
PANEL, PANEL_LABELS, PANEL_BOTTOM = 400, 190, 24
SERIES = 6  # shapes and colours of the style sheet, in turn
MAX_NAMED = 24  # points that are all named if there is room


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


class RowName(NamedTuple):
    """The name of a row at its base line; a heading has no mark, and its rows are below it."""

    y: float
    text: str
    heading: bool = False


class Drawing(NamedTuple):
    """A figure, or a panel of one, in SVG coordinates.

    left, bottom: edges of the plot; labels: texts beside points and groups; legend: (series, name) of the groups
    without a label; reference: place of the reference line; diagonal: its ends (x, y, x, y); ideal: its place; medians:
    (x, y) of those that are marked; lines: series and path of each line that joins points.
    """

    kind: str
    title: str
    width: float
    height: float
    left: float
    bottom: float
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Mark]
    labels: list[Label] = []  # noqa: RUF012 - no drawing changes it
    row_names: list[RowName] = []  # noqa: RUF012
    legend: list[tuple[int, str]] = []  # noqa: RUF012
    reference: float | None = None
    diagonal: tuple[float, float, float, float] | None = None
    ideal: tuple[float, float] | None = None
    medians: list[tuple[float, float]] = []  # noqa: RUF012
    lines: list[tuple[int, str]] = []  # noqa: RUF012


def draw(figure: AuditFigure) -> list[Drawing]:
    """Return the figure in coordinates; one of strips has a drawing for each panel."""
    if figure.kind == "strips":
        return _strips(figure)
    return [_intervals(figure) if figure.kind == "intervals" else _points(figure)]


def _groups(figure: AuditFigure) -> list[str]:
    return list(dict.fromkeys(point.group for point in figure.points))


def _points(figure: AuditFigure) -> Drawing:
    groups, ideal = _groups(figure), figure.ideal
    ys = [end for p in figure.points for end in (p.y, p.low, p.high) if end is not None]
    to_x, x_ticks = _axis([*(p.x for p in figure.points), *(ideal[:1] if ideal else ())], LEFT, WIDTH - RIGHT)
    references = [] if figure.reference is None else [figure.reference]
    to_y, y_ticks = _axis([*ys, *references, *(ideal[1:] if ideal else ())], HEIGHT - BOTTOM, TOP)
    places = [(to_x(p.x), to_y(p.y)) for p in figure.points]
    marks = [
        Mark(x, y, *_ends(p, to_y), groups.index(p.group) % SERIES, f"{_words(p)}, {figure.x_label} {p.x:.3g}")
        for p, (x, y) in zip(figure.points, places, strict=True)
    ]
    placer = LabelPlacer(places, (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM))
    if ideal:
        placer.keep_free(to_x(ideal[0]), to_y(ideal[1]), "ideal")
    names_all = len(figure.points) <= MAX_NAMED and not figure.joined
    for is_named in (True, False):
        for p, place in zip(figure.points, places, strict=True):
            if p.named is is_named and (is_named or names_all):
                placer.name(place, p.label)
    legend = []
    for series, group in enumerate(groups):
        if not group or len(groups) == 1:
            continue
        own = [place for p, place in zip(figure.points, places, strict=True) if p.group == group]
        if not placer.name_group(own, group, series % SERIES):
            legend.append((series % SERIES, group))
    return Drawing(
        "points", figure.title, WIDTH, HEIGHT, LEFT, HEIGHT - BOTTOM, x_ticks, y_ticks, marks, placer.labels,
        legend=legend,
        reference=None if figure.reference is None else to_y(figure.reference),
        diagonal=_diagonal(figure, to_x, to_y) if figure.diagonal else None,
        ideal=(to_x(ideal[0]), to_y(ideal[1])) if ideal else None,
        lines=_lines(figure, marks) if figure.joined else [],
    )  # fmt: skip


def _lines(figure: AuditFigure, marks: Sequence[Mark]) -> list[tuple[int, str]]:
    """Return series and path of the line through the points of each series, in order."""
    places: dict[str, list[Mark]] = {}
    for point, mark in zip(figure.points, marks, strict=True):
        places.setdefault(point.group, []).append(mark)
    return [
        (series[0].series, "M" + "L".join(f"{mark.x:.1f} {mark.y:.1f}" for mark in series))
        for series in places.values()
        if len(series) > 1
    ]


def _diagonal(
    figure: AuditFigure, to_x: Callable[[float], float], to_y: Callable[[float], float]
) -> tuple[float, float, float, float]:
    """Return the ends of the line of equal x and y, within the range that both axes have."""
    xs, ys = [p.x for p in figure.points], [p.y for p in figure.points]
    low, high = max(min(xs), min(ys)), min(max(xs), max(ys))
    return to_x(low), to_y(low), to_x(high), to_y(high)


def _intervals(figure: AuditFigure) -> Drawing:
    """Return one row for each point; with several groups, the rows of a label are below it and named by group."""
    groups = _groups(figure)
    ends = [end for p in figure.points for end in (p.y, p.low, p.high) if end is not None]
    row_names = groups if len(groups) > 1 else [p.label for p in figure.points]
    left = min(max(map(text_width, row_names), default=0), MAX_ROW_NAME) + 2 * ROW_GAP
    to_x, ticks = _axis([*ends, *([] if figure.reference is None else [figure.reference])], left, WIDTH - RIGHT)
    marks: list[Mark] = []
    names: list[RowName] = []
    row = 0
    for label in dict.fromkeys(point.label for point in figure.points):
        if len(groups) > 1:
            names.append(RowName(TOP + ROW * (row + 0.5), fit(label, (WIDTH - 2 * ROW_GAP) / BOLD), heading=True))
            row += 1
        for p in (point for point in figure.points if point.label == label):
            y = TOP + ROW * (row + 0.5)
            names.append(RowName(y, fit(p.group if len(groups) > 1 else label, MAX_ROW_NAME)))
            marks.append(Mark(to_x(p.y), y, *_ends(p, to_x), groups.index(p.group) % SERIES, _words(p)))
            row += 1
    bottom = TOP + ROW * row
    reference = None if figure.reference is None else to_x(figure.reference)
    return Drawing(
        "intervals", figure.title, WIDTH, bottom + BOTTOM, left, bottom, ticks, [], marks,
        row_names=names, reference=reference,
    )  # fmt: skip


def _strips(figure: AuditFigure) -> list[Drawing]:
    """Return a drawing for each panel; all have the same axis."""
    groups = _groups(figure)
    to_x, ticks = _axis([point.y for point in figure.points], PANEL_LABELS, PANEL - RIGHT)
    drawings = []
    for panel in dict.fromkeys(point.panel for point in figure.points):
        marks: list[Mark] = []
        names: list[RowName] = []
        medians: list[tuple[float, float]] = []
        for series, group in enumerate(groups):
            own = [p for p in figure.points if p.panel == panel and p.group == group]
            if not own:
                continue
            y = TOP + ROW * (len(names) + 0.5)
            names.append(RowName(y, fit(f"{group} ({len(own)})", PANEL_LABELS - ROW_GAP)))
            marks += [Mark(to_x(p.y), y, None, None, series % SERIES, _words(p)) for p in own]
            medians.append((to_x(float(np.median([p.y for p in own]))), y))
        bottom = TOP + ROW * len(names)
        drawings.append(
            Drawing(
                "strips", panel, PANEL, bottom + PANEL_BOTTOM, PANEL_LABELS, bottom, ticks, [], marks,
                row_names=names, medians=medians,
            )
        )  # fmt: skip
    return drawings


def _ends(point: AuditPoint, position: Callable[[float], float]) -> tuple[float | None, float | None]:
    return tuple(None if end is None else position(end) for end in (point.low, point.high))  # type: ignore[return-value]


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
