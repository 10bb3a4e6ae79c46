"""What an error of the hub's client is told as: one line that says what to do, without tokens and headers."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import OfflineModeIsEnabled

from rb_core.errors import HubError, first_line
from rb_core.hub.client import can_retry, explain, explaining_errors
from rb_core.results.estimate import Estimate
from rb_core.results.schema import BenchmarkRef, ModelRef, Published, Result
from rb_core.results.storage import write_result
from tests.fakes.commands import run_command
from tests.fakes.hub_faults import Fault
from tests.fakes.hub_messages import Answer
from tests.fakes.hub_server import Server, failed
from tests.fakes.result_sets import KEY, REPO
from tests.hub.conftest import READER

MODEL = "org/judge"
SECRET = "hf_secretsecretsecretsecret"  # noqa: S105
COMMANDS = {
    "push": ("sync", "push", "--repo", REPO, "--root", "."),
    "pull": ("sync", "pull", "--repo", REPO, "--out", "pulled"),
    "export": ("export", "eval-results", MODEL, "--push", "--root", "."),
    "submit": (
        *("submit", "--model", MODEL, "--benchmark", "rewardbench-2", "--flavor", "cpu-basic", "--repo", REPO),
        *("--package", "git+https://example.org/org/name@0123abc"),
    ),
}


def refused(server: Server, folder: Path, command: str, token: str) -> str:
    """The one line in which a command ends that the hub is asked with this token."""
    result = Result(
        status="published",
        benchmark=BenchmarkRef(id="rewardbench-2", title="RewardBench 2", source="allenai/reward-bench-2"),
        model=ModelRef(name=MODEL, kind="classifier"),
        headline=Estimate(value=0.5),
        published=Published(source="somewhere", retrieved="2026-01-01"),
    )
    write_result(folder, result)
    environment = server.environment(folder / "home", token, RB_HUB_TIMEOUT="2")
    done = run_command(COMMANDS[command], environment, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert done.stdout == "" or command == "export"
    said = [line for line in done.stderr.splitlines() if not line.startswith("left out: ")]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("error: ")
    assert not any(part in done.stdout + done.stderr for part in ("abcdef", "uvwxyz", "hf_a"))
    return said[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_token_that_cannot_be_sent_is_said_and_not_shown(server: Server, tmp_path: Path, command: str) -> None:
    server.add_repo(KEY)
    server.add_repo(f"models/{MODEL}")
    line = refused(server, tmp_path, command, "hf_abcdefghijklmnopqrst\x0buvwxyz\n")
    assert "the token has a character that cannot be sent" in line
    assert server.requests == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_token_with_a_space_in_it_is_not_shown(server: Server, tmp_path: Path, command: str) -> None:
    server.add_repo(KEY)
    server.add_repo(f"models/{MODEL}")
    line = refused(server, tmp_path, command, "hf_abcdefghijklmnopqrst uvwxyz\nhf_abcdefghijklmnopqrst\n")
    assert "HTTP 40" in line


def test_a_token_that_is_no_ascii_cannot_be_sent(server: Server) -> None:
    server.add_repo(KEY)
    with pytest.raises(HubError, match="the token has a character") as caught, explaining_errors("reading"):
        HfApi(endpoint=server.url, token="hf_abcdefghijklmnopé").dataset_info(REPO)  # noqa: S106
    assert "hf_" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"Illegal header value b'Bearer {SECRET}\\n'\nmore",
        "Illegal header value b'Bearer a secret with spaces'",
        "bearer secret",
        f"token {SECRET} is not valid",
        f"token {SECRET!r} is not valid",
        "hf_oauth_secretsecretsecret.secret-secret_secret",
    ],
)
def test_a_token_in_a_message_is_not_repeated(text: str) -> None:
    line = first_line(ValueError(text))
    assert "secret" not in line
    assert "[token]" in line


def test_what_is_no_token_stays_as_it_is() -> None:
    text = "hf_hub_download() and hf_raise_for_status() of HF_HUB_DISABLE_TELEMETRY: xyz"
    assert first_line(ValueError(text)) == text
    assert first_line(ValueError(text), "xyz").endswith(": [token]")
    assert first_line(ValueError(f"no, {SECRET} and more"), f"{SECRET} and") == "no, [token] more"


@pytest.mark.parametrize("status", ["401", "403", "409", "412", "429", "500"])
def test_a_status_is_explained_without_headers(server: Server, monkeypatch: pytest.MonkeyPatch, status: str) -> None:

    def with_headers(fault: Fault) -> Answer:
        answer = failed(fault)
        answer.headers |= {"X-Request-Id": "of-a-header", "X-Error-Message": "of-a-header"}
        return answer

    monkeypatch.setattr("tests.fakes.hub_server.failed", with_headers)
    server.add_repo(KEY)
    server.fail(Fault(status, match="GET", times=50))
    with pytest.raises(HubError) as caught, explaining_errors("reading"):
        HfApi(endpoint=server.url, token=READER).dataset_info(REPO)
    line = str(caught.value)
    assert line.startswith("reading: ")
    assert f"(HTTP {status}: Made to fail with {status})" in line
    assert not any(text in line for text in ("of-a-header", "Retry-After", READER, "\n"))
    assert caught.value.__cause__ is None


def test_a_caller_says_what_to_do_where_that_is_something_else() -> None:
    assert explain(ConnectionError("gone")).endswith("(ConnectionError: gone); check the connection")
    assert explain(ConnectionError("gone"), {None: "wait"}).endswith("(ConnectionError: gone); wait")


def test_offline_mode_is_named_and_not_waited_for() -> None:
    error = OfflineModeIsEnabled("Cannot reach the hub")
    assert "unset HF_HUB_OFFLINE" in explain(error)
    assert not can_retry(error)
    assert can_retry(ConnectionError("gone"))


def test_a_line_holds_nothing_that_a_terminal_obeys() -> None:
    assert explain(ValueError("a\x1b[2Jb")) == "a?[2Jb"
