"""What bodies and refusals mean, without a network."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb_core.scorers.judge import chat_completions
from rb_core.scorers.judge.types import CUT, KEPT_TOKENS, REFUSED, Decoding, Request, Token
from tests.fakes.judge_server import Scripted, completion

PLAIN = Request(({"role": "user", "content": "Which?"},), 16)
PROBED = PLAIN._replace(max_tokens=1, top_logprobs=2)
STRUCTURED = PLAIN._replace(schema={"type": "object"})

TOO_LONG = (
    # OpenAI, Azure, vLLM
    "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.",
    "This model's maximum context length is 4096 tokens. However, you requested 100 output tokens and your prompt "
    "contains at least 3997 input tokens. Please reduce the length of the input prompt.",
    "The decoder prompt (length 5951) is longer than the maximum model length of 4096.",
    '{"error": {"message": "no", "code": "context_length_exceeded"}}',
    # llama.cpp
    "the request exceeds the available context size, try increasing it",
    "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
    # SGLang, Together
    "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
    "Requested token count exceeds the model's maximum context length of 4096 tokens.",
    # TGI
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens",
    "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000",
    # Mistral, Anthropic, Fireworks, Gemini, Groq, Cohere, Bedrock
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "The prompt is too long: 140919, model maximum context length: 131071",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Please reduce the length of the messages or completion.",
    "too many tokens: total number of tokens in the prompt cannot exceed 4081",
    "Input is too long for requested model.",
)


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("said", TOO_LONG)
def test_refusals_of_long_prompts_by_thirteen_servers(said: str, status: int) -> None:
    for request in (PLAIN, PROBED, STRUCTURED):
        assert chat_completions.classify_refusal(status, said, request) == "too long"


@pytest.mark.parametrize(
    ("status", "said", "request_", "meaning"),
    [
        (400, "max_tokens must be at least 1", PLAIN, "other"),
        (400, "Unsupported value: 'temperature' does not support 0 with this model.", PLAIN, "other"),
        (402, "You have exceeded your monthly credits", PLAIN, "other"),
        (405, "Method Not Allowed", PLAIN, "other"),
        (401, "Incorrect API key", PLAIN, "no key"),
        (403, "forbidden", PLAIN, "no key"),
        (404, "", PLAIN, "no model"),
        (400, "The requested model 'x' does not exist", PLAIN, "no model"),
        (400, '{"error": {"code": "model_not_supported"}}', PLAIN, "no model"),
        (422, "Unexpected fields in the request: ['response_format']", STRUCTURED, "no schema"),
        (400, "json_schema is not available with this backend", STRUCTURED, "no schema"),
        (422, "Unexpected fields in the request: ['logprobs', 'top_logprobs']", PROBED, "no logprobs"),
        (400, "top_logprobs must be at most 5", PROBED, "no logprobs"),
        # what was not asked for is not what the server refuses
        (400, "logprobs and response_format are fine", PLAIN, "other"),
        *((status, "busy", PLAIN, "transient") for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)),
        (500, "maximum context length", PLAIN, "transient"),
    ],
)
def test_status_and_message_decide_the_kind_of_refusal(status: int, said: str, request_: Request, meaning: str) -> None:
    assert chat_completions.classify_refusal(status, said, request_) == meaning


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": {"message": "No.\\nAt line 3", "code": 1}}', "No."),
        ('{"error": "No."}', "No."),
        ('{"object": "error", "message": "No."}', "No."),
        ('{"detail": [{"loc": ["body"], "msg": "No."}, {"msg": "Never."}]}', "No.; Never."),
        ('[{"error": {"message": "No."}}]', "No."),
        ("Bad Gateway", "Bad Gateway"),
        ("", ""),
        ("{}", ""),
        ('{"error": null}', ""),
        ('"\\u001b[31mNo."', "?[31mNo."),
        ("x" * 1000, "x" * chat_completions.MAX_MESSAGE),
        ("[" * 100_000, "[" * chat_completions.MAX_MESSAGE),
    ],
)
def test_the_first_line_of_a_refusal_is_found(body: str, words: str) -> None:
    assert chat_completions.refusal_message(body) == words


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


@pytest.mark.parametrize(
    ("scripted", "request_", "problem"),
    [
        (Scripted("half a", finish="length"), PLAIN, CUT),
        (Scripted("A", finish="length"), PROBED, ""),
        (Scripted("", finish="content_filter"), PLAIN, REFUSED),
        (Scripted(None, refusal="I will not."), PLAIN, REFUSED),
        (Scripted("A", finish=None), PLAIN, ""),
    ],
)
def test_the_finish_reason_can_be_an_error(scripted: Scripted, request_: Request, problem: str) -> None:
    """A single token that was requested alone is not cut off."""
    assert read(scripted, request_).error == problem


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
        assert isinstance(chat_completions.refusal_message(content.decode()), str)


@given(st.binary(max_size=50))
def test_bytes_that_are_not_json_are_unusable(content: bytes) -> None:
    with pytest.raises(chat_completions.UnusableAnswerError):
        chat_completions.parse_reply(content, PLAIN)
    with pytest.raises(chat_completions.UnusableAnswerError):
        chat_completions.parse_reply(b"[" * 200_000, PLAIN)
