"""Jobs at the protocol's boundary: what the unmodified client sends to a local server, and what it never says aloud."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from huggingface_hub import HfApi

from rb_core.benchmarks.card import read_card
from rb_core.errors import HubError
from rb_core.evaluation import hf_jobs
from tests.fakes.commands import run_command
from tests.paths import ROOT

TOKEN = "hf_averysecrettokenofmine"  # noqa: S105
PACKAGE = "git+https://example.org/org/rewardbench@0123abc"
MODEL = "Skywork/Skywork-Reward-V2-Qwen3-0.6B"
COMMAND = (
    f'cd "$(mktemp -d)" && python -m pip install --quiet {PACKAGE} && '
    f"python -m rb_core evaluate --model {MODEL} --benchmark rewardbench-2 --out mine --dtype bfloat16 && "
    "python -m rb_core sync push --repo org/results --root mine"
)


def hardware(name: str) -> dict[str, Any]:
    plain = {"name": name, "prettyName": name, "cpu": "12 vCPU", "ram": "46 GB", "accelerator": None}
    return plain | {"unitCostMicroUSD": 25000, "unitCostUSD": 0.025, "unitLabel": "minute"}


def listed(number: int, stage: str, **more: Any) -> dict[str, Any]:
    """A job as the service answers it."""
    return {
        "id": f"id{number}",
        "createdAt": f"2026-01-0{number}T12:00:00.000Z",
        "dockerImage": "python:3.12",
        "environment": {},
        "flavor": "a10g-large",
        "labels": {},
        "owner": {"id": "1", "name": "me", "type": "user"},
        "status": {"stage": stage, "message": None},
        **more,
    }


@dataclass
class Service:
    """What the server was asked, and what it answers with instead of a job where `failure` says so."""

    home: Path
    endpoint: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    posted: list[Any] = field(default_factory=list)
    failure: tuple[int, dict[str, str]] | None = None
    answer: Any = None
    hf_jobs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def api(self) -> HfApi:
        return HfApi(endpoint=self.endpoint, token=TOKEN)


def handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            """Keep the tests' output clean."""

        def do_GET(self) -> None:
            self.note()
            known = {
                "/api/whoami-v2": {"name": "me", "type": "user"},
                "/api/jobs/hardware": [hardware("cpu-basic"), hardware("a10g-large")],
                "/api/datasets/org/results": {"id": "org/results", "sha": "0", "siblings": []},
            }
            if self.path in known:
                self.send(200, known[self.path])
            elif not self.path.startswith("/api/jobs/"):  # the client may ask other things of its own accord
                self.send(404, {"error": "not here"}, {"X-Error-Code": "RepoNotFound"})
            else:
                self.send(*(service.failure or (200, service.jobs)))

        def do_POST(self) -> None:
            self.note()
            service.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send(*(service.failure or (200, service.answer or listed(1, "SCHEDULING"))))

        def note(self) -> None:
            service.requests.append((self.command, self.path, self.headers.get("Authorization", "")))

        def send(self, status: int, content: Any, headers: Mapping[str, str] = {}) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    state = Service(tmp_path / "home")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def planned(**changes: Any) -> hf_jobs.Job:
    plain: dict[str, Any] = {"repo": "org/results", "options": ["--dtype", "bfloat16"], "package": PACKAGE}
    return hf_jobs.plan_job(MODEL, "rewardbench-2", changes.pop("flavor", "a10g-large"), **plain | changes)


def rb(arguments: Sequence[str], service: Service) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": service.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": str(service.home)}
    return run_command(arguments, environment)


SUBMIT = ("submit", "--model", MODEL, "--benchmark", "rewardbench-2", "--flavor", "a10g-large", "--package", PACKAGE)


# --------------------------------------------------------------------------------------------------------------------
# What is sent


def test_a_job_is_posted_exactly(service: Service) -> None:
    started = hf_jobs.submit_job(planned(timeout="90m", image="python:3.12"), service.api)
    assert service.posted == [
        {
            "command": ["bash", "-c", COMMAND],
            "arguments": [],
            "environment": {"PYTHONUNBUFFERED": "1", "RB_MODEL": MODEL, "RB_BENCHMARK": "rewardbench-2"},
            "flavor": "a10g-large",
            "secrets": {"HF_TOKEN": TOKEN},
            "timeoutSeconds": 5400,
            "labels": {
                "app": "rewardbench",
                "model": "Skywork-Skywork-Reward-V2-Qwen3-0-6B",
                "benchmark": "rewardbench-2",
                "name": "rb-rewardbench-2-Skywork-Skywork-Reward-V2-Qwen3-0-6B",
            },
            "dockerImage": "python:3.12",
        }
    ]
    assert service.requests[-1] == ("POST", "/api/jobs/me", f"Bearer {TOKEN}")
    assert (started.id, started.status) == ("id1", "SCHEDULING")
    assert started.url == f"{service.endpoint}/jobs/me/id1"


def test_the_token_is_a_secret_and_nothing_else(service: Service) -> None:
    started = hf_jobs.submit_job(planned(namespace="org"), service.api)
    (posted,) = service.posted
    assert posted.pop("secrets") == {"HF_TOKEN": TOKEN}
    assert TOKEN not in json.dumps(posted)
    assert TOKEN not in repr(started)
    assert service.requests[-1][:2] == ("POST", "/api/jobs/org")


def test_nothing_in_the_command_is_read_by_the_shell(tmp_path: Path) -> None:
    job = planned(options=["--name", "a $(touch x); b", "--revision", "it's"])
    last = job.command[2].split(" && ")[2]
    assert shlex.split(last)[-4:] == ["--name", "a $(touch x); b", "--revision", "it's"]
    shell = ["bash", "-c", f"printf '%s|' {last}"]
    echoed = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert echoed.stdout.endswith("--name|a $(touch x); b|--revision|it's|")
    assert not (tmp_path / "x").exists()


def test_several_gpus_are_several_processes() -> None:
    """A flavor with four GPUs launches four processes, unless one process has all of them."""
    assert "accelerate launch --num_processes 4 -m rb_core evaluate" in planned(flavor="a10g-largex4").command[2]
    assert "accelerate" not in planned(flavor="l4x1").command[2]
    for alone in (["--device-map", "auto"], ["--mode", "ratings"], ["--kind", "generative"], ["--kind=generative"]):
        assert "accelerate" not in planned(flavor="a10g-largex4", options=alone).command[2]
    assert [hf_jobs.gpus_of(name) for name in ("cpu-xl", "t4-small", "h200x8", "rtx-pro-6000", "a100x4")] == [
        1,
        1,
        8,
        1,
        4,
    ]


def test_without_a_repository_the_result_is_printed() -> None:
    command = planned(repo=None).command[2]
    assert command.endswith("&& find mine/results -name '*.json' -exec cat {} +")
    assert "sync push" not in command


# --------------------------------------------------------------------------------------------------------------------
# What is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repo": "results"}, "expected ORG/NAME"),
        ({"namespace": "a/b"}, "the name of a user"),
        ({"timeout": "soon"}, "expected seconds"),
        ({"timeout": "0h"}, "expected seconds"),
        ({"image": "--privileged"}, "container image"),
        ({"package": "--index-url=x"}, "pip requirement"),
        ({"package": "git+https://me:hf_secret@huggingface.co/spaces/me/x"}, "user or a password"),
        ({"package": "rb_core"}, "cannot read files of this machine"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(HubError, match=message) as refused:
        planned(**changes)
    assert "hf_secret" not in str(refused.value)


def test_files_of_this_machine_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="cannot read files of this machine"):
        hf_jobs.plan_job(str(tmp_path), "rewardbench-2", "a10g-large", package=PACKAGE)
    with pytest.raises(HubError, match="cannot read files of this machine"):
        hf_jobs.plan_job(MODEL, "my_pairs.jsonl", "a10g-large", package=PACKAGE)


def test_an_unknown_flavor_is_refused(service: Service) -> None:
    with pytest.raises(HubError, match="unknown flavor 'a10g-huge': choose one of cpu-basic, a10g-large"):
        hf_jobs.submit_job(planned(flavor="a10g-huge"), service.api)
    assert service.posted == []


def test_a_repository_that_is_not_there_is_found_before_anything_is_paid_for(service: Service) -> None:
    with pytest.raises(HubError, match="--repo org/other: there is no such dataset repository"):
        hf_jobs.submit_job(planned(repo="org/other"), service.api)
    assert service.posted == []


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "log in with a valid token"),
        (402, "the account needs credits"),
        (403, "needs the right to run jobs"),
        (500, "may have been started all the same"),
    ],
)
def test_a_refusal_is_one_line_without_the_token(service: Service, status: int, hint: str) -> None:
    service.failure = (status, {"error": f"no, {TOKEN} will not do"})
    with pytest.raises(HubError, match=hint) as refused:
        hf_jobs.submit_job(planned(), service.api)
    text = str(refused.value)
    assert TOKEN not in text
    assert "no, [token] will not do" in text
    assert len(text.splitlines()) == 1
    assert refused.value.__cause__ is None


def test_a_service_that_is_not_there_is_one_line(service: Service) -> None:
    with pytest.raises(HubError, match="the service does not list its hardware"):
        hf_jobs.submit_job(planned(), HfApi(endpoint="http://127.0.0.1:1", token=TOKEN))


def test_an_answer_the_client_cannot_read_is_one_line(service: Service) -> None:
    service.answer = {"id": "x"}
    with pytest.raises(HubError, match="see rb jobs"):
        hf_jobs.submit_job(planned(), service.api)


def test_no_token_is_a_clear_error(service: Service) -> None:
    with pytest.raises(HubError, match="log in with hf auth login"):
        hf_jobs.submit_job(planned(), HfApi(endpoint=service.endpoint, token=False))
    assert service.requests == []


def test_an_old_client_is_named() -> None:

    class Old:
        def run_job(self, *, image: str, command: list[str], env: Any, secrets: Any, flavor: str) -> None: ...

    class Older: ...

    for client, lacking in ((Old(), r"run_job\(labels, namespace, timeout\)"), (Older(), r"run_job\(\)")):
        with pytest.raises(HubError, match=rf"too old for jobs: it has no {lacking}; update it"):
            hf_jobs.submit_job(planned(), client)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------------------------
# The package that a job installs


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[..., str]:
    """A checkout with a package in it; calling it runs git there."""

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        done = subprocess.run(["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    (tmp_path / "__init__.py").write_text("", encoding="utf-8")
    git("init", "--quiet", "--initial-branch", "main")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    return git


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://example.org/org/name.git", "https://example.org/org/name.git"),
        ("https://me:hf_secret@huggingface.co/spaces/org/name", "https://huggingface.co/spaces/org/name"),
        ("git@example.org:org/name.git", "https://example.org/org/name.git"),
        ("ssh://git@example.org:22/org/name", "https://example.org/org/name"),
    ],
)
def test_the_package_is_the_remote_at_this_commit(
    checkout: Callable[..., str], tmp_path: Path, remote: str, url: str
) -> None:
    """By https and without a password, so that it can stand in a command."""
    checkout("remote", "add", "origin", remote)
    checkout("update-ref", "refs/remotes/origin/main", "HEAD")
    assert hf_jobs.default_package(tmp_path) == f"git+{url}@{checkout('rev-parse', 'HEAD')}"


def test_a_package_that_a_job_could_not_install_is_refused(checkout: Callable[..., str], tmp_path: Path) -> None:

    def refused(message: str) -> None:
        with pytest.raises(HubError, match=f"{message}.*--package"):
            hf_jobs.default_package(tmp_path)

    refused("has no remote")
    checkout("remote", "add", "origin", "/somewhere/else")
    refused("remote origin")
    checkout("remote", "set-url", "origin", "https://example.org/org/name")
    refused("is not on origin")
    checkout("update-ref", "refs/remotes/origin/main", "HEAD")
    (tmp_path / "__init__.py").write_text("changed = True\n", encoding="utf-8")
    refused("has changes")


def test_outside_of_a_checkout_the_package_has_to_be_said(tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"git checkout.*--package"):
        hf_jobs.default_package(tmp_path)


# --------------------------------------------------------------------------------------------------------------------
# Listing, and the command line


def test_jobs_are_listed_by_label_and_namespace(service: Service) -> None:
    exact = {"RB_MODEL": MODEL, "RB_BENCHMARK": "rewardbench-2"}
    service.jobs = [
        listed(1, "COMPLETED", labels={"model": "a-b", "benchmark": "starter"}),
        listed(2, "RUNNING", environment=exact),
        listed(3, "ERROR"),
    ]
    (running,) = hf_jobs.list_jobs(api=service.api)
    assert service.requests[-1] == ("GET", "/api/jobs/me?label=app%3Drewardbench", f"Bearer {TOKEN}")
    assert (running.id, running.model, running.benchmark) == ("id2", MODEL, "rewardbench-2")
    assert running.created == "2026-01-02T12:00:00+00:00"
    found = hf_jobs.list_jobs("org", ended=True, api=service.api)
    assert service.requests[-1][1] == "/api/jobs/org?label=app%3Drewardbench"
    assert [job.id for job in found] == ["id3", "id2", "id1"]
    assert (found[2].model, found[2].benchmark) == ("a-b", "starter")
    lines = hf_jobs.jobs_table(found).splitlines()
    assert lines[0].split() == ["id", "status", "model", "benchmark", "flavor", "created", "url"]
    assert lines[2].split()[:5] == ["id2", "RUNNING", MODEL, "rewardbench-2", "a10g-large"]


def test_a_list_that_is_refused_is_one_line(service: Service) -> None:
    service.failure = (403, {"error": "no"})
    with pytest.raises(HubError, match=r"the jobs cannot be listed.*right to run jobs"):
        hf_jobs.list_jobs(api=service.api)


def test_what_a_dry_run_prints_is_what_would_be_sent(service: Service) -> None:
    done = rb([*SUBMIT, "--repo", "org/results", "--dry-run", "--", "--dtype", "bfloat16"], service)
    assert done.returncode == 0, done.stderr
    said = dict(line.split(":", 1) for line in done.stdout.splitlines())
    assert shlex.split(said["command"]) == ["bash", "-c", COMMAND]
    assert said["flavor"].strip() == "a10g-large"
    assert said["image"].strip() == hf_jobs.DEFAULT_IMAGE
    assert said["timeout"].strip() == hf_jobs.DEFAULT_TIMEOUT
    assert said["secrets"].strip() == "HF_TOKEN"
    assert f"RB_MODEL={MODEL}" in said["environment"]
    assert TOKEN not in done.stdout + done.stderr
    assert service.requests == []


@pytest.mark.parametrize("failure", [None, (500, {"error": TOKEN}), (401, {"error": TOKEN}), (402, {"error": TOKEN})])
def test_the_command_line_never_says_the_token(service: Service, failure: tuple[int, dict[str, str]] | None) -> None:
    service.failure = failure
    done = rb([*SUBMIT, "--repo", "org/results"], service)
    assert TOKEN not in done.stdout + done.stderr
    assert len(service.posted) == 1
    if failure is None:
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"job id1 is SCHEDULING: {service.endpoint}/jobs/me/id1\n"
    else:
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: the job was not accepted: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--dtypo", "x"), "No such option"),
        (("--out", "x"), "--out: a job has no files"),
        (("--data", "x"), "--data: a job has no files"),
        (("--chat-template", "x"), "--chat-template: a job has no files"),
        (("--scorer", "mine:f"), "--scorer: a job has no files"),
        (("--ensemble", "a/b,c/d"), "--ensemble: a job has no files"),
        (("--model", "other/model"), "go before the --"),
        (("--reference", "rb_core"), "cannot read files of this machine"),
        (("--tokenizer", "rb_core"), "cannot read files of this machine"),
        (("--question", "README.md"), "--question: a job has no files"),
        (("--token", "a", "--tokens", "a,b"), "give either --token or --tokens"),
    ],
)
def test_options_are_checked_here_and_not_on_rented_hardware(
    service: Service, options: Sequence[str], message: str
) -> None:
    done = rb([*SUBMIT, "--", *options], service)
    assert done.returncode == 2
    assert message in done.stderr
    assert service.requests == []


def test_jobs_are_printed(service: Service) -> None:
    service.jobs = [listed(1, "RUNNING", environment={"RB_MODEL": "a/b\x1b[2J"}), listed(2, "CANCELED")]
    done = rb(["jobs"], service)
    assert done.returncode == 0, done.stderr
    _, line = done.stdout.splitlines()
    assert line.split()[:3] == ["id1", "RUNNING", "a/b?[2J"]
    assert len(rb(["jobs", "--all"], service).stdout.splitlines()) == 3


def test_a_job_takes_the_card_of_a_benchmark_on_the_hub_along(tmp_path: Path) -> None:
    card = tmp_path / "honesty.yaml"
    card.write_text("{id: honesty, hub: org/data, title: It's one, splits: [test]}", encoding="utf-8")
    job = hf_jobs.plan_job("org/model", str(card), "cpu-basic", package="rewardbench")
    steps = job.command[2].split(" && ")
    assert job.benchmark == "honesty"
    (step,) = [step for step in steps if "benchmark.yaml" in step and "printf" in step]
    subprocess.run(["bash", "-c", step], cwd=tmp_path, check=True)
    assert read_card(tmp_path / "benchmark.yaml") == read_card(card)
    assert any("--benchmark benchmark.yaml" in step for step in steps)
    card.write_text("{id: honesty, data: rows.jsonl}", encoding="utf-8")
    with pytest.raises(HubError, match="hub: is missing; a job cannot read data of this machine"):
        hf_jobs.plan_job("org/model", str(card), "cpu-basic", package="rewardbench")
