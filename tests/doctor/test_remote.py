"""The doctor compares a server with the checkpoint, and names what a server does wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rb_core import retries
from rb_core.doctor import DoctorReport, examine
from rb_core.models.options import SERVER_APIS, ModelOptions, ServerApi
from rb_core.scorers.http import client
from tests.doctor.reports import failures, result_of
from tests.fakes.reward_server import NAME, Flaw, RewardServer
from tests.fakes.tiny_models import classifier

TinyModel = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(client, "FIRST_CONTACT", 0.3)


def compare(server: RewardServer, folder: Path) -> DoctorReport:
    with server:
        return examine(NAME, ModelOptions(url=server.url, api=server.api, tokenizer=str(folder)))


@pytest.mark.parametrize("api", SERVER_APIS)
def test_a_good_server_passes(api: ServerApi, tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    report = compare(RewardServer(api, folder), folder)
    assert failures(report) == []
    assert [result_of(report, name).status for name in ("server", "scores", "length")] == ["PASS"] * 3


@pytest.mark.parametrize(
    ("api", "flaw", "check", "words"),
    [
        ("vllm-classify", "sigmoid", "server", "gives probabilities"),
        ("openrlhf", "sigmoid", "scores", "the server applies a sigmoid"),
        ("vllm-classify", "second-bos", "server", "a second BOS"),
        ("openrlhf", "second-bos", "scores", "the server adds a second BOS"),
        ("openrlhf", "scales", "scores", "the server scales scores (x 3 +1)"),
        ("openrlhf", "cuts", "length", "the server cuts long conversations"),
        ("sglang", "cuts", "length", "the server cuts a conversation of"),
    ],
)
def test_a_fault_is_named(api: ServerApi, flaw: Flaw, check: str, words: str, tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    server = RewardServer(api, folder, flaw=flaw)
    server.cut = 120
    report = compare(server, folder)
    assert failures(report) == [check]
    assert words in result_of(report, check).found


def test_another_model_is_named(tiny_model: TinyModel, tmp_path: Path) -> None:
    other = classifier("llama", tmp_path / "m", initializer_range=0.4)
    report = compare(RewardServer("sglang", other), tiny_model("llama"))
    assert failures(report) == ["scores"]
    assert "scores another model" in result_of(report, "scores").found


def test_a_server_that_is_away_fails(tiny_model: TinyModel) -> None:
    with RewardServer("tei", tiny_model("llama")) as server:
        url = server.url
    report = examine(NAME, ModelOptions(url=url, api="tei", tokenizer=str(tiny_model("llama"))))
    assert failures(report) == ["server"]
    assert "answers no request" in result_of(report, "server").found
