"""The base class of metrics, and the averages that a metric combines into a score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from scipy.special import comb

from rb_core.stats.item_outcomes import CompletionScores, Flags, Floats, ItemOutcomes, Strings

TieCredit = Literal["none", "half", "split"]
Combination = Mapping[str, float]  # measure -> coefficient


@dataclass(frozen=True, eq=False)
class Measure:
    """Values per example (NaN when unscored) whose mean is a part of a score.

    groups: examples of one group are not independent; lowest: the smallest possible value (the largest is 1).
    """

    values: Floats
    groups: Strings
    lowest: float = 0.0

    @cached_property
    def scored(self) -> int:
        return int((~np.isnan(self.values)).sum())

    @cached_property
    def mean(self) -> float:
        return float(np.nanmean(self.values)) if self.scored else math.nan

    def filled(self, value: float) -> Measure:
        """Return the measure with this value for every unscored example."""
        if self.scored == len(self.values):
            return self
        return replace(self, values=np.where(np.isnan(self.values), value, self.values))

    def bound(self, value: float) -> float:
        """Return the mean if every unscored example had this value."""
        return self.filled(value).mean


class Parts(NamedTuple):
    """Means of a subset, and the coefficients of those that its score is composed of, both by the part's name."""

    measures: Mapping[str, Measure]
    coefficients: Combination


class Metric:
    """A rule that turns the outcomes of a subset's examples into its score.

    By default an example earns 1 when every chosen completion scores above every rejected one, and the subset's score
    is the mean credit. A subclass states its formula and overrides what differs.

    name: the word in benchmark records and exports; label: a few words for people; citation: the formula's source;
    value_range: smallest and largest possible score; needs_ratings: a judge has to rate completions, choosing the best
    is not enough; is_accuracy: credits are 0 or 1, except for ties, and the score is a proportion of examples;
    averages_credits: the score is the mean credit; by_threshold: completions are compared with a threshold and not with
    each other, so that all of an example's may be chosen, or none; examples_per_trial: examples that form one
    independent trial; missing_reason: text after the name of a subset that has no score, such as "lacks the ref or the
    tied versions".
    """

    name: ClassVar[str]
    label: ClassVar[str]
    citation: ClassVar[str] = ""
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs_ratings: ClassVar[bool] = False
    is_accuracy: ClassVar[bool] = False
    averages_credits: ClassVar[bool] = True
    by_threshold: ClassVar[bool] = False
    examples_per_trial: ClassVar[int] = 1
    missing_reason: ClassVar[str] = ""

    def with_threshold(self, threshold: float) -> Metric:
        """Return the metric with another threshold of scores; itself if it has none."""
        return self

    def margins(self, scores: CompletionScores) -> Floats:
        """Return by how much each example is right, in units of the scores: positive if it is; NaN when unscored."""
        return scores.margins()

    def item_credits(self, scores: CompletionScores, tie_credit: TieCredit) -> tuple[Floats, Flags]:
        """Return each example's credit (NaN when a completion is unscored) and whether it is tied.

        A tie between the worst chosen and the best rejected completion earns 0 ("none"), 1/2 ("half"), or 1/k, where k
        is 1 plus the rejected completions with that score ("split": best-of-four accuracy, RewardBench 2,
        arXiv:2506.01937).
        """
        margins = self.margins(scores)
        return with_tie_credit(margins, 1.0 / (1 + scores.num_best_rejected()), tie_credit), margins == 0

    def unfit_reason(self, example_id: str, num_chosen: int, num_rejected: int, num_styles: int) -> str:
        """Return why an example of this form cannot have the metric; "" for one that can.

        num_styles: the number of the benchmark's style levels.
        """
        return ""

    def group_of(self, example_id: str) -> str | None:
        """Return the group that an example's id states; None where the id states none."""
        return None

    def parts(self, outcomes: ItemOutcomes, tie_credit: TieCredit) -> Parts | None:
        """Return the parts of a subset's score; None when the outcomes lack what the score needs."""
        measure = Measure(outcomes.credits, outcomes.groups)
        return Parts({"credit": measure}, {"credit": 1.0})

    def chance(self, scores: CompletionScores, example_ids: Strings) -> float | None:
        """Return the expected score of random choice: of scores that put the completions in any order alike.

        None when the examples do not give a score. By default the mean over examples of 1/C(n, c), for n completions
        of which c are chosen. Scores from a continuous distribution do not tie, so that no tie rule matters.
        """
        return float((1.0 / comb(scores.sizes, scores.num_chosen())).mean())


def with_tie_credit(margins: Floats, split: Floats, tie_credit: TieCredit) -> Floats:
    """Return credits: 1 for a positive margin, 0 for a negative one, by the rule for a tie, NaN for a NaN margin.

    split: the credit of each example's tie under the rule "split".
    """
    tie = {"none": np.zeros_like(split), "half": np.full_like(split, 0.5), "split": split}[tie_credit]
    return np.where(np.isnan(margins), np.nan, np.where(margins == 0, tie, margins > 0))
