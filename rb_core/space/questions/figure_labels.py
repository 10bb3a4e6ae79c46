"""Places for the texts of a figure: beside what they name, without touching each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Place = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom

CHARACTER, LINE = 6.6, 15.0  # width and height of a text, in units of the drawing
SWATCH = 14.0  # width of the shape before a group's name
MAX_LENGTH = 34  # characters
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
        self._taken.append((x - 8, y - LINE, x + SWATCH + CHARACTER * len(text), y + LINE))

    def name(self, place: Place, text: str) -> bool:
        """Write a text beside a point; return False without room."""
        return self._put([place], text, None)

    def name_group(self, places: Sequence[Place], text: str, series: int) -> bool:
        """Write a group's name beside the point of it where it covers the fewest points; return False without room."""
        step = max(1, len(places) // MAX_CANDIDATES)
        return self._put(places[::step], text, series)

    def _put(self, places: Sequence[Place], text: str, series: int | None) -> bool:
        short = text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1]}…"
        width = CHARACTER * len(short) + (0 if series is None else SWATCH)
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


def _boxes(place: Place, width: float) -> list[Box]:
    """Return the boxes right, left, above and below of a point."""
    x, y = place
    half = LINE / 2
    starts = [(x + 8, y - half), (x - 8 - width, y - half), (x - width / 2, y - 7 - LINE), (x - width / 2, y + 7)]
    return [(left, top, left + width, top + LINE) for left, top in starts]
