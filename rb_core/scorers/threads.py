"""The number of threads of a forward pass on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# What one core computes in about a tenth of a second.
ONE_THREAD_OPERATIONS = 4e9


@contextmanager
def threads_for(operations: float) -> Iterator[None]:
    """Use one thread for few operations, else as many as torch is set to.

    The threads of a small forward pass wait for each other at each of its many layers, and keep their cores busy while
    they wait: where other processes share the cores, that takes many times as long as one thread does.
    """
    threads = torch.get_num_threads()
    if threads == 1 or operations > ONE_THREAD_OPERATIONS:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
