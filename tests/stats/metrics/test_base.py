"""A metric is one class that benchmarks name and statistics ask."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from rb_core.benchmarks.custom import spec_from_json
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import Section, spec_to_json
from rb_core.errors import DataError
from rb_core.stats.item_outcomes import CompletionScores, Flags, Floats
from rb_core.stats.metrics import METRICS
from rb_core.stats.metrics.base import Metric, TieCredit
from rb_core.stats.summary import summarize
from tests.fakes.outcomes import PAIRS, pairs, score_table


class MarginAboveOne(Metric):
    name = "margin-above-one"
    label = "margin above 1"

    def item_credits(self, scores: CompletionScores, tie_credit: TieCredit) -> tuple[Floats, Flags]:
        margins = scores.margins()
        return np.where(np.isnan(margins), np.nan, margins > 1), margins == 1


def test_a_new_metric_needs_no_other_change() -> None:
    spec = replace(PAIRS, sections=(Section("All", {"a": 1.0}, metric=MarginAboveOne()),))
    rows = [("1", "a", "1", 1, (3.0, 1.0)), ("2", "a", "2", 1, (1.5, 1.0)), ("3", "a", "3", 1, (2.0, 1.0))]
    section = summarize(score_table(rows), spec).sections["All"]
    assert (section.value, section.ties, section.method) == (pytest.approx(1 / 3), 1, "beta")


@pytest.mark.parametrize("spec", BENCHMARKS.values(), ids=lambda spec: spec.id)
def test_records_hold_a_metrics_name(spec: object) -> None:
    record = json.loads(json.dumps(spec_to_json(spec)))
    assert {section["metric"] for section in record["sections"]} <= METRICS.keys()
    assert spec_from_json(record).sections == spec.sections


def test_an_unknown_metric_is_an_error() -> None:
    record = spec_to_json(PAIRS)
    record["sections"][0]["metric"] = "vibes"
    with pytest.raises(DataError, match="vibes"):
        spec_from_json(record)


def test_a_subset_in_no_section_is_an_accuracy() -> None:
    spec = replace(PAIRS, sections=(Section("All", {"a": 1.0}, metric=MarginAboveOne()),))
    subsets = summarize(score_table(pairs("a", [1, 0]) + pairs("b", [1, 0])), spec).subsets
    assert (subsets["a"].value, subsets["b"].value) == (0.0, 0.5)
