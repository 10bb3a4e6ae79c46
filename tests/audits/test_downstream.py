from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr

from rb_core.audits.downstream import (
    ALL,
    WITHIN,
    bundled_tables,
    correlate,
    correlate_by_group,
    downstream_report,
    power,
    read_outcomes_table,
)
from rb_core.errors import DataError
from rb_core.stats.correlation import fisher_interval, smallest_visible
from tests.paths import BUNDLED

ROWS = "model,group,benchmark,score,outcome,value\n" + "".join(
    f"m{i},{'ab'[i % 2]},B,{i},win rate,{i + 10 * (i % 2)}\n" for i in range(8)
)


def table(folder: Path, text: str) -> Path:
    path = folder / "outcomes.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_interval_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=12)
    y = x + rng.normal(size=12)
    expected = pearsonr(x, y)
    row = correlate(ALL, x, y)
    assert row.r == pytest.approx(expected.statistic)
    assert (row.low, row.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert (expected.pvalue < 0.05) == (abs(row.r or 0.0) > (row.smallest or 1.0))


def test_the_interval_covers_a_known_correlation() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(1000):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=9).T
        row = correlate(ALL, x, y)
        covered += (row.low or 1) <= 0.6 <= (row.high or -1)
    assert 0.935 <= covered / 1000 <= 0.965


def test_differences_between_groups_do_not_count_within_groups(tmp_path: Path) -> None:
    rows = {row.group: row for row in correlate_by_group(read_outcomes_table(table(tmp_path, ROWS)))}
    assert rows.keys() == {ALL, WITHIN, "a", "b"}
    assert rows[WITHIN].r == pytest.approx(1.0)
    assert (rows[ALL].r or 0) < 0.8
    assert rows["a"].n == 4


def test_nine_models_show_only_strong_correlations() -> None:
    assert smallest_visible(7) == pytest.approx(0.666, abs=0.001)
    assert power(0.5, 9) == pytest.approx(0.27, abs=0.01)
    assert fisher_interval(0.5, 3) == (None, None)


def test_too_few_models_and_constant_values_have_no_correlation() -> None:
    assert correlate(ALL, np.array([1.0, 2.0]), np.array([1.0, 2.0])).r is None
    assert correlate(ALL, np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])).r is None


def test_the_bundled_report_has_the_published_figures() -> None:
    """Pooled from groups of opposite sign; three very poor scorers make the pooled number."""
    (outcomes, *_) = downstream_report(bundled_tables(BUNDLED)).tables
    r = {(row[1], row[2]): row[4] for row in outcomes.rows}
    ppo, best = "PPO, mean of 9 tasks", "Best of N, mean of tasks"
    assert r[ppo, ALL] == pytest.approx(0.72, abs=0.005)
    assert r[best, ALL] == pytest.approx(0.92, abs=0.005)
    assert r[ppo, "on-policy"] == pytest.approx(-0.26, abs=0.005)
    assert r[best, "on-policy"] == pytest.approx(0.72, abs=0.005)
    assert r[ppo, "off-policy or out-of-distribution"] == pytest.approx(-0.95, abs=0.005)
    assert float(r[ppo, "all but on-policy, poorly scoring"] or 0.0) < 0.0
    row = next(row for row in outcomes.rows if row[1:3] == (ppo, "on-policy"))
    assert (row[5], row[6]) == pytest.approx((-0.79, 0.49), abs=0.005)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,score\na,1\n", "no column benchmark, outcome, value"),
        (ROWS.replace("m3,b,B,3", "m3,b,B,three"), "line 5: score is 'three'"),
        (ROWS.replace("m3,b,B,3", "m3,b,B,nan"), "line 5: score is 'nan'"),
        ("", "cannot be read as CSV"),
        ("benchmark,domain,outcome,correlation,n\nB,d,o,0.5,9\n", "needs a table of outcomes"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        downstream_report([table(tmp_path, text)])


def test_ones_own_table_needs_neither_groups_nor_sources(tmp_path: Path) -> None:
    text = "model,benchmark,score,outcome,value\na,B,1,win,2\nb,B,2,win,3\nc,B,3,win,5\nd,B,4,win,4\n"
    report = downstream_report([table(tmp_path, text)])
    (row,) = report.tables[0].rows
    assert row[4] == pytest.approx(0.8)
    assert report.sources == ()
    assert math.isfinite(float(row[5] or math.nan))
