"""Accuracy at equal style: the accuracy if chosen and rejected completions had the same length and markdown.

A logistic regression predicts whether the model is right from how much longer, and how much more marked up, the chosen
completions are than the rejected ones. Every subset has an intercept, so that what is hard for other reasons does not
count as an effect of style. The features are those of Chatbot Arena's style control
(https://lmsys.org/blog/2024-08-28-style-control/); to predict with a difference of zero is the method of
length-controlled AlpacaEval (Dubois et al. 2024, arXiv:2404.04475).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, logit, stdtrit

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.results.estimate import StyleControl, StyleEffect
from rb_core.stats.item_outcomes import Codes, Floats, ItemOutcomes

MIN_EXAMPLES = (
    10  # that are right, that are wrong, that differ in style; independent prompts, beside one for each subset
)
MAX_SUBSETS = 300
# Standard deviation of a normal prior on each coefficient per standard deviation of its feature, and on a subset's
# intercept around the common one (the scale of Gelman et al. 2008, doi:10.1214/08-AOAS191). It keeps estimates finite
# where style separates right from wrong, and is worth less than one example.
PRIOR_SD = 2.5
MAX_STEP = 5.0  # largest change of a log-odds in an iteration of Newton's method
MAX_ITERATIONS = 200
TOLERANCE = 1e-10  # of a log-odds
DOUBLE = 1 / 3  # (a - b) / (a + b) where a is twice b


def style_control(outcomes: ItemOutcomes, spec: BenchmarkSpec) -> StyleControl | None:
    """Return the accuracy at equal style, beside the plain accuracy of the same examples.

    Both are of the scored examples with known lengths in the headline's accuracy subsets, weighted as in the headline.
    Returns None without any such example, and the reason instead of a value when the examples are too few or too alike.
    """
    if outcomes.lengths is None:
        return None
    weights = _headline_weights(spec)
    rows = outcomes.take(np.isin(outcomes.subsets, list(weights)) & outcomes.scored & ~np.isnan(outcomes.lengths))
    if not len(rows):
        return None
    names, subsets, sizes = np.unique(rows.subsets, return_inverse=True, return_counts=True)
    shares = np.array([weights[name] for name in names.tolist()])
    example_weights = (shares / shares.sum() / sizes)[subsets]
    plain = float(example_weights @ rows.credits)
    if reason := _too_little(rows, len(names)):
        return StyleControl(plain=plain, examples=len(rows), reason=reason)
    features = {name: v for name, v in _known_features(rows).items() if _num_differing(v) >= MIN_EXAMPLES}
    scales = {name: float(values.std()) for name, values in features.items()}
    style = np.column_stack([features[name] / scale for name, scale in scales.items()])
    groups = np.unique(rows.groups, return_inverse=True)[1]
    fit = _fit(style, subsets, rows.credits, groups)
    value, stderr = fit.controlled_accuracy(example_weights)
    half_width = fit.t95 * stderr / (value * (1 - value))  # of the log-odds
    low, high = (float(expit(logit(value) + end)) for end in (-half_width, half_width))
    effects = {name: fit.effect(column, DOUBLE / scale) for column, (name, scale) in enumerate(scales.items())}
    return StyleControl(
        value=value, stderr=stderr, low=low, high=high, plain=plain, examples=len(rows), effects=effects
    )


def _headline_weights(spec: BenchmarkSpec) -> dict[str, float]:
    """Return the weight in the headline of each subset that is scored by accuracy."""
    return {
        name: section.headline_weight * weight / sum(section.weights.values())
        for section in spec.sections
        if section.metric.is_accuracy
        for name, weight in section.weights.items()
        if section.headline_weight * weight > 0
    }


def _known_features(rows: ItemOutcomes) -> dict[str, Floats]:
    """Return the style differences that are known for all examples."""
    features = {"length": rows.lengths, "markdown": rows.markdown}
    return {name: values for name, values in features.items() if values is not None and np.isfinite(values).all()}


def _num_differing(values: Floats) -> int:
    """Return the number of examples that differ from the median one."""
    return int((values != np.median(values)).sum())


def _too_little(rows: ItemOutcomes, num_subsets: int) -> str:
    """Return why the examples allow no estimate; empty if they do."""
    if num_subsets > MAX_SUBSETS:
        return f"there are {num_subsets} subsets, more than {MAX_SUBSETS}"
    numbers = {
        "right": int((rows.credits > 0.5).sum()),
        "wrong": int((rows.credits < 0.5).sum()),
        "of another style than most": max(map(_num_differing, _known_features(rows).values()), default=0),
    }
    for what, number in numbers.items():
        if number < MIN_EXAMPLES:
            return f"{number} of {len(rows)} examples are {what}; at least {MIN_EXAMPLES} are needed"
    num_groups, needed = len(np.unique(rows.groups)), MIN_EXAMPLES + num_subsets
    return f"{num_groups} independent prompts; at least {needed} are needed" if num_groups < needed else ""


@dataclass(frozen=True, eq=False)
class _Fit:
    """A logistic regression of credits on style features, a common intercept, and subsets' deviations from it.

    design: (examples, coefficients), features first; penalty: of each squared coefficient / 2; residuals: credit minus
    predicted probability; factor: Cholesky factor of the penalised information; groups: codes of dependent examples;
    degrees: of freedom, the number of groups minus the effective number of coefficients.
    """

    design: Floats
    num_features: int
    penalty: Floats
    coefficients: Floats
    residuals: Floats
    factor: tuple[Floats, bool]
    groups: Codes
    degrees: float

    @property
    def t95(self) -> float:
        return float(stdtrit(self.degrees, 0.975))

    def controlled_accuracy(self, weights: Floats) -> tuple[float, float]:
        """Return the accuracy without differences in style and its standard error. weights: of examples, sum 1.

        To the predictions the residuals are added, which are 0 on average but for the prior: without any effect of
        style the controlled accuracy is the plain one.
        """
        n, k = len(weights), self.num_features
        without_style = self.design.copy()
        without_style[:, :k] = 0.0
        predicted = expit(without_style @ self.coefficients)
        gradient = (weights * predicted * (1 - predicted)) @ without_style
        one_hot = self.design[:, k + 1 :]
        gradient[k + 1 :] += self.penalty[k + 1 :] * (weights @ one_hot) / one_hot.sum(axis=0)
        value = float(weights @ (predicted + self.residuals))
        return min(max(value, 0.5 / n), 1 - 0.5 / n), self._stderr(gradient)

    def effect(self, feature: int, difference: float) -> StyleEffect:
        """Return the change of the log-odds by a difference in a feature, in its standard deviations."""
        gradient = np.zeros_like(self.coefficients)
        gradient[feature] = difference
        value, half_width = float(gradient @ self.coefficients), self.t95 * self._stderr(gradient)
        return StyleEffect(value=value, low=value - half_width, high=value + half_width)

    def _stderr(self, gradient: Floats) -> float:
        """Return the standard error of a function of the coefficients with this gradient (the delta method).

        The larger of the cluster-robust one, enlarged as in the jackknife of groups because the fit follows the data,
        and the model's own: the residuals of a perfect fit would say that nothing varies.
        """
        solved = cho_solve(self.factor, gradient)
        sums = np.bincount(self.groups, (self.design @ solved) * self.residuals)
        return float(np.sqrt(max(sums @ sums * (len(sums) / self.degrees) ** 2, gradient @ solved)))


def _fit(style: Floats, subsets: Codes, credits: Floats, groups: Codes) -> _Fit:
    """Fit by Newton's method. style: (examples, features), each divided by its standard deviation."""
    n, k = style.shape
    design = np.column_stack([style, np.ones(n), subsets[:, None] == np.arange(subsets.max() + 1)])
    penalty = np.full(design.shape[1], PRIOR_SD**-2)
    penalty[k] = 0.0  # the common intercept has no prior
    coefficients = np.zeros(design.shape[1])
    for _ in range(MAX_ITERATIONS):
        predicted = expit(design @ coefficients)
        residuals = credits - predicted
        information = (design.T * (predicted * (1 - predicted))) @ design
        factor = cho_factor(information + np.diag(penalty))
        step = cho_solve(factor, design.T @ residuals - penalty * coefficients)
        change = np.abs(design @ step).max()
        if change < TOLERANCE:
            break
        coefficients += step * min(1.0, MAX_STEP / change)
    degrees = groups.max() + 1 - np.trace(cho_solve(factor, information))
    return _Fit(design, k, penalty, coefficients, residuals, factor, groups, float(degrees))
