"""Following a results repository: what the page shows while results are pushed, and while the hub is away."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
from rb_core.space.hub_results import HubResults, results_source
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from tests.fakes import hub_server
from tests.fakes.hub_faults import Fault
from tests.fakes.hub_server import Server
from tests.fakes.result_sets import KEY, REPO, as_files, published, write_set
from tests.paths import ROOT
from tests.space.conftest import OpenPage, Serve

PERIOD = 0.5  # seconds
TOKEN = "hf_" + "w" * 34
PROBLEM = "could not be shown"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("RB_HUB_TIMEOUT", "2")
    monkeypatch.setattr("rb_core.retries.FIRST_WAIT", 0.01)
    with hub_server.serve(tokens={TOKEN: "write"}) as running:
        yield running


@pytest.fixture
def repo(server: Server) -> ResultsRepo:
    return ResultsRepo(REPO, HfApi(endpoint=server.url, token=TOKEN))


@pytest.fixture
def followed(repo: ResultsRepo, tmp_path: Path) -> Iterator[HubResults]:
    """Over bundled results of one model, a repository that is followed."""
    floor = ResultsFolder(write_set(tmp_path / "bundled", published("came/with-the-page")))
    found = HubResults(repo, floor, PERIOD)
    yield found
    found.stop()


def models(source: HubResults) -> list[str]:
    """The models of the only board."""
    (board,) = source.boards().values()
    return [row.model for row in board.rows]


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not holds():
        time.sleep(0.02)
    return holds()


def test_a_pushed_result_is_shown_within_a_period(
    server: Server, repo: ResultsRepo, followed: HubResults, tmp_path: Path
) -> None:
    """The page shows what is pushed without a restart, and names the commit."""
    server.add_repo(KEY, as_files(published("a/one")))
    followed.start()
    assert within(3, lambda: models(followed) == ["a/one"])
    push(REPO, write_set(tmp_path / "set", published("b/two", 0.9)), repo=repo)
    assert within(PERIOD + 1, lambda: models(followed) == ["b/two", "a/one"])
    assert server.repo(KEY).head[:7] in followed.status_html()
    assert "just now" in followed.status_html()


def test_an_unchanged_commit_costs_one_request(server: Server, followed: HubResults) -> None:
    """While nothing new is there, a look is one request, and the boards stay the same object."""
    server.add_repo(KEY, as_files(published("a/one")))
    followed.check()
    before, number = followed.boards(), len(server.requests)
    followed.check()
    assert len(server.requests) == number + 1
    assert followed.boards() is before


def test_the_results_that_came_with_the_page_are_the_floor(server: Server, followed: HubResults) -> None:
    """Until the hub answers, and when it has no such repository, the bundled results are shown; the line says so."""
    assert models(followed) == ["came/with-the-page"]
    assert "is being read" in followed.status_html()
    followed.check()
    assert models(followed) == ["came/with-the-page"]
    assert "no such repository" in followed.status_html()
    assert server.count("GET") == 1


@pytest.mark.parametrize("kind", ["500", "429", "401", "cut-down", "wrong-hash", "stall"])
def test_the_last_good_boards_stay_while_the_hub_fails(server: Server, followed: HubResults, kind: str) -> None:
    """Whatever the hub does, the last good boards stay, the line says what is wrong, and the next look mends it."""
    server.add_repo(KEY, as_files(published("a/one")))
    followed.check()
    server.commit(KEY, as_files(published("b/two")))
    server.fail(Fault(kind, times=30, seconds=3 if kind == "stall" else 0))
    followed.check()
    assert models(followed) == ["a/one"]
    assert PROBLEM in followed.status_html()
    server.faults.clear()
    followed.check()
    assert models(followed) == ["b/two"]
    assert PROBLEM not in followed.status_html()


@pytest.mark.parametrize(
    "content", [b"{", b'{"version": 99, "results": "", "boards": []}', b'{"version": 2, "results": "", "boards": [{}]}']
)
def test_boards_that_are_none_are_passed_over(server: Server, followed: HubResults, content: bytes) -> None:
    """A commit whose leaderboard.json is not one of ours leaves the last good boards."""
    server.add_repo(KEY, as_files(published("a/one")))
    followed.check()
    server.commit(KEY, {derived_files.LEADERBOARD: content})
    followed.check()
    assert models(followed) == ["a/one"]
    assert "leaderboard.json: " in followed.status_html()


def test_what_a_repository_says_is_no_markup(server: Server, followed: HubResults) -> None:
    """Text of the repository that comes into the line is escaped."""
    server.add_repo(
        KEY, {derived_files.LEADERBOARD: b'{"version": "<img src=x onerror=alert(1)>", "results": "", "boards": []}'}
    )
    followed.check()
    assert "&lt;img" in followed.status_html()
    assert "<img" not in followed.status_html()


def test_the_age_of_a_commit_is_in_words(server: Server, followed: HubResults) -> None:
    """The line says how old the shown commit is."""
    server.add_repo(KEY, as_files(published("a/one")))
    followed.check()
    shown = followed._snapshot
    for ago, words in ((timedelta(days=3, hours=2), "3 days ago"), (timedelta(minutes=61), "1 hour ago")):
        followed._snapshot = replace(shown, date=datetime.now(UTC) - ago)
        assert words in followed.status_html()


def test_a_name_that_is_no_repository_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RB_RESULTS_REPO with something else than ORG/NAME is an error at once, not a page that follows nothing; so is a
    period that is none."""
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


def test_the_page_follows_and_outlives_the_hub(tmp_path: Path, open_page: OpenPage, serve: Serve) -> None:
    """In the browser: a new result is there on the next visit, and the page keeps serving when the hub has died."""
    with hub_server.serve(tokens={TOKEN: "write"}) as hub:
        repo = ResultsRepo(REPO, HfApi(endpoint=hub.url, token=TOKEN))
        there = hub.add_repo(KEY, as_files(published("a/one")))
        followed = HubResults(repo, ResultsFolder(tmp_path / "none"), PERIOD)
        followed.check()
        page = open_page(at=serve(build(followed.start())))
        rows = page.locator(".rb-scroll tbody tr")
        line = page.locator("#results-line")
        expect(rows).to_have_count(1)
        expect(line).to_contain_text(f"Results of {REPO} at {there.head[:7]}")
        push(REPO, write_set(tmp_path / "set", published("b/two", 0.9)), repo=repo)
        assert within(PERIOD + 1, lambda: len(models(followed)) == 2)
        page.reload()
        expect(rows).to_have_count(2)
        expect(line).to_contain_text(there.head[:7])
    assert within(10, lambda: PROBLEM in followed.status_html())
    page.reload()
    expect(rows).to_have_count(2)
    expect(line).to_contain_text(PROBLEM)
    followed.stop()


def test_the_app_follows_the_repository_it_is_told(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    """`python app.py` with RB_RESULTS_REPO serves that repository's boards, and a new result within a period."""
    server.add_repo(KEY, as_files(published("a/one")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    more = {
        "RB_RESULTS_REPO": REPO,
        "RB_RESULTS_PERIOD": "1",
        "GRADIO_SERVER_PORT": port,
        "GRADIO_ANALYTICS_ENABLED": "0",
    }
    environment = server.environment(tmp_path / "home", None, **more)
    app = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert app.stdout is not None
        assert "Running on local URL" in next(line for line in app.stdout if "URL" in line)
        client = Client(f"http://127.0.0.1:{port}", verbose=False)

        def names() -> list[str]:
            return [row[1] for row in client.predict("rewardbench", api_name="/leaderboard")["rows"]]

        assert within(10, lambda: names() == ["a/one"])
        push(REPO, write_set(tmp_path / "set", published("b/two", 0.9)), repo=repo)
        assert within(1 + 2, lambda: names() == ["b/two", "a/one"])
    finally:
        app.kill()
        app.communicate()
