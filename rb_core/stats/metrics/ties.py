"""The Ties composite of RewardBench 2."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import comb, hyp2f1

from rb_core.errors import DataError
from rb_core.stats.item_outcomes import Codes, CompletionScores, Floats, ItemOutcomes, Strings
from rb_core.stats.metrics.base import Measure, Metric, Parts, TieCredit

# The sum is 1.01, as published.
TIES_WEIGHTS: Mapping[str, float] = {"tied": 0.30, "ref": 0.30, "margin": 0.20, "margin_hard": 0.20, "tanh": 0.01}
_DRAWS = 2000  # of random scores for each question


class Ties(Metric):
    """0.30 tied + 0.30 ref + 0.20 margin + 0.20 margin_hard + 0.01 tanh, each the mean over its questions.

    A question has two versions: the example `tied:N` with several right answers, and `ref:N` with one. The gap of a
    version is its worst right minus its best wrong score; the spread is the best minus the worst right score of
    `tied:N`.

    tied, ref: every right answer of that version scores above every wrong one
    margin: gap(tied) > spread
    margin_hard: min(gap(tied), gap(ref)) > spread
    tanh: tanh(min(gap(tied), gap(ref)) / spread - 1); the term is 0 if the smaller gap and the spread are both 0

    A gap is what other modules call the margin. The names of the terms are those of the paper's code: `tied` does not
    mean equal scores.
    """

    name = "ties"
    label = "Ties score"
    citation = "Malik et al. 2025, arXiv:2506.01937, appendix on Ties, as in the paper's published code"
    value_range = (-0.01, 1.01)
    needs_ratings = True
    averages_credits = False
    examples_per_trial = 2
    missing_reason = "lacks the ref or the tied versions"

    def unfit_reason(self, example_id: str, num_chosen: int, num_rejected: int, num_styles: int) -> str:
        version, _, number = example_id.partition(":")
        is_version = version in ("ref", "tied") and number
        return "" if is_version else f"the id is {example_id!r}; the id of a Ties example is ref:N or tied:N"

    def group_of(self, example_id: str) -> str | None:
        return f"ties:{example_id.partition(':')[2]}"

    def parts(self, outcomes: ItemOutcomes, tie_credit: TieCredit) -> Parts | None:
        margins, spreads = outcomes.margins, outcomes.spreads
        if margins is None or spreads is None:  # outcomes that are only right or wrong have no margins
            return None
        rows = _rows_by_version(outcomes.example_ids)
        tied, ref = _both_versions(rows)
        if not len(tied):
            return None
        spread, gap = spreads[tied], margins[tied]
        smaller = np.minimum(gap, margins[ref])
        groups = outcomes.groups[tied]
        measures = {}
        for version, members in rows.items():
            members_rows = np.array(list(members.values()))
            measures[version] = Measure(_exceeds(margins[members_rows], 0.0), outcomes.groups[members_rows])
        measures["margin"] = Measure(_exceeds(gap, spread), groups)
        measures["margin_hard"] = Measure(_exceeds(smaller, spread), groups)
        measures["tanh"] = Measure(_squashed(smaller, spread), groups, lowest=-1.0)
        return Parts(measures, TIES_WEIGHTS)

    def chance(self, scores: CompletionScores, example_ids: Strings) -> float | None:
        """Return the expected score of scores drawn uniformly from 0 to 1, as those of `baseline/random`.

        With n completions of `tied:N`, c of them right, and m of `ref:N`, b of them right, the expected terms are

        tied: 1 / C(n, c); ref: 1 / C(m, b)
        margin: tied / 2^(c - 1), because the distances between sorted uniform scores are exchangeable
        margin_hard: margin x ref x 2F1(-m, c - 1; n + 1; 1/2), the mean of (1 - spread)^m, which is the probability
            that the gap of `ref:N` exceeds the spread when its right answers are on top

        The mean of tanh has no closed form: it is simulated with a fixed seed; times 0.01, its error is below 0.0001.
        """
        rows, sizes, num_chosen = _rows_by_version(example_ids), scores.sizes, scores.num_chosen()
        tied, ref = _both_versions(rows)
        if not len(tied):
            return None
        all_above = 1.0 / comb(sizes, num_chosen)
        terms = {version: all_above[list(members.values())].mean() for version, members in rows.items()}
        margin = all_above[tied] * 0.5 ** (num_chosen[tied] - 1)
        terms["margin"] = margin.mean()
        exceeding = hyp2f1(-sizes[ref], num_chosen[tied] - 1, sizes[tied] + 1, 0.5)
        terms["margin_hard"] = (margin * all_above[ref] * exceeding).mean()
        shapes = zip(*(column[rows].tolist() for rows in (tied, ref) for column in (sizes, num_chosen)), strict=True)
        rng = np.random.default_rng(0)
        terms["tanh"] = np.mean([_simulated_tanh(rng, *shape) for shape in shapes])
        return float(sum(weight * terms[name] for name, weight in TIES_WEIGHTS.items()))


def _rows_by_version(example_ids: Strings) -> dict[str, dict[str, int]]:
    """Return the row of each question in each version. Raises DataError for an id that names no version."""
    rows: dict[str, dict[str, int]] = {"ref": {}, "tied": {}}
    for row, name in enumerate(example_ids.tolist()):
        version, _, number = name.partition(":")
        if version not in rows:
            raise DataError(f"example {name!r}: an example of the Ties metric must be named ref:N or tied:N")
        rows[version][number] = row
    return rows


def _both_versions(rows: Mapping[str, Mapping[str, int]]) -> tuple[Codes, Codes]:
    """Return the rows of the questions with both versions: of `tied:N` and of `ref:N`."""
    both = [number for number in rows["tied"] if number in rows["ref"]]
    tied, ref = (np.array([rows[version][number] for number in both], dtype=np.int64) for version in ("tied", "ref"))
    return tied, ref


def _simulated_tanh(rng: np.random.Generator, n: int, c: int, m: int, b: int) -> float:
    """Return the mean of the term tanh over random scores; see `Ties.chance`."""
    tied, ref = rng.random((_DRAWS, n)), rng.random((_DRAWS, m))
    worst_right = tied[:, :c].min(axis=1)
    gap = np.minimum(worst_right - tied[:, c:].max(axis=1), ref[:, :b].min(axis=1) - ref[:, b:].max(axis=1))
    return float(_squashed(gap, tied[:, :c].max(axis=1) - worst_right).mean())


def _exceeds(gap: Floats, limit: Floats | float) -> Floats:
    return np.where(np.isnan(gap) | np.isnan(limit), np.nan, gap > limit)


def _squashed(gap: Floats, spread: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.tanh(gap / spread - 1.0)
    return np.where((gap == 0) & (spread == 0), 0.0, values)
