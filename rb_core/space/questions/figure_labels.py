"""Places for the texts of a figure: beside what they name, without touching each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Place = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom

LINE = 15.0  # height of a text, in units of the drawing
# Widths of characters in the widest common fonts, at the style sheet's size: the page takes the visitor's own font.
NARROW, USUAL, CAPITAL, WIDE = 5.0, 7.7, 9.2, 12.0
NARROW_CHARACTERS, WIDE_CHARACTERS = frozenset(" !'(),./:;I[]fijlrt|-"), frozenset("%@MWmw…")
BOLD = 1.12  # width of a bold text against that of the same text in the usual weight
SWATCH = 14.0  # width of the shape before a group's name
MAX_WIDTH = 240.0  # of a text beside a point
MAX_CANDIDATES = 40  # points of a group beside which its name may stand


class Label(NamedTuple):
    """A text at its left end and base line. series: that of the group it names; None for the name of a point."""

    x: float
    y: float
    text: str
    series: int | None = None


class LabelPlacer:
    """Places labels one after the other; a label without room is left out."""

    def __init__(self, points: Sequence[Place], bounds: Box) -> None:
        self.labels: list[Label] = []
        self._points = np.array(points, dtype=np.float64).reshape(-1, 2)
        self._bounds = bounds
        self._taken: list[Box] = []

    def keep_free(self, x: float, y: float, text: str) -> None:
        """Keep the room of a text that starts at a place."""
        self._taken.append((x - 8, y - LINE, x + SWATCH + BOLD * text_width(text), y + LINE))

    def name(self, place: Place, text: str) -> bool:
        """Write a text beside a point; return False without room."""
        return self._put([place], text, None)

    def name_group(self, places: Sequence[Place], text: str, series: int) -> bool:
        """Write a group's name beside the point of it where it covers the fewest points; return False without room."""
        step = max(1, len(places) // MAX_CANDIDATES)
        return self._put(places[::step], text, series)

    def _put(self, places: Sequence[Place], text: str, series: int | None) -> bool:
        short = fit(text, MAX_WIDTH)
        width = text_width(short) if series is None else SWATCH + BOLD * text_width(short)
        free = [box for place in places for box in _boxes(place, width) if self._is_free(box)]
        if not free:
            return False
        box = min(free, key=self._covered)
        self._taken.append(box)
        self.labels.append(Label(box[0], box[3] - 4, short, series))
        return True

    def _is_free(self, box: Box) -> bool:
        left, top, right, bottom = self._bounds
        if box[0] < left or box[1] < top - LINE or box[2] > right or box[3] > bottom:
            return False
        return not any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in self._taken
        )

    def _covered(self, box: Box) -> int:
        x, y = self._points[:, 0], self._points[:, 1]
        return int(np.sum((x > box[0] - 4) & (x < box[2] + 4) & (y > box[1] - 3) & (y < box[3] + 3)))


def text_width(text: str) -> float:
    """Return the most units that a text of the usual weight takes."""
    return sum(map(_character_width, text))


def _character_width(character: str) -> float:
    if character in NARROW_CHARACTERS:
        return NARROW
    if character in WIDE_CHARACTERS:
        return WIDE
    return CAPITAL if character.isupper() else USUAL


def fit(text: str, width: float) -> str:
    """Return a text that is no wider: where it is too long, its middle is left out, as its ends tell names apart."""
    short, kept = text, len(text)
    while kept > 1 and text_width(short) > width:
        kept -= 1
        short = f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
    return short


def _boxes(place: Place, width: float) -> list[Box]:
    """Return the boxes right, left, above and below of a point."""
    x, y = place
    half = LINE / 2
    starts = [(x + 8, y - half), (x - 8 - width, y - half), (x - width / 2, y - 7 - LINE), (x - width / 2, y + 7)]
    return [(left, top, left + width, top + LINE) for left, top in starts]
