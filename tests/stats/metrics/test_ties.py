"""The Ties composite against the published formula's own numbers."""

from __future__ import annotations

import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import DataError
from rb_core.stats.summary import summarize
from tests.fakes.outcomes import score_table
from tests.stats.golden import TIES

V2 = BENCHMARKS["rewardbench-2"]


@pytest.mark.parametrize(("rows", "expected"), TIES)
def test_the_composite_is_the_published_one(rows: list[tuple[str, int, list[float]]], expected: float) -> None:
    """It equals the reference implementation's on random scores, equal scores included."""
    scores = score_table([(i, "Ties", f"ties:{i.split(':')[1]}", correct, values) for i, correct, values in rows])
    assert summarize(scores, V2).sections["Ties"].value == pytest.approx(expected, abs=1e-12)


def test_without_one_of_the_versions_there_is_no_score() -> None:
    summary = summarize(score_table([("tied:1", "Ties", "ties:1", 2, (2.0, 1.0, 0.0))]), V2)
    assert "ref" in summary.absent["Ties"]


def test_an_example_named_otherwise_is_an_error() -> None:
    with pytest.raises(DataError, match="ref:N or tied:N"):
        summarize(score_table([("1", "Ties", "1", 2, (2.0, 1.0, 0.0))]), V2)
