"""The budget of a served judge.

Before a request is sent, the most that it can cost is reserved; when its reply arrives, the actual cost is booked
instead. So the limits hold as long as the server keeps to the requested number of tokens, or exceeds it by a similar
amount each time.
"""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass, replace

from rb_core.errors import ModelError
from rb_core.results.failures import FAILED
from rb_core.scorers.http.replies import Reply
from rb_core.scorers.judge.types import TOO_LONG, Request

# A prompt has at most as many tokens as bytes (byte-level BPE, or pieces with a fallback to bytes), apart from the chat
# template's own text: marks of a turn, and once a default system prompt; the longest known ones have about 100 tokens.
TOKENS_PER_MESSAGE = 16
TOKENS_PER_PROMPT = 256


@dataclass(frozen=True)
class Prices:
    """US dollars per million tokens. Raises ModelError for a value that is not a price."""

    prompt: float
    completion: float

    def __post_init__(self) -> None:
        for name in ("prompt", "completion"):
            _must_be_a_quantity(getattr(self, name), f"the price of {name} tokens")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1_000_000


@dataclass(frozen=True)
class BudgetLimits:
    """The most that may be spent: tokens of prompts and replies together, and US dollars.

    Raises ModelError for limits that cannot be checked.
    """

    max_tokens_total: int | None = None
    max_cost: float | None = None
    prices: Prices | None = None

    def __post_init__(self) -> None:
        if self.max_tokens_total is not None:
            _must_be_a_quantity(self.max_tokens_total, "--max-tokens-total")
        if self.max_cost is not None:
            _must_be_a_quantity(self.max_cost, "--max-cost")
            if self.prices is None:
                raise ModelError(
                    "--max-cost needs prices: give --price-prompt and --price-completion (per million tokens), "
                    "or --max-tokens-total instead"
                )

    @property
    def any(self) -> bool:
        return self.max_tokens_total is not None or self.max_cost is not None


class BudgetSpent(ModelError):  # noqa: N818 - a limit was reached, which is not an error
    """The rest of the budget does not suffice for the next request."""


@dataclass(frozen=True, eq=False)
class Reservation:
    """Tokens reserved for a request on its way. Compared by identity.

    completion_tokens: `max_tokens` of the request, and more where replies were longer than that.
    """

    prompt_tokens: int
    completion_tokens: int
    max_tokens: int


class Budget:
    """An account of tokens and dollars that threads and tasks may share.

    prompt_tokens, completion_tokens: spent so far, as counted by the server, or as reserved if it does not count.
    """

    def __init__(self, limits: BudgetLimits | None = None) -> None:
        self.limits = limits or BudgetLimits()
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._excess = 0  # tokens by which a completion exceeded its request's maximum, as reasoning can
        self._has_reply = False
        self._open: set[Reservation] = set()
        self._lock = threading.Lock()

    @property
    def cost(self) -> float | None:
        """US dollars spent; None without prices."""
        prices = self.limits.prices
        return None if prices is None else prices.cost(self.prompt_tokens, self.completion_tokens)

    def reserve(self, request: Request) -> Reservation | None:
        """Reserve the most that a request can take; None if there is room only after others have settled.

        With a limit, the first reply is awaited alone: some servers exceed the requested length. Then twice the
        greatest excess is reserved as well.

        Raises BudgetSpent if the request does not fit although no other is on its way.
        """
        most = most_tokens(request)
        with self._lock:
            if self._open and not self._has_reply and self.limits.any:
                return None
            wanted = replace(most, completion_tokens=most.completion_tokens + 2 * self._excess)
            short = self._short(wanted)
            if short and not self._open:
                raise BudgetSpent(short)
            if short:
                return None
            self._open.add(wanted)
            return wanted

    def settle(self, reservation: Reservation, reply: Reply | None) -> None:
        """Book the tokens of a reply instead of its reservation.

        The whole reservation is booked for a reply without usage, and for None: an attempt that may have been billed
        and brought no reply.
        """
        prompt, completion = _usage(reply) or (reservation.prompt_tokens, reservation.completion_tokens)
        with self._lock:
            self._open.remove(reservation)
            self._book(prompt, completion, reservation.max_tokens, reply)

    def release(self, reservation: Reservation) -> None:
        """Cancel the reservation of a request that is not billed."""
        with self._lock:
            self._open.remove(reservation)

    def add(self, reply: Reply, request: Request | None = None) -> None:
        """Book a reply of an unfinished run. Without usage, an answered request counts with the most it could take."""
        most = None if request is None else most_tokens(request)
        used = _usage(reply)
        if used is None and most is not None and reply.error not in (TOO_LONG, *FAILED):
            used = most.prompt_tokens, most.completion_tokens
        prompt, completion = used or (0, 0)
        with self._lock:
            self._book(prompt, completion, completion if most is None else most.max_tokens, reply)

    def _book(self, prompt: int, completion: int, max_tokens: int, reply: Reply | None) -> None:
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        if _usage(reply) is not None:
            self._excess = max(self._excess, completion - max_tokens)
        self._has_reply = self._has_reply or reply is not None

    def _short(self, wanted: Reservation) -> str:
        """Return why a request does not fit, or ""."""
        prompt = self.prompt_tokens + sum(reservation.prompt_tokens for reservation in self._open)
        completion = self.completion_tokens + sum(reservation.completion_tokens for reservation in self._open)
        tokens, prices = self.limits.max_tokens_total, self.limits.prices
        next_tokens = wanted.prompt_tokens + wanted.completion_tokens
        if tokens is not None and prompt + completion + next_tokens > tokens:
            return (
                f"{self.prompt_tokens + self.completion_tokens:,} of {tokens:,} tokens are spent, and the next request "
                f"may take {next_tokens:,}; run again with a greater --max-tokens-total: answered requests are not "
                "sent again"
            )
        most = self.limits.max_cost
        if most is None or prices is None:
            return ""
        next_cost = prices.cost(wanted.prompt_tokens, wanted.completion_tokens)
        if prices.cost(prompt + wanted.prompt_tokens, completion + wanted.completion_tokens) > most:
            return (
                f"${self.cost:,.4f} of ${most:,.4f} are spent, and the next request may take ${next_cost:,.4f}; run "
                "again with a greater --max-cost: answered requests are not sent again"
            )
        return ""


def most_tokens(request: Request) -> Reservation:
    """Return the most tokens a request can take. A schema counts, since some servers write it into the prompt."""
    texts = sum(len(message["content"].encode("utf-8", "surrogatepass")) for message in request.messages)
    schema = 0 if request.schema is None else len(json.dumps(request.schema))
    template = TOKENS_PER_PROMPT + TOKENS_PER_MESSAGE * len(request.messages)
    return Reservation(texts + schema + template, request.max_tokens, request.max_tokens)


def _usage(reply: Reply | None) -> tuple[int, int] | None:
    """Return the tokens of prompt and completion if the server counted both."""
    if reply is None or reply.prompt_tokens is None or reply.completion_tokens is None:
        return None
    return reply.prompt_tokens, reply.completion_tokens


def _must_be_a_quantity(value: float, what: str) -> None:
    if not math.isfinite(value) or value < 0:
        raise ModelError(f"{what} has to be a number of at least 0, not {value}")
