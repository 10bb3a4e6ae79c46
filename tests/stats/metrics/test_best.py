"""Best of k: the model's best completion is a chosen one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest

from rb_core.benchmarks.spec import Section
from rb_core.stats.metrics import BEST
from rb_core.stats.metrics.base import TieCredit
from rb_core.stats.outcome_files import outcomes_of_table
from tests.fakes.outcomes import PAIRS as SPEC
from tests.fakes.outcomes import score_table

# scores of two chosen, then two rejected completions; credits by tie rule
CREDITS = {
    "one chosen on top": ((3.0, 0.0, 2.0, 1.0), {"none": 1.0, "half": 1.0, "split": 1.0}),
    "a rejected on top": ((1.0, 2.0, 3.0, 0.0), {"none": 0.0, "half": 0.0, "split": 0.0}),
    "one of each on top": ((3.0, 1.0, 3.0, 0.0), {"none": 0.0, "half": 0.5, "split": 1 / 2}),
    "two chosen and a rejected on top": ((3.0, 3.0, 3.0, 0.0), {"none": 0.0, "half": 0.5, "split": 2 / 3}),
    "unscored": ((3.0, math.nan, 2.0, 1.0), {"none": math.nan, "half": math.nan, "split": math.nan}),
}


@pytest.mark.parametrize("rule", get_args(TieCredit))
def test_credits(rule: TieCredit) -> None:
    spec = replace(SPEC, sections=(Section("All", {"a": 1.0}, metric=BEST),), tie_credit=rule)
    rows = [(name, "a", name, 2, scores) for name, (scores, _) in CREDITS.items()]
    outcomes = outcomes_of_table(score_table(rows), spec)
    assert outcomes.credits.tolist() == pytest.approx([by_rule[rule] for _, by_rule in CREDITS.values()], nan_ok=True)
