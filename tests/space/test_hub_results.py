"""Results of a repository on the hub: boards, the results and outcomes behind them, and a hub that fails."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gradio_client import Client
from huggingface_hub import HfApi
from playwright.sync_api import expect

from rb_core.errors import HubError, RewardBenchError
from rb_core.hub.push import push
from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard import derived_files
from rb_core.results.schema import to_json
from rb_core.results.storage import read_result
from rb_core.space.hub_results import HubResults, results_source
from rb_core.space.leaderboard.custom_ranking import NOT_AVAILABLE, CustomRankings
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from tests.fakes import hub_server
from tests.fakes.hub_faults import Fault
from tests.fakes.hub_server import Server
from tests.fakes.result_sets import (
    KEY,
    REPO,
    RUN,
    RUN_SCORES,
    add_run,
    as_files,
    content,
    published,
    results_of,
    write_set,
)
from tests.paths import BUNDLED, ROOT
from tests.space.conftest import OpenPage, Serve
from tests.waiting import PATIENCE, wait_until

PERIOD = 0.3  # seconds
TOKEN = "hf_" + "w" * 34
PROBLEM = "could not be shown"
MODEL = "Skywork/Skywork-Reward-Gemma-2-27B"
BENCHMARK, LONGEST = "starter", "baseline/longest"
ONE, TWO = as_files(published("a/one")), as_files(published("b/two"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("RB_HUB_TIMEOUT", "1")
    monkeypatch.setattr("rb_core.retries.FIRST_WAIT", 0.01)
    with hub_server.serve(tokens={TOKEN: "write"}) as running:
        yield running


@pytest.fixture
def repo(server: Server) -> ResultsRepo:
    return ResultsRepo(REPO, HfApi(endpoint=server.url, token=TOKEN))


@pytest.fixture
def boards_only(repo: ResultsRepo, tmp_path: Path) -> HubResults:
    """The repository over a bundled result of one model."""
    return HubResults(repo, ResultsFolder(write_set(tmp_path / "bundled", published("bundled/model"))), PERIOD)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a repository with a run and a published model whose outcomes are bundled."""
    root = add_run(tmp_path_factory.mktemp("set"))
    path = f"results/rewardbench/{MODEL}.json"
    (root / path).parent.mkdir(parents=True)
    shutil.copy(BUNDLED / path, root / path)
    results = content(root)
    return results | derived_files.derive(results_of(results), REPO)


@pytest.fixture
def with_files(server: Server, repo: ResultsRepo, files: dict[str, bytes], tmp_path: Path) -> HubResults:
    """The repository of `files`, read once, over bundled outcomes and no bundled results."""
    (tmp_path / "bundled").mkdir()
    (tmp_path / "bundled" / "items").symlink_to(BUNDLED / "items")
    server.add_repo(KEY, files)
    source = HubResults(repo, ResultsFolder(tmp_path / "bundled"), PERIOD)
    source.check()
    return source


def models(source: HubResults) -> list[str]:
    """The models of the only board."""
    (board,) = source.boards().values()
    return [row.model for row in board.rows]


# Boards


def test_an_unchanged_commit_costs_one_request(server: Server, boards_only: HubResults) -> None:
    """The boards stay the same object. The status has the commit's age in words."""
    server.add_repo(KEY, ONE)
    boards_only.check()
    before, requests = boards_only.boards(), len(server.requests)
    boards_only.check()
    assert len(server.requests) == requests + 1
    assert boards_only.boards() is before
    snapshot = boards_only._snapshot
    for age, words in ((timedelta(days=3, hours=2), "3 days ago"), (timedelta(minutes=61), "1 hour ago")):
        boards_only._snapshot = replace(snapshot, date=datetime.now(UTC) - age)
        assert words in boards_only.status_html()


def test_the_status_names_new_models_and_changed_ranks_of_a_week(server: Server, boards_only: HubResults) -> None:
    store = server.add_repo(KEY, as_files(published("a/one"), published("b/two", 0.4)))
    first = store.head
    store.all[first] = replace(store.all[first], date="2026-01-01T00:00:00.000Z")
    boards_only.check()
    assert "New in the week" not in boards_only.status_html()
    server.commit(KEY, as_files(published("a/one"), published("b/two", 0.8), published("c/three", 0.9)))
    boards_only.check()
    assert (
        "New in the week before it: RewardBench: c/three is new at rank 1, a/one went from rank 1 to 3."
        in boards_only.status_html()
    )


def test_bundled_results_are_shown_until_a_commit_is_read(server: Server, boards_only: HubResults) -> None:
    """Also when there is no such repository; the status has the reason."""
    assert models(boards_only) == ["bundled/model"]
    assert "is being read" in boards_only.status_html()
    boards_only.check()
    assert models(boards_only) == ["bundled/model"]
    assert "no such repository" in boards_only.status_html()
    assert server.count("GET") == 1


@pytest.mark.parametrize(
    "leaderboard",
    [b"{", b'{"version": 99, "results": "", "boards": []}', b'{"version": 2, "results": "", "boards": [{}]}'],
)
def test_a_commit_with_invalid_boards_is_skipped(server: Server, boards_only: HubResults, leaderboard: bytes) -> None:
    server.add_repo(KEY, ONE)
    boards_only.check()
    server.commit(KEY, {derived_files.LEADERBOARD: leaderboard})
    boards_only.check()
    assert models(boards_only) == ["a/one"]
    assert "leaderboard.json: " in boards_only.status_html()


def test_texts_of_a_repository_are_escaped(server: Server, boards_only: HubResults) -> None:
    evil = b'{"version": "<img src=x onerror=alert(1)>", "results": "", "boards": []}'
    server.add_repo(KEY, {derived_files.LEADERBOARD: evil})
    boards_only.check()
    assert "&lt;img" in boards_only.status_html()
    assert "<img" not in boards_only.status_html()


# Results and outcomes


def test_results_and_outcomes_are_fetched_once(server: Server, with_files: HubResults) -> None:
    """Boards need no table; a result that is requested again needs no request, nor does an unknown one."""
    assert server.count(derived_files.table_path(BENCHMARK)) == 0
    results = with_files.results(BENCHMARK)
    assert results == {LONGEST: read_result(BUNDLED / RUN)}
    outcomes = with_files.outcomes(BENCHMARK, LONGEST)
    assert outcomes is not None
    assert (outcomes.model, len(outcomes)) == (LONGEST, 300)
    requests = len(server.requests)
    assert with_files.results(BENCHMARK) is results
    assert with_files.outcomes(BENCHMARK, LONGEST) is outcomes
    assert with_files.results("no-benchmark") == {}
    assert with_files.outcomes(BENCHMARK, "nobody/at-all") is None
    assert len(server.requests) == requests


def test_outcomes_of_published_models_are_bundled(server: Server, with_files: HubResults) -> None:
    """Only those that give the sections of the published result; its rank interval then comes from them."""
    outcomes = with_files.outcomes("rewardbench", MODEL)
    assert outcomes is not None
    assert len(outcomes) == 2985
    intervals = {name: [row.rank_interval for row in board.rows] for name, board in with_files.boards().items()}
    assert intervals["rewardbench"] == [(1, 1, "items")]
    assert intervals[BENCHMARK] == [(1, 1, "intervals")]
    server.commit(KEY, as_files(published(MODEL, 0.3)))
    with_files.check()
    assert with_files.outcomes("rewardbench", MODEL) is None


def test_a_custom_score_has_rank_intervals_from_bundled_outcomes(server: Server, with_files: HubResults) -> None:
    """Only the table of results is fetched, once; without the hub the answer says so."""
    rankings, request = CustomRankings(with_files), {"board": "rewardbench", "weights": {"Chat": 1.0, "Safety": 1.0}}
    answer = rankings.ranking(request)
    assert answer["rows"][MODEL]["low"] < answer["rows"][MODEL]["headline"] < answer["rows"][MODEL]["high"]
    assert answer["ranges"][MODEL] == [1, 1, "items"]
    server.fail(Fault("503", times=30))
    other = {"board": BENCHMARK, "weights": {"Chat": 1.0}}
    assert rankings.ranking(request) == answer
    assert rankings.ranking(other) == {"message": NOT_AVAILABLE}


def test_bundled_files_serve_until_a_commit_is_read(repo: ResultsRepo, tmp_path: Path) -> None:
    folder = ResultsFolder(add_run(tmp_path / "bundled"))
    source = HubResults(repo, folder)
    assert list(source.results(BENCHMARK)) == [LONGEST]
    assert source.outcomes(BENCHMARK, LONGEST) is folder.outcomes(BENCHMARK, LONGEST)


@pytest.mark.parametrize("kind", ["500", "429", "401", "cut-down", "wrong-hash", "stall"])
def test_a_failing_hub_leaves_the_last_boards_and_no_error(
    server: Server, with_files: HubResults, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are absent without further requests, and come back with the hub. The status has the problem meanwhile."""
    fault = Fault(kind, times=30, seconds=1.5 if kind == "stall" else 0)
    server.fail(fault)
    assert with_files.results(BENCHMARK) == {}
    assert with_files.outcomes(BENCHMARK, LONGEST) is None
    requests = len(server.requests)
    assert with_files.results(BENCHMARK) == {}
    assert len(server.requests) == requests
    server.faults.clear()
    monkeypatch.setattr("rb_core.space.hub_results.RETRY_AFTER", 0.0)
    assert list(with_files.results(BENCHMARK)) == [LONGEST]
    assert with_files.outcomes(BENCHMARK, LONGEST) is not None
    server.commit(KEY, TWO)
    server.fail(fault)
    with_files.check()
    assert BENCHMARK in with_files.boards()
    assert PROBLEM in with_files.status_html()
    server.faults.clear()
    with_files.check()
    assert models(with_files) == ["b/two"]
    assert PROBLEM not in with_files.status_html()


def test_cached_files_wait_for_no_request(server: Server, with_files: HubResults) -> None:
    """While the hub keeps one visitor waiting, another gets at once what was fetched before."""
    results = with_files.results(BENCHMARK)
    server.fail(Fault("stall", times=30, seconds=PATIENCE))
    waiting = threading.Thread(target=with_files.results, args=("rewardbench",), daemon=True)
    waiting.start()
    wait_until(with_files._files._fetching.locked)
    assert with_files.results(BENCHMARK) is results
    assert waiting.is_alive()


def test_invalid_score_files_and_tables_are_absent(
    server: Server, with_files: HubResults, files: dict[str, bytes]
) -> None:
    """A score file that is not the one the result names, and a table that is not a table."""
    other = (BUNDLED / "scores/starter/baseline/shortest.parquet").read_bytes()
    server.commit(KEY, files | {RUN_SCORES: other, derived_files.table_path("rewardbench"): b"nonsense"})
    with_files.check()
    assert with_files.outcomes(BENCHMARK, LONGEST) is None
    assert with_files.results("rewardbench") == {}
    assert with_files.outcomes("rewardbench", MODEL) is None


def test_a_newer_commit_has_its_own_results(server: Server, with_files: HubResults, files: dict[str, bytes]) -> None:
    assert with_files.outcomes(BENCHMARK, LONGEST) is not None
    result = read_result(BUNDLED / RUN)
    renamed = result.model_copy(update={"model": result.model.model_copy(update={"name": "baseline/newer"})})
    newer = results_of(files) | {"results/starter/baseline/newer.json": to_json(renamed)}
    server.commit(KEY, newer | derived_files.derive(newer, REPO))
    with_files.check()
    assert sorted(with_files.results(BENCHMARK)) == [LONGEST, "baseline/newer"]


# The page and the app

# `python app.py`, which first prints the page's title and the heavy modules that it has imported.
START_APP = """
import runpy, sys, gradio
launch = gradio.Blocks.launch
def launch_and_report(page, **options):
    print(page.title, sorted({'torch', 'transformers', 'datasets'} & sys.modules.keys()), flush=True)
    return launch(page, **options)
gradio.Blocks.launch = launch_and_report
runpy.run_path("app.py", run_name="__main__")
"""


def test_the_settings_are_checked_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RB_RESULTS_REPO must be ORG/NAME, and RB_RESULTS_PERIOD a number of seconds."""
    monkeypatch.setenv("RB_RESULTS_REPO", "not a name")
    with pytest.raises(HubError, match="ORG/NAME"):
        results_source(tmp_path)
    monkeypatch.setenv("RB_RESULTS_REPO", "me/results")
    for period in ("often", "nan", "inf", "-1"):
        monkeypatch.setenv("RB_RESULTS_PERIOD", period)
        with pytest.raises(RewardBenchError, match="RB_RESULTS_PERIOD is"):
            results_source(tmp_path)
    monkeypatch.delenv("RB_RESULTS_REPO")
    assert isinstance(results_source(tmp_path), ResultsFolder)


def test_a_models_page_lists_the_versions_of_a_result(
    server: Server, boards_only: HubResults, open_page: OpenPage, serve: Serve
) -> None:
    server.add_repo(KEY, ONE)
    server.commit(KEY, as_files(published("a/one", 0.9, "2026-02-01")), "Corrected <b>")
    boards_only.check()
    page = open_page("?tab=model&model=a%2Fone", at=serve(build(boards_only)))
    page.get_by_role("button", name="Versions of this result").click()
    versions = page.locator(".rb-model-versions li")
    expect(versions).to_have_count(2)
    expect(versions.first).to_contain_text("90.0")
    expect(versions.first).to_contain_text("Corrected <b>")
    expect(versions.first).to_contain_text("Changed: another source; score 50.0 → 90.0")
    former = server.repo(KEY).commits[0].oid
    expect(versions.last.get_by_role("link")).to_have_attribute("href", re.compile(f"/blob/{former}/results/"))


def test_the_page_shows_pushed_results_and_survives_the_hub(tmp_path: Path, open_page: OpenPage, serve: Serve) -> None:
    """A new result is shown on the next visit, without a restart, and the page keeps serving when the hub is gone."""
    with hub_server.serve(tokens={TOKEN: "write"}) as hub:
        repo = ResultsRepo(REPO, HfApi(endpoint=hub.url, token=TOKEN))
        stored = hub.add_repo(KEY, ONE)
        source = HubResults(repo, ResultsFolder(tmp_path / "none"), PERIOD)
        source.check()
        page = open_page(at=serve(build(source.start())))
        rows = page.locator(".rb-scroll tbody tr")
        line = page.locator("#results-line")
        expect(rows).to_have_count(1)
        expect(line).to_contain_text(f"Results of {REPO} at {stored.head[:7]}")
        push(REPO, write_set(tmp_path / "set", published("b/two", 0.9)), repo=repo)
        wait_until(lambda: models(source) == ["b/two", "a/one"])
        page.reload()
        expect(rows).to_have_count(2)
        expect(line).to_contain_text(stored.head[:7])
        expect(line).to_contain_text("just now")
    wait_until(lambda: PROBLEM in source.status_html())
    page.reload()
    expect(rows).to_have_count(2)
    expect(line).to_contain_text(PROBLEM)
    source.stop()


def test_the_app_follows_the_repository_of_its_environment(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    """`python app.py` with RB_RESULTS_REPO shows that repository's boards, and a new result within a period.

    It starts without the modules that only scoring needs.
    """
    server.add_repo(KEY, ONE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = {
        "RB_RESULTS_REPO": REPO,
        "RB_RESULTS_PERIOD": "1",
        "GRADIO_SERVER_PORT": port,
        "GRADIO_ANALYTICS_ENABLED": "0",
    }
    environment = server.environment(tmp_path / "home", None, **settings)
    start = [sys.executable, "-c", START_APP]
    app = subprocess.Popen(start, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert app.stdout is not None
        assert app.stdout.readline().split(maxsplit=1) == ["RewardBench", "[]\n"]
        assert "Running on local URL" in next(line for line in app.stdout if "URL" in line)
        client = Client(f"http://127.0.0.1:{port}", verbose=False)

        def names() -> list[str]:
            return [row[1] for row in client.predict("rewardbench", api_name="/leaderboard")["rows"]]

        wait_until(lambda: names() == ["a/one"])
        push(REPO, write_set(tmp_path / "set", published("b/two", 0.9)), repo=repo)
        wait_until(lambda: names() == ["b/two", "a/one"])
    finally:
        app.kill()
        app.communicate()
