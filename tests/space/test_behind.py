"""The results and outcomes behind a followed repository's boards: fetched when asked for, and never an error of the
page."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard import derived_files
from rb_core.results.schema import to_json
from rb_core.results.storage import read_result
from rb_core.space.hub_results import HubResults
from rb_core.space.results_source import ResultsFolder
from tests.fakes import hub_server
from tests.fakes.hub_faults import Fault
from tests.fakes.hub_server import Server
from tests.fakes.result_sets import BUNDLED, KEY, REPO, RUN, RUN_SCORES, add_run, as_files, content, results_of
from tests.fakes.result_sets import published as published_result

TOKEN = "hf_" + "w" * 34
MODEL = "Skywork/Skywork-Reward-Gemma-2-27B"
BENCHMARK, LONGEST = "starter", "baseline/longest"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("RB_HUB_TIMEOUT", "2")
    monkeypatch.setattr("rb_core.retries.FIRST_WAIT", 0.01)
    with hub_server.serve(tokens={TOKEN: "write"}) as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """A repository with a run and a published model whose outcomes came with the page."""
    root = add_run(tmp_path / "set")
    path = f"results/rewardbench/{MODEL}.json"
    (root / path).parent.mkdir(parents=True)
    shutil.copy(BUNDLED / path, root / path)
    found = content(root)
    return found | derived_files.derive(results_of(found), REPO)


@pytest.fixture
def followed(server: Server, tmp_path: Path) -> HubResults:
    """A page that follows the repository, over bundled outcomes and no bundled results."""
    floor = tmp_path / "floor"
    shutil.copytree(BUNDLED / "items", floor / "items")
    return HubResults(ResultsRepo(REPO, HfApi(endpoint=server.url, token=TOKEN)), ResultsFolder(floor))


def test_results_come_from_the_table_once_a_commit(
    server: Server, followed: HubResults, files: dict[str, bytes]
) -> None:
    """A board costs no table; asked for, the whole results are there, and asked again they cost nothing."""
    server.add_repo(KEY, files)
    followed.check()
    table = derived_files.table_path(BENCHMARK)
    assert server.count(table) == 0
    results = followed.results(BENCHMARK)
    assert results == {LONGEST: read_result(BUNDLED / RUN)}
    number = len(server.requests)
    assert followed.results(BENCHMARK) is results
    assert len(server.requests) == number
    assert followed.results("no-benchmark") == {}
    assert len(server.requests) == number


def test_outcomes_come_from_the_score_table(server: Server, followed: HubResults, files: dict[str, bytes]) -> None:
    """A run's outcomes are read from its scores at the shown commit, once."""
    server.add_repo(KEY, files)
    followed.check()
    found = followed.outcomes(BENCHMARK, LONGEST)
    assert found is not None
    assert (found.model, len(found)) == (LONGEST, 162)
    number = len(server.requests)
    assert followed.outcomes(BENCHMARK, LONGEST) is found
    assert followed.outcomes(BENCHMARK, "nobody/at-all") is None
    assert len(server.requests) == number


def test_a_published_models_outcomes_came_with_the_page(
    server: Server, followed: HubResults, files: dict[str, bytes]
) -> None:
    """A published result has the bundled outcomes that give its sections, and its range says so."""
    server.add_repo(KEY, files)
    followed.check()
    found = followed.outcomes("rewardbench", MODEL)
    assert found is not None
    assert len(found) == 2985
    intervals = {name: [row.rank_interval for row in board.rows] for name, board in followed.boards().items()}
    assert intervals["rewardbench"] == [(1, 1, "items")]
    assert intervals[BENCHMARK] == [(1, 1, "intervals")]


def test_outcomes_of_another_result_of_that_name_are_not_taken(server: Server, followed: HubResults) -> None:
    """Bundled outcomes that do not give a published result's sections are not its own."""
    server.add_repo(KEY, as_files(published_result(MODEL, 0.3)))
    followed.check()
    assert followed.outcomes("rewardbench", MODEL) is None


def test_until_the_hub_answers_the_floor_does(server: Server, tmp_path: Path) -> None:
    """Results and outcomes that came with the page serve until a commit is shown."""
    folder = ResultsFolder(add_run(tmp_path / "floor"))
    followed = HubResults(ResultsRepo(REPO, HfApi(endpoint=server.url, token=TOKEN)), folder)
    assert list(followed.results(BENCHMARK)) == [LONGEST]
    assert followed.outcomes(BENCHMARK, LONGEST) is folder.outcomes(BENCHMARK, LONGEST)


@pytest.mark.parametrize("kind", ["500", "429", "401", "cut-down", "wrong-hash", "stall"])
def test_a_hub_that_fails_leaves_nothing_and_no_error(
    server: Server, followed: HubResults, files: dict[str, bytes], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the hub does, there are no results and no outcomes, nobody waits for it again at once, and later there
    are."""
    server.add_repo(KEY, files)
    followed.check()
    server.fail(Fault(kind, times=30, seconds=3 if kind == "stall" else 0))
    assert followed.results(BENCHMARK) == {}
    assert followed.outcomes(BENCHMARK, LONGEST) is None
    number = len(server.requests)
    assert followed.results(BENCHMARK) == {}
    assert len(server.requests) == number
    server.faults.clear()
    monkeypatch.setattr("rb_core.space.hub_results.RETRY_AFTER", 0.0)
    assert list(followed.results(BENCHMARK)) == [LONGEST]
    assert followed.outcomes(BENCHMARK, LONGEST) is not None


def test_what_is_here_waits_for_no_hub(server: Server, followed: HubResults, files: dict[str, bytes]) -> None:
    """While the hub keeps one visitor waiting, another has at once what was fetched before."""
    server.add_repo(KEY, files)
    followed.check()
    results = followed.results(BENCHMARK)
    server.fail(Fault("stall", times=30, seconds=3))
    other = threading.Thread(target=followed.results, args=("rewardbench",))
    other.start()
    while not followed._files._fetching.locked():
        time.sleep(0.01)
    begin = time.monotonic()
    assert followed.results(BENCHMARK) is results
    assert time.monotonic() - begin < 0.5
    assert other.is_alive()
    server.faults.clear()
    other.join()


def test_scores_and_tables_that_are_none_are_left_out(
    server: Server, followed: HubResults, files: dict[str, bytes]
) -> None:
    """A score file that is not the one the result names, and a table that is none, are as if they were not there."""
    other = (BUNDLED / "scores/starter/baseline/shortest.parquet").read_bytes()
    server.add_repo(KEY, files | {RUN_SCORES: other, derived_files.table_path("rewardbench"): b"nonsense"})
    followed.check()
    assert followed.outcomes(BENCHMARK, LONGEST) is None
    assert followed.results("rewardbench") == {}
    assert followed.outcomes("rewardbench", MODEL) is None


def test_a_newer_commit_brings_its_own_results(server: Server, followed: HubResults, files: dict[str, bytes]) -> None:
    """What was kept of one commit is not shown with the next."""
    server.add_repo(KEY, files)
    followed.check()
    assert followed.outcomes(BENCHMARK, LONGEST) is not None
    result = read_result(BUNDLED / RUN)
    renamed = result.model_copy(update={"model": result.model.model_copy(update={"name": "baseline/newer"})})
    newer = results_of(files) | {"results/starter/baseline/newer.json": to_json(renamed)}
    server.commit(KEY, newer | derived_files.derive(newer, REPO))
    followed.check()
    assert sorted(followed.results(BENCHMARK)) == [LONGEST, "baseline/newer"]
