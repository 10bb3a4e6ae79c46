"""The reply to a request, and the error of an answer that holds none."""

from __future__ import annotations

from typing import NamedTuple


class UnusableAnswerError(Exception):
    """An answer with status 200 that holds no whole reply. Its text is one of the reasons in `results.failures`."""


class Token(NamedTuple):
    """A token of a reply as text, with its log-probability and the most likely tokens at its position."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Reply(NamedTuple):
    """A reply to a request. The order of the fields is the order in journals."""

    text: str = ""  # of a judge; of a reward model, its outputs as JSON; for a failed request, the server's words
    finish: str = ""  # finish reason in the words of OpenAI's API: stop, length, content_filter
    error: str = ""  # the reason if there is no usable reply: see results.failures, and a judge's types
    reasoning: str = ""  # thinking that the server separates from the text
    tokens: tuple[Token, ...] = ()  # the last KEPT_TOKENS with log-probabilities, if requested and given
    prompt_tokens: int | None = None  # as counted by the server
    completion_tokens: int | None = None
    seconds: float = 0.0  # from the first attempt to the end
    attempts: int = 1
    changes: tuple[str, ...] = ()  # of the request's usual form, by the names that its client gives them
