"""Limits from the environment, the rate limiter, and the waiting line."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict

import pytest

from rb_core.errors import RewardBenchError
from rb_core.space import limits
from rb_core.space.limits import InputError, Limits, RateLimiter, WaitingLine, parse_bytes


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_request_above_the_rate_is_refused_with_the_seconds_to_wait() -> None:
    clock = Clock()
    limiter = RateLimiter(3, clock)
    for _ in range(3):
        limiter.count("one", "10.0.0.1")
        clock.now += 10
    with pytest.raises(InputError, match=r"3 requests within a minute\. Try again in 30 seconds"):
        limiter.count("one", "10.0.0.1")
    limiter.count("two", "10.0.0.1")
    clock.now += 31
    limiter.count("one", "10.0.0.1")


def test_an_address_has_a_limit_over_all_its_sessions() -> None:
    limiter = RateLimiter(3, Clock())
    for number in range(12):
        limiter.count(f"session {number}", "10.0.0.1")
    with pytest.raises(InputError, match="12 requests"):
        limiter.count("another session", "10.0.0.1")
    limiter.count("another session", "10.0.0.2")


def test_neither_session_nor_address_is_stored() -> None:
    limiter = RateLimiter(3, Clock())
    limiter.count("my-session", "10.0.0.1")
    assert "my-session" not in repr(vars(limiter))
    assert "10.0.0.1" not in repr(vars(limiter))


def test_a_flood_of_visitors_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_VISITORS", 50)
    limiter = RateLimiter(3, Clock())
    for number in range(500):
        limiter.count(f"session {number}", f"10.0.{number % 256}.{number // 256}")
    assert len(limiter._request_times) == 50


def test_requests_are_served_one_at_a_time_in_order_of_arrival() -> None:
    line, served, inside = WaitingLine(10), [], []

    def visit(number: int) -> None:
        with line.admit(), line.turn():
            inside.append(number)
            assert len(inside) == 1
            time.sleep(0.002)
            served.append(number)
            inside.remove(number)

    threads = []
    with line.turn():
        for number in range(8):
            threads.append(threading.Thread(target=visit, args=(number,)))
            threads[-1].start()
            while len(line._queue) < number + 2:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert served == list(range(8))


def test_a_full_line_refuses_at_once_and_admits_again_after_a_request_is_done() -> None:
    line = WaitingLine(1)
    refused = pytest.raises(InputError, match=r"2 requests are being served or waiting")
    with line.admit(), line.admit(), refused, line.admit():
        pass
    with line.admit():
        pass


def test_a_failed_request_keeps_neither_its_admission_nor_its_turn() -> None:
    line = WaitingLine(1)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), line.admit(), line.turn():
            raise ZeroDivisionError
    with line.admit(), line.turn():
        pass


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1000), ("900MB", 900_000_000), ("4GiB", 4 * 2**30), ("0.5 GiB", 2**29), (" 2 kib ", 2048)],
)
def test_sizes_may_have_decimal_and_binary_units(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "lots", "4 parsecs", "-1GB", "0", "1e400GB", "GiB"])
def test_a_size_that_cannot_be_read_is_refused_with_its_variable(text: str) -> None:
    with pytest.raises(RewardBenchError, match="RB_LIVE_MEMORY"):
        parse_bytes(text)


def test_every_limit_can_be_set_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Limits.from_environment() == Limits()
    names = ["PER_MINUTE", "QUEUE", "TOKENS", "MEMORY", "FILES", "FILE_TOKENS"]
    names += [f"JUDGE_{name}" for name in ("REQUESTS", "TOKENS", "REPLY", "SECONDS", "TOTAL")]
    for value, name in enumerate(names, 1):
        monkeypatch.setenv(f"RB_LIVE_{name}", str(value))
    assert list(asdict(Limits.from_environment()).values()) == list(range(1, 12))
    monkeypatch.setenv("RB_LIVE_QUEUE", "none")
    with pytest.raises(RewardBenchError, match="RB_LIVE_QUEUE is 'none'"):
        Limits.from_environment()
