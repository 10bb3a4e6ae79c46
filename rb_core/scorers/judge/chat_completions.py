"""OpenAI's chat completions: the body of a request, and the meaning of an answer or a refusal.

Pure functions. Servers differ in the fields they add and leave out, and in how they refuse a request.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, Literal

from rb_core.retries import is_transient
from rb_core.scorers.judge.types import CUT, KEPT_TOKENS, REFUSED, Decoding, Reply, Request, Token

MAX_MESSAGE = 300  # characters of a server's message that are shown
MAX_SEARCHED = 20_000  # characters of a refusal that are searched
BYTES_PER_TOKEN = 512  # of a token in an answer as JSON; its alternatives take as many each
BYTES_OF_ANSWER = 1 << 20  # of the rest of an answer

# How servers refuse a prompt, or a prompt and its reply, that is too long: OpenAI, vLLM and Azure; llama.cpp; SGLang
# and Together; TGI; Mistral; Anthropic, Fireworks and Bedrock; Gemini; Groq and Cerebras; Cohere.
_TOO_LONG = re.compile(
    r"context_length_exceeded|context_window_exceeded|exceed_context_size"
    r"|context (length|size|window|limit)|maximum (model|prompt|input) length|max_model_len"
    r"|(prompt|input|request|messages|conversation)\b[^.]{0,60}\b(too long|too large|longer than)"
    r"|reduce the length|too many tokens|token count[^.]{0,60}exceeds|exceeds the maximum number of tokens"
    r"|`max_new_tokens` must be <=|must have less than \d+ tokens|exceeded model token limit",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model_not_found|model_not_supported|(unknown|invalid|no such) model"
    r"|model[^.]{0,120}\b(not found|does not exist|doesn't exist|is not supported|unknown)",
    re.IGNORECASE,
)
_SCHEMA = re.compile(r"response_format|json_schema|guided|grammar|structured", re.IGNORECASE)
_LOGPROBS = re.compile(r"log_?prob", re.IGNORECASE)

Refusal = Literal["transient", "too long", "no model", "no key", "no schema", "no logprobs", "other"]


class UnusableAnswerError(Exception):
    """An answer with status 200 that holds no message: not JSON, incomplete, or without end."""


def request_body(model: str, request: Request, decoding: Decoding) -> dict[str, Any]:
    """Return the JSON body of a request. Fields that are not needed are left out, since some servers refuse them."""
    body: dict[str, Any] = {
        "model": model,
        # a lone surrogate cannot be sent
        "messages": [
            {"role": message["role"], "content": message["content"].encode("utf-8", "replace").decode()}
            for message in request.messages
        ],
        "max_tokens": request.max_tokens,
        "temperature": decoding.temperature,
        "seed": decoding.seed,
        "stream": False,
    }
    if request.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.schema is not None:
        schema = {"name": "verdict", "strict": True, "schema": dict(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def max_answer_bytes(request: Request) -> int:
    """Return the number of bytes that no sensible answer to the request exceeds."""
    return BYTES_OF_ANSWER + BYTES_PER_TOKEN * request.max_tokens * (1 + request.top_logprobs)


def parse_reply(content: bytes, request: Request) -> Reply:
    """Return the reply in the body of an answer. Raises UnusableAnswerError if there is none."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnusableAnswerError(f"an answer that is not JSON ({type(error).__name__})") from None
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise UnusableAnswerError("an answer without a message")
    finish = _text(choice.get("finish_reason"))
    refusal = _text(message.get("refusal"))
    cut = finish == "length" and request.max_tokens != 1  # one token is requested for its probability
    usage = body.get("usage")
    return Reply(
        text=_text(message.get("content")) or refusal,
        finish=finish,
        error=REFUSED if refusal or finish == "content_filter" else CUT if cut else "",
        reasoning=_text(message.get("reasoning_content")) or _text(message.get("reasoning")),
        tokens=_tokens(choice.get("logprobs")) if request.top_logprobs else (),
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
    )


def classify_refusal(status: int, text: str, request: Request) -> Refusal:
    """Return the meaning of an HTTP status other than success, with the text of the answer."""
    if is_transient(status):
        return "transient"
    if status in (401, 403):
        return "no key"
    text = text[:MAX_SEARCHED]
    invalid = status in (400, 422)
    if status == 413 or (invalid and _TOO_LONG.search(text)):
        return "too long"
    if invalid and request.schema is not None and _SCHEMA.search(text):
        return "no schema"
    if invalid and request.top_logprobs and _LOGPROBS.search(text):
        return "no logprobs"
    return "no model" if status == 404 or (invalid and _NO_MODEL.search(text)) else "other"


def refusal_message(text: str) -> str:
    """Return the first line of the message in a refusal, bounded and printable; "" if there is none."""
    try:
        body = json.loads(text[:MAX_SEARCHED])
    except (ValueError, RecursionError):
        body = text
    message = _find_message(body).strip()
    line = message.splitlines()[0] if message else ""
    return "".join(c if c.isprintable() else "?" for c in line)[:MAX_MESSAGE]


def _find_message(body: Any) -> str:
    """Return the message of a refusal by OpenAI, TGI, FastAPI (a list of complaints) or Gemini (in a list), or text."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(filter(None, map(_find_message, body[:3])))
    if isinstance(body, dict):
        messages = map(_find_message, map(body.get, ("error", "message", "msg", "detail", "errors")))
        return next(filter(None, messages), "")
    return ""


def _text(value: Any) -> str:
    """Return text, or the text of its parts, as some servers give it; "" for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(part["text"] for part in value if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


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
