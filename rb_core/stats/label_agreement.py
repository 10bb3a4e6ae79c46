"""Agreement of scores with labels that people gave: a choice among completions, good or bad, or a rating."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
from scipy.stats import kendalltau, rankdata, spearmanr

from rb_core.results.estimate import Estimate
from rb_core.stats.agreement import cohen_kappa, confusion_matrix
from rb_core.stats.bootstrap import bootstrap_estimate
from rb_core.stats.intervals import mean_estimate
from rb_core.stats.item_outcomes import Codes, Flags, Floats, Rows, Strings
from rb_core.stats.precision_threshold import PrecisionThreshold, threshold_for_precision

LabelKind = Literal["choice", "good or bad", "rating"]
TIE, UNSCORED = "tie", "unscored"
MAX_CATEGORIES = 20  # of ratings; of more, only the order is compared


class PredictionRule(NamedTuple):
    """A rule that turns scores into predictions, in words, and as a function of scores and labels of some items."""

    text: str
    predict: Callable[[Floats, Codes], Codes]
    uses_labels: bool = False


class Confusion(NamedTuple):
    """Number of scored items by label (row) and prediction (column)."""

    labels: tuple[str, ...]
    predictions: tuple[str, ...]
    counts: Floats


@dataclass(frozen=True, eq=False)
class LabelAgreement:
    """Agreement of scores and labels; arrays have an entry per item.

    base_label, base_rate: the commonest label and its share, on which always predicting it is right; rule: how a score
    becomes a prediction; predictions: of each item, "unscored" without a score; distance: by how much score and label
    disagree, NaN where unscored; disagreements: the items whose prediction is not the label, the largest distance
    first. accuracy: share of right predictions; unscored items count as wrong in its floor. coefficients: by name, of
    the scored items. threshold: None unless a precision was asked for, and with too few items.

    Ratings with more than `MAX_CATEGORIES` values have neither predictions nor what depends on them.
    """

    kind: LabelKind
    base_label: str
    base_rate: float
    rule: str
    predictions: Strings
    distance: Floats
    disagreements: Codes
    confusion: Confusion | None
    accuracy: Estimate | None
    coefficients: Mapping[str, Estimate]
    threshold: PrecisionThreshold | None = None


def compare_choices(
    scores: Sequence[Floats], labels: Codes, groups: Strings, precision: float | None = None
) -> LabelAgreement:
    """Compare the best-scored completion of each item with the one that a person prefers.

    A tie of k completions with the preferred one earns 1/k. An item with an unscored completion is unscored. The
    distance is the best score minus that of the preferred completion.

    Args:
        scores: of the completions of each item, at least two; NaN where unscored.
        labels: index of the preferred completion.
        groups: items of one group are not independent.
        precision: wanted share of right choices, for the smallest margin of the best completion that has it.
    """
    names = tuple(letter_of(index) for index in range(max(map(len, scores))))
    best = [values == values.max() for values in scores]  # of an unscored item: none
    num_best = np.array([is_best.sum() for is_best in best])
    scored, tied = num_best > 0, num_best > 1
    right = np.array([is_best[label] for is_best, label in zip(best, labels, strict=True)])
    earned = np.where(scored, right / np.maximum(num_best, 1), np.nan)
    picked = np.where(tied, len(names), [int(is_best.argmax()) for is_best in best])
    distance = np.array([values.max() - values[label] for values, label in zip(scores, labels, strict=True)])
    margins = np.array([np.ptp(np.sort(values)[-2:]) for values in scores])
    counts = confusion_matrix(labels[scored], picked[scored], len(names) + 1)[:-1]
    return LabelAgreement(
        kind="choice",
        **_base_rate([names[label] for label in labels]),
        rule="the completion with the best score",
        predictions=np.where(scored, np.array([*names, TIE])[picked], UNSCORED),
        distance=distance,
        disagreements=_largest_first(earned < 1, distance),
        confusion=Confusion(names, (*names, TIE), counts),
        accuracy=mean_estimate(earned, groups, ties=int(tied.sum())),
        coefficients={},
        threshold=_threshold(margins, earned, groups, precision),
    )


def compare_good(
    scores: Floats, is_good: Flags, groups: Strings, threshold: float | None = None, precision: float | None = None
) -> LabelAgreement:
    """Compare scores with labels good and bad.

    Scores of 0 and 1 are predictions as they are. Otherwise items from `threshold` on are predicted good, and without a
    threshold as many items as people call good (`_prediction_rule`). The distance is that of `_rank_distance`.

    Args:
        scores: NaN where unscored.
        groups: items of one group are not independent.
        precision: wanted share of good items, for the smallest score that has it.
    """
    scored = ~np.isnan(scores)
    categories, good = np.array([0.0, 1.0]), is_good.astype(np.int64)
    rule = _prediction_rule(scores[scored], categories, threshold)
    x, is_good_of, share = scores[scored], is_good[scored], float(is_good.mean())
    area = bootstrap_estimate(
        lambda rows: roc_area(x[rows], is_good_of[rows]),
        groups[scored],
        (0.0, 1.0),
        informative=4 * share * (1 - share),  # as many as in two samples of one size with the same error
    )
    return _compare_categories(
        scores,
        good,
        ("bad", "good"),
        groups,
        rule,
        kind="good or bad",
        coefficients={"AUC": area},
        threshold=_threshold(scores, np.where(scored, good, np.nan), groups, precision),
    )


def compare_ratings(scores: Floats, ratings: Floats, groups: Strings) -> LabelAgreement:
    """Compare scores with ratings, of which the higher is the better.

    Scores that are possible ratings are predictions as they are; otherwise the order of the scores decides
    (`_prediction_rule`). Kappa weighs a disagreement by the square of its distance. The distance of an item is that of
    `_rank_distance`.

    Args:
        scores: NaN where unscored.
        groups: items of one group are not independent.
    """
    scored = ~np.isnan(scores)
    coefficients = {
        "Spearman's rho": _correlation(spearmanr, scores[scored], ratings[scored], groups[scored]),
        "Kendall's tau-b": _correlation(kendalltau, scores[scored], ratings[scored], groups[scored]),
    }
    categories = _rating_scale(ratings)
    if categories is None:
        distance = _rank_distance(scores, ratings)
        return LabelAgreement(
            kind="rating",
            **_base_rate([f"{rating:g}" for rating in ratings]),
            rule="",
            predictions=np.where(scored, "", UNSCORED),
            distance=distance,
            disagreements=_largest_first(distance > 0, distance),
            confusion=None,
            accuracy=None,
            coefficients=coefficients,
        )
    rule = _prediction_rule(scores[scored], categories)
    return _compare_categories(
        scores,
        np.searchsorted(categories, ratings),
        tuple(f"{rating:g}" for rating in categories),
        groups,
        rule,
        kind="rating",
        coefficients=coefficients,
    )


def roc_area(scores: Floats, is_good: Flags) -> float:
    """Return the area under the ROC curve: the chance that a good item scores above a bad one, a tie counting half.

    NaN without good or without bad items (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747).
    """
    num_good, num_bad = int(is_good.sum()), int((~is_good).sum())
    if not num_good or not num_bad:
        return math.nan
    return float((rankdata(scores)[is_good].sum() - num_good * (num_good + 1) / 2) / (num_good * num_bad))


def letter_of(index: int) -> str:
    """Return A for 0, up to Z; beyond that the number, from 1."""
    return chr(ord("A") + index) if index < 26 else str(index + 1)


def _compare_categories(
    scores: Floats,
    labels: Codes,
    names: tuple[str, ...],
    groups: Strings,
    rule: PredictionRule,
    *,
    kind: LabelKind,
    coefficients: Mapping[str, Estimate],
    threshold: PrecisionThreshold | None = None,
) -> LabelAgreement:
    """Compare predictions with labels, which are indices into `names`."""
    scored = ~np.isnan(scores)
    x, label_of, group_of = scores[scored], labels[scored], groups[scored]

    def share_right(rows: Rows) -> float:
        return float((rule.predict(x[rows], label_of[rows]) == label_of[rows]).mean()) if len(x) else math.nan

    def kappa(rows: Rows) -> float:
        predicted = rule.predict(x[rows], label_of[rows])
        return cohen_kappa(confusion_matrix(label_of[rows], predicted, len(names)), quadratic=kind == "rating")

    predicted = rule.predict(x, label_of)
    right = np.full(len(scores), np.nan)
    right[scored] = predicted == label_of
    predictions = np.full(len(scores), UNSCORED, dtype=object)
    predictions[scored] = np.array(names)[predicted]
    distance = _rank_distance(scores, labels)
    accuracy = mean_estimate(right, groups)
    if rule.uses_labels:  # its cuts differ between samples of items, which the error of a mean leaves out
        sampled = bootstrap_estimate(share_right, group_of, (0.0, 1.0))
        accuracy = accuracy.model_copy(update=sampled.model_dump(include={"stderr", "low", "high", "no_interval"}))
    # a disagreement takes more off kappa the less of it chance gives, as if there were fewer items
    shares = np.bincount(labels, minlength=len(names)) / max(1, len(labels))
    kappa_estimate = bootstrap_estimate(kappa, group_of, informative=min(1.0, 2 * float(1 - shares @ shares)))
    kappa_name = "weighted kappa" if kind == "rating" else "Cohen's kappa"
    return LabelAgreement(
        kind=kind,
        **_base_rate([names[label] for label in labels]),
        rule=rule.text,
        predictions=predictions.astype(np.str_),
        distance=distance,
        disagreements=_largest_first(right == 0, distance),
        confusion=Confusion(names, names, confusion_matrix(label_of, predicted, len(names))),
        accuracy=accuracy,
        coefficients={kappa_name: kappa_estimate, **coefficients},
        threshold=threshold,
    )


def _prediction_rule(scores: Floats, categories: Floats, threshold: float | None = None) -> PredictionRule:
    """Return the rule that turns scores into indices of categories, which are numbers in order.

    Without a threshold, scores that are not categories are cut so that each category has as many scores as labels. So
    the cuts do not depend on which item has which label. Equal scores are in one category, the higher one.
    """

    def by_order(x: Floats, labels: Codes) -> Codes:
        ends = np.cumsum(np.bincount(labels, minlength=len(categories)))[:-1]
        return np.searchsorted(np.append(np.sort(x), np.inf)[ends], x, side="right")

    if threshold is not None:
        return PredictionRule(f"good from a score of {threshold:g}", lambda x, _: (x >= threshold).astype(np.int64))
    if np.isin(scores, categories).all():
        return PredictionRule("the scores are labels", lambda x, _: np.searchsorted(categories, x))
    text = "by the order of the scores, each label as often as people gave it"
    return PredictionRule(text, by_order, uses_labels=True)


def _rating_scale(ratings: Floats) -> Floats | None:
    """Return the possible ratings: all whole numbers in their range, or the values; None for too many."""
    lowest, highest = ratings.min(), ratings.max()
    if (ratings % 1 == 0).all() and highest - lowest < MAX_CATEGORIES:
        return np.arange(lowest, highest + 1)
    values = np.unique(ratings)
    return values if len(values) <= MAX_CATEGORIES else None


def _rank_distance(scores: Floats, labels: Floats | Codes) -> Floats:
    """Return the difference of the ranks of score and label among the scored items, as a share of their number."""
    scored = ~np.isnan(scores)
    distance = np.full(len(scores), np.nan)
    distance[scored] = np.abs(rankdata(scores[scored]) - rankdata(labels[scored])) / max(1, scored.sum())
    return distance


def _threshold(scores: Floats, is_right: Floats, groups: Strings, precision: float | None) -> PrecisionThreshold | None:
    """Return the threshold on the scored items for a wanted precision, if any."""
    scored = ~np.isnan(is_right)
    if precision is None:
        return None
    return threshold_for_precision(scores[scored], is_right[scored], groups[scored], precision)


def _correlation(function: Callable[..., Any], scores: Floats, ratings: Floats, groups: Strings) -> Estimate:
    """Return the coefficient with its interval; not defined where all scores or all ratings are equal."""

    def coefficient(rows: Rows) -> float:
        x, y = scores[rows], ratings[rows]
        return float(function(x, y).statistic) if len(x) > 1 and np.ptp(x) and np.ptp(y) else math.nan

    return bootstrap_estimate(coefficient, groups)


class _BaseRate(TypedDict):
    base_label: str
    base_rate: float


def _base_rate(labels: Sequence[str]) -> _BaseRate:
    (label, count), *_ = Counter(labels).most_common(1)
    return {"base_label": label, "base_rate": count / len(labels)}


def _largest_first(differs: Flags, distance: Floats) -> Codes:
    rows = np.flatnonzero(differs)
    return rows[np.argsort(-distance[rows], kind="stable")]
