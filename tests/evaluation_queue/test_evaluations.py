"""From a request to the board: the commands, with a real model on the local hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import load, save
from typer.testing import CliRunner

from rb_core.cli.main import make_app
from rb_core.leaderboard.derived_files import LEADERBOARD, read_leaderboard
from rb_core.results.schema import parse_result
from rb_core.results.storage import read_result
from tests.fakes.hub_server import Server
from tests.fakes.requests import CARD, REQUESTS, REQUESTS_KEY, requests_in
from tests.fakes.result_sets import KEY, REPO
from tests.hub.conftest import TOKEN
from tests.paths import BUNDLED, ROOT


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
