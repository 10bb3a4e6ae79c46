"""Pairs: every chosen against every rejected completion."""

from __future__ import annotations

import numpy as np

from rb_core.stats.item_outcomes import CompletionScores, Flags, Floats, Strings
from rb_core.stats.metrics.base import Metric, TieCredit


class Pairs(Metric):
    """Mean over examples of the share of (chosen, rejected) pairs in which the chosen completion scores higher.

    A tied pair earns 0 ("none") or 1/2 ("half" and "split").
    """

    name = "pairs"
    label = "pairs won"
    needs_ratings = True

    def item_credits(self, scores: CompletionScores, tie_credit: TieCredit) -> tuple[Floats, Flags]:
        wins = [pair_credits(chosen, rejected, tie_credit).mean() for chosen, rejected in scores]
        tied = [np.isin(chosen, rejected).any() for chosen, rejected in scores]
        return np.array(wins, dtype=np.float64), np.array(tied, dtype=np.bool_)

    def chance(self, scores: CompletionScores, example_ids: Strings) -> float | None:
        return 0.5


def pair_credits(chosen: Floats, rejected: Floats, tie_credit: TieCredit) -> Floats:
    """Return the credit of each pair, (chosen, rejected); all NaN when a completion is unscored."""
    difference = chosen[:, None] - rejected[None, :]
    if np.isnan(chosen).any() or np.isnan(rejected).any():
        return np.full_like(difference, np.nan)
    return np.where(difference == 0, 0.0 if tie_credit == "none" else 0.5, difference > 0)
