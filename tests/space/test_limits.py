"""How much, and how often."""

from __future__ import annotations

import threading
import time

import pytest

from rb_core.errors import RewardBenchError
from rb_core.space import limits
from rb_core.space.limits import InputError, Limits, RateLimiter, WaitingLine, parse_bytes


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_visitor_may_ask_so_often_a_minute() -> None:
    """One request too many is refused with the seconds to wait; after them it goes on; others are not held up."""
    clock = Clock()
    visitors = RateLimiter(3, clock)
    for _ in range(3):
        visitors.count("one", "10.0.0.1")
        clock.now += 10
    with pytest.raises(InputError, match=r"3 requests within a minute\. Try again in 30 seconds"):
        visitors.count("one", "10.0.0.1")
    visitors.count("two", "10.0.0.1")
    clock.now += 31
    visitors.count("one", "10.0.0.1")


def test_new_sessions_do_not_get_around_the_bound() -> None:
    """An address is counted too, over all its sessions."""
    visitors = RateLimiter(3, Clock())
    for number in range(12):
        visitors.count(f"session {number}", "10.0.0.1")
    with pytest.raises(InputError, match="12 requests"):
        visitors.count("another session", "10.0.0.1")
    visitors.count("another session", "10.0.0.2")


def test_no_address_is_kept() -> None:
    """What is remembered names neither session nor address."""
    visitors = RateLimiter(3, Clock())
    visitors.count("my-session", "10.0.0.1")
    assert "my-session" not in repr(vars(visitors))
    assert "10.0.0.1" not in repr(vars(visitors))


def test_few_visitors_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who have not asked for longest are forgotten, so that a flood of visitors fills no memory."""
    monkeypatch.setattr(limits, "MAX_VISITORS", 50)
    visitors = RateLimiter(3, Clock())
    for number in range(500):
        visitors.count(f"session {number}", f"10.0.{number % 256}.{number // 256}")
    assert len(visitors._request_times) == 50


def test_visitors_are_served_in_the_order_they_came() -> None:
    """One at a time, first come first served."""
    line, served, inside = WaitingLine(10), [], []

    def visit(number: int) -> None:
        with line.admit(), line.turn():
            inside.append(number)
            assert len(inside) == 1
            time.sleep(0.005)
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


def test_a_full_line_says_so() -> None:
    """Whoever comes when the line is full is refused at once, and a place that is free again is given away."""
    line = WaitingLine(1)
    refused = pytest.raises(InputError, match=r"2 requests are being served or waiting")
    with line.admit(), line.admit(), refused, line.admit():
        pass
    with line.admit():
        pass


def test_an_error_leaves_the_line() -> None:
    """Whoever fails takes neither a place nor the turn along."""
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
def test_bytes_are_read_as_people_write_them(text: str, size: int) -> None:
    """Decimal and binary units, with and without a space."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "lots", "4 parsecs", "-1GB", "0", "1e400GB", "GiB"])
def test_a_memory_that_makes_no_sense_is_refused(text: str) -> None:
    """The message names the variable."""
    with pytest.raises(RewardBenchError, match="RB_LIVE_MEMORY"):
        parse_bytes(text)


def test_the_host_sets_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four variables; what is not set keeps its default, and a mistake is named."""
    monkeypatch.setenv("RB_LIVE_MEMORY", "1GiB")
    monkeypatch.setenv("RB_LIVE_TOKENS", "500")
    found = Limits.from_environment()
    assert (found.memory, found.tokens, found.queue) == (2**30, 500, Limits.queue)
    monkeypatch.setenv("RB_LIVE_QUEUE", "none")
    with pytest.raises(RewardBenchError, match="RB_LIVE_QUEUE is 'none'"):
        Limits.from_environment()
