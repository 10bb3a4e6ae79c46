"""A model's scores against those of all models: coordinates of the strips in the tables of a model's page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

TICK_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
MAX_TICKS = 6


class FieldRow(NamedTuple):
    """A row: the model's estimate as JSON, and the values of all models with a rank."""

    name: str
    estimate: Mapping[str, Any]
    field: Sequence[float]


class FieldAxis(NamedTuple):
    """An axis from `low` to `high`, which lie on ticks."""

    low: float
    high: float
    step: float

    def x(self, value: float) -> float:
        """Return the position of a value, from 0 to 100."""
        return 100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        return [self.low + self.step * n for n in range(round((self.high - self.low) / self.step) + 1)]

    def marks(self, values: Iterable[float]) -> str:
        """Return the path of a vertical line for each value, in a box of 1000 by 16; values at one place share it."""
        places = sorted({round(10 * self.x(value)) for value in values})
        return "".join(f"M{place} 0v16" for place in places)


def field_axis(rows: Sequence[FieldRow]) -> FieldAxis:
    """Return the axis that holds all values and intervals of the rows, or the one from 0 to 1 without any."""
    values = [value for row in rows for value in row.field]
    ends = [row.estimate.get(name) for row in rows for name in ("value", "low", "high")]
    values += [end for end in ends if end is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    step = next((step for step in TICK_STEPS if high - low <= step * (MAX_TICKS - 1)), TICK_STEPS[-1])
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return FieldAxis(step * first, step * max(last, first + 1), step)
