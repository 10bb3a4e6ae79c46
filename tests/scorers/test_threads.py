"""Threads: one for a small forward pass, and afterwards as many as before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from rb_core.scorers.threads import ONE_THREAD_OPERATIONS, threads_for


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("operations", "threads"), [(1.0, 1), (2 * ONE_THREAD_OPERATIONS, 2)])
def test_few_operations_take_one_thread(operations: float, threads: int) -> None:
    with threads_for(operations):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_the_number_of_threads_is_restored_after_an_error() -> None:
    with pytest.raises(RuntimeError), threads_for(1.0):
        raise RuntimeError
    assert torch.get_num_threads() == 2
