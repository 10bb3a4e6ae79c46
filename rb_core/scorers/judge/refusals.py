"""The meaning of a server's refusals: statuses other than success, and errors that arrive with status 200.

Pure functions. A refusal concerns one request (its prompt is too long, or a content filter objects), the form of all
requests (a field that the server does not take), or the whole run (no key, no quota, no such model).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, Literal

from rb_core.retries import is_transient
from rb_core.scorers.judge.chat_completions import LOGPROB_LIMITS, REFUSABLE_FIELDS, has_system_message
from rb_core.scorers.judge.types import Request

MAX_MESSAGE = 300  # characters of a server's message that are shown
MAX_SEARCHED = 20_000  # characters of a refusal that are searched

Refusal = Literal[
    "transient", "too long", "filtered", "no quota", "no model", "no key", "no schema", "no logprobs", "other"
]


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


# How servers refuse a prompt, or a prompt and its reply, that is too long: OpenAI, vLLM and Azure; llama.cpp; SGLang
# and Together; TGI; Mistral; Anthropic, Fireworks and Bedrock; Gemini; Groq and Cerebras; Cohere.
_TOO_LONG = _any_of(
    r"context_length_exceeded|context_window_exceeded|exceed_context_size",
    r"context (length|size|window|limit)|maximum (model|prompt|input) length|max_model_len",
    r"(prompt|input|request|messages|conversation)\b[^.]{0,60}\b(too long|too large|longer than)",
    r"reduce the length|too many tokens|token count[^.]{0,60}exceeds|exceeds the maximum number of tokens",
    r"`max_new_tokens` must be <=|must have less than \d+ tokens|exceeded model token limit",
)
# A prompt refused by a filter: Azure and Moonshot; OpenAI; DeepSeek; DashScope; OpenRouter; xAI; Anthropic; Gemini;
# Bedrock; Zhipu.
_FILTERED = _any_of(
    r"content[_ ]?(management )?(filter|polic)|responsible ?ai|invalid_prompt|content exists risk",
    r"data_?inspection_?failed|moderation|\bflagged\b|prohibited_content|guardrail|for safety reasons|safety system",
    r"inappropriate content|(considered|rated) high risk|sensitive (content|word)|敏感|不安全|违规",
    r"violat\w+[^.]{0,60}(polic|guideline|terms)|(usage|safety|content) (polic\w+|guidelines)",
)
_NO_QUOTA = _any_of(
    r"insufficient[_ ](account )?(quota|balance|credit|fund)|exceeded your (current quota|monthly)|out of credits",
    r"credit balance is too low|billing_hard_limit|quota (is )?exhausted|account[^.]{0,40}(in arrears|suspended)",
)
# A limit that passes: those of requests per minute are in some servers' words an exceeded quota.
_RATE_LIMIT = _any_of(r"(retry|try again) (in|after)|retryDelay|rate.?limit|per[ _-]?(minute|second|min|day)\b")
_NO_MODEL = _any_of(
    r"model_not_found|model_not_supported|(unknown|invalid|no such) model",
    r"model[^.]{0,120}\b(not found|does not exist|doesn't exist|is not supported|unknown)",
)
_SCHEMA = _any_of(r"response_format|json_schema|guided|grammar|structured")
_LOGPROBS = _any_of(r"log_?prob")
_NO_SYSTEM = _any_of(
    r"(system|developer) (role|message|prompt|instruction)s?\b[^.]{0,60}(not|n't|un)[ -]?(support|enable|allow|permit)",
    r"support[^.]{0,20}system['\"`]? (role|message|prompt)|not support ['\"`]?system|roles must alternate",
    r"only[^.]{0,20}user['\"`]?,? (and|or) ['\"`]?(assistant|model)",
)
_UNSUPPORTED = _any_of(
    r"unsupported|(not|n't) (support|permit|allow|accept|recogni[sz]ed|expected)|unrecogni[sz]ed|unexpected|unknown",
    r"extra (inputs|fields)|forbidden|invalid|only the default|strictly positive",
)
_OUT_OF_RANGE = _any_of(
    r"too (large|big|high)|at (most|least)|maximum|minimum|less than|greater than|range|exceed|<=|>="
)
_BUSY = _any_of(
    r"overload|busy|too many requests|rate.?limit|temporar|try again|tim(ed?|ing) ?out|unavailable|capacity",
    r"internal|upstream|bad gateway",
)
_REPEATS_THE_REQUEST = ("input", "ctx", "flagged_input", "messages", "body", "request")  # fields of an error


def classify_refusal(status: int, text: str, request: Request) -> Refusal:
    """Return the meaning of an HTTP status other than success, with the text of the answer."""
    words = _words(_parse(text))
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
    invalid = status in (400, 422)
    if invalid and request.schema is not None and _SCHEMA.search(words):
        return "no schema"
    if invalid and request.top_logprobs and _LOGPROBS.search(words):
        return "no logprobs"
    return "no model" if status == 404 or (invalid and _NO_MODEL.search(words)) else "other"


def _passes(status: int, words: str) -> bool:
    return status == 429 and "insufficient_quota" not in words and _RATE_LIMIT.search(words) is not None


def needed_changes(text: str, request: Request, changes: Collection[str]) -> frozenset[str]:
    """Return the changes (see chat_completions.CHANGES) of a request's form that the text of its refusal asks for.

    A field is named by the error's `param` or `loc`, or else in its message. changes: those that the refused request
    already had; they are not returned again.
    """
    body = _parse(text)
    words, fields = _words(body), set(_named_fields(body))
    if not fields.intersection(REFUSABLE_FIELDS) and _UNSUPPORTED.search(words):
        fields |= {name for name in REFUSABLE_FIELDS if re.search(rf"\b{name}\b", words)}
    needed = fields.intersection(REFUSABLE_FIELDS)
    if _OUT_OF_RANGE.search(words) and "max_completion_tokens" not in words:
        needed.discard("max_tokens")  # the value is refused, not the field
    if has_system_message(request) and (_NO_SYSTEM.search(words) or fields >= {"messages", "role"}):
        needed.add("system")
    if request.top_logprobs and _LOGPROBS.search(words):
        smaller = [name for name, limit in LOGPROB_LIMITS.items() if limit < request.top_logprobs]
        needed |= set([name for name in smaller if name not in changes][:1])
    return frozenset(needed.difference(changes))


def _named_fields(error: Any) -> Iterator[str]:
    """Yield the names in `param` (OpenAI: "messages[0].role") and `loc` (pydantic: ["body", "seed"]) of an error."""
    if isinstance(error, list):
        for item in error:
            yield from _named_fields(item)
    elif isinstance(error, dict):
        for key, value in error.items():
            if key in ("param", "loc"):
                places = value if isinstance(value, list) else [value]
                yield from (name for place in places for name in re.findall(r"[A-Za-z_]+", str(place)))
            elif key not in _REPEATS_THE_REQUEST:
                yield from _named_fields(value)


def status_of_error(text: str) -> int | None:
    """Return the status that an error in an answer with status 200 amounts to; None if the text is no error.

    That is the error's own code if it is an HTTP status; else 503 for a busy server and 400 for anything else.
    """
    body = _parse(text)
    if not isinstance(body, dict) or not _find_message(body):
        return None
    for holder in (body.get("error"), body):
        if isinstance(holder, dict):
            for key in ("code", "status", "status_code", "statusCode"):
                if re.fullmatch("[45][0-9]{2}", str(holder.get(key))):
                    return int(holder[key])
    return 503 if _BUSY.search(_words(body)) else 400


def refusal_message(text: str) -> str:
    """Return the first line of a refusal's message, bounded and printable; "" without a message."""
    message = _find_message(_parse(text)).strip()
    line = message.splitlines()[0] if message else ""
    return "".join(c if c.isprintable() else "?" for c in line)[:MAX_MESSAGE]


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _words(error: Any) -> str:
    """Return all texts in an error, one a line, without those that repeat the request."""
    return "\n".join(_texts(error))[:MAX_SEARCHED]


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
