"""How much a visitor may ask for, and how often. No text is kept: only when a visitor asked, by a keyed hash."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rb_core.errors import RewardBenchError
from rb_core.space.try_a_pair.question import InputError

GIB = 2**30


MINUTE = 60.0  # seconds


MOST_VISITORS = 20_000  # remembered at once; beyond it those are forgotten who have not asked for longest


ADDRESS_FACTOR = 4  # visitors behind one address share four times what one of them may ask


@dataclass(frozen=True)
class Bounds:
    """What the host allows.

    per_minute: requests of one session; waiting: requests that may stand in line; tokens: through one model for one
    question; memory: bytes for all loaded models.

    Of a judge, for one question. judge_requests: how often it is asked; judge_tokens: the most that these requests and
    their replies can take, counting each byte of a request as a token; judge_reply: tokens of one reply; judge_seconds:
    for a server's answer, all tries included. judge_total: tokens of each served judge for all questions, None for any.
    """

    per_minute: int = 60
    waiting: int = 16
    tokens: int = 8192
    memory: int = 4 * GIB
    judge_requests: int = 16
    judge_tokens: int = 1 << 16
    judge_reply: int = 512
    judge_seconds: int = 60
    judge_total: int | None = None

    @classmethod
    def from_environment(cls) -> Bounds:
        """RB_LIVE_PER_MINUTE, _QUEUE, _TOKENS, _MEMORY, and of judges RB_LIVE_JUDGE_REQUESTS, _TOKENS, _REPLY, _SECONDS
        and _TOTAL, where they are set. Raises RewardBenchError for a value that makes no sense."""
        total = os.environ.get("RB_LIVE_JUDGE_TOTAL")
        return cls(
            per_minute=_whole("RB_LIVE_PER_MINUTE", cls.per_minute),
            waiting=_whole("RB_LIVE_QUEUE", cls.waiting),
            tokens=_whole("RB_LIVE_TOKENS", cls.tokens),
            memory=parse_bytes(os.environ["RB_LIVE_MEMORY"]) if os.environ.get("RB_LIVE_MEMORY") else cls.memory,
            judge_requests=_whole("RB_LIVE_JUDGE_REQUESTS", cls.judge_requests),
            judge_tokens=_whole("RB_LIVE_JUDGE_TOKENS", cls.judge_tokens),
            judge_reply=_whole("RB_LIVE_JUDGE_REPLY", cls.judge_reply),
            judge_seconds=_whole("RB_LIVE_JUDGE_SECONDS", cls.judge_seconds),
            judge_total=_whole("RB_LIVE_JUDGE_TOTAL", 1) if total else None,
        )


def _whole(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise RewardBenchError(f"{name} is {text!r}; it must be a whole number above 0")
    return int(text)


def parse_bytes(text: str) -> int:
    """A number of bytes, as 4000000000, 900MB, 4GiB or 0.5 GiB. Raises RewardBenchError for anything else."""
    units = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": GIB}
    unit = text.strip().lower().lstrip("0123456789. ")
    number = text.strip().lower().removesuffix(unit).strip()
    try:
        size = int(float(number) * units[unit])
    except (KeyError, ValueError, OverflowError) as error:
        raise RewardBenchError(f"RB_LIVE_MEMORY is {text!r}; say it as 900MB or 4GiB") from error
    if size < 1:
        raise RewardBenchError(f"RB_LIVE_MEMORY is {text!r}; it must be above 0")
    return size


@dataclass
class Visitors:
    """Counts each visitor's requests of the last minute, by session and by address, both under a keyed hash that ends
    with the process."""

    per_minute: int
    clock: Callable[[], float] = time.monotonic
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _asked: dict[bytes, deque[float]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, session: str | None, address: str | None) -> None:
        """Count a request. Raises InputError, saying how long to wait, for one too many."""
        now = self.clock()
        who = [(b"s", session, self.per_minute), (b"a", address, self.per_minute * ADDRESS_FACTOR)]
        with self._lock:
            times = [(self._times(kind, name, now), most) for kind, name, most in who if name]
            for asked, most in times:
                if len(asked) >= most:
                    wait = max(1, round(asked[0] + MINUTE - now))
                    raise InputError(f"That was {most} requests within a minute. Try again in {wait} seconds.")
            for asked, _ in times:
                asked.append(now)

    def _times(self, kind: bytes, name: str, now: float) -> deque[float]:
        """When this visitor asked within the last minute, oldest first."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=self._key, person=kind).digest()
        asked = self._asked.pop(digest, None) or deque()
        while asked and asked[0] <= now - MINUTE:
            asked.popleft()
        self._asked[digest] = asked  # at the end: whoever asked last
        while len(self._asked) > MOST_VISITORS:
            del self._asked[next(iter(self._asked))]
        return asked


class Line:
    """Visitors are served one after the other, in the order they came; whoever finds the line full is told so."""

    def __init__(self, waiting: int) -> None:
        self._waiting = waiting
        self._inside = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request, while its models are loaded too. Raises InputError where there is none."""
        with self._changed:
            if self._inside > self._waiting:  # one is served, the others wait
                raise InputError(f"{self._inside} others are being served or waiting. Try again in a moment.")
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until everybody who came before is done."""
        own = object()
        with self._changed:
            self._queue.append(own)
            self._changed.wait_for(lambda: self._queue[0] is own)
        try:
            yield
        finally:
            with self._changed:
                self._queue.remove(own)
                self._changed.notify_all()
