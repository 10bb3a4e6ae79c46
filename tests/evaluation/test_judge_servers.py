"""Runs of a judge against servers that refuse, fail, go away, or answer in any way they like."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rb_core import retries
from rb_core.errors import ModelError, NotScoredError, ResultError, RewardBenchError
from rb_core.evaluation import evaluate
from rb_core.models.options import JudgeOptions, ModelOptions
from rb_core.results import failures
from rb_core.results.paths import scores_path, transcript_path
from rb_core.results.schema import Result
from rb_core.results.score_table import read_scores
from rb_core.results.storage import read_result
from rb_core.scorers.http import client
from rb_core.scorers.judge import types
from rb_core.scorers.judge.chat_completions import CHANGES
from rb_core.scorers.judge.transcript import read_transcript
from tests.cli.command_line import rb
from tests.fakes.judge_server import Fault, JudgeServer, Scripted, completion
from tests.fakes.judges import judge, read

Body = dict[str, Any]
Answer = Callable[[Body], Scripted | Fault]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(retries, "LONGEST_WAIT", 0.2)
    monkeypatch.setattr(client, "FIRST_CONTACT", 0.5)
    monkeypatch.delenv("RB_JUDGE_API_KEY", raising=False)


def pairs(folder: Path, number: int) -> Path:
    rows = [{"prompt": f"Question {i}?", "chosen": f"Right {i}", "rejected": f"Wrong {i}"} for i in range(number)]
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def number_of(body: Body) -> int:
    """Return the number of the question that a request is about."""
    return int(read(body)[0].removeprefix("Question ").removesuffix("?"))


right = judge(lambda prompt, answer: float(answer.startswith("Right")))
wrong = judge(lambda prompt, answer: float(answer.startswith("Wrong")))


def asked(server: JudgeServer, **options: Any) -> ModelOptions:
    return ModelOptions(judge=JudgeOptions(base_url=server.url, **options))


def command(server: JudgeServer, data: Path, out: Path, *more: str) -> list[str]:
    names = ["--model", "test/judge", "--benchmark", str(data), "--base-url", server.url, "--out", str(out)]
    return ["evaluate", *names, *more]


def written(out: Path) -> tuple[Result, pd.DataFrame]:
    """Return the only result in a folder with its score table."""
    (path,) = (out / "results").rglob("*.json")
    result = read_result(path)
    return result, read_scores(out / scores_path(result.benchmark.id, result.model.name))[0]


REFUSED = {"error": {"message": "filtered", "code": "content_filter"}}


@pytest.mark.parametrize(
    ("number", "seconds"), [(40, 0.7), pytest.param(400, 60.0, marks=pytest.mark.soak)], ids=["short", "minute"]
)
def test_a_run_survives_refusals_lost_replies_and_a_server_that_goes_away(
    number: int, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is right, and the same command sends only what failed, which costs nothing twice."""
    data = pairs(tmp_path, number)
    count, lost, is_strict = 0, 0, True

    def answer(body: Body) -> Scripted | Fault:
        nonlocal count, lost
        count += 1
        if count == number:
            server.go_away(seconds)
        if is_strict and number_of(body) % 10 == 3:
            return Fault("status", status=400, said=REFUSED)
        if count % 20 == 0:
            lost += 1
            return Fault("cut")
        return Scripted(right(body).text, latency=0.005)

    with JudgeServer(answer) as server:
        arguments = command(server, data, tmp_path / "out", "--concurrency", "16")
        started = time.monotonic()
        assert rb(arguments, monkeypatch) == 0
        assert time.monotonic() - started > seconds
        first, scores = written(tmp_path / "out")
        answered = dict(server.answered)
        sent = len(server.requests)
        is_strict = False
        assert rb(arguments, monkeypatch) == 0
        second, complete = written(tmp_path / "out")
        later = [number_of(received.body) for received in server.requests[sent:]]
        assert rb(arguments, monkeypatch) == 2  # nothing is left to ask
        assert set(server.answered.values()) == {1}
        assert rb([*arguments, "--overwrite"], monkeypatch) == 0
        assert set(server.answered.values()) == {2}
    is_refused = scores["example_id"].isin(scores["example_id"].unique()[3::10])
    assert scores["score"].isna().tolist() == is_refused.tolist()
    pd.testing.assert_series_equal(
        scores["score"][~is_refused],
        scores["is_chosen"][~is_refused].astype(float),
        check_names=False,
        check_dtype=False,
    )
    assert first.headline is not None
    assert first.judging is not None
    assert (first.headline.value, first.judging.failed) == (1.0, number // 5)
    assert first.judging.problems == {failures.FILTERED: number // 5}
    assert lost >= number // 20
    assert len(answered) == 2 * number - number // 5
    assert {place % 10 for place in later} == {3}
    assert len(set(later)) == number // 10
    assert complete["score"].tolist() == complete["is_chosen"].astype(float).tolist()
    assert second.judging is not None
    assert (second.judging.requests, second.judging.failed) == (2 * number, 0)


def test_settings_that_differ_do_not_continue_a_finished_run(tmp_path: Path) -> None:
    data = pairs(tmp_path, 4)
    fault = Fault("status", status=400, said=REFUSED)
    with JudgeServer(lambda body: fault if number_of(body) == 0 else right(body)) as server:
        evaluate.evaluate("test/judge", str(data), options=asked(server), out=tmp_path)
        sent = len(server.requests)
        for options in ({"temperature": 0.5}, {"extra_body": '{"a": 1}'}, {"mode": "ratings"}):
            with pytest.raises(ResultError, match="--overwrite"):
                evaluate.evaluate("test/judge", str(data), options=asked(server, **options), out=tmp_path)
        with pytest.raises(ResultError, match="--overwrite"):
            evaluate.evaluate("test/judge", str(data), options=asked(server), seed=1, out=tmp_path)
    assert len(server.requests) == sent


# Runs without a score


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (
            Fault("status", status=429, said={"error": {"message": "No money", "code": "insufficient_quota"}}),
            1,
            "No money",
        ),
        (Fault("status", status=402, said="Pay first"), 1, "Pay first"),
        (Fault("raw", said={"error": {"message": "Account closed", "code": 402}}), 1, "Account closed"),
        (Fault("raw", said={"error": {"message": "Not today"}}), 1, "Not today"),
        (Fault("status", status=503, said="Down"), 1, "Down"),
        (Fault("status", status=400, said="Bad"), 1, "Bad"),
        (Fault("status", status=400, said=REFUSED), 1, failures.FILTERED),
        (Fault("raw", said={"choices": None}), 1, failures.NO_MESSAGE),
        (Fault("raw", said="data: x\n\n"), 1, failures.EVENT_STREAM),
        (Fault("status", status=401, said="Bad key"), 2, "RB_JUDGE_API_KEY"),
        (Fault("status", status=404, said="Nothing here"), 2, "/v1/chat/completions"),
    ],
    ids=lambda value: None if isinstance(value, Fault) else str(value),
)
def test_a_run_without_a_score_says_why_and_is_continued_by_the_same_command(
    fault: Fault,
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line, the exit code, and no result."""
    data = pairs(tmp_path, 6)
    with JudgeServer(lambda _: fault) as server:
        arguments = command(server, data, tmp_path / "out", "--deadline", "1")
        assert rb(arguments, monkeypatch) == code
        line = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(line) == 1
        assert words in line[0]
        assert not list((tmp_path / "out").rglob("*.json"))
        server.answer = right
        assert rb(arguments, monkeypatch) == 0
    assert written(tmp_path / "out")[1]["score"].tolist() == [1.0, 0.0] * 6
    assert set(server.answered.values()) == {1}


def test_a_server_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with JudgeServer(right) as server:
        pass
    assert rb(command(server, pairs(tmp_path, 3), tmp_path / "out"), monkeypatch) == 1
    assert "answers no request" in capsys.readouterr().err


def test_quota_that_ends_during_a_run_is_paid_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pairs(tmp_path, 20)
    fault = Fault("status", status=429, said={"error": {"message": "No money", "code": "insufficient_quota"}})
    with JudgeServer(lambda body: right(body) if sum(server.answered.values()) < 11 else fault) as server:
        arguments = command(server, data, tmp_path / "out", "--concurrency", "4")
        assert rb(arguments, monkeypatch) == 1
        server.answer = right
        assert rb(arguments, monkeypatch) == 0
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == 40


def test_replies_without_a_verdict_are_a_result_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They were paid for, and a newer parser may read them."""
    with JudgeServer(lambda _: Scripted("Both are fine.")) as server:
        assert rb(command(server, pairs(tmp_path, 2), tmp_path / "out"), monkeypatch) == 1
    assert f"no example could be scored: {types.UNREADABLE}" in capsys.readouterr().err
    assert written(tmp_path / "out")[0].headline is not None


# What is recorded


def test_what_was_sent_is_recorded_in_the_result(tmp_path: Path) -> None:
    def answer(body: Body) -> Scripted | Fault:
        for name in ("temperature", "seed"):
            if name in body:
                return Fault("status", status=400, said={"error": {"message": "Unsupported", "param": name}})
        return right(body)

    data = pairs(tmp_path, 3)
    with JudgeServer(answer) as server, JudgeServer(right) as other:
        options = asked(server, extra_body='{"top_k": 1}')
        single = evaluate.evaluate("test/judge", str(data), options=options, out=tmp_path).result
        judges = (f"org/a@{server.url}", f"org/b@{other.url}")
        panel = evaluate.evaluate("", str(data), options=ModelOptions(judge=JudgeOptions(judges=judges)), out=tmp_path)
    assert single.model.judge is not None
    assert single.model.judge.adapted == (CHANGES["seed"], CHANGES["temperature"])
    assert single.model.judge.extra_body == {"top_k": 1}
    assert panel.result.model.judge is not None
    assert panel.result.model.judge.adapted == (f"org/a: {CHANGES['seed']}", f"org/a: {CHANGES['temperature']}")
    records, _ = read_transcript(tmp_path / transcript_path(single.benchmark.id, "test/judge"))
    assert {record.reply.changes for record in records} == {("seed", "temperature")}


@pytest.mark.parametrize("limit", [5, 8])
@pytest.mark.parametrize("mode", ["logprob", "ratings"])
def test_servers_with_few_log_probabilities_are_judges_too(mode: Any, limit: int, tmp_path: Path) -> None:
    def answer(body: Body) -> Scripted | Fault:
        if body["top_logprobs"] > limit:
            error = {"message": f"Invalid value for 'top_logprobs': must be less than or equal to {limit}."}
            return Fault("status", status=400, said={"error": error})
        return right(body)

    with JudgeServer(answer) as server:
        options = asked(server, mode=mode, expected=mode == "ratings")
        result = evaluate.evaluate("test/judge", str(pairs(tmp_path, 3)), options=options, out=tmp_path).result
    assert result.headline is not None
    assert result.headline.value == 1.0
    assert result.model.judge is not None
    assert CHANGES[f"top_logprobs={limit}"] in result.model.judge.adapted


def test_a_limit_of_money_holds_for_reasoning_that_only_the_total_has(tmp_path: Path) -> None:
    """Ten times the requested length, with 64 requests in flight."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 100 + 20_480}
    with JudgeServer(lambda body: Scripted(right(body).text, usage=usage, latency=0.02)) as server:
        options = asked(server, max_new_tokens=2048, price_prompt=1.0, price_completion=10.0, max_cost=5.0)
        with pytest.raises(ModelError, match="--max-cost"):
            evaluate.evaluate("test/judge", str(pairs(tmp_path, 100)), options=options, out=tmp_path)
    assert 0.5 * 5.0 < sum(server.answered.values()) * (100 + 204_800) / 1e6 <= 5.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "has to be a JSON object"),
        ("null", "has to be a JSON object"),
        ('{"messages": []}', "cannot set 'messages'"),
        ('{"model": "x"}', "use --model"),
        ('{"stream": true}', "cannot set 'stream'"),
        ('{"temperature": 1}', "use --temperature"),
        ('{"max_completion_tokens": 1}', "use --max-new-tokens"),
        ('{"x": NaN}', "is not JSON"),
        ('{"x": 1e999}', "is not JSON"),
        ('{"x": "\\ud800"}', "is not JSON"),
        ('{"x": ' + "9" * 6000 + "}", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
    ],
    ids=lambda text: text[:30],
)
def test_further_fields_are_checked_before_anything_is_sent(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with JudgeServer(right) as server:
        assert rb(command(server, pairs(tmp_path, 1), tmp_path / "out", "--extra-body", text), monkeypatch) == 2
    assert server.requests == []
    error = capsys.readouterr().err
    assert f"--extra-body {message}" in error or message in error
    assert len(error.splitlines()) == 1


# Servers that answer in any way


def body_of(text: str, /, **more: Any) -> Body:
    return completion(Scripted(text), {"messages": ()}) | more


def choice_of(text: str, /, **more: Any) -> Body:
    body = body_of(text)
    body["choices"][0] |= more
    return body


# Bodies that hold a whole reply, and bodies that hold none although the text of one is in them.
GOOD: Sequence[Callable[[str], Any]] = (
    body_of,
    lambda text: body_of(text, usage=None, object=None, id=5),
    lambda text: body_of(text, usage={"prompt_tokens": -1, "completion_tokens": "x", "total_tokens": 1e300}),
    lambda text: choice_of(text, finish_reason="eos_token", logprobs=[1], index="x"),
    lambda text: choice_of(text, message={"content": [{"type": "text", "text": text}]}),
    lambda text: {"choices": [choice_of(text)["choices"][0], None, {"message": {"content": "Verdict: B"}}]},
)
BAD: Sequence[Callable[[str], Any]] = (
    lambda text: choice_of(text, finish_reason="error"),
    lambda text: choice_of(text, finish_reason="abort"),
    lambda text: choice_of(text, finish_reason="length"),
    lambda text: choice_of(text, finish_reason="content_filter"),
    lambda text: choice_of(text, finish_reason=["stop"]),
    lambda text: choice_of(text, finish_reason=0),
    lambda text: choice_of(text, message={"content": None, "reasoning_content": text}),
    lambda text: choice_of(text, message={"content": [{"type": "reasoning", "text": text}]}),
    lambda text: choice_of(text, message={"content": [{"type": "image", "text": text}, text, None, 5]}),
    lambda text: choice_of(text, message={"content": {"text": text}}),
    lambda text: choice_of(text, message={"content": None, "tool_calls": [{"function": {"arguments": text}}]}),
    lambda text: choice_of(text, message={"content": text, "refusal": "No."}),
    lambda text: choice_of(text, message=[text]),
    lambda text: choice_of(text, message=None, delta={"content": text}, text=text),
    lambda text: {"choices": []},
    lambda text: {"choices": None, "error": None},
    lambda text: {"choices": {"0": choice_of(text)["choices"][0]}},
    lambda text: {"choices": [[choice_of(text)["choices"][0]]]},
    lambda text: [body_of(text)],
    lambda text: text,
    lambda text: None,
    lambda text: {"error": {"message": text, "code": 400}},
    lambda text: {"error": {"message": "Slow down", "code": 429}},
    lambda text: {"error": {"message": text, "code": "insufficient_quota", "param": ["x", {}]}},
    lambda text: {"error": {"message": "no", "param": "temperature"}},
    lambda text: {"error": {"message": "no", "param": "max_tokens"}},
    lambda text: {"error": {"message": "filtered", "code": "content_filter"}},
    lambda text: {"error": {"message": {"message": [text]}}, "code": None},
    lambda text: {"detail": [{"loc": ["body", "seed"], "msg": "no", "input": text}, 5, None]},
    lambda text: {"detail": text, "status": "500"},
    lambda text: {"error": "model does not exist"},
    lambda text: {"object": "error", "message": "maximum context length", "code": 400},
)
DAMAGES: Sequence[Callable[[bytes], bytes]] = (
    lambda content: content[: len(content) // 2],
    lambda content: b"",
    lambda content: b"data: " + content + b"\n\ndata: [DONE]\n\n",
    lambda content: b"<html><title>502</title>" + content,
    lambda content: b"\xff\xfe" + content,
    lambda content: b"[" * 50_000,
    lambda content: b"9" * 50_000,
    lambda content: b'{"choices": ' + b" " * (3 << 20),
    lambda content: content + content,
    lambda content: content.replace(b'"', b"'"),
)
STATUSES = (
    100,
    200,
    201,
    204,
    206,
    301,
    400,
    401,
    402,
    403,
    404,
    405,
    408,
    409,
    413,
    418,
    422,
    425,
    429,
    451,
    500,
    501,
)
STATUSES = (*STATUSES, 502, 503, 504, 520, 529, 599, 999)
HEADERS = (
    "content-type: application/json",
    "content-type: text/event-stream",
    "content-type: x\r\nset-cookie: a=b\r\nx: \xff",
    "retry-after: 0",
    "retry-after: 86400",
    "retry-after: -5",
    "retry-after: Fri, 99 Foo 9999 99:99:99 GMT",
    "content-encoding: gzip",
    "content-encoding: br, zstd",
    "location: http://127.0.0.1:9/",
    "location: \x01\x02",
    "connection: upgrade\r\nupgrade: h2c",
    "x-long: " + "x" * 5_000,
    "bad header",
)


class Behaviour:
    """A way to answer, drawn from a seed. holds_reply: the reply in the body is whole and has to be read."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.seed = seed
        self.status = draw.choice(STATUSES) if draw.random() < 0.5 else 200
        self.header = draw.choice(HEADERS) if draw.random() < 0.5 else HEADERS[0]
        self.is_good = draw.random() < 0.3
        self.body = draw.choice(GOOD if self.is_good else BAD)
        self.damage = draw.choice(DAMAGES) if draw.random() < 0.3 else None
        self.frame = draw.choice(("length", "length", "length", "chunked", "close", "too long", "too short", "twice"))
        self.pieces = draw.choice((1, 1, 1, 2, 7))
        self.seconds = draw.choice((0.0, 0.0, 0.0, 0.01, 0.2))
        self.broken = draw.choice((b"", b"", b"", b"", b"", b"", b"\x16\x03\x01\x02", b"HTTP/9 200", b"\r\n\r\n"))
        self.touches = draw.choice(("all", "some", "some", "first"))
        self.kind = draw.choice((*["wire"] * 9, "hang", "endless"))
        self.holds_reply = self.is_good and 200 <= self.status < 300 and self.damage is None

    def answer(self, body: Body) -> Fault:
        if self.kind != "wire":
            return Fault(self.kind, seconds=2.0)
        text = (right if self.holds_reply else wrong)(body).text
        content = json.dumps(self.body(text or "")).encode()
        if self.damage is not None:
            content = self.damage(content)
        length = {"too long": len(content) + 9, "too short": len(content) * 2 // 3}.get(self.frame, len(content))
        framing = f"content-length: {length}\r\n" * (2 if self.frame == "twice" else 1)
        if self.frame == "chunked":
            framing, content = "transfer-encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
        elif self.frame == "close":
            framing = ""
        head = f"HTTP/1.1 {self.status} X\r\n{self.header}\r\n{framing}connection: close\r\n\r\n".encode("latin-1")
        whole = self.broken or head + content
        size = max(1, -(-len(whole) // self.pieces))
        wire = [whole[start : start + size] for start in range(0, len(whole), size)]
        return Fault("wire", wire=wire, seconds=self.seconds)

    def is_touched(self, body: Body, count: int) -> bool:
        return {"all": True, "some": number_of(body) % 3 == 0, "first": count <= 3}[self.touches]


def check_behaviour(behaviour: Behaviour, folder: Path, data: Path) -> str:
    """Run a judge against a server with a behaviour, and check what comes of it. Return the error's name, or ""."""
    count = 0

    def answer(body: Body) -> Scripted | Fault:
        nonlocal count
        count += 1
        return behaviour.answer(body) if behaviour.is_touched(body, count) else right(body)

    error = ""
    out = folder / str(behaviour.seed)
    with JudgeServer(answer) as server:
        options = asked(server, deadline=1.0, concurrency=4)
        try:
            evaluate.evaluate("test/judge", str(data), options=options, out=out)
        except RewardBenchError as raised:
            error = f"{type(raised).__name__}: {raised}"
    if error:
        assert len(error.splitlines()) == 1
        assert not list(out.rglob("*.json"))
        return error.partition(":")[0]
    _, scores = written(out)
    is_scored = scores["score"].notna()
    assert (scores["score"] == scores["is_chosen"])[is_scored].all()
    if behaviour.touches == "some":
        touched = scores["example_id"].isin(scores["example_id"].unique()[::3])
        assert is_scored[~touched].all()
    return error


@pytest.mark.parametrize("number", [40, pytest.param(500, marks=pytest.mark.soak)])
def test_no_server_breaks_a_run_or_makes_a_score_wrong(number: int, tmp_path: Path) -> None:
    """Generated from status, headers, body, damage, framing, timing and the requests concerned."""
    data = pairs(tmp_path, 4)
    failures: dict[int, BaseException] = {}
    errors: list[str] = []

    def check(seed: int) -> None:
        try:
            errors.append(check_behaviour(Behaviour(seed), tmp_path, data))
        except BaseException as failure:  # noqa: BLE001 - all of them are reported
            failures[seed] = failure

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check, range(number)))
    assert not failures
    assert 0.2 * number < sum(error == "" for error in errors) < 0.9 * number  # some runs end, and some do not
    assert set(errors) <= {"", NotScoredError.__name__, ModelError.__name__}
