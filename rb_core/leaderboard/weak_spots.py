"""Find the subsets and sections where a model ranks furthest below, or above, its overall rank.

Scores of different subsets are not comparable, because some subsets are harder for every model. Ranks within a subset
are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy.optimize import brentq
from scipy.special import betainc

from rb_core.results.estimate import Estimate
from rb_core.stats.intervals import standard_error
from rb_core.stats.rank_intervals import rank_of
from rb_core.stats.significance import ALPHA, holm

RULE = (
    "Rank here: the model's rank by this part alone. Overall: its rank by the headline among the same models. "
    "Significant: the score is below that of the model that holds the worst rank of its rank interval here (of a "
    "strength: above that of the best rank), by a one-sided test corrected for all parts of the model (Holm's method). "
    "Every other row is a hint."
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
    score: Estimate
    expected_score: float  # score of the model that holds `overall_rank` in this part
    p: float | None  # corrected for all parts of the model; None without a standard error or a rank interval

    @property
    def rank_drop(self) -> int:
        return self.rank - self.overall_rank

    @property
    def significant(self) -> bool | None:
        return None if self.p is None else self.p < ALPHA

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
            "p": self.p,
            "clear": self.significant,
            "drop": self.rank_drop,
        }


def find_weak_spots(
    model: str,
    headlines: Mapping[str, float],
    scores_by_part: Mapping[str, Mapping[str, float]],
    estimates: Mapping[str, Estimate],
    worst_rank: int | None,
) -> list[WeakSpot]:
    """Return the model's weak spots: significant ones first, then by rank drop.

    The test asks for the score at the worst rank that the headline allows, not at the rank that it has: that rank is
    itself uncertain, and the best of many noisy scores in a part is higher than that of any model.

    Args:
        headlines: headline score of every model.
        scores_by_part: score of every model in each subset and section.
        estimates: this model's own estimate in each subset and section.
        worst_rank: upper end of the model's rank interval; None without one.
    """
    if model not in headlines:
        return []
    spots, p_values = [], {}
    for name, all_scores in scores_by_part.items():
        scores = {other: score for other, score in all_scores.items() if other in headlines}
        if model not in scores:
            continue
        best_first = sorted(scores.values(), reverse=True)
        rank = rank_of(scores[model], scores.values())
        overall_rank = rank_of(headlines[model], (headlines[other] for other in scores))
        estimate = estimates.get(name, Estimate())
        if worst_rank is not None and estimate.value is not None and estimate.stderr:
            p_values[name] = p_below(estimate.value, estimate.stderr, best_first[min(worst_rank, len(scores)) - 1])
        if rank > overall_rank:
            score = Estimate(value=scores[model], low=estimate.low, high=estimate.high)
            spots.append((name, rank, overall_rank, len(scores), score, best_first[overall_rank - 1]))
    corrected = dict(zip(p_values, holm(list(p_values.values())).tolist(), strict=True))
    weak_spots = [WeakSpot(*spot, corrected.get(spot[0])) for spot in spots]
    return sorted(weak_spots, key=lambda spot: (not spot.significant, -spot.rank_drop, spot.name))


def find_strengths(
    model: str,
    headlines: Mapping[str, float],
    scores_by_part: Mapping[str, Mapping[str, float]],
    estimates: Mapping[str, Estimate],
    best_rank: int | None,
) -> list[WeakSpot]:
    """Return the parts where the model ranks higher than overall: weak spots of the scores turned upside down.

    The test asks for the score at the best rank that the headline allows; `rank_drop` is negative. Arguments as those
    of `find_weak_spots`, with the lower end of the rank interval.
    """
    turned = find_weak_spots(
        model,
        _turned(headlines),
        {name: _turned(scores) for name, scores in scores_by_part.items()},
        {name: _turned_estimate(estimate) for name, estimate in estimates.items()},
        None if best_rank is None else len(headlines) - best_rank + 1,
    )
    strengths = []
    for spot in turned:
        scores = [score for other, score in scores_by_part[spot.name].items() if other in headlines]
        names = [other for other in scores_by_part[spot.name] if other in headlines]
        overall_rank = rank_of(headlines[model], (headlines[other] for other in names))
        rank = rank_of(scores_by_part[spot.name][model], scores)
        score, expected = _turned_estimate(spot.score), sorted(scores, reverse=True)[overall_rank - 1]
        strengths.append(WeakSpot(spot.name, rank, overall_rank, len(scores), score, expected, spot.p))
    return [spot for spot in strengths if spot.rank_drop < 0]


def _turned(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: 1 - score for name, score in scores.items()}


def _turned_estimate(estimate: Estimate) -> Estimate:
    value, low, high = (None if end is None else 1 - end for end in (estimate.value, estimate.high, estimate.low))
    return Estimate(value=value, low=low, high=high, stderr=estimate.stderr)


def p_below(value: float, stderr: float, expected: float) -> float:
    """Return the one-sided p of a score at or below `value` for a model whose true score is `expected`.

    An exact binomial test with the effective number of examples: that which gives `stderr` by `standard_error`.
    """
    share, expected = min(max(value, 0.0), 1.0), min(max(expected, 0.0), 1.0)
    if share >= expected:
        return 1.0
    most = 1.0 / stderr**2

    def excess(examples: float) -> float:
        return standard_error(share, share * (1 - share) / examples, examples) - stderr

    examples = brentq(excess, 1.0, most) if excess(1.0) > 0 > excess(most) else 1.0
    return float(betainc(examples * (1 - share), examples * share + 1, 1 - expected))
