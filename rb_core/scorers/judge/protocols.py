"""Make the queries of a mode, and turn the replies into a score for each completion. Pure functions.

Every mode follows one rule: the score of a completion is the mean of its points over all queries that showed it, and
it is unscored if one of these queries has no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

from rb_core.benchmarks.example import CompletionSet
from rb_core.models.options import Mode
from rb_core.results.score_table import Score
from rb_core.scorers.base import split_words
from rb_core.scorers.judge.logprobs import choice_from_tokens, rating_from_tokens
from rb_core.scorers.judge.parsing import LETTERS, read_verdict
from rb_core.scorers.judge.prompt_templates import Template, render_messages, reply_schema
from rb_core.scorers.judge.types import (
    NO_LOGPROBS,
    NOTHING_TO_COMPARE,
    TOO_MANY,
    TOP_LOGPROBS,
    Decoding,
    JudgeQuery,
    JudgeRecord,
    Request,
)


class PromptConfig(NamedTuple):
    """Settings that turn a query into a request."""

    templates: Mapping[Mode, Template]
    decoding: Decoding = Decoding()
    structured: bool = False  # replies are JSON that follows a schema
    expected: bool = False  # a rating is its expected value under the log-probabilities, where the reply has them


def make_queries(mode: Mode, completion_set: CompletionSet) -> tuple[JudgeQuery, ...]:
    """Return the queries for a completion set.

    ratings: each completion alone; pairwise, logprob: every pair in both orders; listwise: all completions, rotated
    so that each stands once in every position. Graded completion sets are rated in every mode. Without queries, a
    completion has nothing to be compared with, or a list has no letters for all.
    """
    indices = range(len(completion_set.completions))
    if mode == "ratings" or completion_set.needs_ratings:
        return tuple(JudgeQuery("ratings", (index,)) for index in indices)
    if mode == "listwise":
        if not 1 < len(indices) <= len(LETTERS):
            return ()
        return tuple(JudgeQuery(mode, (*indices[first:], *indices[:first])) for first in indices)
    return tuple(JudgeQuery(mode, order) for order in permutations(indices, 2))


def make_request(query: JudgeQuery, completion_set: CompletionSet, config: PromptConfig) -> Request:
    """Return the request that puts a query into words."""
    shown = [completion_set.completions[index] for index in query.order]
    structured = config.structured and query.mode != "logprob"
    messages = render_messages(config.templates[query.mode], completion_set.prompt, shown, structured=structured)
    if query.mode == "logprob":
        return Request(messages, max_tokens=1, top_logprobs=TOP_LOGPROBS)
    logprobs = TOP_LOGPROBS if query.mode == "ratings" and config.expected else 0
    schema = reply_schema(query.mode, len(shown)) if structured else None
    return Request(messages, config.decoding.max_tokens, logprobs, schema)


def with_verdict(record: JudgeRecord, *, structured: bool = False) -> JudgeRecord:
    """Return the record with the points, or the error, that its reply gives."""
    reply, count = record.reply, len(record.order)
    if reply.error:
        return replace(record, points=(), error=reply.error)
    if record.mode == "logprob":
        probabilities = choice_from_tokens(reply.tokens, count)
        return replace(record, points=probabilities or (), error="" if probabilities else NO_LOGPROBS)
    verdict = read_verdict(reply.text, "rating" if record.mode == "ratings" else "choice", count, structured=structured)
    if verdict.value is None:
        return replace(record, points=(), error=verdict.error)
    if record.mode != "ratings":
        return replace(record, points=tuple(float(index == verdict.value) for index in range(count)), error="")
    expected = rating_from_tokens(reply.tokens)
    rating = float(verdict.value) if expected is None else expected
    return replace(record, points=(rating,), error="", from_logprobs=expected is not None)


def scores_from_records(completion_set: CompletionSet, records: Sequence[JudgeRecord]) -> list[Score]:
    """Return the score of every completion; lengths are counted in words, since a server's tokenizer is unknown."""
    prompt_length = sum(len(split_words(message["content"])) for message in completion_set.prompt)
    unasked = TOO_MANY if len(completion_set.completions) > 1 else NOTHING_TO_COMPARE
    scores = []
    for index, text in enumerate(completion_set.completions):
        value, reason = mean_points(index, records) if records else (math.nan, unasked)
        length = len(split_words(text))
        scores.append(Score(value, prompt_length + length, reason=reason, num_completion_tokens=length))
    return scores


def mean_points(completion: int, records: Sequence[JudgeRecord]) -> tuple[float, str]:
    """Return a completion's mean points over the records that show it, or NaN with the first error among them."""
    shown = [record for record in records if completion in record.order]
    if error := next((record.error for record in shown if record.error), ""):
        return math.nan, error
    # fsum rounds once: completions with the same points in another order have equal scores
    return math.fsum(record.points[record.order.index(completion)] for record in shown) / len(shown), ""
