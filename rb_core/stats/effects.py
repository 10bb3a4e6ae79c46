"""Effects by group: means over independent units with interval, test and smallest detectable effect.

Three kinds of values: unbounded ones, such as shifts of a reward; shares; and differences of shares. Each function
returns an `Effect` without correction; `adjusted` corrects the tested ones of an audit for their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from rb_core.results.effect import Effect
from rb_core.stats.intervals import estimate_of, weighted_mean
from rb_core.stats.item_outcomes import Flags, Floats, Strings
from rb_core.stats.metrics.base import Measure
from rb_core.stats.significance import ALPHA, POWER, difference_interval, difference_p, holm, independent_interval

MIN_UNITS = 5
TOO_FEW_UNITS = f"fewer than {MIN_UNITS} independent units"
ALL_EQUAL = "all units have the same value"


def mean_effect(measure: str, group: str, values: Floats, units: Strings, null: float | None = 0.0) -> Effect:
    """Return the effect of unbounded values: Student's t over the means of units.

    Where all units have the same value there is no interval, and the test is the sign test.

    Args:
        values: one for each comparison, NaN where unscored.
        units: values of one unit are not independent.
        null: the value without an effect; None for no test.
    """
    effect, means = _over_units(measure, group, values, units, null)
    n = len(means)
    if n < MIN_UNITS:
        return effect
    value, stderr = float(means.mean()), float(means.std(ddof=1)) / math.sqrt(n)
    difference = value - (null or 0.0)
    if stderr <= 1e-12 * max(1.0, abs(value)):
        p = None if null is None else (1.0 if abs(difference) <= 1e-12 else 2.0 ** (1 - n))
        return effect.model_copy(update={"p": p, "reason": ALL_EQUAL})
    half = stderr * float(student.ppf(1 - ALPHA / 2, n - 1))
    p = None if null is None else float(2 * student.sf(abs(difference) / stderr, n - 1))
    return effect.model_copy(update={"low": value - half, "high": value + half, "p": p, "stderr": stderr})


def rate_effect(measure: str, group: str, values: Floats, units: Strings, null: float | None = None) -> Effect:
    """Return the effect of shares from 0 to 1; interval as `mean_estimate`, test with the variance around `null`.

    Args: as `mean_effect`.
    """
    effect, means = _over_units(measure, group, values, units, null)
    n = len(means)
    if n < MIN_UNITS:
        return effect
    value, variance = float(means.mean()), float(means.var(ddof=1)) / n
    estimate = estimate_of(value, variance, n, method="beta")
    p = None if null is None else difference_p(value - null, variance, n)
    return effect.model_copy(update={"low": estimate.low, "high": estimate.high, "p": p, "stderr": estimate.stderr})


def difference_effect(measure: str, group: str, values: Floats, units: Strings) -> Effect:
    """Return the effect of paired differences of shares, from -1 to 1, tested against 0 as differences on the board.

    Args: as `mean_effect`.
    """
    effect, means = _over_units(measure, group, values, units, 0.0)
    n = len(means)
    if n < MIN_UNITS:
        return effect
    value, variance = float(means.mean()), float(means.var(ddof=1)) / n
    ends = difference_interval(value, variance, n)
    low, high = (None, None) if ends is None else (max(-1.0, ends[0]), min(1.0, ends[1]))
    stderr = math.sqrt(max(variance, 1 / n**2))  # never 0: one unit more or less would have differed
    p = difference_p(value, variance, n)
    return effect.model_copy(update={"low": low, "high": high, "p": p, "stderr": stderr})


def group_effects(
    effect: Callable[[str, str, Floats, Strings], Effect], measure: str, rows: pd.DataFrame, column: str
) -> list[Effect]:
    """Return the effect of each group, in the order in which the groups appear.

    Args:
        effect: computes one effect, such as `rate_effect`.
        rows: one for each comparison, with the columns group, unit and the values' `column`.
    """
    values, units = rows[column].to_numpy(np.float64), rows["unit"].to_numpy(str)
    codes, groups = pd.factorize(rows["group"])
    return [
        effect(measure, str(group), values[codes == code], units[codes == code]) for code, group in enumerate(groups)
    ]


def _over_units(measure: str, group: str, values: Floats, units: Strings, null: float | None) -> tuple[Effect, Floats]:
    """Return the mean over units without interval and test, and the means of the units that have a value."""
    names, codes = np.unique(units, return_inverse=True)
    is_scored = ~np.isnan(values)
    counts = np.bincount(codes[is_scored], minlength=len(names))
    sums = np.bincount(codes[is_scored], weights=values[is_scored], minlength=len(names))
    scored: Floats = sums[counts > 0] / counts[counts > 0]
    n = len(scored)
    effect = Effect(
        measure=measure,
        group=group,
        value=float(scored.mean()) if n else None,
        null=null,
        units=n,
        unscored=len(names) - n,
        reason=TOO_FEW_UNITS if n < MIN_UNITS else "",
    )
    return effect, scored


def pooled_effect(
    measure: str, group: str, values: Floats, units: Strings, lowest: float, null: float | None = 0.0
) -> Effect:
    """Return the effect of values from `lowest` to 1 that all have the same weight, as published scores pool them.

    Interval as `mean_estimate`, test as `difference_effect`, both with units as clusters.

    Args: as `mean_effect`.
    """
    scored = ~np.isnan(values)
    n = len(np.unique(units[scored]))
    counts: dict[str, Any] = {"units": n, "unscored": len(np.unique(units)) - n, "null": null}
    if n < MIN_UNITS:
        value = float(values[scored].mean()) if n else None
        return Effect(measure=measure, group=group, value=value, reason=TOO_FEW_UNITS, **counts)
    mean = weighted_mean({"mean": Measure(values, units, lowest)}, {"mean": 1.0})
    estimate = mean.estimate()
    return Effect(
        measure=measure,
        group=group,
        value=mean.value,
        low=estimate.low,
        high=estimate.high,
        p=None if null is None else difference_p(mean.value - null, mean.variance, mean.num_groups),
        stderr=math.sqrt(max(mean.variance, 1 / mean.num_groups**2)),
        **counts,
    )


def contrast_effect(measure: str, group: str, values: Floats, units: Strings, in_group: Flags) -> Effect:
    """Return the mean share in a group minus the mean share outside of it, tested against 0 with Student's t.

    The variance for the test is pooled, because Welch's is far too small where a small side has no rare outcome. Units
    may have values on both sides; their covariance counts. Degrees of freedom: those of the smaller side. The interval
    joins those of the two means (`independent_interval`).

    Args:
        values: shares from 0 to 1, one for each comparison, NaN where unscored.
        units: values of one unit are not independent; each has the same weight on a side.
        in_group: for each value, True if it is of the group.
    """
    scored = ~np.isnan(values)
    inside, outside = (
        pd.Series(values[side]).groupby(units[side]).mean() for side in (scored & in_group, scored & ~in_group)
    )
    unscored = len(set(units[in_group])) - len(inside)
    counts: dict[str, Any] = {"units": len(inside), "unscored": unscored, "null": 0.0}
    smaller = min(len(inside), len(outside))
    if smaller < MIN_UNITS:
        return Effect(measure=measure, group=group, reason=TOO_FEW_UNITS, **counts)
    centred = pd.concat([inside, outside], axis=1) - float(pd.concat([inside, outside]).mean())
    pooled = float(np.nanmean(centred.to_numpy() ** 2))
    covariance = float(centred.prod(axis=1, skipna=False).sum()) / (len(inside) * len(outside))
    variance = pooled / len(inside) + pooled / len(outside) - 2 * covariance
    value = float(inside.mean() - outside.mean())
    stderr = math.sqrt(max(variance, 1 / smaller**2 if pooled == 0 else 0.0))
    first, second = (
        estimate_of(float(side.mean()), float(side.var()) / len(side), len(side), method="beta")
        for side in (inside, outside)
    )
    low, high = independent_interval(first, second) or (None, None)
    p = float(2 * student.sf(abs(value) / stderr, smaller - 1))
    return Effect(measure=measure, group=group, value=value, low=low, high=high, p=p, stderr=stderr, **counts)


def adjusted(effects: Sequence[Effect]) -> list[Effect]:
    """Return the effects with p values adjusted by Holm's method, and with what is detectable.

    All tested effects are one family: of every measure and group. So at most 5% of the models without any effect have a
    significant one, however their effects depend on each other. Holm's method finds at least what Bonferroni's does:
    for m tests, those that are significant at the level 5% / m. So an effect of t(1 - 5% / 2m) + z(80%) standard errors
    is found with a probability of at least 80%.
    """
    tested = [index for index, effect in enumerate(effects) if effect.p is not None]
    changed = list(effects)
    for index, p in zip(tested, holm([effects[index].p or 0.0 for index in tested]).tolist(), strict=True):
        effect = effects[index]
        found = None if effect.stderr is None else effect.stderr * _errors_found(effect.units - 1, len(tested))
        changed[index] = effect.model_copy(update={"adjusted_p": p, "detectable": found})
    return changed


def _errors_found(degrees: int, num_tests: int) -> float:
    """Return the effect in standard errors that one of several tests finds with a probability of 80%."""
    level = 1 - ALPHA / (2 * num_tests)
    return float(student.ppf(level, degrees) + norm.ppf(POWER))


def is_significant(effect: Effect) -> bool:
    """Return True if the effect is significant at 5% among all tested effects of its audit."""
    return effect.adjusted_p is not None and effect.adjusted_p < ALPHA
