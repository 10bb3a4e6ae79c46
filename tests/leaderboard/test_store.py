"""A folder of results as the page reads it: outcomes of runs and published ones, ranges of ranks, sizes."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest

from rb_core.evaluation.evaluate import evaluate
from rb_core.leaderboard.board import Board, load_boards
from rb_core.leaderboard.sizes import sizes
from rb_core.leaderboard.store import ResultsStore, with_rank_intervals
from rb_core.results.storage import read_result, write_result
from rb_core.stats.item_outcomes import ItemOutcomes
from tests.paths import ROOT

DATA = ROOT / "leaderboard_data"
PUBLISHED = "Skywork/Skywork-Reward-Gemma-2-27B"
RUN = "baseline/longest"


def nothing(benchmark: str, model: str) -> ItemOutcomes | None:
    """Outcomes where none are known."""
    return None


@pytest.fixture(scope="module")
def real() -> ResultsStore:
    found = ResultsStore(DATA)
    found.refresh()
    return found


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with one published result, its outcomes, and one run."""
    for name in (
        "items/rewardbench.parquet",
        f"results/rewardbench/{PUBLISHED}.json",
        f"results/starter/{RUN}.json",
        f"scores/starter/{RUN}.parquet",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DATA / name, tmp_path / name)
    return tmp_path


def opened(root: Path) -> ResultsStore:
    found = ResultsStore(root)
    assert found.refresh()
    return found


def test_outcomes_come_from_scores_and_from_published_ones(small: Path) -> None:
    """A run's outcomes come from its score table, a published model's from the items; others have none."""
    found = opened(small)
    run, published = found.outcomes("starter", RUN), found.outcomes("rewardbench", PUBLISHED)
    assert run is not None
    assert run.margins is not None
    assert published is not None
    assert len(published) == 2985
    assert found.outcomes("rewardbench", "nobody/at-all") is None
    assert found.outcomes("no-benchmark", PUBLISHED) is None
    assert found.results("no-benchmark") == {}


def test_scores_that_are_not_the_results_own_are_left_out(small: Path) -> None:
    """A score file that was changed, or is gone, gives no outcomes, and no error."""
    path = small / f"scores/starter/{RUN}.parquet"
    shutil.copy(DATA / "scores/starter/baseline/shortest.parquet", path)
    assert opened(small).outcomes("starter", RUN) is None
    path.unlink()
    assert opened(small).outcomes("starter", RUN) is None


def test_published_outcomes_that_are_not_the_results_are_left_out(small: Path) -> None:
    """Where a published result has other sections than the outcomes give, these are not taken for its own."""
    result = read_result(small / f"results/rewardbench/{PUBLISHED}.json")
    chat = result.sections["Chat"].model_copy(update={"value": 0.5})
    write_result(small, result.model_copy(update={"sections": {**result.sections, "Chat": chat}}), overwrite=True)
    assert opened(small).outcomes("rewardbench", PUBLISHED) is None


def test_a_run_is_not_given_published_outcomes(small: Path) -> None:
    """A run's own scores are missing: the published outcomes of a model of that name do not stand in."""
    data = small / "d.jsonl"
    data.write_text('{"id":1,"subset":"math-prm","prompt":"q","chosen":"aa","rejected":"b"}\n', encoding="utf-8")
    done = evaluate("baseline/longest", "rewardbench", data=data, out=small)
    model = done.result.model.model_copy(update={"name": PUBLISHED})
    write_result(small, done.result.model_copy(update={"model": model}), overwrite=True)
    assert opened(small).outcomes("rewardbench", PUBLISHED) is None


def test_a_broken_items_file_is_none(small: Path) -> None:
    """A file of outcomes that cannot be read leaves the results without them."""
    (small / "items/rewardbench.parquet").write_bytes(b"nonsense")
    assert opened(small).outcomes("rewardbench", PUBLISHED) is None


def test_only_a_change_is_read_again(small: Path) -> None:
    """Nothing is read again until a result, a score file or the outcomes change."""
    found = opened(small)
    assert not found.refresh()
    for name in (f"results/starter/{RUN}.json", f"scores/starter/{RUN}.parquet", "items/rewardbench.parquet"):
        later = max(p.stat().st_mtime for p in small.rglob("*")) + 5
        os.utime(small / name, (later, later))
        assert found.refresh()
        assert not found.refresh()


def test_a_file_that_takes_anothers_place_is_read(small: Path) -> None:
    """As many files as before, none of them newer, are another set where one has another name or content."""
    found = opened(small)
    path = small / f"results/starter/{RUN}.json"
    path.rename(path.with_name("moved.json"))
    assert found.refresh()
    assert found.results("starter") == {}


# ---- rank intervals


@pytest.fixture(scope="module")
def boards(real: ResultsStore) -> dict[str, Board]:
    return real.boards()


@pytest.mark.parametrize("name", ["rewardbench", "rewardbench-2", "starter"])
def test_every_rank_interval_holds_the_models_own_rank(boards: dict[str, Board], name: str) -> None:
    for row in boards[name].rows:
        assert (row.rank_interval is None) == (row.rank is None or row.headline.low is None)
        if row.rank_interval is not None and row.rank is not None:
            assert 1 <= row.rank_interval[0] <= row.rank <= row.rank_interval[1] <= len(boards[name].ranked())


def test_pairing_by_items_narrows_rank_intervals(boards: dict[str, Board]) -> None:
    """The 133 models with outcomes on RewardBench are marked."""
    board = boards["rewardbench"]
    unpaired = with_rank_intervals(board, nothing)
    both = [
        (row.rank_interval, other.rank_interval)
        for row, other in zip(board.rows, unpaired.rows, strict=True)
        if row.rank_interval and other.rank_interval and row.rank_interval[2] == "items"
    ]
    assert len(both) == 133
    assert {by_intervals[2] for _, by_intervals in both} == {"intervals"}
    assert sum(p[1] - p[0] for p, _ in both) < 0.95 * sum(a[1] - a[0] for _, a in both)


def test_outcomes_of_another_result_are_not_used(real: ResultsStore, boards: dict[str, Board]) -> None:
    outcomes = real.outcomes("rewardbench", PUBLISHED)
    board = with_rank_intervals(boards["rewardbench"], lambda benchmark, model: outcomes)
    marked = [row.model for row in board.rows if row.rank_interval and row.rank_interval[2] == "items"]
    assert marked == [PUBLISHED]


# ---- sizes


@pytest.fixture(scope="module")
def shown() -> dict[str, Board]:
    return load_boards(DATA)[0]


def test_every_model_with_a_size_is_on_a_board(shown: dict[str, Board]) -> None:
    """The table of sizes names models of the boards only, each once, with a number and where it is from."""
    names = {row.model for board in shown.values() for row in board.rows}
    with (ROOT / "rb_core" / "leaderboard" / "sizes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows if row["model"] not in names] == []
    assert len({row["model"] for row in rows}) == len(rows) == len(sizes())
    assert all(1e6 <= int(row["parameters"]) <= 2e12 and row["note"] for row in rows)


def test_boards_have_sizes(shown: dict[str, Board]) -> None:
    """Published models have what their name or card says, runs what was loaded, others nothing."""
    column = {(board.id, row.model): row.parameters for board in shown.values() for row in board.rows}
    tiny = read_result(DATA / "results/starter/builtin/tiny-rm.json")
    assert column["rewardbench", "nvidia/Nemotron-4-340B-Reward"] == 340_000_000_000
    assert column["rewardbench", "mistralai/Mixtral-8x7B-Instruct-v0.1"] == 46_700_000_000
    assert column["rewardbench", "openai/gpt-4o-2024-05-13"] is None
    assert column["starter", "builtin/tiny-rm"] == tiny.model.parameters
    assert column["starter", RUN] is None


def test_a_run_says_its_own_size(shown: dict[str, Board], tmp_path: Path) -> None:
    """The number of parameters that a run has counted stands before the publisher's round one."""
    result = read_result(DATA / f"results/rewardbench/{PUBLISHED}.json")
    model = result.model.model_copy(update={"parameters": 27_227_128_320})
    write_result(tmp_path, result.model_copy(update={"model": model}))
    (board,) = load_boards(tmp_path)[0].values()
    assert board.rows[0].parameters == 27_227_128_320
