"""Best of k: the share of examples in which the model's best completion is a chosen one."""

from __future__ import annotations

import numpy as np

from rb_core.stats.item_outcomes import CompletionScores, Flags, Floats, Strings
from rb_core.stats.metrics.base import Metric, TieCredit, with_tie_credit


class Best(Metric):
    """Mean over examples of [best chosen score > best rejected score].

    A tie of the two earns 0 ("none"), 1/2 ("half"), or the share of the chosen ones among the completions with that
    score ("split").
    """

    name = "best"
    label = "best of k"
    is_accuracy = True

    def item_credits(self, scores: CompletionScores, tie_credit: TieCredit) -> tuple[Floats, Flags]:
        margins = np.where(np.isnan(scores.margins()), np.nan, scores.best_chosen() - scores.best_rejected())
        chosen, rejected = scores.num_best_chosen(), scores.num_best_rejected()
        with np.errstate(invalid="ignore"):  # nothing is equal to the NaN of an unscored example
            split = chosen / (chosen + rejected)
        return with_tie_credit(margins, split, tie_credit), margins == 0

    def chance(self, scores: CompletionScores, example_ids: Strings) -> float | None:
        """Return the mean over examples of c/n, for n completions of which c are chosen."""
        return float((scores.num_chosen() / scores.sizes).mean())
