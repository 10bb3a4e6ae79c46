"""Refusals that concern the form of a judge's requests: a field that the server does not take, or takes otherwise."""

from __future__ import annotations

import re
from collections.abc import Collection

from rb_core.scorers.http.refusals import (
    Refusal,
    any_of,
    classify_refusal,
    named_fields,
    parse_refusal,
    refusal_words,
)
from rb_core.scorers.judge.chat_completions import LOGPROB_LIMITS, REFUSABLE_FIELDS, has_system_message
from rb_core.scorers.judge.types import Request

_SCHEMA = any_of(r"response_format|json_schema|guided|grammar|structured")
_LOGPROBS = any_of(r"log_?prob")
_NO_SYSTEM = any_of(
    r"(system|developer) (role|message|prompt|instruction)s?\b[^.]{0,60}(not|n't|un)[ -]?(support|enable|allow|permit)",
    r"support[^.]{0,20}system['\"`]? (role|message|prompt)|not support ['\"`]?system|roles must alternate",
    r"only[^.]{0,20}user['\"`]?,? (and|or) ['\"`]?(assistant|model)",
)
_UNSUPPORTED = any_of(
    r"unsupported|(not|n't) (support|permit|allow|accept|recogni[sz]ed|expected)|unrecogni[sz]ed|unexpected|unknown",
    r"extra (inputs|fields)|forbidden|invalid|only the default|strictly positive",
)
_OUT_OF_RANGE = any_of(
    r"too (large|big|high)|at (most|least)|maximum|minimum|less than|greater than|range|exceed|<=|>="
)


def classify_judge_refusal(status: int, text: str, request: Request) -> Refusal:
    """Return the meaning of an HTTP status other than success, as an answer to a judge's request."""
    refusal = classify_refusal(status, text)
    if status in (400, 422) and refusal in ("no model", "other"):
        words = refusal_words(text)
        if request.schema is not None and _SCHEMA.search(words):
            return "no schema"
        if request.top_logprobs and _LOGPROBS.search(words):
            return "no logprobs"
    return refusal


def needed_changes(text: str, request: Request, changes: Collection[str]) -> frozenset[str]:
    """Return the changes (see chat_completions.CHANGES) of a request's form that the text of its refusal asks for.

    A field is named by the error's `param` or `loc`, or else in its message. changes: those that the refused request
    already had; they are not returned again.
    """
    words, fields = refusal_words(text), set(named_fields(parse_refusal(text)))
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
