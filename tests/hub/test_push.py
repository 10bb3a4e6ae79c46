"""Pushing, with the real client against the local hub."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from rb_core.errors import HubError, ResultError, RewardBenchError, ScoreTableError
from rb_core.hub.push import PushPlan, push
from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard import derived_files
from rb_core.results.schema import Result, to_json
from rb_core.results.storage import read_result
from tests.fakes.commands import run_command
from tests.fakes.hub_faults import Fault
from tests.fakes.hub_server import Server
from tests.fakes.result_sets import (
    BUNDLED,
    KEY,
    REPO,
    RUN,
    RUN_SCORES,
    add_run,
    as_files,
    assert_history_whole,
    assert_whole,
    content,
    published,
    results_of,
    write_set,
)
from tests.hub.conftest import READER, TOKEN
from tests.paths import ROOT


def send(repo: ResultsRepo, root: Path, **options: bool) -> str | None:
    """Push and give the address of the commit."""
    return push(REPO, root, repo=repo, **options).url


# --------------------------------------------------------------------------------------------------------------------
# What is pushed


def test_all_bundled_results_go_up_in_one_commit_and_once(server: Server, repo: ResultsRepo) -> None:
    url = send(repo, BUNDLED, create=True)
    assert url == f"{server.url}/datasets/{REPO}/commit/{server.repo(KEY).head}"
    files = server.repo(KEY).files()
    mine = {path: c for path, c in content(BUNDLED).items() if path.startswith(("results/", "scores/"))}
    assert {path: c for path, c in files.items() if path in mine} == mine
    assert_whole(files)
    number = len(server.repo(KEY).commits)
    assert send(repo, BUNDLED) is None
    assert len(server.repo(KEY).commits) == number == 2  # the repository's own first one, and ours


def test_what_is_derived_is_derived_from_everything_there(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    server.add_repo(KEY, as_files(published("a/one", 0.9), published("a/two", 0.8)))
    send(repo, write_set(tmp_path, published("b/three", 0.85)))
    files = server.repo(KEY).files()
    boards, _ = derived_files.read_leaderboard(files[derived_files.LEADERBOARD])
    board = boards["rewardbench"]
    assert [row.model for row in board.rows] == ["a/one", "b/three", "a/two"]
    assert_whole(files)
    assert f"`rewardbench` | {3} |" in files[derived_files.CARD].decode()


def test_only_what_differs_is_sent(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    old = [published(f"org/model-{i}", i / 100) for i in range(100)]
    server.add_repo(KEY, as_files(*old))
    before = len(server.requests)
    plan = push(REPO, write_set(tmp_path, *old, published("org/new", 0.5)), repo=repo).plan
    assert plan.added == ("results/rewardbench/org/new.json",)
    assert plan.unchanged == 100
    sent = {path for path in plan.files if path.startswith("results/")}
    assert sent == {"results/rewardbench/org/new.json"}
    assert len(server.requests) - before < 20


def test_results_of_others_are_read_from_the_table(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    server.add_repo(KEY, as_files(*[published(f"org/model-{i}", i / 100) for i in range(100)]))
    send(repo, write_set(tmp_path, published("org/new", 0.5)))
    assert server.count("/results/rewardbench/org/model-") == 0
    assert len(results_of(server.repo(KEY).files())) == 101


def test_a_table_that_lies_is_not_believed(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    files = as_files(published("a/one", 0.1))
    lie = as_files(published("a/one", 0.9))
    server.add_repo(
        KEY, files | {derived_files.table_path("rewardbench"): lie[derived_files.table_path("rewardbench")]}
    )
    send(repo, write_set(tmp_path, published("b/two", 0.5)))
    boards, _ = derived_files.read_leaderboard(server.repo(KEY).files()[derived_files.LEADERBOARD])
    assert [row.headline.value for row in boards["rewardbench"].rows] == [0.5, 0.1]


def test_a_dry_run_shows_the_plan_and_sends_nothing(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    shown: list[PushPlan] = []
    done = push(REPO, add_run(tmp_path), create=True, dry_run=True, show=shown.append, repo=repo)
    assert done.url is None
    assert shown[0].added == (RUN,)
    assert RUN_SCORES in shown[0].files
    assert {logged.method for logged in server.requests} == {"GET"}


def test_the_plan_is_shown_before_anything_is_sent(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    server.add_repo(KEY)
    writing: list[int] = []
    push(REPO, add_run(tmp_path), show=lambda _: writing.append(server.count("POST")), repo=repo)
    assert writing == [0]


def test_a_missing_repository_is_made_only_when_asked(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    add_run(tmp_path)
    with pytest.raises(HubError, match="--create"):
        send(repo, tmp_path)
    send(repo, tmp_path, create=True, private=True)
    assert server.repo(KEY).private
    assert send(repo, tmp_path, create=True, private=True) is None


def test_a_pull_request_is_opened_once(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    server.add_repo(KEY, as_files(published("a/one")))
    head = server.repo(KEY).head
    root = write_set(tmp_path, published("b/two"))
    first = send(repo, root, pr=True)
    assert first == send(repo, root, pr=True)
    assert server.repo(KEY).head == head
    assert len(server.repo(KEY).pull_requests) == 1
    assert "results/rewardbench/b/two.json" in server.repo(KEY).files("refs/pr/1")
    assert send(repo, write_set(root, published("c/three")), pr=True) != first
    assert len(server.repo(KEY).pull_requests) == 2


# --------------------------------------------------------------------------------------------------------------------
# What is not replaced, and what is refused


def changed(root: Path, **counts: object) -> Path:
    """Change fields of the bundled run's result below a root."""
    result = read_result(root / RUN)
    write_set(root, result.model_copy(update=counts))
    return root


def dirty(run: Result) -> Result:
    assert run.run is not None
    return run.model_copy(update={"run": run.run.model_copy(update={"git_dirty": True})})


def older(run: Result) -> Result:
    assert run.run is not None
    return run.model_copy(update={"run": run.run.model_copy(update={"started": "2020-01-01T00:00:00+00:00"})})


def fewer_scored(run: Result) -> Result:
    assert run.counts is not None
    return run.model_copy(update={"counts": run.counts.model_copy(update={"scored": run.counts.scored - 1})})


def limited(run: Result) -> Result:
    return run.model_copy(update={"benchmark": run.benchmark.model_copy(update={"limit": 5})})


def from_elsewhere(run: Result) -> Result:
    found = published("x/y").published
    return run.model_copy(update={"status": "published", "published": found, "run": None})


LESSER: list[tuple[Callable[[Result], Result], str]] = [
    (dirty, "modified checkout"),
    (older, "of 2020-01-01"),
    (fewer_scored, "scored 299 examples, and the existing one 300"),
    (limited, "limited to 5 examples"),
    (from_elsewhere, "published elsewhere, and the existing one is a run"),
]


@pytest.mark.parametrize(("lesser", "reason"), LESSER, ids=lambda each: getattr(each, "__name__", ""))
def test_a_lesser_result_does_not_replace_the_one_there(
    server: Server, repo: ResultsRepo, tmp_path: Path, lesser: Callable[[Result], Result], reason: str
) -> None:
    """An older or lesser result stays out, with the reason, unless overwrite is given; the others go up."""
    add_run(tmp_path / "there")
    send(repo, tmp_path / "there", create=True)
    there = server.repo(KEY).files()[RUN]
    here = write_set(add_run(tmp_path / "here"), lesser(read_result(BUNDLED / RUN)), published("b/new"))
    plan = push(REPO, here, repo=repo).plan
    assert reason in plan.kept[RUN]
    assert server.repo(KEY).files()[RUN] == there
    assert "results/rewardbench/b/new.json" in server.repo(KEY).files()
    assert push(REPO, here, overwrite=True, repo=repo).plan.replaced == (RUN,)
    assert server.repo(KEY).files()[RUN] == (here / RUN).read_bytes()
    assert_history_whole(server.repo(KEY))


def test_a_newer_result_replaces_the_one_there(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    server.add_repo(KEY, as_files(published("a/one", 0.1, "2026-01-01")))
    plan = push(REPO, write_set(tmp_path, published("a/one", 0.2, "2026-02-01")), repo=repo).plan
    assert plan.replaced == ("results/rewardbench/a/one.json",)


def test_nothing_is_deleted(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    there = as_files(published("a/one")) | {"LICENSE": b"Apache-2.0", "notes/readme.txt": b"x"}
    server.add_repo(KEY, there)
    send(repo, write_set(tmp_path, published("b/two")))
    files = server.repo(KEY).files()
    assert all(files[path] == there[path] for path in there if not derived_files.is_derived(path))


def test_a_file_there_that_is_no_result_does_not_stop_a_push(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    server.add_repo(KEY, as_files(published("a/one")) | {"results/rewardbench/a/broken.json": b"{"})
    send(repo, write_set(tmp_path, published("b/two")))
    files = server.repo(KEY).files()
    assert files["results/rewardbench/a/broken.json"] == b"{"
    boards, _ = derived_files.read_leaderboard(files[derived_files.LEADERBOARD])
    assert len(boards["rewardbench"].rows) == 2


@pytest.mark.parametrize("text", [b"{", to_json(published("a/other")), b'{"schema_version": 2}'])
def test_an_invalid_file_here_stops_the_push(server: Server, repo: ResultsRepo, tmp_path: Path, text: bytes) -> None:
    server.add_repo(KEY)
    write_set(tmp_path, published("a/one"))
    (tmp_path / "results/rewardbench/a/bad.json").write_bytes(text)
    with pytest.raises(ResultError, match=r"bad\.json"):
        send(repo, tmp_path)
    assert len(server.repo(KEY).commits) == 1


def test_a_result_goes_up_only_with_its_own_scores(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    server.add_repo(KEY)
    add_run(tmp_path)
    (tmp_path / RUN_SCORES).write_bytes(b"other")
    with pytest.raises(ScoreTableError, match="is not the file that"):
        send(repo, tmp_path)
    (tmp_path / RUN_SCORES).unlink()
    with pytest.raises(ScoreTableError, match="missing"):
        send(repo, tmp_path)
    assert len(server.repo(KEY).commits) == 1


@pytest.mark.parametrize("name", ["no-organisation", "../up/down", "a/b/c", ""])
def test_a_name_that_is_no_repository_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HubError, match="ORG/NAME"):
        push(name, tmp_path)


@pytest.mark.parametrize("token", [READER, "hf_unknown"])
def test_a_token_without_the_right_changes_nothing(server: Server, tmp_path: Path, token: str) -> None:
    server.add_repo(KEY, as_files(published("a/one")))
    repo = ResultsRepo(REPO, HfApi(endpoint=server.url, token=token))
    with pytest.raises(HubError, match="token") as caught:
        send(repo, write_set(tmp_path, published("b/two")))
    assert "\n" not in str(caught.value)
    assert token not in str(caught.value)
    assert len(server.repo(KEY).commits) == 1


# --------------------------------------------------------------------------------------------------------------------
# Others who push, faults, kills


def test_a_push_in_between_is_taken_in(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    server.add_repo(KEY, as_files(published("a/one")))
    slipped: list[str] = []

    def slip_in(key: str) -> None:
        if len(slipped) < 2:
            slipped.append(key)
            theirs = [published(f"c/slipped-{i + 1}") for i in range(len(slipped))]
            server.commit(KEY, as_files(published("a/one"), *theirs))

    server.before_commit = slip_in
    send(repo, write_set(tmp_path, published("b/two")))
    assert len(slipped) == 2
    names = {path.rsplit("/", 2)[1] + "/" + path.rsplit("/", 1)[1] for path in results_of(server.repo(KEY).files())}
    assert names == {"a/one.json", "b/two.json", "c/slipped-1.json", "c/slipped-2.json"}
    assert_history_whole(server.repo(KEY))


def test_two_who_push_at_once_lose_nothing(server: Server, tmp_path: Path) -> None:
    server.add_repo(KEY)
    processes = []
    for i in range(2):
        root = write_set(tmp_path / str(i), *[published(f"org-{i}/model-{j}", j / 10) for j in range(3)])
        processes.append(start(server, tmp_path, "push", "--root", str(root)))
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert "pushed: " in output
    assert len(results_of(server.repo(KEY).files())) == 6
    assert_history_whole(server.repo(KEY))


KINDS = ("500", "503", "429", "401", "403", "409", "412", "cut-up", "cut-down", "wrong-hash", "stall", "lost-answer")


def what_went_wrong(repo: ResultsRepo, root: Path) -> str | None:
    """The message of a push that failed; None for one that did not. Any other error than ours is raised."""
    try:
        send(repo, root)
    except RewardBenchError as error:
        return str(error)
    return None


@pytest.mark.parametrize("number", [12, pytest.param(200, marks=pytest.mark.soak)])
def test_faults_at_random_requests_spoil_nothing(server: Server, tmp_path: Path, number: int) -> None:
    dice = random.Random(number)
    repo = ResultsRepo(REPO, HfApi(endpoint=server.url, token=TOKEN))
    server.add_repo(KEY)
    failed: list[str] = []
    kinds = [KINDS[i % len(KINDS)] for i in range(number)]
    dice.shuffle(kinds)
    for i, kind in enumerate(kinds):
        root = tmp_path / str(i)
        write_set(root, published(f"org/model-{i}", i / number))
        if i % 4 == 0:
            add_run(root)
        server.fail(Fault(kind, at=dice.randint(1, 9), seconds=0.2 if kind != "stall" else 3.0))
        commits = len(server.repo(KEY).commits)
        if said := what_went_wrong(repo, root):
            assert "\n" not in said
            assert TOKEN not in said
            failed.append(kind)
            assert len(server.repo(KEY).commits) == commits
        server.faults.clear()
        send(repo, root)
        assert len(server.repo(KEY).commits) - commits <= 1 + (kind == "wrong-hash")
        shutil.rmtree(root)
    assert set(failed) <= {"401", "403", "wrong-hash"}  # everything else passes by itself
    assert len(results_of(server.repo(KEY).files())) == number + 1
    assert_history_whole(server.repo(KEY))


@pytest.mark.parametrize("number", [2, pytest.param(50, marks=pytest.mark.soak)])
def test_a_killed_push_leaves_the_history_whole(server: Server, tmp_path: Path, number: int) -> None:
    dice = random.Random(number)
    server.add_repo(KEY)
    for i in range(number):
        root = add_run(write_set(tmp_path / str(i), *[published(f"org/model-{i}-{j}", j / 10) for j in range(5)]))
        code = (
            "from pathlib import Path; import huggingface_hub.hf_api; from rb_core.hub.push import push\n"
            f"print('ready', flush=True); push({REPO!r}, Path({str(root)!r}))"
        )
        environment = server.environment(tmp_path / "home", TOKEN)
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(dice.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert_history_whole(server.repo(KEY))
        send(ResultsRepo(REPO, HfApi(endpoint=server.url, token=TOKEN)), root)
        assert len(results_of(server.repo(KEY).files())) == 5 * (i + 1) + 1
    assert_history_whole(server.repo(KEY))


# --------------------------------------------------------------------------------------------------------------------
# The command


def start(server: Server, home: Path, *arguments: str, token: str = TOKEN, **more: str) -> subprocess.Popen[str]:
    """Start `rb sync ...` with the local hub as its hub."""
    command = [sys.executable, "-m", "rb_core", "sync", arguments[0], "--repo", REPO, *arguments[1:]]
    environment = server.environment(home / "home", token, COLUMNS="200", **more)
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_command_shows_the_plan_and_the_commit(server: Server, tmp_path: Path) -> None:
    add_run(tmp_path / "set")
    arguments = ("sync", "push", "--repo", REPO, "--root", str(tmp_path / "set"), "--create")
    environment = server.environment(tmp_path / "home", TOKEN, COLUMNS="200")
    first, second = (run_command(arguments, environment) for _ in range(2))
    assert re.search(r"add 1 result of starter\n.*pushed: http\S+/commit/[0-9a-f]{40}", first.stdout, re.DOTALL), first
    assert "nothing to push" in second.stdout


@pytest.mark.parametrize("fault", [None, "401", "403", "500", "cut-up"])
def test_the_token_appears_nowhere(server: Server, tmp_path: Path, fault: str | None) -> None:
    server.add_repo(KEY)
    if fault:
        server.fail(Fault(fault, match="POST", times=50))
    root = add_run(tmp_path / "set")
    more = {"HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug", "RB_HUB_TIMEOUT": "2", "PYTHONFAULTHANDLER": "1"}
    logs = "import logging; logging.basicConfig(level=logging.DEBUG); import rb_core.retries as r; r.FIRST_WAIT = 0.01"
    environment = server.environment(tmp_path / "home", TOKEN, **more)
    done = run_command(["sync", "push", "--repo", REPO, "--root", str(root)], environment, before=logs)
    assert any(logged.token == TOKEN for logged in server.requests)  # it was used
    assert "DEBUG" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert (done.returncode == 0) == (fault is None)
    texts = [p.read_bytes() for p in (tmp_path / "set").rglob("*") if p.is_file()]
    texts += server.repo(KEY).files().values()
    assert not any(TOKEN.encode() in text for text in texts)


def test_pushes_from_threads_lose_nothing(server: Server, tmp_path: Path) -> None:
    server.add_repo(KEY)

    def one(i: int) -> str | None:
        repo = ResultsRepo(REPO, HfApi(endpoint=server.url, token=TOKEN))
        return send(repo, write_set(tmp_path / str(i), published(f"org/model-{i}")))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(4)))
    assert len(results_of(server.repo(KEY).files())) == 4
