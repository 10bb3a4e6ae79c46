"""Classification of refusals, without a network. The messages have the form of those of real servers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb_core.scorers.http.refusals import MAX_MESSAGE, refusal_message, status_of_error
from rb_core.scorers.judge import refusals
from rb_core.scorers.judge.types import Request

PLAIN = Request(({"role": "user", "content": "Which?"},), 16)
SYSTEM = Request(({"role": "system", "content": "Judge."}, *PLAIN.messages), 16)
PROBED = PLAIN._replace(max_tokens=1, top_logprobs=20)
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
        assert refusals.classify_judge_refusal(status, said, request) == "too long"


@pytest.mark.parametrize(
    ("status", "said", "request_", "meaning"),
    [
        (400, "max_tokens must be at least 1", PLAIN, "other"),
        (400, "Unsupported value: 'temperature' does not support 0 with this model.", PLAIN, "other"),
        (402, "You have exceeded your monthly credits", PLAIN, "no quota"),
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
    assert refusals.classify_judge_refusal(status, said, request_) == meaning


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
        ("x" * 1000, "x" * MAX_MESSAGE),
        ("[" * 100_000, "[" * MAX_MESSAGE),
    ],
)
def test_the_first_line_of_a_refusal_is_found(body: str, words: str) -> None:
    assert refusal_message(body) == words


def openai(message: str, **more: Any) -> str:
    return json.dumps(
        {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None} | more}
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, openai("The response was filtered due to the prompt triggering our policy.", code="content_filter")),
        (400, openai("Invalid prompt: we have limited access for safety reasons.", code="invalid_prompt")),
        (400, openai("Content Exists Risk")),
        (400, openai("<400> InternalError.Algo.DataInspectionFailed: Input text may contain inappropriate content.")),
        (400, openai("no", code="data_inspection_failed")),
        (403, json.dumps({"error": {"code": 403, "message": "m requires moderation on P. Your input was flagged"}})),
        (403, json.dumps({"code": "permission", "error": "Content violates usage guidelines. Failed check: BIO"})),
        (400, json.dumps({"type": "error", "error": {"message": "Output blocked by content filtering policy"}})),
        (400, openai("系统检测到输入或生成内容可能包含不安全或敏感内容", code="1301")),
        (451, openai("no", innererror={"code": "ResponsibleAIPolicyViolation"})),
    ],
)
def test_content_filters_of_nine_servers_are_recognised(status: int, said: str) -> None:
    for request in (PLAIN, SYSTEM, PROBED, STRUCTURED):
        assert refusals.classify_judge_refusal(status, said, request) == "filtered"


@pytest.mark.parametrize(
    ("status", "said", "meaning"),
    [
        (
            429,
            openai("You exceeded your current quota, check plan and billing.", code="insufficient_quota"),
            "no quota",
        ),
        (429, openai("You exceeded your current quota. Please retry in 32s."), "transient"),
        (429, openai("Rate limit reached on tokens per min. Visit your account/billing."), "transient"),
        (402, openai("Insufficient Balance"), "no quota"),
        (402, "", "no quota"),
        (403, openai("Your account has insufficient balance"), "no quota"),
        (400, openai("Your credit balance is too low to access the API."), "no quota"),
        (503, openai("insufficient_quota"), "transient"),
    ],
)
def test_a_quota_that_is_used_up_is_not_a_rate_limit(status: int, said: str, meaning: str) -> None:
    assert refusals.classify_judge_refusal(status, said, PLAIN) == meaning


def test_what_repeats_the_request_is_not_searched() -> None:
    prompt = "content_filter, maximum context length, insufficient_quota, seed is not supported"
    error = {"detail": [{"loc": ["body", "x"], "msg": "Bad", "input": prompt, "ctx": {"given": prompt}}]}
    assert refusals.classify_judge_refusal(422, json.dumps(error), PLAIN) == "other"
    assert refusals.needed_changes(json.dumps(error), PLAIN, ()) == frozenset()


UNSUPPORTED = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)


@pytest.mark.parametrize(
    ("said", "request_", "changes"),
    [
        (openai(UNSUPPORTED, param="max_tokens", code="unsupported_parameter"), PLAIN, {"max_tokens"}),
        (openai(UNSUPPORTED), PLAIN, {"max_tokens"}),
        (
            openai("'temperature' does not support 0, only the default (1).", param="temperature"),
            PLAIN,
            {"temperature"},
        ),
        ("Input validation error: `temperature` must be strictly positive", PLAIN, {"temperature"}),
        (json.dumps({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}), PLAIN, {"seed"}),
        (
            json.dumps({"message": {"detail": [{"loc": ["body", name], "msg": "Extra"} for name in ("seed", "x")]}}),
            PLAIN,
            {"seed"},
        ),
        (openai("property 'seed' is unsupported"), PLAIN, {"seed"}),
        ('[{"error": {"message": "Unknown name \\"seed\\": Cannot find field."}}]', PLAIN, {"seed"}),
        (openai("max_tokens is too large: 9000. This model supports at most 4096.", param="max_tokens"), PLAIN, set()),
        (openai("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"), PLAIN, set()),
        (openai("System role not supported"), SYSTEM, {"system"}),
        (openai("Developer instruction is not enabled for models/gemma-3-27b-it"), SYSTEM, {"system"}),
        (openai("'messages[0].role' does not support 'system'", param="messages[0].role"), SYSTEM, {"system"}),
        (openai("Conversation roles must alternate user/assistant/user/assistant/..."), SYSTEM, {"system"}),
        (json.dumps({"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "'user' or so"}]}), SYSTEM, {"system"}),
        (openai("System role not supported"), PLAIN, set()),
        (openai("must be less than or equal to 5", param="top_logprobs"), PROBED, {"top_logprobs=8"}),
        (openai("top_logprobs must be at most 8"), PROBED, {"top_logprobs=8"}),
        (openai("top_logprobs must be at most 5"), PROBED._replace(top_logprobs=5), set()),
        (openai("Something else"), SYSTEM, set()),
    ],
)
def test_a_refusal_names_the_field_that_the_server_does_not_take(
    said: str, request_: Request, changes: set[str]
) -> None:
    assert refusals.needed_changes(said, request_, ()) == changes
    if changes != {"top_logprobs=8"}:
        assert refusals.needed_changes(said, request_, changes) == frozenset()  # once only


def test_fewer_log_probabilities_are_requested_step_by_step() -> None:
    said, changes = openai("no", param="top_logprobs"), frozenset[str]()
    while needed := refusals.needed_changes(said, PROBED, changes):
        changes |= needed
    assert changes == {"top_logprobs=8", "top_logprobs=5"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"message": "no", "code": 429}}, 429),
        ({"error": {"message": "no", "code": "402"}}, 402),
        ({"object": "error", "message": "no", "code": 400}, 400),
        ({"error": {"message": "The server is overloaded", "code": "x"}}, 503),
        ({"error": "no"}, 400),
        ({"error": {"message": "no", "code": 99}}, 400),
        ({"choices": []}, None),
        ({"error": None}, None),
        ([], None),
    ],
)
def test_an_error_with_status_200_has_a_status(body: Any, status: int | None) -> None:
    assert status_of_error(json.dumps(body)) == status


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "loc", "param", "code", "msg"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(json_values, st.integers(400, 599))
def test_no_body_breaks_the_reading_of_a_refusal(body: Any, status: int) -> None:
    text = json.dumps(body)
    refusals.classify_judge_refusal(status, text, SYSTEM)
    assert isinstance(refusal_message(text), str)
    assert refusals.needed_changes(text, SYSTEM, ()) <= {"max_tokens", "temperature", "seed", "system"}
    assert status_of_error(text) in (None, *range(400, 600))
