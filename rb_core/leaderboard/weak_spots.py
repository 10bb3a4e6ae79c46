"""Find the subsets and sections where a model ranks furthest below its overall rank.

Scores of different subsets are not comparable, because some subsets are harder for every model. Ranks within a subset
are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rb_core.results.estimate import Estimate

RULE = (
    "Rank here: the model's rank by this part alone. Overall: its rank by the headline among the same models. "
    "Significant: the upper end of its 95% interval is below the score of the model that holds its overall rank here."
)


@dataclass(frozen=True)
class WeakSpot:
    """A subset or section in which a model ranks lower than it does overall.

    Ranks start at 1 and count only the `num_models` models that have both scores; equal scores share a rank.
    """

    name: str
    rank: int
    overall_rank: int
    num_models: int
    score: Estimate  # value, low and high
    expected_score: float  # score of the model that holds `overall_rank` in this part
    significant: bool | None  # upper end of the interval below `expected_score`; None without an interval

    @property
    def rank_drop(self) -> int:
        return self.rank - self.overall_rank

    def to_json(self) -> dict[str, Any]:
        """Return the weak spot as the endpoint `model` publishes it."""
        return {
            "name": self.name,
            "rank": self.rank,
            "overall": self.overall_rank,
            "of": self.num_models,
            "value": self.score.value,
            "low": self.score.low,
            "high": self.score.high,
            "par": self.expected_score,
            "clear": self.significant,
            "drop": self.rank_drop,
        }


def find_weak_spots(
    model: str,
    headlines: Mapping[str, float],
    scores_by_part: Mapping[str, Mapping[str, float]],
    estimates: Mapping[str, Estimate],
) -> list[WeakSpot]:
    """Return the model's weak spots: significant ones first, then by rank drop.

    Args:
        headlines: headline score of every model.
        scores_by_part: score of every model in each subset and section.
        estimates: this model's own estimate in each subset and section, for the intervals.
    """
    weak_spots = []
    for name, scores in scores_by_part.items():
        if model not in scores or model not in headlines:
            continue
        comparable = [other for other in scores if other in headlines]
        rank = rank_of(scores[model], (scores[other] for other in comparable))
        overall_rank = rank_of(headlines[model], (headlines[other] for other in comparable))
        if rank <= overall_rank:
            continue
        expected = sorted((scores[other] for other in comparable), reverse=True)[overall_rank - 1]
        interval = estimates.get(name, Estimate())
        score = Estimate(value=scores[model], low=interval.low, high=interval.high)
        significant = None if score.high is None else score.high < expected
        weak_spots.append(WeakSpot(name, rank, overall_rank, len(comparable), score, expected, significant))
    return sorted(weak_spots, key=lambda spot: (not spot.significant, -spot.rank_drop, spot.name))


def rank_of(value: float, values: Iterable[float]) -> int:
    """Return 1 + the number of values that are larger."""
    return 1 + sum(other > value for other in values)
