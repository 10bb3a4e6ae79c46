"""Accuracy against the published formula's own numbers, and the credit of single examples."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.stats.metrics.base import TieCredit
from rb_core.stats.outcome_files import outcomes_of_table
from rb_core.stats.summary import summarize
from tests.fakes.outcomes import PAIRS, score_table
from tests.stats.golden import BEST_OF_FOUR


@pytest.mark.parametrize(("rows", "expected"), BEST_OF_FOUR)
def test_best_of_four_is_the_published_one(rows: list[list[float]], expected: float) -> None:
    """Best-of-four accuracy with 1/k for k completions at the top equals the reference implementation's."""
    scores = score_table([(str(i), "Math", str(i), 1, values) for i, values in enumerate(rows)])
    assert summarize(scores, BENCHMARKS["rewardbench-2"]).sections["Math"].value == pytest.approx(expected, abs=1e-12)


CREDITS = {
    "chosen higher": ((2.0, 1.0), 1.0, 1.0),
    "rejected higher": ((1.0, 2.0), 0.0, 0.0),
    "tie": ((1.0, 1.0), 0.0, 0.5),
    "all tied": ((1.0, 1.0, 1.0, 1.0), 0.0, 0.25),
    "two at the top": ((1.0, 1.0, 0.0, 0.0), 0.0, 0.5),
    "tie below the top": ((1.0, 1.0, 2.0, 0.0), 0.0, 0.0),
    "rejected ones tied": ((1.0, 0.0, 0.0, 0.0), 1.0, 1.0),
    "negative scores": ((-5.0, -6.0), 1.0, 1.0),
}


@pytest.mark.parametrize("rule", get_args(TieCredit))
def test_credits(rule: TieCredit) -> None:
    rows = [(name, "a", name, 1, scores) for name, (scores, _, _) in CREDITS.items()]
    outcomes = outcomes_of_table(score_table(rows), replace(PAIRS, tie_credit=rule))
    by_rule = {"none": 0.0, "half": 0.5}  # of a tie, which is all that earns part of a credit by the rule "split"
    expected = [by_rule.get(rule, split) if none != split else none for _, none, split in CREDITS.values()]
    assert outcomes.credits.tolist() == pytest.approx(expected)
    assert outcomes.tied is not None
    assert outcomes.example_ids[outcomes.tied].tolist() == ["tie", "all tied", "two at the top"]


@pytest.mark.parametrize("scores", [(5.0, math.nan), (math.nan, 5.0)])
def test_an_unscored_completion_leaves_the_example_unscored(scores: tuple[float, ...]) -> None:
    """A rejected completion that failed is no win."""
    outcomes = outcomes_of_table(score_table([("1", "a", "1", 1, scores)]), PAIRS)
    assert not outcomes.scored[0]
    assert math.isnan(outcomes.credits[0])
