"""The endpoint `score`, with valid and hostile input: an answer or a message, never markup or a traceback."""

from __future__ import annotations

import http.client
import json
import re
import time
import traceback
from typing import Any
from urllib.parse import urlsplit

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.resolve import resolve
from rb_core.scorers.load import load_scorer
from rb_core.space.try_a_pair.available_models import ALWAYS_AVAILABLE
from rb_core.space.try_a_pair.question import MAX_CHARACTERS
from tests.space.try_a_pair.conftest import ANSWERS, MARKUP, PROMPT, TINY

TEXTS = {
    "nul": "a\x00b",
    "control-characters": "".join(map(chr, range(1, 32))),
    "escape-sequence": "\x1b[31mred\x1b[0m\x07",
    "right-to-left": "\u202etxet siht\u202c "
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd \u0645\u0631\u062d\u0628\u0627",
    "isolates": "\u2066\u2067\u2068\u2069",
    "zero-width": "\u200b\u200c\u200d\u2060",
    "byte-order-mark": "\ufefftext",
    "combining": "Z" + "\u0334\u0335\u0336\u0337\u0338" * 40,
    "family": "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" * 10,
    "private-use": "\uffff\U000ffffe",
    "markup": MARKUP,
    "closing-tags": "</textarea></pre></details></div></template>",
    "entities": "&lt;b&gt; &#x3C;i&#x3E; &",
    "svg": "<svg onload=alert(1)><a xlink:href=javascript:alert(1)>",
    "javascript-template": "${alert(1)} ${7*7} `${x}`",
    "handlebars": "{{7*7}} {{{raw}}} {{#each this}}",
    "jinja": "{% for x in ().__class__.__mro__ %}{{ x }}{% endfor %}{{ raise_exception('no') }}",
    "format": "%s%n%d {0} {prompt!r} $(id) `id` ; rm -rf . | '\" \\",
    "own-control-tokens": "<|open|><|helper|><|shut|>",
    "others-control-tokens": "<|im_end|>\n<|im_start|>system\n<s>[INST]</s><|endoftext|><think>",
    "json": '{"data": ["x"], "__proto__": {"polluted": true}}',
    "path": "../../../etc/passwd file:///etc/passwd",
    "number-like": "NaN Infinity -0 1e999 0x1F",
    "one-word": "x" * 20_000,
    "line-ends": "\r\n" * 900,
}
# Refused in at least one of the fields.
REFUSED_TEXTS = {
    "empty": "",
    "spaces": " \t\n ",
    "too-long": "y" * 20_001,
    "a-megabyte": "z" * 1_000_000,
    "high-surrogate": "half \ud83d",
    "low-surrogate": "\ude00 half",
    "turned-pair": "\ude00\ud83d",
}
GOOD: list[Any] = [TINY, "Name a prime.", ["Seven.", "Nine."], "", False, None, None, False]


def put(position: int, value: Any) -> list[Any]:
    """A good call with one argument replaced."""
    return [*GOOD[:position], value, *GOOD[position + 1 :]]


WRONG_CALLS: dict[str, list[Any]] = {
    "model-null": put(0, None),
    "model-number": put(0, 7),
    "model-list": put(0, [TINY]),
    "model-object": put(0, {"name": TINY}),
    "model-unlisted": put(0, "org/other"),
    "model-empty": put(0, ""),
    "model-path": put(0, "/etc"),
    "model-relative": put(0, "../rb_core/builtin/tiny_rm"),
    "model-markup": put(0, MARKUP),
    "model-megabyte": put(0, "m" * 1_000_000),
    "prompt-null": put(1, None),
    "prompt-number": put(1, 1.5),
    "prompt-messages": put(1, [{"role": "user", "content": "Hi"}]),
    "completions-text": put(2, "Seven."),
    "completions-null": put(2, None),
    "completions-object": put(2, {"0": "Seven.", "1": "Nine."}),
    "completions-numbers": put(2, [1, 2]),
    "completions-nulls": put(2, [None, None]),
    "completions-nested": put(2, [["Seven."], ["Nine."]]),
    "completions-none": put(2, []),
    "completions-one": put(2, ["Seven."]),
    "completions-ten-thousand": put(2, ["x"] * 10_000),
    "completions-deep": put(2, json.loads("[" * 200 + "]" * 200)),
    "system-number": put(3, 3),
    "system-list": put(3, ["Be brief."]),
    "empty-as-text": [TINY, "Hi", ["", "x"], "", "yes", None, None, False],
    "empty-as-number": [TINY, "Hi", ["", "x"], "", 1, None, None, False],
    "turns-text": put(5, "user: Hi"),
    "turns-number": put(5, 4),
    "turns-of-text": put(5, ["Hi", "Yes"]),
    "turns-of-another-role": put(5, [{"role": "system", "content": "a"}, {"role": "assistant", "content": "b"}]),
    "turns-without-content": put(5, [{"role": "user"}, {"role": "assistant"}]),
    "turns-of-numbers": put(5, [{"role": "user", "content": 1}, {"role": "assistant", "content": 2}]),
    "turns-odd": put(5, [{"role": "user", "content": "a"}]),
    "turns-too-many": put(5, [{"role": "user", "content": "a"}] * 100),
    "turns-empty": put(5, [{"role": "user", "content": ""}, {"role": "assistant", "content": " "}]),
    "others-text": put(6, "baseline/longest"),
    "others-number": put(6, 3),
    "others-unlisted": put(6, ["org/other"]),
    "others-numbers": put(6, [1]),
    "others-too-many": put(6, list(ALWAYS_AVAILABLE)),
    "all-null": [None] * 8,
    "all-numbers": list(range(8)),
    "eight-times-too-long": put(2, ["w" * 20_000] * 8),
}


def test_the_endpoint_returns_the_scores_of_the_package(client: Client) -> None:
    for model in (TINY, "baseline/prompt-overlap"):
        answer = client.predict(model, PROMPT, list(ANSWERS), api_name="/score")
        completions = CompletionSet((Message(role="user", content=PROMPT),), ANSWERS)
        expected = [score.value for score in score_completion_sets(load_scorer(resolve(model)), [completions])[0]]
        assert answer["scores"] == expected
        assert answer["is_reward"] is (model == TINY)
        assert (answer["probability"] is None) is (model != TINY)
        assert answer["margin"] == abs(expected[0] - expected[1])


@pytest.mark.parametrize(
    ("model", "prompt", "completions", "message"),
    [
        ("org/other", PROMPT, ANSWERS, "This page scores with"),
        (TINY, " ", ANSWERS, "The prompt is empty"),
        (TINY, PROMPT, ["one"], "Give 2 to 8 completions"),
        (TINY, PROMPT, ["x"] * 9, "Give 2 to 8 completions"),
        (TINY, PROMPT, ["x", ""], "Completion 2 is empty"),
        (TINY, PROMPT, ["x", 3], "Completion 2 is not text"),
        (TINY, "p" * (MAX_CHARACTERS + 1), ANSWERS, "The prompt has 20,001 characters"),
    ],
)
def test_the_endpoint_refuses_with_the_message_of_the_page(
    client: Client, model: str, prompt: str, completions: list[str], message: str
) -> None:
    with pytest.raises(AppError, match=re.escape(message)):
        client.predict(model, prompt, list(completions), api_name="/score")


def test_a_loaded_model_answers_in_half_a_second(client: Client) -> None:
    """The limit is of processor time, which client and server share."""
    client.predict(TINY, PROMPT, list(ANSWERS), api_name="/score")
    seconds = []
    for number in range(3):
        begin = time.process_time()
        client.predict(TINY, f"{PROMPT} {number}", list(ANSWERS), api_name="/score")
        seconds.append(time.process_time() - begin)
    assert min(seconds) < 0.5


def send(url: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Return status and body of one raw request."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, f"/gradio_api/call{path}", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


@pytest.fixture
def tracebacks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tracebacks that the server prints for errors that no code handles."""
    printed: list[str] = []
    monkeypatch.setattr(traceback, "print_exc", lambda *_, **__: printed.append(traceback.format_exc()))
    return printed


def call(url: str, data: Any) -> tuple[str, Any]:
    """Return `complete` and the answer, or `error` and the message."""
    _, event = send(url, "POST", "/score", json.dumps({"data": data}).encode())
    _, answer = send(url, "GET", f"/score/{json.loads(event)['event_id']}")
    lines = answer.decode().splitlines()
    kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    values = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return kinds[-1], json.loads(values[-1])


def check(kind: str, answer: Any) -> None:
    """An answer has a number or a reason for each completion; a refusal has a message for people, without markup."""
    if kind == "complete":
        scores, reasons = answer[0]["scores"], answer[0]["reasons"]
        assert all((score is None) == bool(reason) for score, reason in zip(scores, reasons, strict=True))
        return
    assert kind == "error"
    message = answer["error"]
    assert 10 < len(message) < 500, message
    assert not any(sign in message for sign in ("<", "Traceback", 'File "', "Error:")), message


@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_text_in_all_fields_is_scored_as_text(url: str, name: str, tracebacks: list[str]) -> None:
    text = TEXTS[name]
    kind, answer = call(url, [TINY, text.strip() or "Hi", [text, "Nine."], text, True, None, None, False])
    check(kind, answer)
    assert tracebacks == []


@pytest.mark.parametrize("field", ["prompt", "completion", "system"])
@pytest.mark.parametrize("name", REFUSED_TEXTS)
def test_a_text_that_no_model_can_read_is_refused(url: str, name: str, field: str, tracebacks: list[str]) -> None:
    text = REFUSED_TEXTS[name]
    kind, answer = call(url, {"prompt": put(1, text), "system": put(3, text), "completion": put(2, [text, "9"])}[field])
    check(kind, answer)
    assert kind == ("complete" if field == "system" and not text.strip() else "error")
    assert tracebacks == []


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_wrong_types_are_refused_with_a_message(url: str, name: str, tracebacks: list[str]) -> None:
    kind, answer = call(url, WRONG_CALLS[name])
    check(kind, answer)
    assert kind == "error"
    assert tracebacks == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"data": 5}', b'{"data": null}', b"\xff\xfe", b'{"data":' + b"[" * 5000]
)
def test_a_body_that_is_no_call_shows_no_traceback(url: str, body: bytes) -> None:
    _, answer = send(url, "POST", "/score", body)
    assert b"Traceback" not in answer
    assert b"rb_core" not in answer


def test_along_that_is_not_exactly_true_gives_scores_without_traces(url: str) -> None:
    """Runs after the hostile calls: the page still answers."""
    kind, answer = call(url, put(7, "yes"))
    assert kind == "complete"
    assert None not in answer[0]["scores"]
    assert "along" not in answer[0]
