"""Accuracy by which completion is longer."""

from __future__ import annotations

import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.results.schema import Result
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.length import accuracy_by_length
from tests.fakes.outcomes import PLAIN, item_outcomes


def test_accuracies_are_those_of_the_results(
    runs: dict[str, ItemOutcomes], results: dict[tuple[str, str], Result]
) -> None:
    for name, outcomes in runs.items():
        estimates = accuracy_by_length(outcomes, BENCHMARKS["starter"])
        by_length = results["starter", name].length
        assert len(by_length) == 2
        for label, expected in by_length.items():
            assert estimates[label].value == pytest.approx(expected.value, abs=1e-12)
            assert estimates[label].scored == expected.scored


def test_without_lengths_there_is_nothing() -> None:
    assert accuracy_by_length(item_outcomes("published", [1, 0]), PLAIN) == {}
