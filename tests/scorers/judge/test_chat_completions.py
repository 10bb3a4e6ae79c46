"""Parsing of response bodies, without a network."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb_core.results.failures import ABORTED, EVENT_STREAM, NO_MESSAGE, NOT_JSON
from rb_core.scorers.http.replies import Token
from rb_core.scorers.judge import chat_completions
from rb_core.scorers.judge.types import CUT, KEPT_TOKENS, REFUSED, Decoding, Request
from tests.fakes.judge_server import Scripted, completion

PLAIN = Request(({"role": "user", "content": "Which?"},), 16)
PROBED = PLAIN._replace(max_tokens=1, top_logprobs=2)
STRUCTURED = PLAIN._replace(schema={"type": "object"})


def test_a_request_has_only_the_fields_it_needs() -> None:
    """Nothing is sent as null, and a lone surrogate is replaced."""
    assert chat_completions.request_body("m", PLAIN, Decoding(0.5, 99, 7)) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Which?"}],
        "max_tokens": 16,
        "temperature": 0.5,
        "seed": 7,
        "stream": False,
    }
    added = chat_completions.request_body("m", PROBED, Decoding()).keys() - {"model", "messages", "stream"}
    assert added == {"max_tokens", "temperature", "seed", "logprobs", "top_logprobs"}
    half = Request(({"role": "user", "content": "a\ud800b"},), 1)
    assert chat_completions.request_body("m", half, Decoding())["messages"][0]["content"] == "a?b"


def test_changes_of_the_usual_form_are_sent() -> None:
    system = Request(({"role": "system", "content": "S"}, {"role": "user", "content": "U"}), 16, top_logprobs=20)
    usual = chat_completions.request_body("m", system, Decoding())
    for change in chat_completions.CHANGES:
        assert chat_completions.request_body("m", system, Decoding(), [change]) != usual
    changes = frozenset(chat_completions.CHANGES)
    assert chat_completions.request_body("m", system, Decoding(), changes, {"extra": 1, "model": "x"}) == {
        "extra": 1,
        "model": "m",
        "messages": [{"role": "user", "content": "S\n\nU"}],
        "max_completion_tokens": 16,
        "stream": False,
        "logprobs": True,
        "top_logprobs": 5,
    }


def read(scripted: Scripted, request: Request = PLAIN) -> Any:
    return chat_completions.parse_reply(json.dumps(completion(scripted, {"messages": []})).encode(), request)


def test_a_reply_has_text_reasoning_usage_and_how_it_ended() -> None:
    """Servers have two names for the reasoning."""
    reply = read(Scripted("[[A]]", reasoning="Let me see.", usage=(12, 3)))
    assert (reply.text, reply.reasoning, reply.finish, reply.error) == ("[[A]]", "Let me see.", "stop", "")
    assert (reply.prompt_tokens, reply.completion_tokens) == (12, 3)
    assert read(Scripted(None, more={"reasoning": "Hm."}))[:4] == ("", "stop", "", "Hm.")
    assert read(Scripted(None, more={"content": [{"type": "text", "text": "A"}, {"type": "x"}]})).text == "A"
    assert read(Scripted("x", usage=None)).prompt_tokens is None


def test_only_text_parts_are_the_answer() -> None:
    parts = [{"type": "reasoning", "text": "Verdict: B"}, {"type": "text", "text": "Verdict: A"}, {"text": "C"}]
    reply = read(Scripted(None, more={"content": parts}))
    assert (reply.text, reply.reasoning) == ("Verdict: A", "Verdict: B")


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, (10, 5)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40}, (10, 30)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 2}, (10, 5)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": None}, (10, 5)),
        ({"prompt_tokens": 10, "total_tokens": 40}, (10, None)),
        ({"prompt_tokens": 10**30, "completion_tokens": True}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_reasoning_outside_of_the_completion_is_counted_by_the_total(
    usage: dict[str, Any], counts: tuple[int | None, int | None]
) -> None:
    reply = read(Scripted("A", usage=usage))
    assert (reply.prompt_tokens, reply.completion_tokens) == counts


@pytest.mark.parametrize(
    ("scripted", "request_", "problem"),
    [
        (Scripted("half a", finish="length"), PLAIN, CUT),
        (Scripted("A", finish="length"), PROBED, ""),
        (Scripted("", finish="content_filter"), PLAIN, REFUSED),
        (Scripted(None, refusal="I will not."), PLAIN, REFUSED),
        (Scripted("A", finish=None), PLAIN, ""),
        (Scripted("A", finish="eos_token"), PLAIN, ""),
        (Scripted("A", finish="STOP"), PLAIN, ""),
        (Scripted("A", finish="MAX_TOKENS"), PLAIN, CUT),
        (Scripted("A", finish="SAFETY"), PLAIN, REFUSED),
    ],
)
def test_the_finish_reason_can_be_an_error(scripted: Scripted, request_: Request, problem: str) -> None:
    """A single token that was requested alone is not cut off."""
    assert read(scripted, request_).error == problem


@pytest.mark.parametrize(
    "finish", ["error", "abort", "network_error", "tool_calls", "stopped?", 5, ["stop"], {}, False]
)
def test_an_end_that_is_not_known_as_normal_gives_no_reply(finish: Any) -> None:
    with pytest.raises(chat_completions.UnusableAnswerError, match=ABORTED):
        read(Scripted("Verdict: A", finish=finish))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", NOT_JSON),
        (b"<html>", NOT_JSON),
        (b"null", NO_MESSAGE),
        (b'{"choices": []}', NO_MESSAGE),
        (b'{"choices": null}', NO_MESSAGE),
        (b'{"choices": [null]}', NO_MESSAGE),
        (b'{"choices": [{"message": null}]}', NO_MESSAGE),
        (b'{"choices": [{"text": "Verdict: A"}]}', NO_MESSAGE),
        (b'data: {"choices": [{"delta": {"content": "A"}}]}\n\ndata: [DONE]\n', EVENT_STREAM),
        (b": OPENROUTER PROCESSING\n\ndata: {}", EVENT_STREAM),
    ],
)
def test_an_answer_without_a_reply_has_a_named_reason(content: bytes, reason: str) -> None:
    with pytest.raises(chat_completions.UnusableAnswerError, match=f"^{reason}$"):
        chat_completions.parse_reply(content, PLAIN)


def test_the_last_tokens_are_kept_with_their_alternatives() -> None:
    long = [(str(place), -0.1, {"A": -0.1, "B": -2.0, "C": -math.inf}) for place in range(100)]
    tokens = read(Scripted("x", logprobs=long), PROBED).tokens
    assert len(tokens) == KEPT_TOKENS
    assert tokens[-1] == Token("99", -0.1, (("A", -0.1), ("B", -2.0)))
    assert read(Scripted("x", logprobs=long), PLAIN).tokens == ()
    assert read(Scripted("x", logprobs=[("A", math.nan, {})]), PROBED).tokens == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "logprobs",
                    "usage",
                    "prompt_tokens",
                    "token",
                    "top_logprobs",
                    "error",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values, json_values, json_values, json_values)
def test_no_body_breaks_the_parser(body: Any, message: Any, logprobs: Any, usage: Any) -> None:
    choice = {"message": message, "logprobs": logprobs, "finish_reason": usage}
    for sent in (body, {"choices": [choice], "usage": usage}):
        content = json.dumps(sent).encode()
        try:
            reply = chat_completions.parse_reply(content, PROBED)
        except chat_completions.UnusableAnswerError:
            continue
        assert isinstance(reply.text, str)
        assert all(math.isfinite(token.logprob) for token in reply.tokens)


@given(st.binary(max_size=50))
def test_bytes_that_are_not_json_are_unusable(content: bytes) -> None:
    with pytest.raises(chat_completions.UnusableAnswerError):
        chat_completions.parse_reply(content, PLAIN)
    with pytest.raises(chat_completions.UnusableAnswerError):
        chat_completions.parse_reply(b"[" * 200_000, PLAIN)
