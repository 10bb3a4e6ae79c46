"""OpenAI's chat completions as they go over the wire: what a request becomes, what an answer or a refusal means.

Pure: no client and no network. Servers differ in what they add, leave out and how they say no; all of that is here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rb_core.retries import is_transient
from rb_core.scorers.judge.types import CUT, KEPT_TOKENS, REFUSED, Decoding, Reply, Request, Token

MAX_WORDS = 300  # characters of what a server says that are shown


MAX_READ = 20_000  # characters of a refusal that are looked through


# What a token of an answer can take as JSON, with its alternatives a multiple; and all the rest of an answer.
BYTES_PER_TOKEN = 512


BYTES_OF_ANSWER = 1 << 20


# How servers say that a prompt, or a prompt and its reply, do not fit: OpenAI, vLLM and Azure; llama.cpp; SGLang and
# Together; TGI; Mistral; Anthropic, Fireworks and Bedrock; Gemini; Groq and Cerebras; Cohere.
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


Meaning = Literal["again", "too long", "no model", "no key", "no schema", "no logprobs", "refused"]


class UnusableError(Exception):
    """An answer that is no answer: not JSON, without a message, or without end."""


class Fields(NamedTuple):
    """The arguments of a chat completion that a request needs; there are no others in the body."""

    messages: list[dict[str, str]]
    parameters: dict[str, Any]


def fields(request: Request, decoding: Decoding) -> Fields:
    """A request as arguments. What is not needed is left out: some servers refuse every field they do not have."""
    # Half a surrogate pair is no text that can be sent.
    messages = [
        {"role": message["role"], "content": message["content"].encode("utf-8", "replace").decode()}
        for message in request.messages
    ]
    parameters: dict[str, Any] = {
        "max_tokens": request.max_tokens,
        "temperature": decoding.temperature,
        "seed": decoding.seed,
    }
    if request.top_logprobs:
        parameters |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.schema is not None:
        parameters["response_format"] = schema_format(request.schema)
    return Fields(messages, parameters)


def schema_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The response format for a JSON Schema, as OpenAI, vLLM, SGLang and llama.cpp read it."""
    return {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": dict(schema)}}


def most_bytes(request: Request) -> int:
    """How long an answer to this request can reasonably be."""
    return BYTES_OF_ANSWER + BYTES_PER_TOKEN * request.max_tokens * (1 + request.top_logprobs)


def reply(content: bytes, request: Request) -> Reply:
    """What the body of an answer says; without seconds and tries. Raises UnusableError where it says nothing."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnusableError(f"an answer that is not JSON ({type(error).__name__})") from None
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise UnusableError("an answer without a message")
    finish = _text(choice.get("finish_reason"))
    refusal = _text(message.get("refusal"))
    reason = ""
    if refusal or finish == "content_filter":
        reason = REFUSED
    elif finish == "length" and request.max_tokens != 1:  # a single token is asked for where its probability counts
        reason = CUT
    usage = body.get("usage")
    return Reply(
        text=_text(message.get("content")) or refusal,
        finish=finish,
        error=reason,
        reasoning=_text(message.get("reasoning_content")) or _text(message.get("reasoning")),
        tokens=_tokens(choice.get("logprobs")) if request.top_logprobs else (),
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
    )


def meaning(status: int, text: str, request: Request) -> Meaning:
    """What a status other than success, and the words with it, mean for a request."""
    if is_transient(status):
        return "again"
    if status in (401, 403):
        return "no key"
    text = text[:MAX_READ]
    if status == 413 or (status in (400, 422) and _TOO_LONG.search(text)):
        return "too long"
    if status in (400, 422) and request.schema is not None and _SCHEMA.search(text):
        return "no schema"
    if status in (400, 422) and request.top_logprobs and _LOGPROBS.search(text):
        return "no logprobs"
    if status == 404 or (status in (400, 422) and _NO_MODEL.search(text)):
        return "no model"
    return "refused"


def words(text: str) -> str:
    """The first line of what a refusal says, wherever the server puts it, bounded; "" where it says nothing."""
    try:
        body = json.loads(text[:MAX_READ])
    except (ValueError, RecursionError):
        body = text
    said = _said(body).strip()
    line = said.splitlines()[0] if said else ""
    return "".join(c if c.isprintable() else "?" for c in line)[:MAX_WORDS]


def _said(body: Any) -> str:
    """The message of a refusal: OpenAI's, TGI's, FastAPI's with a list of complaints, Gemini's in a list, or text."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(filter(None, map(_said, body[:3])))
    if isinstance(body, dict):
        for name in ("error", "message", "msg", "detail", "errors"):
            if said := _said(body.get(name)):
                return said
    return ""


def _text(value: Any) -> str:
    """Text, or the text of its parts, as some servers give it; "" for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(part["text"] for part in value if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _tokens(logprobs: Any) -> tuple[Token, ...]:
    """The last tokens with their log-probabilities; none at all where one of them has no number."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return ()
    tokens = [_token(entry) for entry in content[-KEPT_TOKENS:]]
    known = tuple(token for token in tokens if token is not None)
    return known if len(known) == len(tokens) else ()


def _token(entry: Any) -> Token | None:
    pair = _pair(entry)
    if pair is None:
        return None
    alternatives: Any = entry.get("top_logprobs")
    top = map(_pair, alternatives if isinstance(alternatives, Sequence) else ())
    return Token(*pair, tuple(other for other in top if other is not None))


def _pair(entry: Any) -> tuple[str, float] | None:
    """A token and its log-probability, where it is a finite number."""
    text, logprob = (entry.get("token"), entry.get("logprob")) if isinstance(entry, dict) else (None, None)
    if not isinstance(text, str) or not isinstance(logprob, int | float) or not math.isfinite(logprob):
        return None
    return text, float(logprob)
