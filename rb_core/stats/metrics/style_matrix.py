"""RM-Bench's metric: every chosen against every rejected completion, by style."""

from __future__ import annotations

import numpy as np

from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.metrics.base import Measure, Parts, TieCredit
from rb_core.stats.metrics.pairs import Pairs, pair_credits


class StyleMatrix(Pairs):
    """The pairs won, as `Pairs`, and the matrix of wins by style.

    Completions are in the order of their styles, from plain to fancy, so that wins form a matrix by the style of the
    chosen (rows) and of the rejected completion (columns).
    """

    name = "matrix"
    label = "style matrix"
    citation = "Liu et al. 2024, arXiv:2410.16184"
    needs_ratings = False  # a judge that chooses the best is refused anyway: several completions are chosen

    def unfit_reason(self, example_id: str, num_chosen: int, num_rejected: int, num_styles: int) -> str:
        if num_styles and num_chosen == num_rejected == num_styles:
            return ""
        return f"{num_chosen} chosen and {num_rejected} rejected completions for {num_styles} style levels"

    def parts(self, outcomes: ItemOutcomes, tie_credit: TieCredit) -> Parts | None:
        """Return the mean credit and, when scores are known, the mean wins of each cell as `style_cell` names it."""
        measures = {"credit": Measure(outcomes.credits, outcomes.groups)}
        if outcomes.scores is not None:
            wins = np.stack([pair_credits(chosen, rejected, tie_credit) for chosen, rejected in outcomes.scores])
            for i, j in np.ndindex(wins.shape[1:]):
                measures[style_cell(i, j)] = Measure(wins[:, i, j], outcomes.groups)
        return Parts(measures, {"credit": 1.0})


def style_cell(chosen: int, rejected: int) -> str:
    return f"{chosen}>{rejected}"
