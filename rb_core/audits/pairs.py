"""Statistics that several audits share: accuracy over pairs by group, and shifts between versions of an example."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from rb_core.audits.model_audit import ORIGINAL, Planted
from rb_core.results.effect import Effect
from rb_core.stats.effects import contrast_effect, group_effects, mean_effect, rate_effect
from rb_core.stats.item_outcomes import Floats

ACCURACY = "accuracy"
ACCURACY_CONTRAST = "accuracy minus that of the other groups"
SHIFT = "shift (sd)"

UNIT_SD, ROW_SD = 1.0, 0.5  # of the scores of made-up scorers: between units, and within one


def item_pairs(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each item with chosen and rejected completions: item, unit, group, variant, base, credit.

    credit: 1 if the worst chosen score is above the best rejected one, 1/2 for a tie, NaN if a completion is unscored.
    """
    is_chosen = scores["label"].eq("chosen").to_numpy()
    values = scores["score"].to_numpy(np.float64)
    items, codes = np.unique(scores["item"].to_numpy(), return_inverse=True)
    worst, best = np.full(len(items), np.inf), np.full(len(items), -np.inf)
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        np.minimum.at(worst, codes[is_chosen], values[is_chosen])
        np.maximum.at(best, codes[~is_chosen], values[~is_chosen])
    margins = worst - best
    earned = np.where(np.isnan(margins), np.nan, (1 + np.sign(margins)) / 2)
    first = scores.drop_duplicates("item")
    places = np.searchsorted(items, first["item"].to_numpy())
    return first[["item", "unit", "group", "variant", "base"]].assign(credit=earned[places])


def accuracy_effects(pairs: pd.DataFrame) -> list[Effect]:
    """Return the accuracy of each group, without a test. pairs: as `item_pairs`."""
    return group_effects(rate_effect, ACCURACY, pairs, "credit")


def accuracy_contrasts(pairs: pd.DataFrame) -> list[Effect]:
    """Return how each group's accuracy differs from that of all others; of two groups only the first is compared."""
    groups = list(dict.fromkeys(pairs["group"]))
    values, units = pairs["credit"].to_numpy(np.float64), pairs["unit"].to_numpy(str)
    compared = groups if len(groups) > 2 else groups[: len(groups) - 1]
    return [
        contrast_effect(ACCURACY_CONTRAST, str(group), values, units, pairs["group"].eq(group).to_numpy())
        for group in compared
    ]


def version_shifts(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of changed versions with `shift`: the score minus that of the original version, in standard
    deviations of the original scores.

    Versions of an example have the same `base`. NaN where one of the two is unscored. Where all original scores are
    equal there is no standard deviation: equal scores have the shift 0, and others NaN.
    """
    values, is_original = scores["score"].to_numpy(np.float64), scores["variant"].eq(ORIGINAL).to_numpy()
    codes = scores.groupby(["base", "label", "completion"], sort=False).ngroup().to_numpy()
    originals = np.full(codes.max() + 1, np.nan)
    originals[codes[is_original]] = values[is_original]
    changed = scores[~is_original]
    differences = values[~is_original] - originals[codes[~is_original]]
    return changed.assign(shift=in_sd(differences, score_sd(values[is_original])))


def score_sd(scores: Floats | pd.Series) -> float:
    """Return the standard deviation of scores without NaN, the unit of shifts; 0 of fewer than two."""
    sd = float(pd.Series(scores).std(ddof=1))
    return 0.0 if math.isnan(sd) else sd


def in_sd(differences: Floats, sd: float) -> Floats:
    """Return differences in standard deviations; without one, 0 for no difference and NaN for any other."""
    if sd > 0:
        return differences / sd
    return np.where(differences == 0, 0.0, np.nan)


def shift_effects(scores: pd.DataFrame) -> list[Effect]:
    """Return the mean shift of the changed versions of each group."""
    return group_effects(mean_effect, SHIFT, version_shifts(scores), "shift")


def simulate_pairs(scores: pd.DataFrame, rng: np.random.Generator, planted: Planted | None = None) -> Floats | None:
    """Return scores that are right in half of the pairs; with a planted group, more often there and less elsewhere."""
    items, codes = np.unique(scores["item"].to_numpy(), return_inverse=True)
    rates = np.full(len(items), 0.5)
    if planted is not None:
        if planted.size > 1:
            return None
        rates -= planted.size / 2
        rates[codes[scores["group"].eq(planted.group).to_numpy()]] = 0.5 + planted.size / 2
    is_right = rng.random(len(items)) < rates
    chosen = scores["label"].eq("chosen").to_numpy()
    return np.asarray(is_right[codes] == chosen, dtype=np.float64)


def simulate_shifts(scores: pd.DataFrame, rng: np.random.Generator, planted: Planted | None = None) -> Floats:
    """Return scores that differ between units and at random; changed versions of a planted group are shifted."""
    _, codes = np.unique(scores["unit"].to_numpy(), return_inverse=True)
    values = rng.normal(0, UNIT_SD, codes.max() + 1)[codes] + rng.normal(0, ROW_SD, len(scores))
    if planted is not None:
        is_shifted = (scores["group"].eq(planted.group) & scores["variant"].ne(ORIGINAL)).to_numpy()
        values[is_shifted] += planted.size * score_sd(values[scores["variant"].eq(ORIGINAL).to_numpy()])
    return np.asarray(values, dtype=np.float64)
