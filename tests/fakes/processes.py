"""Threads in place of the processes of a run: they exchange values like processes, without a launcher."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rb_core.errors import RewardBenchError
from rb_core.evaluation.distributed import Process
from tests.waiting import PATIENCE


@dataclass(frozen=True)
class ThreadProcess(Process):
    """A process that is played by a thread."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))
    values: dict[int, Any] = field(default_factory=dict)

    def gather(self, value: Any) -> list[Any]:
        self.values[self.index] = value
        self.barrier.wait(PATIENCE)
        values = [self.values[index] for index in range(self.count)]
        self.barrier.wait(PATIENCE)
        return values


def in_threads(count: int, work: Callable[[Process], Any], *, machines: int = 1) -> list[Any]:
    """Return what the work gives in each of `count` processes on some machines, or the user's mistake it raises."""
    barrier, values = threading.Barrier(count), dict[int, Any]()
    results: list[Any] = [None] * count

    def run(index: int) -> None:
        try:
            results[index] = work(ThreadProcess(index, count, index % (count // machines), barrier, values))
        except RewardBenchError as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    return results
