"""From a request to the board: the commands, with a real model on the local hub."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load, save
from typer.testing import CliRunner

from rb_core.cli.main import make_app
from rb_core.evaluation import hf_jobs
from rb_core.evaluation_queue.checks import RequestLimits, add_request, check_request
from rb_core.evaluation_queue.evaluations import JobEvaluation
from rb_core.evaluation_queue.repository import RequestsRepo
from rb_core.evaluation_queue.worker import Worker
from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard.derived_files import LEADERBOARD, read_leaderboard
from rb_core.models.options import ModelOptions
from rb_core.results.schema import parse_result, to_json
from rb_core.results.storage import read_result
from tests.fakes.hub_server import Server
from tests.fakes.requests import CARD, REQUESTS, REQUESTS_KEY, model_files, requests_in
from tests.fakes.result_sets import KEY, REPO
from tests.hub.conftest import TOKEN
from tests.paths import BUNDLED, ROOT


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[hf_jobs.JobStatus]:
    """The jobs of a service that starts each one and keeps it until the test ends it."""
    jobs: list[hf_jobs.JobStatus] = []

    def submit(job: hf_jobs.Job, api: object) -> hf_jobs.JobStatus:
        assert job.doctor == ("--revision", job.options[1], "--dtype", "float32")
        assert "-m rb_core doctor --model org/mine --revision" in job.command[-1]
        number = str(len(jobs))
        jobs.append(hf_jobs.JobStatus(number, "RUNNING", job.model, job.benchmark, job.flavor, "", "url", job.request))
        return jobs[-1]

    monkeypatch.setattr(hf_jobs, "submit_job", submit)
    monkeypatch.setattr(hf_jobs, "list_jobs", lambda ended, api: jobs)
    return jobs


@pytest.fixture
def by_job(server: Server, repo: RequestsRepo, board: ResultsRepo, tmp_path: Path) -> Worker:
    """A worker that evaluates on jobs, and a request of org/mine that waits for it."""
    server.add_repo("models/org/mine", model_files())
    options = ModelOptions(dtype="float32", threshold=0.5)
    limits = RequestLimits()
    add_request(repo, check_request("org/mine", "starter", options, "me", board, limits), limits)
    evaluation = JobEvaluation(
        board, tmp_path, limits, "a10g-large", package="git+https://example.org/a@b", period=0.01
    )
    return Worker(repo, "one", evaluation, pause=0.01)


def end(jobs: list[hf_jobs.JobStatus], status: str) -> None:
    jobs[-1] = replace(jobs[-1], status=status)


def test_a_job_that_pushes_its_result_is_done(server: Server, by_job: Worker, jobs: list[hf_jobs.JobStatus]) -> None:
    revision = server.repo("models/org/mine").head
    run = read_result(BUNDLED / "results/starter/builtin/tiny-rm.json")
    mine = run.model_copy(update={"model": run.model.model_copy(update={"name": "org/mine", "revision": revision})})

    def push_and_end(seconds: float) -> None:
        server.commit(KEY, {mine.path().as_posix(): to_json(mine)})
        end(jobs, "COMPLETED")

    assert isinstance(by_job.evaluation, JobEvaluation)
    by_job.evaluation.sleep = push_and_end
    settled = by_job.run_one()
    assert settled is not None
    assert (settled.state, settled.job) == ("done", "url")
    assert settled.result.endswith("/results/starter/org/mine.json")


def test_a_request_has_one_job_whenever_its_worker_is_killed(by_job: Worker, jobs: list[hf_jobs.JobStatus]) -> None:
    def killed(seconds: float) -> None:
        raise KeyboardInterrupt

    assert isinstance(by_job.evaluation, JobEvaluation)
    by_job.evaluation.sleep = killed
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            by_job.run_one()
    end(jobs, "ERROR")
    settled = by_job.run_one()
    assert settled is not None
    assert settled.state == "failed"
    assert settled.reason == "the job ended as ERROR without a result; its log has the doctor's report: url"
    assert len(jobs) == 1


def run(command: str, *arguments: str) -> str:
    done = CliRunner().invoke(make_app(command), [command, "--requests", REQUESTS, *arguments])
    assert done.exception is None, done.exception
    return done.output


def test_requested_models_are_evaluated_or_have_the_doctors_report(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    folder = ROOT / "rb_core/builtin/tiny_rm"
    good = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} | {"README.md": CARD}
    weights = load(good["model.safetensors"])
    (head,) = (name for name in weights if name.startswith("score"))
    bad = good | {"model.safetensors": save(weights | {head: weights[head] * 0}, {"format": "pt"})}
    server.add_repo("models/org/good", good)
    server.add_repo("models/org/bad", bad)
    for model in ("org/bad", "org/good"):
        run("request", "--results", REPO, "--model", model, "--benchmark", "starter")
    output = run("worker", "--results", REPO, "--work", str(tmp_path / "work"), "--once")
    assert "org/good on starter: done" in output

    files = server.repo(REQUESTS_KEY).files()
    states = {each.model: each for each in requests_in(files).values()}
    assert states["org/good"].state == "done"
    assert states["org/bad"].state == "failed"
    assert "doctor: " in states["org/bad"].reason
    assert json.loads(files[states["org/bad"].report])["failed"]

    board = server.repo(KEY).files()
    result = parse_result(board["results/starter/org/good.json"], "")
    same = read_result(BUNDLED / "results/starter/builtin/tiny-rm.json")
    assert result.headline is not None
    assert same.headline is not None
    assert result.headline.value == pytest.approx(same.headline.value, abs=1e-6)
    assert result.model.revision == server.repo("models/org/good").head
    assert [row.model for row in read_leaderboard(board[LEADERBOARD])[0]["starter"].rows] == ["org/good"]
    assert "org/bad" in run("requests")
    assert [path.name for path in (tmp_path / "work").iterdir() if path.is_dir()] == []
