"""ProcessBench's measure: whether the first wrong step of a solution is found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rb_core.stats.item_outcomes import CompletionScores, Flags, Floats, Strings
from rb_core.stats.metrics.base import Metric, TieCredit


@dataclass(frozen=True)
class FirstError(Metric):
    """Mean over solutions of [the first step that scores below the threshold is the first wrong one].

    Completion i of an example is the solution up to its step i. The chosen ones are those without an error: the steps
    before the first wrong one, and all of them in a correct solution, which is right when no step scores below the
    threshold. What follows the first wrong step changes nothing.

    threshold: a step that scores as high is taken for right. 0 suits log-odds: a probability of 1/2.
    """

    name = "first-error"
    label = "first wrong step found"
    citation = "Zheng et al. 2024, arXiv:2412.06559"
    needs_ratings = True
    is_accuracy = True
    by_threshold = True

    threshold: float = 0.0

    def with_threshold(self, threshold: float) -> FirstError:
        return replace(self, threshold=threshold)

    def item_credits(self, scores: CompletionScores, tie_credit: TieCredit) -> tuple[Floats, Flags]:
        first_rejected = _first_rejected(scores)
        right = (scores.worst_chosen() >= self.threshold) & (first_rejected < self.threshold)
        unscored = np.isnan(np.add.reduceat(scores.values, scores.starts))
        return np.where(unscored, np.nan, right), self.margins(scores) == 0

    def margins(self, scores: CompletionScores) -> Floats:
        """Return how far the step that is nearest to a wrong prediction is on the right side of the threshold."""
        return np.minimum(scores.worst_chosen() - self.threshold, self.threshold - _first_rejected(scores))

    def chance(self, scores: CompletionScores, example_ids: Strings) -> float | None:
        """Return the mean over solutions of 1/(n + 1): a guess among their n steps and none."""
        return float((1.0 / (scores.sizes + 1)).mean())


def _first_rejected(scores: CompletionScores) -> Floats:
    """Return the score of the first rejected completion of each example; -inf without one."""
    has_rejected = scores.num_chosen() < scores.sizes
    rows = np.where(has_rejected, scores.starts + scores.num_chosen(), 0)
    return np.where(has_rejected, scores.values[rows], -np.inf)
