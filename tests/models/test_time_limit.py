"""The time limit of foreign programs."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from rb_core.errors import ModelError
from rb_core.models.time_limit import within_time_limit


def test_values_and_errors_pass_through() -> None:
    assert within_time_limit(lambda: 7, "counting") == 7
    with pytest.raises(ZeroDivisionError):
        within_time_limit(lambda: 1 // 0, "dividing")


class Panic(BaseException):
    """An error of the kind that panics of Rust code raise."""


@pytest.mark.parametrize("error", [Panic("index out of range"), Exception("index out of range")])
def test_errors_of_rust_code_get_a_class(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(RuntimeError, match="index out of range"):
        within_time_limit(fail, "indexing")


def test_what_does_not_end_is_given_up_and_stopped() -> None:
    before = set(threading.enumerate())
    with pytest.raises(ModelError, match="counting takes longer than 0 s"):
        within_time_limit(lambda: sum(1 for _ in count()), "counting", 0.1)
    started = set(threading.enumerate()) - before
    for thread in started:
        thread.join(5)
    assert not any(thread.is_alive() for thread in started)
