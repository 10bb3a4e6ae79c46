"""The record of an effect: a mean of one group, with interval, test and the smallest effect that could be found."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rb_core.results.estimate import Record


class Effect(Record):
    """A mean over independent units of one group, and its test against the value without an effect.

    measure: of the effect, with its unit, such as "shift (sd)".
    value, low, high: None when nothing was scored, or where no interval can be given, for the `reason`.
    null: the value without an effect; None where the value is only estimated and not tested.
    p, adjusted_p: of the test, and adjusted by Holm's method (1979) for all tests of the audit.
    detectable: the smallest difference from `null` that the test finds with a probability of 80% or more.
    units: independent units with a value; unscored: units without one.
    """

    measure: Annotated[str, Field(max_length=200)]
    group: Annotated[str, Field(max_length=200)]
    value: float | None = None
    low: float | None = None
    high: float | None = None
    null: float | None = None
    p: float | None = None
    adjusted_p: float | None = None
    stderr: float | None = None
    detectable: float | None = None
    units: int
    unscored: int = 0
    reason: Annotated[str, Field(max_length=200)] = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.measure, self.group

    @property
    def difference(self) -> float:
        """Value minus null; 0 where either is unknown."""
        return 0.0 if self.value is None or self.null is None else self.value - self.null
