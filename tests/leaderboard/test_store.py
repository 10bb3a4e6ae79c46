from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rb_core.evaluation.evaluate import evaluate_scorer
from rb_core.leaderboard.board import Board
from rb_core.leaderboard.model_registry import renamed
from rb_core.leaderboard.store import ResultsStore, with_rank_intervals
from rb_core.results.storage import read_result, write_result
from rb_core.scorers.baseline import BaselineScorer
from tests.fakes.benchmarks import few_examples
from tests.paths import BUNDLED

PUBLISHED = "Skywork/Skywork-Reward-Gemma-2-27B"
RUN = "baseline/longest"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one published result, its outcomes, and one run."""
    for name in (
        "items/rewardbench.parquet",
        f"results/rewardbench/{PUBLISHED}.json",
        f"results/starter/{RUN}.json",
        f"scores/starter/{RUN}.parquet",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(BUNDLED / name, tmp_path / name)
    return tmp_path


def opened(root: Path) -> ResultsStore:
    store = ResultsStore(root)
    assert store.refresh()
    return store


def test_outcomes_come_from_the_score_table_of_a_run_or_from_published_ones(root: Path) -> None:
    store = opened(root)
    run, published = store.outcomes("starter", RUN), store.outcomes("rewardbench", PUBLISHED)
    assert run is not None
    assert run.margins is not None
    assert published is not None
    assert len(published) == 2985
    assert store.outcomes("rewardbench", "nobody/at-all") is None
    assert store.outcomes("no-benchmark", PUBLISHED) is None
    assert store.results("no-benchmark") == {}


def test_a_changed_or_missing_score_file_gives_no_outcomes(root: Path) -> None:
    path = root / f"scores/starter/{RUN}.parquet"
    shutil.copy(BUNDLED / "scores/starter/baseline/shortest.parquet", path)
    assert opened(root).outcomes("starter", RUN) is None
    path.unlink()
    assert opened(root).outcomes("starter", RUN) is None


def test_published_outcomes_that_do_not_give_the_results_sections_are_left_out(root: Path) -> None:
    result = read_result(root / f"results/rewardbench/{PUBLISHED}.json")
    chat = result.sections["Chat"].model_copy(update={"value": 0.5})
    write_result(root, result.model_copy(update={"sections": {**result.sections, "Chat": chat}}), overwrite=True)
    assert opened(root).outcomes("rewardbench", PUBLISHED) is None


def test_published_outcomes_do_not_stand_in_for_the_missing_scores_of_a_run(root: Path) -> None:
    data = root / "d.jsonl"
    data.write_text('{"id":1,"subset":"math-prm","prompt":"q","chosen":"aa","rejected":"b"}\n', encoding="utf-8")
    done = evaluate_scorer(BaselineScorer("longest"), "baseline/longest", few_examples("rewardbench", data), out=root)
    (root / done.result.scores_path()).unlink()
    write_result(root, renamed(done.result, PUBLISHED), overwrite=True)
    assert opened(root).outcomes("rewardbench", PUBLISHED) is None


def test_an_unreadable_file_of_published_outcomes_is_left_out(root: Path) -> None:
    (root / "items/rewardbench.parquet").write_bytes(b"nonsense")
    assert opened(root).outcomes("rewardbench", PUBLISHED) is None


def test_files_are_read_again_only_after_a_change(root: Path) -> None:
    store = opened(root)
    assert not store.refresh()
    for name in (f"results/starter/{RUN}.json", f"scores/starter/{RUN}.parquet", "items/rewardbench.parquet"):
        later = max(p.stat().st_mtime for p in root.rglob("*")) + 5
        os.utime(root / name, (later, later))
        assert store.refresh()
        assert not store.refresh()


def test_a_renamed_file_is_a_change(root: Path) -> None:
    """The number of files and the latest time stay the same."""
    store = opened(root)
    path = root / f"results/starter/{RUN}.json"
    path.rename(path.with_name("moved.json"))
    assert store.refresh()
    assert store.results("starter") == {}


# Rank intervals


def test_every_rank_interval_holds_the_models_rank(bundled_boards: dict[str, Board]) -> None:
    for board in bundled_boards.values():
        for row in board.rows:
            assert (row.rank_interval is None) == (row.rank is None or row.headline.low is None)
            if row.rank_interval is not None and row.rank is not None:
                assert 1 <= row.rank_interval[0] <= row.rank <= row.rank_interval[1] <= len(board.ranked())


def test_pairing_by_items_narrows_rank_intervals(bundled_boards: dict[str, Board]) -> None:
    """The 133 models with outcomes on RewardBench are marked."""
    board = bundled_boards["rewardbench"]
    unpaired = with_rank_intervals(board, {})
    both = [
        (row.rank_interval, other.rank_interval)
        for row, other in zip(board.rows, unpaired.rows, strict=True)
        if row.rank_interval and other.rank_interval and row.rank_interval[2] == "items"
    ]
    assert len(both) == 133
    assert {by_intervals[2] for _, by_intervals in both} == {"intervals"}
    assert sum(p[1] - p[0] for p, _ in both) < 0.95 * sum(a[1] - a[0] for _, a in both)


def test_published_outcomes_that_do_not_give_a_models_sections_are_not_used(bundled_store: ResultsStore) -> None:
    result = bundled_store.results("rewardbench")[PUBLISHED]
    sections = {name: estimate.value for name, estimate in result.sections.items()}
    assert bundled_store.published_outcomes("rewardbench", PUBLISHED, sections) is not None
    changed = sections | {"Chat": (sections["Chat"] or 0.0) - 0.01}
    assert bundled_store.published_outcomes("rewardbench", PUBLISHED, changed) is None
