"""Requests to a language model, and the record of a request and its reply that a run keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from rb_core.benchmarks.example import Conversation
from rb_core.models.options import Mode
from rb_core.scorers.http.replies import Reply

# Reasons why a request has no verdict. Score tables and results hold these texts.
REFUSED = "the judge refused"
CUT = "cut off at the maximum number of tokens"
TOO_LONG = "longer than the judge's context"
UNREADABLE = "no verdict that can be read"
NO_LOGPROBS = "no log-probability of a verdict"
NOTHING_TO_COMPARE = "the only completion of its prompt: nothing to compare it with"
TOO_MANY = "too many completions of one prompt for a list"

KEPT_TOKENS = 32  # log-probabilities are kept for the last tokens of a reply: a verdict stands at the end
TOP_LOGPROBS = 20  # alternatives requested for every token; the most that OpenAI-compatible servers give


@dataclass(frozen=True)
class Decoding:
    """Settings of generation. `max_tokens` includes reasoning; `seed` is sent to servers that support one."""

    temperature: float = 0.0
    max_tokens: int = 1024
    seed: int = 0


class Request(NamedTuple):
    """Messages for a language model, with the settings of this one reply."""

    messages: Conversation
    max_tokens: int
    top_logprobs: int = 0  # alternatives to report for each token
    schema: Mapping[str, Any] | None = None  # JSON Schema of the reply; None for free text

    @property
    def sha256(self) -> str:
        """Hash of all fields; requests to one judge with the same hash are sent once."""
        content = [[dict(message) for message in self.messages], self.max_tokens, self.top_logprobs, self.schema]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class JudgeQuery(NamedTuple):
    """A rating or comparison to ask a judge for. `order` lists the completions shown, first to last."""

    mode: Mode
    order: tuple[int, ...]


@dataclass(frozen=True)
class JudgeRecord:
    """A request to a judge with its reply and verdict: a row of the transcript.

    Each completion shown gets points: a rating from 1 to 10; 1 or 0 for a choice; probabilities in mode logprob.
    """

    judge: str
    mode: Mode
    order: tuple[int, ...]  # completions shown, first to last
    reply: Reply
    points: tuple[float, ...] = ()  # in the order shown; empty with an error
    error: str = ""  # reason why there is no verdict
    from_logprobs: bool = False  # the rating is an expected value; not stored
    messages: Conversation = ()  # of the request; not stored
    prompt_sha256: str = ""
    injections: int = 0  # completions shown that address the judge
    example_id: str = ""
    authors: tuple[str, ...] = ()  # of the completions shown; empty if unknown

    @property
    def winner(self) -> int | None:
        """The completion with the most points; None for a tie, a rating, or no verdict."""
        best = [index for index, points in zip(self.order, self.points, strict=False) if points == max(self.points)]
        return best[0] if len(best) == 1 and len(self.order) > 1 else None


class ReplySource(Protocol):
    """A generator of replies: a server or a loaded model."""

    def generate(self, requests: Iterable[Request]) -> Generator[tuple[int, Reply]]:
        """Yield (index of the request, reply) in the order in which replies arrive.

        Requests are taken from the iterable as they can be sent, in the thread that takes the replies. Raises
        ModelError for an error that every request would meet (unknown model, rejected key), after all replies that
        have arrived were yielded.
        """
        ...

    def continue_from(self, replies: Sequence[Reply]) -> None:
        """Take note of the replies of an unfinished run before anything is generated."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the settings replies depend on apart from requests and decoding.

        Keys are fields of results.ModelRef, and `backend` ("local", "served" or a provider), `sampling`,
        `generation` and `extra_body` of JudgeRef.
        """
        ...
