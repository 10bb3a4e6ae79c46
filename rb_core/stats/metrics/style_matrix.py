"""RM-Bench's metric: every chosen against every rejected completion, by style."""

from __future__ import annotations

import numpy as np

from rb_core.stats.item_outcomes import CompletionScores, Flags, Floats, ItemOutcomes
from rb_core.stats.metrics.base import Measure, Metric, Parts, TieCredit


class StyleMatrix(Metric):
    """Mean over examples of the share of (chosen, rejected) pairs in which the chosen completion scores higher.

    Completions are in the order of their styles, from plain to fancy, so that wins form a matrix by the style of the
    chosen (rows) and of the rejected completion (columns). A tied pair earns 0 ("none") or 1/2 ("split").
    """

    name = "matrix"
    label = "style matrix"
    citation = "Liu et al. 2024, arXiv:2410.16184"

    def item_credits(self, scores: CompletionScores, tie_credit: TieCredit) -> tuple[Floats, Flags]:
        wins = [_wins(chosen, rejected, tie_credit).mean() for chosen, rejected in scores]
        tied = [np.isin(chosen, rejected).any() for chosen, rejected in scores]
        return np.array(wins, dtype=np.float64), np.array(tied, dtype=np.bool_)

    def parts(self, outcomes: ItemOutcomes, tie_credit: TieCredit) -> Parts | None:
        """Return the mean credit and, when scores are known, the mean wins of each cell as `style_cell` names it."""
        measures = {"credit": Measure(outcomes.credits, outcomes.groups)}
        if outcomes.scores is not None:
            wins = np.stack([_wins(chosen, rejected, tie_credit) for chosen, rejected in outcomes.scores])
            for i, j in np.ndindex(wins.shape[1:]):
                measures[style_cell(i, j)] = Measure(wins[:, i, j], outcomes.groups)
        return Parts(measures, {"credit": 1.0})


def style_cell(chosen: int, rejected: int) -> str:
    return f"{chosen}>{rejected}"


def _wins(chosen: Floats, rejected: Floats, tie_credit: TieCredit) -> Floats:
    """Return the credit of each pair, (chosen, rejected); all NaN when a completion is unscored."""
    difference = chosen[:, None] - rejected[None, :]
    if np.isnan(chosen).any() or np.isnan(rejected).any():
        return np.full_like(difference, np.nan)
    return np.where(difference == 0, 0.5 if tie_credit == "split" else 0.0, difference > 0)
