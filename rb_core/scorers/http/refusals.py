"""The meaning of a server's refusals: statuses other than success, and errors that arrive with status 200.

Pure functions. A refusal concerns one request (its prompt is too long, or a content filter objects), or the whole run
(no key, no quota, no such model). Further ones of judges are in `judge/refusals.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from rb_core.retries import is_transient

MAX_MESSAGE = 300  # characters of a server's message that are shown
MAX_SEARCHED = 20_000  # characters of a refusal that are searched

Refusal = Literal[
    "transient", "too long", "filtered", "no quota", "no model", "no key", "no schema", "no logprobs", "other"
]


def any_of(*patterns: str) -> re.Pattern[str]:
    """Return a pattern that finds any of these, in either case."""
    return re.compile("|".join(patterns), re.IGNORECASE)


# How servers refuse a prompt, or a prompt and its reply, that is too long: OpenAI, vLLM and Azure; llama.cpp; SGLang
# and Together; TGI; Mistral; Anthropic, Fireworks and Bedrock; Gemini; Groq and Cerebras; Cohere.
_TOO_LONG = any_of(
    r"context_length_exceeded|context_window_exceeded|exceed_context_size",
    r"context (length|size|window|limit)|maximum (model|prompt|input) length|max_model_len",
    r"(prompt|input|request|messages|conversation)\b[^.]{0,60}\b(too long|too large|longer than)",
    r"reduce the length|too many tokens|token count[^.]{0,60}exceeds|exceeds the maximum number of tokens",
    r"`max_new_tokens` must be <=|must have less than \d+ tokens|exceeded model token limit",
)
# A prompt refused by a filter: Azure and Moonshot; OpenAI; DeepSeek; DashScope; OpenRouter; xAI; Anthropic; Gemini;
# Bedrock; Zhipu.
_FILTERED = any_of(
    r"content[_ ]?(management )?(filter|polic)|responsible ?ai|invalid_prompt|content exists risk",
    r"data_?inspection_?failed|moderation|\bflagged\b|prohibited_content|guardrail|for safety reasons|safety system",
    r"inappropriate content|(considered|rated) high risk|sensitive (content|word)|敏感|不安全|违规",
    r"violat\w+[^.]{0,60}(polic|guideline|terms)|(usage|safety|content) (polic\w+|guidelines)",
)
_NO_QUOTA = any_of(
    r"insufficient[_ ](account )?(quota|balance|credit|fund)|exceeded your (current quota|monthly)|out of credits",
    r"credit balance is too low|billing_hard_limit|quota (is )?exhausted|account[^.]{0,40}(in arrears|suspended)",
)
# A limit that passes: those of requests per minute are in some servers' words an exceeded quota.
_RATE_LIMIT = any_of(r"(retry|try again) (in|after)|retryDelay|rate.?limit|per[ _-]?(minute|second|min|day)\b")
_NO_MODEL = any_of(
    r"model_not_found|model_not_supported|(unknown|invalid|no such) model",
    r"model[^.]{0,120}\b(not found|does not exist|doesn't exist|is not supported|unknown)",
)
_BUSY = any_of(
    r"overload|busy|too many requests|rate.?limit|temporar|try again|tim(ed?|ing) ?out|unavailable|capacity",
    r"internal|upstream|bad gateway",
)
_REPEATS_THE_REQUEST = ("input", "ctx", "flagged_input", "messages", "body", "request")  # fields of an error


def classify_refusal(status: int, text: str) -> Refusal:
    """Return the meaning of an HTTP status other than success, with the text of the answer."""
    words = refusal_words(text)
    if status == 402 or (status < 500 and _NO_QUOTA.search(words) and not _passes(status, words)):
        return "no quota"
    if is_transient(status):
        return "transient"
    if status == 401:
        return "no key"
    if status == 413 or (status in (400, 422) and _TOO_LONG.search(words)):
        return "too long"
    if _FILTERED.search(words):
        return "filtered"
    if status == 403:
        return "no key"
    return "no model" if status == 404 or (status in (400, 422) and _NO_MODEL.search(words)) else "other"


def _passes(status: int, words: str) -> bool:
    return status == 429 and "insufficient_quota" not in words and _RATE_LIMIT.search(words) is not None


def named_fields(error: Any) -> Iterator[str]:
    """Yield the names in `param` (OpenAI: "messages[0].role") and `loc` (pydantic: ["body", "seed"]) of an error."""
    if isinstance(error, list):
        for item in error:
            yield from named_fields(item)
    elif isinstance(error, dict):
        for key, value in error.items():
            if key in ("param", "loc"):
                places = value if isinstance(value, list) else [value]
                yield from (name for place in places for name in re.findall(r"[A-Za-z_]+", str(place)))
            elif key not in _REPEATS_THE_REQUEST:
                yield from named_fields(value)


def status_of_error(text: str) -> int | None:
    """Return the status that an error in an answer with status 200 amounts to; None if the text is no error.

    That is the error's own code if it is an HTTP status; else 503 for a busy server and 400 for anything else.
    """
    body = parse_refusal(text)
    if not isinstance(body, dict) or not _find_message(body):
        return None
    for holder in (body.get("error"), body):
        if isinstance(holder, dict):
            for key in ("code", "status", "status_code", "statusCode"):
                if re.fullmatch("[45][0-9]{2}", str(holder.get(key))):
                    return int(holder[key])
    return 503 if _BUSY.search(refusal_words(text)) else 400


def refusal_message(text: str) -> str:
    """Return the first line of a refusal's message, bounded and printable; "" without a message."""
    message = _find_message(parse_refusal(text)).strip()
    line = message.splitlines()[0] if message else ""
    return "".join(c if c.isprintable() else "?" for c in line)[:MAX_MESSAGE]


def parse_refusal(text: str) -> Any:
    """Return the JSON of a refusal, or its text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def refusal_words(text: str) -> str:
    """Return all texts in a refusal, one a line, without those that repeat the request."""
    return "\n".join(_texts(parse_refusal(text)))[:MAX_SEARCHED]


def _texts(error: Any) -> Iterator[str]:
    if isinstance(error, str):
        yield error
    elif isinstance(error, list):
        for item in error:
            yield from _texts(item)
    elif isinstance(error, dict):
        for key, value in error.items():
            if key not in _REPEATS_THE_REQUEST:
                yield from _texts(value)


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
