"""Limits on what visitors may ask for, and how often. No text is kept, and visitors are remembered by a keyed hash."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

from rb_core.errors import RewardBenchError
from rb_core.hub.client import positive_integer

GIB = 2**30
MINUTE = 60.0  # seconds
MAX_VISITORS = 20_000  # remembered at once; those idle for longest are forgotten first
ADDRESS_FACTOR = 4  # all sessions of one address together may send four times what one session may
BYTE_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": GIB}


class InputError(RewardBenchError):
    """A visitor's request cannot be answered; the message says what to change."""


@dataclass(frozen=True)
class Limits:
    """The host's limits. A field is set by the environment variable RB_LIVE_ with the field's name in capitals."""

    per_minute: int = 60  # requests of one session
    queue: int = 16  # requests that may wait
    tokens: int = 8192  # through one model for one question
    memory: int = 4 * GIB  # bytes of weights of all loaded models
    files: int = 4  # that are scored at once
    file_tokens: int = 1 << 17  # through the model for one file
    judge_requests: int = 16  # for one question
    judge_tokens: int = 1 << 16  # of these requests and their replies; each byte of a request counts as a token
    judge_reply: int = 512  # tokens of one reply
    judge_seconds: int = 60  # for a server's answer, retries included
    judge_total: int | None = None  # tokens of each served judge for all questions

    @classmethod
    def from_environment(cls) -> Limits:
        """Read the limits from the environment; an unset or empty variable leaves the default.

        Raises RewardBenchError for a value that is not a positive whole number (of memory: not a size in bytes).
        """
        variables = {field.name: os.environ.get(f"RB_LIVE_{field.name.upper()}") for field in fields(cls)}
        return cls(
            **{
                name: parse_bytes(text) if name == "memory" else positive_integer(f"RB_LIVE_{name.upper()}", text)
                for name, text in variables.items()
                if text
            }
        )


def parse_bytes(text: str) -> int:
    """Return a size in bytes from text such as 4000000000, 900MB or 0.5 GiB. Raises RewardBenchError."""
    unit = text.strip().lower().lstrip("0123456789. ")
    number = text.strip().lower().removesuffix(unit).strip()
    try:
        size = int(float(number) * BYTE_UNITS[unit])
    except (KeyError, ValueError, OverflowError) as error:
        raise RewardBenchError(f"RB_LIVE_MEMORY is {text!r}; write a size such as 900MB or 4GiB") from error
    if size < 1:
        raise RewardBenchError(f"RB_LIVE_MEMORY is {text!r}; it must be above 0")
    return size


@dataclass
class RateLimiter:
    """Counts the requests of the last minute by session and by address, both under a hash whose key is not stored."""

    per_minute: int
    clock: Callable[[], float] = time.monotonic
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _request_times: dict[bytes, deque[float]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, session: str | None, address: str | None) -> None:
        """Count a request. Raises InputError, with the seconds to wait, if it exceeds the limit."""
        now = self.clock()
        visitors = [(b"s", session, self.per_minute), (b"a", address, self.per_minute * ADDRESS_FACTOR)]
        with self._lock:
            recent = [(self._recent_times(kind, name, now), limit) for kind, name, limit in visitors if name]
            for times, limit in recent:
                if len(times) >= limit:
                    wait = max(1, round(times[0] + MINUTE - now))
                    raise InputError(f"You sent {limit} requests within a minute. Try again in {wait} seconds.")
            for times, _ in recent:
                times.append(now)

    def _recent_times(self, kind: bytes, name: str, now: float) -> deque[float]:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=self._key, person=kind).digest()
        times = self._request_times.pop(digest, None) or deque()
        while times and times[0] <= now - MINUTE:
            times.popleft()
        self._request_times[digest] = times  # at the end: the dictionary is ordered by last request
        while len(self._request_times) > MAX_VISITORS:
            del self._request_times[next(iter(self._request_times))]
        return times


class WaitingLine:
    """Serves requests one after the other in order of arrival, and refuses those that find the line full."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._admitted = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Admit a request for the length of the block. Raises InputError if the line is full."""
        with self._changed:
            if self._admitted > self._max_waiting:  # one is served, the others wait
                count = "1 request is" if self._admitted == 1 else f"{self._admitted} requests are"
                raise InputError(f"The page is busy: {count} being served or waiting. Try again in a moment.")
            self._admitted += 1
        try:
            yield
        finally:
            with self._changed:
                self._admitted -= 1

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until every request that came before is done; the next one waits for the end of the block."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            self._changed.wait_for(lambda: self._queue[0] is ticket)
        try:
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()
