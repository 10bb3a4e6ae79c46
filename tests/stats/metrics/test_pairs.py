"""Pairs won: every chosen against every rejected completion."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from rb_core.benchmarks.spec import Section
from rb_core.stats.metrics import PAIRS
from rb_core.stats.metrics.base import TieCredit
from rb_core.stats.summary import summarize
from tests.fakes.outcomes import PAIRS as SPEC
from tests.fakes.outcomes import Row, score_table


@pytest.mark.parametrize("rule", get_args(TieCredit))
def test_the_score_is_the_mean_share_of_pairs_won(rule: TieCredit) -> None:
    """Of 2 x 2 pairs three are won and one is tied; of 1 x 3 pairs one is won. Every example weighs the same."""
    spec = replace(SPEC, sections=(Section("All", {"a": 1.0}, metric=PAIRS),), tie_credit=rule)
    rows: list[Row] = [("1", "a", "1", 2, (3.0, 2.0, 2.0, 1.0)), ("2", "a", "2", 1, (1.0, 0.0, 2.0, 3.0))]
    tie = 0.0 if rule == "none" else 0.5
    section = summarize(score_table(rows), spec).sections["All"]
    assert section.value == pytest.approx(((3 + tie) / 4 + 1 / 3) / 2)
    assert section.ties == 1
