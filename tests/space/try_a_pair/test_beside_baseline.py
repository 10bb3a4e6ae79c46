from __future__ import annotations

from rb_core.space.results_source import ResultsFolder
from rb_core.space.try_a_pair.beside_baseline import beside_baseline
from tests.space.try_a_pair.conftest import TINY


def test_a_model_stands_beside_the_best_baseline_of_its_board(results: ResultsFolder) -> None:
    standing = beside_baseline(TINY, results)
    assert standing
    rows = results.boards()["starter"].rows
    baselines = [row.headline.value for row in rows if row.kind == "Baseline" and row.headline.value is not None]
    assert standing.baseline_score == max(baselines)
    assert (standing.side == "above") is (standing.score > standing.baseline_score)
    assert standing.model in standing.verdict(results)
    assert standing.baseline in standing.verdict(results)
    assert beside_baseline("baseline/longest", results) is None
    assert beside_baseline("org/unknown", results) is None
