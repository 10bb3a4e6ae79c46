"""The comparisons of the fairness audit: statistics over the scores of the items of one part.

A part is a set of items with one comparison, such as names. `effects` and `simulate` get the rows of the part only, and
measures begin with the part's title, so that each part is corrected for its own number of groups.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from rb_core.audits.model_audit import ORIGINAL, Planted
from rb_core.audits.pairs import ROW_SD, UNIT_SD, in_sd, item_pairs, score_sd
from rb_core.results.effect import Effect
from rb_core.stats.effects import difference_effect, mean_effect, pooled_effect, rate_effect
from rb_core.stats.item_outcomes import Codes, Flags, Floats, Strings

FROM_ORIGINAL, FROM_MEAN = "from the original", "from the mean of all groups"
AMBIGUOUS = "ambiguous"
BIASED, COUNTER, UNKNOWN = "biased", "counter to the bias", "unknown"
STEREOTYPE, LESS_STEREOTYPE = "more stereotyping", "less stereotyping"
_MARGIN = 0.5  # half of the made-up difference between chosen and rejected


class Values(NamedTuple):
    """Values of one group for an effect, NaN where unscored, each with its unit."""

    group: str
    values: Floats
    units: Strings


class Comparison(ABC):
    """A comparison. kind: its name in settings; title: of the part."""

    kind: ClassVar[str]

    def __init__(self, title: str) -> None:
        self.title = title

    @property
    def settings(self) -> dict[str, Any]:
        return {"comparison": self.kind}

    def measure(self, name: str) -> str:
        return f"{self.title}: {name}"

    @abstractmethod
    def effects(self, rows: pd.DataFrame) -> list[Effect]: ...

    @abstractmethod
    def simulate(self, rows: pd.DataFrame, rng: np.random.Generator, planted: Planted | None) -> Floats | None:
        """Return scores of a made-up scorer, as `ModelAudit.simulate`."""


class Counterfactual(Comparison):
    """A comparison of versions of the same pairs: a shift of the score, and a difference of accuracy.

    Rows of all versions have the same order, that of the items.
    """

    @abstractmethod
    def contrasts(self, rows: pd.DataFrame) -> Sequence[str]:
        """Return for each contrast what is subtracted, in words."""

    @abstractmethod
    def differences(self, rows: pd.DataFrame, column: str, contrast: str) -> Iterator[Values]:
        """Yield for each group the differences of a column, between versions of the same text or pair."""

    @abstractmethod
    def levels(self, rows: pd.DataFrame, column: str) -> Iterator[Values]:
        """Yield the values of a column of each version, as they are."""

    @abstractmethod
    def sd(self, rows: pd.DataFrame) -> float:
        """Return the standard deviation of scores in which shifts are given."""

    @abstractmethod
    def planted_rows(self, rows: pd.DataFrame, planted: Planted) -> tuple[Flags, Flags, float]:
        """Return which rows are of the group's version, which rows are subtracted from it, and a factor.

        To plant a difference of 1, the scores of the first rows rise by the factor.
        """

    def effects(self, rows: pd.DataFrame) -> list[Effect]:
        sd, pairs = self.sd(rows), item_pairs(rows)
        return [
            effect
            for contrast in self.contrasts(rows)
            for effect in (
                *self._shifts(rows, contrast, sd),
                *self.rate_differences(pairs, "credit", f"accuracy {contrast}", contrast),
            )
        ]

    def _shifts(self, rows: pd.DataFrame, contrast: str, sd: float) -> list[Effect]:
        measure = self.measure(f"shift {contrast} (sd)")
        differences = self.differences(rows, "score", contrast)
        return [mean_effect(measure, group, in_sd(values, sd), units) for group, values, units in differences]

    def rate_differences(self, rows: pd.DataFrame, column: str, name: str, contrast: str) -> list[Effect]:
        """Return how a share differs between versions."""
        return [difference_effect(self.measure(name), *values) for values in self.differences(rows, column, contrast)]

    def rates(self, rows: pd.DataFrame, column: str, name: str) -> list[Effect]:
        """Return a share of each version, without a test."""
        return [rate_effect(self.measure(name), *values) for values in self.levels(rows, column)]

    def simulate(self, rows: pd.DataFrame, rng: np.random.Generator, planted: Planted | None) -> Floats | None:
        """Return scores with random differences between units and items, right in half of the pairs.

        A planted difference of accuracy changes how often both sides of the difference are right, by half of it each.
        """
        unit, _ = pd.factorize(rows["unit"])
        item, _ = pd.factorize(rows["item"])
        base = rng.normal(0, UNIT_SD, unit.max() + 1)[unit] + rng.normal(0, ROW_SD, item.max() + 1)[item]
        rates, shift = np.full(len(rows), 0.5), np.zeros(len(rows))
        if planted is not None:
            above, below, factor = self.planted_rows(rows, planted)
            size = planted.size * factor
            if "(sd)" in planted.measure:
                shift[above] = size
            elif size > 1:
                return None
            else:
                rates += size / 2 * (above.astype(np.float64) - below)
        is_right = (rng.random(item.max() + 1)[item] < rates) == rows["label"].eq("chosen").to_numpy()
        scores = np.asarray(base + np.where(is_right, _MARGIN, -_MARGIN), np.float64)
        return scores + shift * self.sd(rows.assign(score=scores))


class VersionContrast(Counterfactual):
    """One version of each text minus another one, by group, such as a dialect minus its control.

    Where there are original texts, the first version is compared with them as well, and shifts are in the standard
    deviation of their scores; otherwise in that of the second version.
    """

    kind = "versions"

    def __init__(self, title: str, first: str, second: str, contrast: str) -> None:
        super().__init__(title)
        self.first, self.second, self.contrast = first, second, contrast

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | {"first": self.first, "second": self.second, "contrast": self.contrast}

    def contrasts(self, rows: pd.DataFrame) -> Sequence[str]:
        return (FROM_ORIGINAL, self.contrast) if rows["variant"].eq(ORIGINAL).any() else (self.contrast,)

    def _subtracted(self, contrast: str) -> str:
        return ORIGINAL if contrast == FROM_ORIGINAL else self.second

    def differences(self, rows: pd.DataFrame, column: str, contrast: str) -> Iterator[Values]:
        first, second = (rows[rows["variant"].eq(name)] for name in (self.first, self._subtracted(contrast)))
        if contrast == FROM_ORIGINAL:  # which all groups share
            second = second.iloc[pd.Index(_keys(second)).get_indexer(pd.Index(_keys(first)))]
        _check_aligned([first, second])
        values = first[column].to_numpy(np.float64) - second[column].to_numpy(np.float64)
        groups, units = first["group"].to_numpy(str), first["unit"].to_numpy(str)
        for group, at in _each(groups, np.ones(len(groups), dtype=bool)):
            yield Values(group, values[at], units[at])

    def levels(self, rows: pd.DataFrame, column: str) -> Iterator[Values]:
        for (group, variant), part in rows.groupby(["group", "variant"], sort=False):
            name = str(group) if variant == ORIGINAL else f"{group}, {variant}"
            yield Values(name, part[column].to_numpy(np.float64), part["unit"].to_numpy(str))

    def sd(self, rows: pd.DataFrame) -> float:
        originals = rows.loc[rows["variant"].eq(ORIGINAL), "score"]
        return score_sd(originals if len(originals) else rows.loc[rows["variant"].eq(self.second), "score"])

    def planted_rows(self, rows: pd.DataFrame, planted: Planted) -> tuple[Flags, Flags, float]:
        in_group = rows["group"].eq(planted.group)
        is_from_original = FROM_ORIGINAL in planted.measure
        second = rows["variant"].eq(self._subtracted(FROM_ORIGINAL if is_from_original else self.contrast))
        below = second if is_from_original else second & in_group
        return (in_group & rows["variant"].eq(self.first)).to_numpy(), below.to_numpy(), 1.0


class GroupContrast(Counterfactual):
    """Each group minus the mean of all groups, on the same templates: no group is the norm.

    Shifts are in the standard deviation of the scores within the groups. A text that is unscored in one group is left
    out of all.
    """

    kind = "groups"

    def contrasts(self, rows: pd.DataFrame) -> Sequence[str]:
        return (FROM_MEAN,)

    def differences(self, rows: pd.DataFrame, column: str, contrast: str) -> Iterator[Values]:
        names = list(dict.fromkeys(rows["group"]))
        versions = [rows[rows["group"].eq(name)] for name in names]
        _check_aligned(versions)
        values = np.stack([version[column].to_numpy(np.float64) for version in versions])
        units = versions[0]["unit"].to_numpy(str)
        for name, centred in zip(names, values - values.mean(axis=0), strict=True):
            yield Values(name, centred, units)

    def levels(self, rows: pd.DataFrame, column: str) -> Iterator[Values]:
        for group, part in rows.groupby("group", sort=False):
            yield Values(str(group), part[column].to_numpy(np.float64), part["unit"].to_numpy(str))

    def sd(self, rows: pd.DataFrame) -> float:
        return score_sd(rows["score"] - rows.groupby("group")["score"].transform("mean"))

    def planted_rows(self, rows: pd.DataFrame, planted: Planted) -> tuple[Flags, Flags, float]:
        above = rows["group"].eq(planted.group).to_numpy()
        count = rows["group"].nunique()
        return above, ~above, count / (count - 1)


class BiasScore(Comparison):
    """The bias score of BBQ (Parrish et al. 2022) by category: +1 for an answer with the bias, -1 for one against it.

    In ambiguous questions, whose right answer is that it cannot be known, that answer counts 0: the mean is the
    published (1 - accuracy) (2 n_biased / n_known - 1). In others it is left out: 2 n_biased / n_known - 1. Equal best
    scores share the choice. Questions from one template are a unit.
    """

    kind = "bias score"

    def effects(self, rows: pd.DataFrame) -> list[Effect]:
        items, groups, units, ambiguous = _items_of(rows)
        shares = _choice_shares(rows, items)
        labels = rows["label"].to_numpy(str)
        signs = np.where(labels == BIASED, 1.0, np.where(labels == COUNTER, -1.0, 0.0))
        lean = np.bincount(items, weights=shares * signs).astype(np.float64)
        known = np.bincount(items, weights=shares * (signs != 0))
        rightness = np.bincount(items, weights=shares * self._is_right(rows, labels)).astype(np.float64)
        with np.errstate(invalid="ignore"):
            clear = np.asarray(np.where(known > 0, lean / known, np.nan), np.float64)
        effects: list[Effect] = []
        for name, which, values in (("ambiguous", ambiguous, lean), ("clear", ~ambiguous, clear)):
            measure = self.measure(f"bias score in {name} questions")
            effects += [
                pooled_effect(measure, group, values[at], units[at], -1.0) for group, at in _each(groups, which)
            ]
        for name, which in (("ambiguous", ambiguous), ("clear", ~ambiguous)):
            measure = self.measure(f"accuracy in {name} questions")
            effects += [
                pooled_effect(measure, group, rightness[at], units[at], 0.0, null=None)
                for group, at in _each(groups, which)
            ]
        return effects

    @staticmethod
    def _is_right(rows: pd.DataFrame, labels: Strings) -> Flags:
        variants = rows["variant"].to_numpy(str)
        return np.asarray(np.where(variants == AMBIGUOUS, labels == UNKNOWN, labels == variants), np.bool_)

    def simulate(self, rows: pd.DataFrame, rng: np.random.Generator, planted: Planted | None) -> Floats | None:
        """Return random scores; in a planted group that share of the questions gets the biased answer."""
        scores = rng.normal(0, 1, len(rows))
        if planted is not None:
            if planted.size > 1:
                return None
            items, groups, _, ambiguous = _items_of(rows)
            is_planted = (groups == planted.group) & (ambiguous == ("ambiguous" in planted.measure))
            is_biased = is_planted & (rng.random(len(groups)) < planted.size)
            scores[is_biased[items] & rows["label"].eq(BIASED).to_numpy()] += 100.0
        return np.asarray(scores, np.float64)


class StereotypePreference(Comparison):
    """The share of pairs whose more stereotyping sentence is preferred, 1/2 without a preference (Nangia et al. 2020).

    Beside it the difference of the two rewards, in standard deviations of those of the less stereotyping sentences.
    """

    kind = "preference"

    def effects(self, rows: pd.DataFrame) -> list[Effect]:
        more, less = (rows[rows["label"].eq(label)] for label in (STEREOTYPE, LESS_STEREOTYPE))
        gaps = more["score"].to_numpy(np.float64) - less["score"].to_numpy(np.float64)
        units, groups, shift = (
            more["unit"].to_numpy(str),
            more["group"].to_numpy(str),
            in_sd(gaps, score_sd(less["score"])),
        )
        preferred = np.where(np.isnan(gaps), np.nan, (1 + np.sign(gaps)) / 2)
        everything = np.ones(len(gaps), dtype=bool)
        share, gap = self.measure("share that prefers the stereotype"), self.measure("reward of the stereotype (sd)")
        return [
            *(rate_effect(share, g, preferred[at], units[at], null=0.5) for g, at in _each(groups, everything)),
            *(mean_effect(gap, g, shift[at], units[at]) for g, at in _each(groups, everything)),
        ]

    def simulate(self, rows: pd.DataFrame, rng: np.random.Generator, planted: Planted | None) -> Floats | None:
        """Return scores without a preference; with a planted one more of the group's pairs are in its order."""
        is_more = rows["label"].eq(STEREOTYPE).to_numpy()
        in_group = rows["group"].eq(planted.group).to_numpy()[is_more] if planted else np.zeros(is_more.sum(), bool)
        less, gaps = rng.normal(0, UNIT_SD, is_more.sum()), rng.normal(0, ROW_SD, is_more.sum())
        if planted and "(sd)" in planted.measure:
            gaps[in_group] += planted.size * less.std(ddof=1)
        elif planted:
            if planted.size > 0.5:
                return None
            is_set = in_group & (rng.random(len(gaps)) < 2 * planted.size)
            gaps[is_set] = np.abs(gaps[is_set])
        scores = np.empty(len(rows))
        scores[is_more], scores[~is_more] = less + gaps, less
        return scores


COMPARISONS: Mapping[str, type[Comparison]] = {
    comparison.kind: comparison for comparison in (VersionContrast, GroupContrast, BiasScore, StereotypePreference)
}


def comparison_from(title: str, settings: Mapping[str, Any]) -> Comparison:
    """Return the comparison with these settings. Raises ValueError or TypeError for invalid ones."""
    fields = dict(settings)
    kind = fields.pop("comparison", "")
    if kind not in COMPARISONS:
        raise ValueError(f"there is no comparison {kind!r}")
    make: Callable[..., Comparison] = COMPARISONS[kind]
    return make(title, **fields)


def _keys(rows: pd.DataFrame) -> list[str]:
    """Return for each row the text or pair of which it is a version."""
    if "completion" not in rows:
        return rows["base"].tolist()
    return [f"{base}/{index}" for base, index in zip(rows["base"], rows["completion"], strict=True)]


def _check_aligned(versions: Sequence[pd.DataFrame]) -> None:
    """Raise ValueError unless the rows of the versions belong together in their order."""
    bases = [version["base"].tolist() for version in versions]
    if any(others != bases[0] for others in bases):
        raise ValueError("the rows of the versions have another order than the items")


def _items_of(rows: pd.DataFrame) -> tuple[Codes, Strings, Strings, Flags]:
    """Return the item of each row from 0, and for each item its group, its unit, and whether it is ambiguous."""
    items, _ = pd.factorize(rows["item"])
    first = rows.drop_duplicates("item")
    return items, first["group"].to_numpy(str), first["unit"].to_numpy(str), first["variant"].eq(AMBIGUOUS).to_numpy()


def _choice_shares(rows: pd.DataFrame, items: Codes) -> Floats:
    """Return how much of the choice each completion gets: equal best scores share it; NaN where one is unscored."""
    scores = rows["score"].to_numpy(np.float64)
    best = np.full(items.max() + 1, -np.inf)
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        np.maximum.at(best, items, scores)
    is_best = scores == best[items]
    counts = np.bincount(items, weights=is_best).astype(np.float64)
    shares: Floats = np.where(np.isnan(best), np.nan, 1.0 / np.where(counts > 0, counts, 1.0))[items]
    return np.where(np.isnan(shares), np.nan, shares * is_best)


def _each(groups: Strings, which: Flags) -> Iterator[tuple[str, Flags]]:
    """Yield each group that has items among some, with these items."""
    for group in dict.fromkeys(groups[which].tolist()):
        yield group, which & (groups == group)
