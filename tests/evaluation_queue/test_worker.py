"""Workers: leases, answers, and what kills and faults leave."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rb_core.doctor.report import CheckResult, DoctorReport
from rb_core.errors import FileError, HubError, ModelError
from rb_core.evaluation_queue.checks import RequestRefused
from rb_core.evaluation_queue.repository import RequestsRepo
from rb_core.evaluation_queue.request import FINAL, EvaluationRequest
from rb_core.evaluation_queue.worker import LEASE, Hold, UnfitModelError, Worker, worker_name
from tests.fakes.commands import run_command
from tests.fakes.hub_faults import Fault
from tests.fakes.hub_server import Logged, Server
from tests.fakes.requests import NOW, REQUESTS_KEY, make_request, request_files, requests_in
from tests.fakes.result_sets import KEY
from tests.hub.conftest import TOKEN

REPORT = DoctorReport("org/m", (CheckResult("head", "Head", "FAIL", "all weights are zero", "train it"),))


@dataclass
class Scripted:
    """An evaluation that raises the errors in turn, and then none; `during` is called while it works."""

    errors: list[Exception]
    during: object = None
    published: int = 0

    def evaluate(self, request: EvaluationRequest, hold: Hold) -> None:
        if callable(self.during):
            self.during()
        if self.errors:
            raise self.errors.pop(0)

    def publish(self, request: EvaluationRequest) -> str:
        self.published += 1
        return "the address"

    def forget(self, request: EvaluationRequest) -> None:
        """Nothing is kept."""


def worker(repo: RequestsRepo, *errors: Exception, name: str = "one", now: datetime = NOW) -> Worker:
    return Worker(repo, name, Scripted(list(errors)), now=lambda: now, pause=0.01)


def left(server: Server) -> EvaluationRequest:
    (request,) = requests_in(server.repo(REQUESTS_KEY).files()).values()
    return request


def test_an_evaluated_request_is_done_with_its_result(server: Server, repo: RequestsRepo) -> None:
    server.commit(REQUESTS_KEY, request_files(make_request()))
    settled = worker(repo).run_one()
    assert settled == left(server)
    assert (settled.state, settled.result, settled.attempt) == ("done", "the address", 1)
    assert worker(repo).run_one() is None
    titles = [commit.title.partition(":")[0] for commit in server.repo(REQUESTS_KEY).commits[2:]]
    assert titles == ["Running", "Done"]


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (RequestRefused("no licence"), "refused", "no licence"),
        (ModelError("no template\nmore"), "failed", "no template"),
        (RuntimeError("CUDA out of memory"), "failed", "RuntimeError: CUDA out of memory"),
        (UnfitModelError(REPORT), "failed", "doctor: 1 checks failed; Head: all weights are zero (train it)"),
        (HubError("away"), "waiting", "away"),
        (FileError("disk full"), "waiting", "disk full"),
    ],
)
def test_each_error_has_its_answer(
    server: Server, repo: RequestsRepo, error: Exception, state: str, reason: str
) -> None:
    server.commit(REQUESTS_KEY, request_files(make_request()))
    settled = worker(repo, error).run_one()
    assert settled == left(server)
    assert (settled.state, settled.reason) == (state, reason)
    if settled.report:
        assert json.loads(server.repo(REQUESTS_KEY).files()[settled.report]) == json.loads(json.dumps(REPORT.to_json()))


def test_a_request_that_never_has_an_answer_fails(server: Server, repo: RequestsRepo) -> None:
    server.commit(REQUESTS_KEY, request_files(make_request()))
    hopeless = worker(repo, *[HubError("away")] * 9)
    states = [hopeless.run_one() for _ in range(6)]
    assert [each.state for each in states if each] == ["waiting"] * 5 + ["failed"]
    assert left(server).reason == "given up after 5 attempts: away"


def test_a_dead_workers_request_is_taken_when_its_lease_has_ended(server: Server, repo: RequestsRepo) -> None:
    held = make_request().taken("dead", NOW, LEASE)
    server.commit(REQUESTS_KEY, request_files(held))
    assert worker(repo, now=NOW + LEASE).run_one() is None
    settled = worker(repo, now=NOW + LEASE * 2).run_one()
    assert settled is not None
    assert (settled.state, settled.worker, settled.attempt) == ("done", "one", 2)


def test_a_worker_goes_on_with_its_own_request_first(server: Server, repo: RequestsRepo) -> None:
    mine = make_request(5).taken("one", NOW, LEASE)
    dead = make_request(2).taken("dead", NOW - LEASE * 2, LEASE)
    server.commit(REQUESTS_KEY, request_files(make_request(1), dead, mine))
    done = [worker(repo).run_one() for _ in range(3)]
    assert [each.model for each in done if each] == ["org/model-5", "org/model-2", "org/model-1"]


def test_who_lost_the_lease_publishes_nothing(server: Server, repo: RequestsRepo) -> None:
    server.commit(REQUESTS_KEY, request_files(make_request()))
    slow = worker(repo)
    fast = worker(repo, name="two", now=NOW + LEASE * 2)
    assert isinstance(slow.evaluation, Scripted)
    slow.evaluation.during = fast.run_one
    slow.run_one()
    assert slow.evaluation.published == 0
    assert (left(server).state, left(server).worker) == ("done", "two")


def test_a_lease_is_renewed_while_the_model_is_evaluated(server: Server, repo: RequestsRepo) -> None:
    server.commit(REQUESTS_KEY, request_files(make_request()))
    renewed = threading.Event()
    server.before_commit = lambda key: renewed.set() if left(server).state == "running" else None
    patient = Worker(repo, "one", Scripted([], during=lambda: renewed.wait(60)), timedelta(seconds=0.03))
    assert patient.run_one() == left(server)
    assert left(server).state == "done"


@pytest.mark.parametrize("status", ["403", "503"])
def test_an_evaluation_is_not_given_up_for_an_outage(server: Server, repo: RequestsRepo, status: str) -> None:
    server.commit(REQUESTS_KEY, request_files(make_request()))
    during = lambda: server.fail(Fault(status, match="POST .*/commit/", times=3))  # noqa: E731
    patient = Worker(repo, "one", Scripted([], during=during), pause=0.01)
    assert patient.run_one() == left(server)
    assert left(server).state == "done"


def test_a_folder_has_one_worker_with_one_name(tmp_path: Path) -> None:
    with worker_name(tmp_path / "work") as name:
        with pytest.raises(HubError, match="another worker runs here"), worker_name(tmp_path / "work"):
            pass
        with worker_name(tmp_path / "other") as other:
            assert other != name
    with worker_name(tmp_path / "work") as again:
        assert again == name


KINDS = ("500", "503", "429", "403", "409", "412", "cut-up", "cut-down", "lost-answer")


def kill_one(dice: random.Random, folder: Path) -> None:
    """Kill a worker that is running. It may have ended meanwhile, or be about to be started."""
    files = sorted(folder.glob("pid-*"))
    with contextlib.suppress(ValueError, ProcessLookupError):
        os.kill(int(dice.choice(files).read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("seed", "requests", "kills"),
    [(0, 4, 4), *[pytest.param(seed, 60, 30, marks=pytest.mark.soak) for seed in range(1, 201)]],
)
def test_kills_and_faults_lose_and_repeat_nothing(
    server: Server, repo: RequestsRepo, tmp_path: Path, seed: int, requests: int, kills: int
) -> None:
    """Three workers, killed when a random request of theirs is on its way: each request ends in one final state, and
    each model is evaluated and published once."""
    dice, lock = random.Random(seed), threading.Lock()
    server.commit(REQUESTS_KEY, request_files(*map(make_request, range(requests))))
    moments = set(dice.sample(range(10, 30 * requests), kills))
    faults = set(dice.sample(range(10, 30 * requests), kills))
    seen = 0

    def strike(logged: Logged) -> None:
        nonlocal seen
        with lock:
            seen += 1
            if seen in moments:
                kill_one(dice, tmp_path)
            if seen in faults:
                server.fail(Fault(dice.choice(KINDS), at=dice.randint(1, 4)))

    server.on_request = strike
    arguments = [server.url, TOKEN, str(tmp_path), "3"]
    start = f"import sys; sys.argv[1:] = {arguments}; from tests.fakes.request_workers import main; main()"
    done = run_command([], dict(os.environ), before=start)
    server.on_request = None
    assert done.returncode == 0, done.stderr

    final = requests_in(server.repo(REQUESTS_KEY).files())
    assert len(final) == requests
    assert {(each.state, each.reason) for each in final.values()} == {("done", "")}
    settled: Counter[str] = Counter()
    before: dict[str, EvaluationRequest] = {}
    for commit in server.repo(REQUESTS_KEY).commits[1:]:
        now = requests_in(server.repo(REQUESTS_KEY).files(commit.oid))
        assert before.keys() <= now.keys()
        for request in now.values():
            earlier = before.get(request.id, make_request())
            settled[request.id] += request.state in FINAL and earlier.state not in FINAL
            assert earlier.state not in FINAL or earlier == request
        before = now
    assert set(settled.values()) == {1}
    published = Counter(commit.title for commit in server.repo(KEY).commits[1:])
    assert published == Counter(f"org/model-{i}.txt" for i in range(requests))
