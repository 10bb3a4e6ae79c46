"""Estimate the probability that an example's label is wrong, from the outcomes of many models.

The model: an example has a difficulty, normal within its subset, and a model an ability; a right label is met with
probability sigmoid(ability - difficulty) (Rasch 1960), a wrong one with the complement. Whether a label is wrong is a
hidden class with one prior for all examples (as in Dawid and Skene 1979, doi:10.2307/2346806). Everything is estimated
by maximum likelihood with EM (Bock and Aitkin 1981, doi:10.1007/BF02293801).

It assumes that models err independently given ability and difficulty. Models that learned from the same data do not, so
that the probabilities order examples for a reader better than they count wrong labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit, logsumexp
from scipy.stats import norm

from rb_core.stats.item_outcomes import Floats

GRID = np.linspace(-9.0, 9.0, 73)  # difficulties
ITERATIONS = 60
MIN_SPREAD = 0.5  # of the difficulties in a subset
PRIOR_ERRORS, PRIOR_EXAMPLES = 1.0, 100.0  # pseudo-counts of wrong labels


@dataclass(frozen=True)
class LabelErrors:
    """The fitted model.

    wrong: (examples,) probability that the label is wrong; ability: (models,); prior: share of wrong labels;
    difficulty: (examples,) posterior mean.
    """

    wrong: Floats
    ability: Floats
    prior: float
    difficulty: Floats

    def suspects(self, false_discovery_rate: float = 0.1) -> list[int]:
        """Return the places of the examples to read, most suspect first.

        As many as keep the mean probability of a right label among them at or below the rate.
        """
        order = np.argsort(-self.wrong, kind="stable")
        expected = np.cumsum(1 - self.wrong[order]) / np.arange(1, len(order) + 1)
        return [int(place) for place in order[: int(np.sum(expected <= false_discovery_rate))]]


def fit_label_errors(outcomes: Floats, subsets: Sequence[str]) -> LabelErrors:
    """Fit the model to (models, examples) outcomes: 1 right, 0 wrong, 0.5 a tie, NaN unknown.

    subsets: of each example.
    """
    known = np.isfinite(outcomes)
    right, missed = np.where(known, outcomes, 0.0), np.where(known, 1 - outcomes, 0.0)
    names, subset_of = np.unique(np.asarray(subsets), return_inverse=True)
    share = right.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    ability = np.log((share + 0.01) / (1.01 - share))
    ability -= ability.mean()
    centre, spread, prior = np.zeros(len(names)), np.full(len(names), 2.0), 0.02
    for _ in range(ITERATIONS):
        joint = _joint(right, missed, ability, centre[subset_of], spread[subset_of], prior)
        total = logsumexp(joint, axis=(0, 2))
        weights = np.exp(joint - total[:, None])  # (right or wrong label, examples, grid)
        wrong, on_grid = weights[1].sum(axis=1), weights.sum(axis=0)
        prior = (wrong.sum() + PRIOR_ERRORS) / (len(wrong) + PRIOR_EXAMPLES)
        means = on_grid @ GRID
        sizes = np.bincount(subset_of)
        centre = np.bincount(subset_of, means) / sizes
        squares = np.bincount(subset_of, on_grid @ GRID**2) / sizes
        spread = np.maximum(np.sqrt(np.maximum(squares - centre**2, 0.0)), MIN_SPREAD)
        ability = _newton_step(ability, right, missed, weights)
    return LabelErrors(wrong, ability, float(prior), means)


def _joint(right: Floats, missed: Floats, ability: Floats, centre: Floats, spread: Floats, prior: float) -> Floats:
    """Return log P(outcomes, label right or wrong, difficulty) as (2, examples, grid)."""
    logit = ability[:, None] - GRID
    hit, miss = log_expit(logit), log_expit(-logit)
    difficulty = norm.logpdf(GRID, centre[:, None], spread[:, None])
    difficulty -= logsumexp(difficulty, axis=1, keepdims=True)
    as_labelled = right.T @ hit + missed.T @ miss
    as_reversed = right.T @ miss + missed.T @ hit
    return np.stack([np.log1p(-prior) + as_labelled + difficulty, np.log(prior) + as_reversed + difficulty])


def _newton_step(ability: Floats, right: Floats, missed: Floats, weights: Floats) -> Floats:
    """Return abilities after one Newton step of their expected log-likelihood, with mean 0."""
    probability = expit(ability[:, None] - GRID)
    known = right + missed
    hits = right @ weights[0] + missed @ weights[1]  # (models, grid)
    tries = known @ weights.sum(axis=0)
    gradient = (hits - tries * probability).sum(axis=1)
    curvature = (tries * probability * (1 - probability)).sum(axis=1)
    stepped: Floats = ability + np.clip(gradient / np.maximum(curvature, 1e-9), -1, 1)
    centred: Floats = stepped - stepped.mean()
    return centred
