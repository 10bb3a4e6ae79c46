"""The retry policy."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from rb_core import retries


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_busy_servers_are_transient(status: int) -> None:
    assert retries.is_transient(status)


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 412, 422])
def test_other_statuses_are_not(status: int) -> None:
    assert not retries.is_transient(status)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), (" 0.5 ", 0.5), ("-1", None), ("soon", None), ("nan", None), ("1e9", None), ("", None), (None, None)],
)
def test_retry_after_in_seconds(header: str | None, seconds: float | None) -> None:
    assert retries.retry_after(header) == seconds


def test_retry_after_as_a_date_is_relative_to_now_and_never_negative() -> None:
    seconds = retries.retry_after(formatdate(time.time() + 60, usegmt=True))
    assert seconds is not None
    assert 55 < seconds <= 60
    assert retries.retry_after(formatdate(0, usegmt=True)) == 0.0


def test_waits_double_up_to_a_limit_and_are_not_shorter_than_requested() -> None:
    for attempt, longest in ((1, 0.5), (2, 1.0), (5, 8.0), (50, 20.0), (5_000, 20.0)):
        assert all(longest / 2 <= retries.next_wait(attempt) <= longest for _ in range(20))
    assert retries.next_wait(1, 7.5) == 7.5
    assert len({retries.next_wait(9) for _ in range(5)}) > 1
