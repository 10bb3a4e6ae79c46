"""OpenAI's chat completions: the body of a request, and the reply in an answer.

Pure functions. Servers differ in the fields that they take, add and leave out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rb_core.models.chat_format import fold_system
from rb_core.results.failures import ABORTED, EVENT_STREAM, NO_MESSAGE, NOT_JSON
from rb_core.scorers.http.replies import Reply, Token, UnusableAnswerError
from rb_core.scorers.judge.types import CUT, KEPT_TOKENS, REFUSED, Decoding, Request

BYTES_PER_TOKEN = 512  # of a token in an answer as JSON; its alternatives take as many each
BYTES_OF_ANSWER = 1 << 20  # of the rest of an answer
MAX_TOKENS = 1 << 40  # of one request; a larger count is an error of the server, and would not fit a file

# Changes of a request's usual form that a server may need, and how they are described in a result.
REFUSABLE_FIELDS = ("max_tokens", "temperature", "seed")
LOGPROB_LIMITS = {"top_logprobs=8": 8, "top_logprobs=5": 5}
CHANGES = {
    "max_tokens": "max_tokens is sent as max_completion_tokens",
    "temperature": "temperature is not sent",
    "seed": "seed is not sent",
    "system": "the system message is sent at the beginning of the user's",
    **{name: f"at most {limit} top_logprobs are requested" for name, limit in LOGPROB_LIMITS.items()},
}

# Finish reasons in lower case, in the words of OpenAI, TGI, Together, Anthropic, Mistral, Cohere, Gemini and Zhipu.
_ENDED = {"", "stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete", "completed"}
_CUT = {"length", "max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded"}
_REFUSED = {"content_filter", "refusal", "safety", "recitation", "prohibited_content", "blocklist", "spii", "sensitive"}


def request_body(
    model: str,
    request: Request,
    decoding: Decoding,
    changes: Collection[str] = (),
    extra_body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the JSON body of a request. Fields that are not needed are left out, since some servers refuse them.

    changes: keys of `CHANGES`; extra_body: further fields, which override none of these.
    """
    messages = fold_system(request.messages) if "system" in changes else request.messages
    body: dict[str, Any] = {
        **(extra_body or {}),
        "model": model,
        # a lone surrogate cannot be sent
        "messages": [
            {"role": message["role"], "content": message["content"].encode("utf-8", "replace").decode()}
            for message in messages
        ],
        "max_completion_tokens" if "max_tokens" in changes else "max_tokens": request.max_tokens,
        "temperature": decoding.temperature,
        "seed": decoding.seed,
        "stream": False,
    }
    for name in {"temperature", "seed"}.intersection(changes):
        del body[name]
    if request.top_logprobs:
        limits = [limit for name, limit in LOGPROB_LIMITS.items() if name in changes]
        body |= {"logprobs": True, "top_logprobs": min([request.top_logprobs, *limits])}
    if request.schema is not None:
        schema = {"name": "verdict", "strict": True, "schema": dict(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def has_system_message(request: Request) -> bool:
    return any(message["role"] == "system" for message in request.messages)


def max_answer_bytes(request: Request) -> int:
    """Return the number of bytes that no sensible answer to the request exceeds."""
    return BYTES_OF_ANSWER + BYTES_PER_TOKEN * request.max_tokens * (1 + request.top_logprobs)


def parse_reply(content: bytes, request: Request) -> Reply:
    """Return the reply in a response body. Raises UnusableAnswerError if the reply is missing or cut."""
    if content.lstrip().startswith((b"data:", b"event:", b": ")):
        raise UnusableAnswerError(EVENT_STREAM)
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise UnusableAnswerError(NOT_JSON) from None
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise UnusableAnswerError(NO_MESSAGE)
    finish = choice.get("finish_reason")
    finish = "" if finish is None else finish
    refusal = _text(message.get("refusal"))
    error = REFUSED if refusal else _error_of_end(finish)
    if error == CUT and request.max_tokens == 1:  # one token is requested for its probability
        error = ""
    if error == ABORTED:
        raise UnusableAnswerError(ABORTED)
    prompt_tokens, completion_tokens = _token_counts(body.get("usage"))
    return Reply(
        text=_text(message.get("content")) or refusal,
        finish=finish,
        error=error,
        reasoning=_reasoning(message),
        tokens=_tokens(choice.get("logprobs")) if request.top_logprobs else (),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )


def _error_of_end(finish: Any) -> str:
    """Return what a finish reason says against the reply; "" for a whole one. An unknown reason is no normal end."""
    end = finish.lower() if isinstance(finish, str) else None
    return "" if end in _ENDED else CUT if end in _CUT else REFUSED if end in _REFUSED else ABORTED


def _text(value: Any) -> str:
    """Return text, or that of its text parts: parts of other types (reasoning, images) are not the answer."""
    return value if isinstance(value, str) else _parts(value, "text", "output_text")


def _reasoning(message: Mapping[str, Any]) -> str:
    """Return the reasoning of a message, which has a field of its own or is among the parts of the content."""
    fields = map(_text, map(message.get, ("reasoning_content", "reasoning")))
    return next(filter(None, fields), "") or _parts(message.get("content"), "reasoning", "thinking")


def _parts(value: Any, *types: str) -> str:
    parts = value if isinstance(value, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict) and part.get("type") in types)
    return "".join(text for text in texts if isinstance(text, str))


def _token_counts(usage: Any) -> tuple[int | None, int | None]:
    """Return the tokens of prompt and completion. The latter have all of the total that the prompt has not.

    Some servers leave reasoning, which is billed, out of `completion_tokens`, but not out of `total_tokens`.
    """
    prompt, completion, total = (_count(usage, f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if prompt is not None and completion is not None and total is not None:
        completion = max(completion, total - prompt)
    return prompt, completion


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS else None


def _tokens(logprobs: Any) -> tuple[Token, ...]:
    """Return the last tokens with their log-probabilities; none at all if one of them has no number."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return ()
    tokens = []
    for entry in content[-KEPT_TOKENS:]:
        pair = _pair(entry)
        if pair is None:
            return ()
        top = entry.get("top_logprobs")
        alternatives = map(_pair, top if isinstance(top, Sequence) else ())
        tokens.append(Token(*pair, tuple(alternative for alternative in alternatives if alternative is not None)))
    return tuple(tokens)


def _pair(entry: Any) -> tuple[str, float] | None:
    """Return (token, log-probability) if the latter is a finite number."""
    text, logprob = (entry.get("token"), entry.get("logprob")) if isinstance(entry, dict) else (None, None)
    if not isinstance(text, str) or not isinstance(logprob, int | float) or not math.isfinite(logprob):
        return None
    return text, float(logprob)
