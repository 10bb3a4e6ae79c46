"""A request to a language model and its reply, whoever answers it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from rb_core.benchmarks.example import Conversation

# Why a request has no usable reply. The words stand in score tables and results.
REFUSED = "the judge refused"


CUT = "cut off at the maximum number of tokens"


TOO_LONG = "longer than the judge's context"


SERVER_ERROR = "no answer from the server after several tries"


UNREADABLE = "no verdict that can be read"


NO_LOGPROBS = "no log-probability of a verdict"


# Of a reply's tokens the log-probabilities of the last ones are kept: a verdict stands at the end.
KEPT_TOKENS = 32


# Alternatives asked for at every token; the most that OpenAI-compatible servers give.
TOP_LOGPROBS = 20


@dataclass(frozen=True)
class Decoding:
    """How replies are generated: what a reply depends on beside the messages.

    max_tokens: of one reply, its reasoning included; seed: sent along, for servers that have one.
    """

    temperature: float = 0.0
    max_tokens: int = 1024
    seed: int = 0


class Request(NamedTuple):
    """What is asked. max_tokens: of the reply; top_logprobs: alternatives to report at each token, 0 for none;
    schema: the JSON Schema that the reply has to follow, None for free text."""

    messages: Conversation
    max_tokens: int
    top_logprobs: int = 0
    schema: Mapping[str, Any] | None = None

    @property
    def sha256(self) -> str:
        """The hash of all of it: equal requests to one judge are one request."""
        content = [[dict(message) for message in self.messages], self.max_tokens, self.top_logprobs, self.schema]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Token(NamedTuple):
    """A token of a reply, as text, with its log-probability and those of the likeliest tokens at its place."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Reply(NamedTuple):
    """What came back.

    text: the answer; reasoning: what the model thought, where the server tells it apart; finish: why it ended, in the
    words of OpenAI's API (stop, length, content_filter); problem: why there is no usable answer, one of the constants
    above, or ""; tokens: the last KEPT_TOKENS of the text with log-probabilities, where they were asked for and given;
    prompt_tokens, completion_tokens: as the server counts them, None where it does not; seconds: from the first try
    to the end; tries: how often it was sent.
    """

    text: str = ""
    finish: str = ""
    problem: str = ""
    reasoning: str = ""
    tokens: tuple[Token, ...] = ()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    tries: int = 1


class ReplySource(Protocol):
    """Where the text comes from."""

    def generate(self, requests: Iterable[Request]) -> Generator[tuple[int, Reply]]:
        """The reply to every request, with the request's place among them, in the order in which replies arrive.

        Takes requests from the iterable as it can send them, in the thread that takes the replies. Raises ModelError
        for what would go wrong with every request (no such model, a key that is refused), after every reply that has
        arrived was given out.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What replies depend on beside requests and decoding, by the names of results.ModelRef; and of JudgeRef
        `backend` ("local", "served" or a provider's name), `sampling` and `generation`, where they are known."""
        ...
