"""The Ties composite of RewardBench 2."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rb_core.errors import DataError
from rb_core.stats.item_outcomes import Floats, ItemOutcomes
from rb_core.stats.metrics.base import Measure, Metric, Parts, TieCredit

# The sum is 1.01, as published.
TIES_WEIGHTS: Mapping[str, float] = {"tied": 0.30, "ref": 0.30, "margin": 0.20, "margin_hard": 0.20, "tanh": 0.01}


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

    def parts(self, outcomes: ItemOutcomes, tie_credit: TieCredit) -> Parts | None:
        margins, spreads = outcomes.margins, outcomes.spreads
        if margins is None or spreads is None:  # outcomes that are only right or wrong have no margins
            return None
        rows: dict[str, dict[str, int]] = {"ref": {}, "tied": {}}
        for row, name in enumerate(outcomes.example_ids.tolist()):
            version, _, number = name.partition(":")
            if version not in rows:
                raise DataError(f"example {name!r}: an example of the Ties metric must be named ref:N or tied:N")
            rows[version][number] = row
        both = [number for number in rows["tied"] if number in rows["ref"]]
        if not both:
            return None
        tied, ref = (np.array([rows[version][number] for number in both]) for version in ("tied", "ref"))
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


def _exceeds(gap: Floats, limit: Floats | float) -> Floats:
    return np.where(np.isnan(gap) | np.isnan(limit), np.nan, gap > limit)


def _squashed(gap: Floats, spread: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.tanh(gap / spread - 1.0)
    return np.where((gap == 0) & (spread == 0), 0.0, values)
