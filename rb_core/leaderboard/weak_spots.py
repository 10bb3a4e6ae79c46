"""What a model is bad at: the parts of a benchmark where it ranks furthest below its own overall rank. Pure functions.

Scores of different parts cannot be compared, since some parts are harder for every model; ranks within a part can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rb_core.results.estimate import Estimate

RULE = (
    "Rank here: the model's place by this part alone; overall: its place by the headline among the same models. Clear: "
    "even the upper end of its 95% interval is below the score of the model that stands at its overall rank here."
)


@dataclass(frozen=True)
class WeakSpot:
    """A part (a subset or section) in which a model stands lower than overall.

    rank, overall: places (1 is best, equal scores share one) by the part and by the headline among the `of` models that
    have both; value, low, high: its own score there and 95% interval; par: the score at its overall rank in the part;
    clear: whether the whole interval lies below par, None where no interval is known. Scores are fractions.
    """

    name: str
    rank: int
    overall: int
    of: int
    value: float
    low: float | None
    high: float | None
    par: float
    clear: bool | None

    @property
    def drop(self) -> int:
        """How many places it stands below its overall rank."""
        return self.rank - self.overall


def weak_spots(
    model: str,
    headlines: Mapping[str, float],
    parts: Mapping[str, Mapping[str, float]],
    own: Mapping[str, Estimate],
) -> list[WeakSpot]:
    """The parts in which `model` ranks lower than overall: clear ones first, then by the number of places.

    headlines: model -> headline; parts: part -> model -> score; own: the model's estimates, for the intervals. A part
    that the model lacks, and a model without a headline, has no weak spots.
    """
    found = []
    for name, scores in parts.items():
        both = {each: value for each, value in scores.items() if each in headlines}
        if model not in both:
            continue
        rank = place(both[model], both.values())
        overall = place(headlines[model], (headlines[each] for each in both))
        if rank <= overall:
            continue
        par = sorted(both.values(), reverse=True)[overall - 1]
        estimate = own.get(name)
        low, high = (estimate.low, estimate.high) if estimate else (None, None)
        clear = None if high is None else high < par
        found.append(WeakSpot(name, rank, overall, len(both), both[model], low, high, par, clear))
    return sorted(found, key=lambda spot: (not spot.clear, -spot.drop, spot.name))


def place(value: float, values: Iterable[float]) -> int:
    """1 + the number of values that are larger."""
    return 1 + sum(each > value for each in values)
