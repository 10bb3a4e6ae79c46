"""The small charts of the tab *Compare*, as inline SVG. Every number in them also stands in a table beside or below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any


def difference_svg(difference: Mapping[str, Any], reach: float, *, shown: bool) -> str:
    """A difference with its interval around zero; filled where a difference is shown. reach: half the axis, a fraction.

    Hidden from readers of the page's text: the cell says the same in numbers.
    """
    value, low, high = difference["value"], difference["low"], difference["high"]
    if value is None or reach <= 0:
        return ""

    def at(number: float) -> str:
        return f"{60 + 54 * max(-1.0, min(1.0, number / reach)):.1f}"

    known = low is not None and high is not None
    whisker = f'<path class="rb-cmp-whisker" d="M{at(low)} 7H{at(high)}"/>' if known else ""
    return (
        '<svg class="rb-cmp-forest" viewBox="0 0 120 14" width="120" height="14" aria-hidden="true">'
        f'<path class="rb-cmp-zero" d="M60 0V14"/>{whisker}'
        f'<circle class="{"rb-cmp-dot" if shown else "rb-cmp-ring"}" cx="{at(value)}" cy="7" r="3.5"/></svg>'
    )


def agreement_svg(counts: Sequence[int]) -> str:
    """One bar of four parts: both right, only the first, only the other (hatched), neither. Hidden like the above."""
    total = sum(counts)
    if not total:
        return ""
    parts, start = [], 0.0
    for kind, count in zip(("both", "a", "b", "neither"), counts, strict=True):
        width = 160 * count / total
        parts.append(f'<rect class="rb-cmp-{kind}" x="{start:.1f}" y="1" width="{width:.1f}" height="12"/>')
        start += width
    return (
        '<svg class="rb-cmp-share" viewBox="0 0 160 14" width="160" height="14" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def hatching() -> str:
    """The pattern that `agreement_svg` fills the other model's part with; once a page, before its first use."""
    return (
        '<svg width="0" height="0" class="rb-cmp-defs" aria-hidden="true"><defs>'
        '<pattern id="rb-cmp-hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect class="rb-cmp-b-ground" width="5" height="5"/><path class="rb-cmp-b-line" d="M0 0V5"/></pattern>'
        "</defs></svg>"
    )


def margins_svg(model: str, histogram: Mapping[str, Any]) -> str:
    """How many examples have which margin: right of zero the model is right, left of it (hatched) wrong."""
    edges, counts = histogram["edges"], histogram["counts"]
    low, high, top = float(edges[0]), float(edges[-1]), max(counts) or 1

    def at(value: float) -> float:
        return 8 + 284 * (value - low) / (high - low)

    bars = "".join(
        f'<rect class="rb-cmp-{"a" if left >= 0 else "b"}" x="{at(left):.1f}" y="{108 - 96 * count / top:.1f}" '
        f'width="{max(at(right) - at(left) - 1, 1):.1f}" height="{96 * count / top:.1f}"/>'
        for (left, right), count in zip(pairwise(edges), counts, strict=True)
        if count
    )
    zero = at(0.0)
    ends = "".join(
        f'<text x="{at(value):.0f}" y="124" text-anchor="{anchor}">{_short(value)}</text>'
        for value, anchor in ((low, "start"), (high, "end"))
        if abs(at(value) - zero) > 40
    )
    wrong = sum(count for left, count in zip(edges, counts, strict=False) if left < 0)
    text = f"{wrong} of {sum(counts)} margins lie left of zero. The ends hold what lies beyond them."
    return _figure(
        f"Margins of {model}",
        text,
        "0 0 300 130",
        f'{bars}<path class="rb-cmp-axis" d="M8 108H292"/><path class="rb-cmp-zero" d="M{zero:.1f} 6V112"/>{ends}'
        f'<text x="{zero:.0f}" y="124" text-anchor="middle">0</text>',
    )


def calibration_svg(model: str, bins: Sequence[Mapping[str, Any]]) -> str:
    """Share of right choices over the Bradley-Terry probability of the choice; on the diagonal where calibrated."""
    most = max((row["examples"] for row in bins), default=1)

    def x(value: float) -> float:
        return 34 + 360 * (value - 0.5)

    def y(value: float) -> float:
        return 180 - 168 * value

    line = " ".join(f"{x(row['probability']):.1f},{y(row['right']):.1f}" for row in bins)
    dots = "".join(
        f'<circle class="rb-cmp-dot" cx="{x(row["probability"]):.1f}" cy="{y(row["right"]):.1f}" '
        f'r="{2.5 + 4.5 * (row["examples"] / most) ** 0.5:.1f}"/>'
        for row in bins
    )
    below, beside = (0.5, 0.75, 1.0), (0.0, 0.5, 1.0)
    ticks = "".join(f'<text x="{x(v):.0f}" y="196" text-anchor="middle">{100 * v:.0f}%</text>' for v in below)
    ticks += "".join(f'<text x="28" y="{y(v) + 4:.0f}" text-anchor="end">{100 * v:.0f}</text>' for v in beside)
    text = f"{len(bins)} bins by probability; larger dots hold more examples. The dashed line is perfect calibration."
    return _figure(
        f"Calibration of {model}",
        text,
        "0 0 232 202",
        f'<path class="rb-cmp-axis" d="M34 12V180H214"/>'
        f'<path class="rb-cmp-ideal" d="M{x(0.5):.1f} {y(0.5):.1f}L{x(1):.1f} {y(1):.1f}"/>'
        f'<polyline class="rb-cmp-curve" points="{line}"/>{dots}{ticks}',
    )


def accuracy_svg(value: float, low: float | None, high: float | None) -> str:
    """An accuracy with its interval between 0 and 100. Hidden from readers of the text, which has the numbers."""

    def at(number: float) -> str:
        return f"{4 + 112 * number:.1f}"

    whisker = "" if low is None or high is None else f'<path class="rb-cmp-whisker" d="M{at(low)} 7H{at(high)}"/>'
    return (
        '<svg class="rb-cmp-forest" viewBox="0 0 120 14" width="120" height="14" aria-hidden="true">'
        f'<path class="rb-cmp-axis" d="M4 7H116"/><path class="rb-cmp-zero" d="M60 2V12"/>{whisker}'
        f'<circle class="rb-cmp-dot" cx="{at(value)}" cy="7" r="3.5"/></svg>'
    )


def _figure(title: str, text: str, box: str, content: str) -> str:
    width, height = box.split()[2:]
    return (
        f'<svg class="rb-cmp-figure" role="img" viewBox="{box}" width="{width}" height="{height}" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><desc>{escape(text)}</desc>{content}</svg>'
    )


def _short(value: float) -> str:
    """A tick's label: three significant digits, with a real minus."""
    return f"{value:.3g}".replace("-", "−")
