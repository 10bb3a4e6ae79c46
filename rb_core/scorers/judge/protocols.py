"""How a judge is asked about candidates, and how its answers become a score a completion. Pure.

Every mode is a list of asks, each of which shows some of the completions in some order, and one rule: a completion's
score is the mean of what it got over all the asks that showed it, and it is unscored where one of them gave nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

from rb_core.benchmarks.example import CompletionSet
from rb_core.models.options import Mode
from rb_core.results.score_table import Score
from rb_core.scorers.base import words
from rb_core.scorers.judge.parsing import choice_from_tokens, rating_from_tokens, read
from rb_core.scorers.judge.prompt_templates import Template, render, schema
from rb_core.scorers.judge.types import NO_LOGPROBS, TOP_LOGPROBS, Decoding, Reply, Request


class Ask(NamedTuple):
    """One question about candidates. order: the completions it shows, first to last."""

    mode: Mode
    order: tuple[int, ...]


class Answer(NamedTuple):
    """What a reply says. shares: for each completion shown what it got (a rating from 1 to 10; of a choice 1 and 0s; of
    a choice's probabilities these), empty where there is a reason; exact: whether a rating came from probabilities."""

    shares: tuple[float, ...] = ()
    reason: str = ""
    exact: bool = False


def asks(mode: Mode, candidates: CompletionSet) -> tuple[Ask, ...]:
    """What has to be asked about candidates.

    ratings: each completion alone; pairwise, logprob: every two, in both orders; listwise: all of them, rotated so that
    each stands once in every place. Candidates that have to be graded are rated, whatever the mode.
    """
    everyone = range(len(candidates.completions))
    if mode == "ratings" or candidates.graded:
        return tuple(Ask("ratings", (index,)) for index in everyone)
    if mode == "listwise":
        return tuple(Ask(mode, (*everyone[first:], *everyone[:first])) for first in everyone)
    return tuple(Ask(mode, order) for order in permutations(everyone, 2))


class Wording(NamedTuple):
    """How asks are put into words. templates: by mode; structured: replies are JSON by a schema; expected: ratings are
    read from the probabilities of all ratings, where the reply has them."""

    templates: Mapping[Mode, Template]
    decoding: Decoding = Decoding()
    structured: bool = False
    expected: bool = False


class Question(NamedTuple):
    """An ask in words. injections: how many of the completions shown try to speak to the judge."""

    request: Request
    injections: int


def question(ask: Ask, candidates: CompletionSet, wording: Wording) -> Question:
    """The request that puts an ask into words."""
    shown = [candidates.completions[index] for index in ask.order]
    structured = wording.structured and ask.mode != "logprob"
    messages, injections = render(wording.templates[ask.mode], candidates.prompt, shown, structured=structured)
    if ask.mode == "logprob":
        return Question(Request(messages, max_tokens=1, top_logprobs=TOP_LOGPROBS), injections)
    logprobs = TOP_LOGPROBS if ask.mode == "ratings" and wording.expected else 0
    asked = Request(
        messages, wording.decoding.max_tokens, logprobs, schema(ask.mode, len(shown)) if structured else None
    )
    return Question(asked, injections)


def answer(ask: Ask, reply: Reply, *, structured: bool = False) -> Answer:
    """What a reply says to an ask, or why it says nothing."""
    if reply.problem:
        return Answer(reason=reply.problem)
    if ask.mode == "logprob":
        probabilities = choice_from_tokens(reply.tokens, len(ask.order))
        return Answer(reason=NO_LOGPROBS) if probabilities is None else Answer(probabilities)
    verdict = read(reply.text, "rating" if ask.mode == "ratings" else "choice", len(ask.order), structured=structured)
    if verdict.value is None:
        return Answer(reason=verdict.reason)
    if ask.mode == "ratings":
        expected = rating_from_tokens(reply.tokens)
        return Answer((float(verdict.value),)) if expected is None else Answer((expected,), exact=True)
    return Answer(tuple(float(index == verdict.value) for index in range(len(ask.order))))


def scores(candidates: CompletionSet, asked: Sequence[Ask], answers: Sequence[Answer]) -> list[Score]:
    """One score a completion, as `mean_share` has it."""
    before = sum(len(words(message["content"])) for message in candidates.prompt)
    found = []
    for index, text in enumerate(candidates.completions):
        value, reason = mean_share(index, asked, answers)
        own = len(words(text))
        found.append(Score(value, before + own, reason=reason, num_completion_tokens=own))
    return found


def mean_share(completion: int, asked: Sequence[Ask], answers: Sequence[Answer]) -> tuple[float, str]:
    """The mean of what a completion got over the asks that showed it; NaN with the reason where one gave nothing.

    pairwise: the share of its comparisons that it won, where one order against the other makes a half; logprob: its
    mean probability to be preferred; listwise: the share of rotations in which it was named best; ratings: its rating.
    """
    got = [(ask, answer) for ask, answer in zip(asked, answers, strict=True) if completion in ask.order]
    if reason := next((answer.reason for _, answer in got if answer.reason), ""):
        return math.nan, reason
    # exactly rounded: completions that got the same in another order tie
    return math.fsum(answer.shares[ask.order.index(completion)] for ask, answer in got) / len(got), ""
