"""Properties that honest estimates of a score table have."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.stats.summary import summarize
from tests.fakes.outcomes import PAIRS, Row, pairs, score_table


def test_ties_are_counted() -> None:
    summary = summarize(score_table(pairs("a", [1, 0, 0.5, 0.5]) + pairs("b", [1])), PAIRS)
    assert summary.subsets["a"].ties == 2
    assert summary.counts.ties == 2


def test_unscored_is_excluded_counted_and_bounded() -> None:
    """An unscored example moves no mean; the bounds show what it could have changed."""
    summary = summarize(score_table(pairs("a", [1, 1, 0, math.nan]) + pairs("b", [1])), PAIRS)
    estimate = summary.subsets["a"]
    assert (estimate.value, estimate.scored, estimate.unscored) == (pytest.approx(2 / 3), 3, 1)
    assert (estimate.floor, estimate.ceiling) == (0.5, 0.75)
    assert summary.counts.reasons == {"NaN": 1}


def test_a_subset_without_a_scored_example_has_no_value_and_bounds_from_0_to_1() -> None:
    estimate = summarize(score_table(pairs("a", [math.nan, math.nan]) + pairs("b", [1])), PAIRS).subsets["a"]
    assert estimate.value is None
    assert (estimate.floor, estimate.ceiling) == (0.0, 1.0)


def test_a_section_that_lacks_a_subset_is_absent() -> None:
    """A missing subset makes its section and the headline absent, not zero and not the mean of the rest."""
    rows = pairs("alpacaeval-easy", [1, 1]) + pairs("math-prm", [1, 0])
    summary = summarize(score_table(rows), BENCHMARKS["rewardbench"])
    assert summary.headline is None
    assert summary.sections == {}
    assert "alpacaeval-length" in summary.absent["Chat"]
    assert "Chat" in summary.absent["headline"]
    assert summary.subsets["alpacaeval-easy"].value == 1.0


@settings(max_examples=25)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=12), st.data())
def test_becoming_unscored_never_helps(credits: list[float], data: st.DataObject) -> None:
    """An example that fails to be scored never raises the floor, never lowers the ceiling, and earns no credit."""
    lost = data.draw(st.integers(0, len(credits) - 1))
    before = summarize(score_table(pairs("a", credits) + pairs("b", [1.0])), PAIRS)
    changed = [math.nan if i == lost else credit for i, credit in enumerate(credits)]
    after = summarize(score_table(pairs("a", changed) + pairs("b", [1.0])), PAIRS)
    for scored, unscored in ((before.subsets["a"], after.subsets["a"]), (before.headline, after.headline)):
        assert unscored.floor <= scored.floor + 1e-12
        assert unscored.ceiling >= scored.ceiling - 1e-12
    total = sum(credit for credit in changed if not math.isnan(credit))
    if total:
        assert after.subsets["a"].value * after.subsets["a"].scored == pytest.approx(total)


@settings(max_examples=10)
@given(st.permutations(pairs("a", [1, 0, 0.5, math.nan, 1]) + pairs("b", [0, 1, 1])))
def test_order_of_rows_changes_nothing(shuffled: list[Row]) -> None:
    rows = pairs("a", [1, 0, 0.5, math.nan, 1]) + pairs("b", [0, 1, 1])
    summary, other = summarize(score_table(rows), PAIRS), summarize(score_table(shuffled), PAIRS)
    assert {k: e.value for k, e in summary.subsets.items()} == {k: e.value for k, e in other.subsets.items()}
    assert summary.counts == other.counts
    assert summary.headline.value == pytest.approx(other.headline.value)


def test_accuracy_is_split_by_the_length_of_the_chosen() -> None:
    """Examples whose completions are equally long are in neither part."""
    longer = score_table(pairs("a", [1, 1, 0]), tokens=(20, 10))
    shorter = score_table(pairs("b", [0, 0, 1, 0]), tokens=(5, 10))
    equal = score_table([("c", "a", "c", 1, (1.0, 0.0))])
    summary = summarize(pd.concat([longer, shorter, equal]), PAIRS)
    assert summary.length["chosen longer"].value == pytest.approx(2 / 3)
    assert summary.length["chosen shorter"].value == pytest.approx(1 / 4)
    assert summary.length["chosen longer"].scored == 3


def test_margins_are_worst_chosen_minus_best_rejected() -> None:
    rows: list[Row] = [("1", "a", "1", 2, (3.0, 1.0, 0.5, -2.0)), ("2", "b", "2", 1, (0.0, 2.0))]
    summary = summarize(score_table(rows), PAIRS)
    assert summary.margins is not None
    assert summary.margins.mean == pytest.approx((0.5 - 2.0) / 2)
    assert summary.margins.quantiles["0.5"] == pytest.approx(-0.75)
