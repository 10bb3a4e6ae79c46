"""Runs of a reward model behind a server: failures are unscored, and the same command asks only about these again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from rb_core import retries
from rb_core.evaluation import evaluate, prompt_windows
from rb_core.evaluation.journal import Journal
from rb_core.leaderboard.reproduce import reproduce_commands
from rb_core.results.failures import NO_SCORE, REJECTED
from rb_core.results.paths import scores_path
from rb_core.results.schema import Result
from rb_core.results.score_table import read_scores
from rb_core.results.storage import read_result
from rb_core.scorers.http import client
from tests.cli.command_line import rb
from tests.fakes.judge_server import Fault
from tests.fakes.reward_server import NAME, RewardServer

TinyModel = Callable[[str], Path]
NUM_PAIRS = 12
REFUSED = Fault("status", status=400, said="odd")
HALF = Fault("raw", said={"meta_info": {}})


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(retries, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(client, "FIRST_CONTACT", 0.3)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_windows, "WINDOW_COMPLETIONS", 6)


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    rows = [{"prompt": f"Question {i}?", "chosen": f"Right {i}", "rejected": f"Wrong {i}"} for i in range(NUM_PAIRS)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(server: RewardServer, folder: Path, benchmark: Path, out: Path, *more: str) -> list[str]:
    names = ["--model", NAME, "--benchmark", str(benchmark), "--out", str(out), "--tokenizer", str(folder)]
    return ["evaluate", *names, "--url", server.url, "--api", server.api, *more]


def written(out: Path) -> tuple[Result, pd.DataFrame]:
    """Return the only result in a folder with its score table."""
    (path,) = (out / "results").rglob("*.json")
    result = read_result(path)
    return result, read_scores(out / scores_path(result.benchmark.id, result.model.name))[0]


@pytest.mark.parametrize(("fault", "reason"), [(REFUSED, REJECTED), (HALF, NO_SCORE)], ids=["refused", "half"])
def test_a_second_run_asks_only_about_what_failed(
    fault: Fault, reason: str, tiny_model: TinyModel, benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tiny_model("llama"), tmp_path / "out"
    with RewardServer("sglang", folder) as server:
        arguments = command(server, folder, benchmark, out)
        answer = server.answer
        server.answer = lambda body: fault if "Right 1" in server.tokenizer.decode(body["input_ids"]) else answer(body)
        assert rb(arguments, monkeypatch) == 0
        first, table = written(out)
        failed = int((table["reason"] == reason).sum())
        assert failed == 3  # 1, 10 and 11
        assert first.failed_requests == failed
        assert first.counts is not None
        assert first.counts.reasons == {reason: failed}
        server.answer = answer
        server.scored = 0
        assert rb(arguments, monkeypatch) == 0
        probes = 7  # conversations that check the server
        assert server.scored == failed + probes
        second, complete = written(out)
        assert second.failed_requests == 0
        assert complete["score"].notna().all()
        before = table["score"].notna()
        assert complete["score"][before].equals(table["score"][before])
        assert rb(arguments, monkeypatch) == 2  # the result exists
    local = evaluate.evaluate(str(folder), str(benchmark), out=tmp_path / "local")
    expected, _ = read_scores(tmp_path / "local" / scores_path(local.result.benchmark.id, local.result.model.name))
    assert complete["score"].to_numpy() == pytest.approx(expected["score"].to_numpy(), abs=1e-5)
    assert list(complete["num_tokens"]) == list(expected["num_tokens"])


@pytest.mark.usefixtures("small_windows")
def test_a_scored_file_is_completed_by_the_same_command(
    tiny_model: TinyModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, out = tiny_model("llama"), tmp_path / "scores.csv"
    rows = [{"prompt": f"Question {i}?", "completions": [f"Right {i}", f"Wrong {i}"]} for i in range(NUM_PAIRS)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with RewardServer("sglang", folder) as server:
        arguments = ["score", str(data), "--out", str(out), *command(server, folder, data, out)[7:]]
        arguments += ["--model", NAME]
        answer = server.answer
        server.answer = lambda body: HALF if "Right 1" in server.tokenizer.decode(body["input_ids"]) else answer(body)
        assert rb(arguments, monkeypatch) == 0
        assert "3 requests failed; the same command sends only these again" in capsys.readouterr().out
        first = pd.read_csv(out)
        assert list(first["reason"].value_counts().items()) == [(NO_SCORE, 3)]
        server.answer, server.scored = answer, 0
        assert rb(arguments, monkeypatch) == 0
        assert server.scored == 7 + 3
        second = pd.read_csv(out)
        assert second["score"].notna().all()
        assert second["score"][first["score"].notna()].equals(first["score"].dropna())
        assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl", "scores.csv"]
        assert rb(arguments, monkeypatch) == 2  # the file exists


def test_nothing_scored_is_an_error_without_a_result(
    tiny_model: TinyModel, benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tiny_model("llama"), tmp_path / "out"
    with RewardServer("sglang", folder) as server:
        server.broken = lambda number: REFUSED if number > 7 else None
        assert rb(command(server, folder, benchmark, out), monkeypatch) == 1
        assert not list(out.rglob("*.json"))
        server.broken = lambda number: None
        assert rb(command(server, folder, benchmark, out), monkeypatch) == 0


def test_an_unfinished_run_asks_again_about_what_failed(
    tiny_model: TinyModel, benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after a while: scores are kept, and a failure in the journal is no score."""
    folder, out = tiny_model("llama"), tmp_path / "out"
    append = Journal.append

    def killed(journal: Journal, entry: object) -> None:
        if len(journal.done) == 10:
            raise KeyboardInterrupt
        append(journal, entry)  # type: ignore[arg-type]

    with RewardServer("sglang", folder) as server:
        server.broken = lambda number: REFUSED if number in (9, 11) else None
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "append", killed)
            rb(command(server, folder, benchmark, out, "--concurrency", "1"), monkeypatch)
        assert not list((out / "results").rglob("*.json"))
        server.scored, server.broken = 0, lambda number: None
        assert rb(command(server, folder, benchmark, out), monkeypatch) == 0
        assert server.scored == 7 + 2 * NUM_PAIRS - 10 + 2
    result, table = written(out)
    assert table["score"].notna().all()
    assert result.failed_requests == 0


def test_the_result_says_how_it_was_scored_and_not_where(
    tiny_model: TinyModel, benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tiny_model("llama"), tmp_path / "out"
    with RewardServer("vllm-classify", folder) as server:
        address = server.url.replace("//", "//user:a-secret@")
        arguments = [each if each != server.url else address for each in command(server, folder, benchmark, out)]
        assert rb(arguments, monkeypatch) == 0
        assert server.requests[0].headers["authorization"].startswith("Basic ")
    result, _ = written(out)
    assert (result.model.kind, result.model.kind_detail) == ("classifier", "vllm-classify")
    assert result.model.tokenizer is not None
    assert result.model.source == NAME
    assert result.model.output == "single; raw outputs of the server"
    (again, *_) = reproduce_commands(result, None)
    assert "--url http://SERVER --api vllm-classify" in again.command
    assert all("a-secret" not in path.read_text() for path in out.rglob("*.json"))
    assert all(b"a-secret" not in path.read_bytes() for path in out.rglob("*.parquet"))
