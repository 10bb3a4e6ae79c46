"""What a served judge may spend: an account that is asked before anything is sent.

Before a request goes out, the most that it can cost is set aside; when its reply is there, what it did cost is booked
instead. So the limits are not passed, as long as the server keeps to the number of tokens it was told.
"""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass

from rb_core.errors import ModelError
from rb_core.scorers.judge.types import SERVER_ERROR, TOO_LONG, Reply, Request

# A prompt has at most as many tokens as bytes (byte-level BPE, or pieces with bytes as a last resort), beside what a
# chat template writes: marks of a turn, and once a default system prompt; the longest known have about 100 tokens.
TOKENS_PER_MESSAGE = 16
TOKENS_PER_PROMPT = 256


@dataclass(frozen=True)
class Prices:
    """US dollars per million tokens. Raises ModelError for what is no price."""

    prompt: float
    completion: float

    def __post_init__(self) -> None:
        for name in ("prompt", "completion"):
            _must_be_a_quantity(getattr(self, name), f"the price of {name} tokens")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1_000_000


@dataclass(frozen=True)
class Limits:
    """The most that may be spent: tokens of prompts and replies together, US dollars.

    Raises ModelError where they cannot be kept.
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
                    "--max-cost needs prices: say what a million tokens of prompts and of replies cost, "
                    "or give --max-tokens-total instead"
                )


class BudgetSpent(ModelError):  # noqa: N818 - it says what has happened, and nothing is wrong
    """What is left does not suffice for the next request."""


@dataclass(frozen=True, eq=False)
class Reservation:
    """What is set aside for a request on its way; each is one of its own."""

    prompt_tokens: int
    completion_tokens: int


class Budget:
    """An account of tokens and dollars; threads and tasks may share it.

    prompt_tokens, completion_tokens: spent so far, as servers count; where one does not, what was set aside.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._open: set[Reservation] = set()
        self._lock = threading.Lock()

    @property
    def cost(self) -> float | None:
        """US dollars spent, None where no prices are known."""
        prices = self.limits.prices
        return None if prices is None else prices.cost(self.prompt_tokens, self.completion_tokens)

    def reserve(self, request: Request) -> Reservation | None:
        """Set the most that a request can take aside; None when there is room only once others have settled.

        Raises BudgetSpent when it does not fit though nothing is on its way.
        """
        wanted = bound(request)
        with self._lock:
            short = self._short(wanted)
            if short and not self._open:
                raise BudgetSpent(short)
            if short:
                return None
            self._open.add(wanted)
            return wanted

    def settle(self, reservation: Reservation, reply: Reply | None) -> None:
        """Book what a reply took instead of what was set aside for it; all of that where nobody says what it took: a
        reply without usage, or None for a try that may have been billed and brought no reply."""
        prompt, completion = _usage(reply) or (reservation.prompt_tokens, reservation.completion_tokens)
        with self._lock:
            self._open.remove(reservation)
            self.prompt_tokens += prompt
            self.completion_tokens += completion

    def release(self, reservation: Reservation) -> None:
        """Give back what was set aside for a request that nobody bills."""
        with self._lock:
            self._open.remove(reservation)

    def add(self, reply: Reply, request: Request | None = None) -> None:
        """Book a reply of an earlier start. Where its usage is not known and it was answered, the most that its request
        could take counts, if that is given."""
        used = _usage(reply)
        if used is None and request is not None and reply.error not in (TOO_LONG, SERVER_ERROR):
            most = bound(request)
            used = most.prompt_tokens, most.completion_tokens
        prompt, completion = used or (0, 0)
        with self._lock:
            self.prompt_tokens += prompt
            self.completion_tokens += completion

    def _short(self, wanted: Reservation) -> str:
        """Why a request does not fit; "" where it does."""
        prompt = self.prompt_tokens + sum(one.prompt_tokens for one in self._open)
        completion = self.completion_tokens + sum(one.completion_tokens for one in self._open)
        tokens, prices = self.limits.max_tokens_total, self.limits.prices
        next_tokens = wanted.prompt_tokens + wanted.completion_tokens
        if tokens is not None and prompt + completion + next_tokens > tokens:
            return (
                f"{self.prompt_tokens + self.completion_tokens:,} of {tokens:,} tokens are spent, and the next request "
                f"may take {next_tokens:,}; start again with a greater --max-tokens-total: nothing that is answered is "
                "asked again"
            )
        most = self.limits.max_cost
        if most is None or prices is None:
            return ""
        next_cost = prices.cost(wanted.prompt_tokens, wanted.completion_tokens)
        if prices.cost(prompt + wanted.prompt_tokens, completion + wanted.completion_tokens) > most:
            return (
                f"${self.cost:,.4f} of ${most:,.4f} are spent, and the next request may take ${next_cost:,.4f}; start "
                "again with a greater --max-cost: nothing that is answered is asked again"
            )
        return ""


def bound(request: Request) -> Reservation:
    """The most that a request can take: a schema counts too, since some servers write it into the prompt."""
    texts = sum(len(message["content"].encode("utf-8", "surrogatepass")) for message in request.messages)
    schema = 0 if request.schema is None else len(json.dumps(request.schema))
    template = TOKENS_PER_PROMPT + TOKENS_PER_MESSAGE * len(request.messages)
    return Reservation(texts + schema + template, request.max_tokens)


def _usage(reply: Reply | None) -> tuple[int, int] | None:
    """Tokens of the prompt and of the completion, where the server counted both."""
    if reply is None or reply.prompt_tokens is None or reply.completion_tokens is None:
        return None
    return reply.prompt_tokens, reply.completion_tokens


def _must_be_a_quantity(value: float, what: str) -> None:
    if not math.isfinite(value) or value < 0:
        raise ModelError(f"{what} has to be a number of at least 0, not {value}")
