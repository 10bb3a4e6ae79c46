"""The processes of one run, on one machine or several: which one this is, and what the others have to say.

`accelerate launch` starts them and accelerate joins them; each works by itself on its share and they only ever exchange
small Python objects. Without a launcher there is one process, and everything here is a no-op that loads nothing.
"""

from __future__ import annotations

import atexit
import heapq
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TypeVar, cast

from rb_core.errors import ModelError, RewardBenchError

log = logging.getLogger(__name__)


T = TypeVar("T")


# How long a process waits for the others: longer than any is behind them. One that dies is noticed at once; only a
# machine that vanishes without closing its connections is waited for so long.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Processes:
    """This process among those of the run. index: from 0 to count - 1; local_index: the same on this machine alone."""

    index: int = 0
    count: int = 1
    local_index: int = 0

    @property
    def is_main(self) -> bool:
        """The one that decides, prints and writes the result."""
        return self.index == 0

    @property
    def is_local_main(self) -> bool:
        """One on each machine."""
        return self.local_index == 0

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in their order, for each of them. Waits for all."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        try:
            return cast("list[T]", gather_object([value]))
        except RuntimeError as error:
            raise RuntimeError(
                "another process of this run has ended, or cannot be reached; what is scored already is kept: "
                "start the run again when that is mended"
            ) from error

    def before_failing(self) -> None:
        """Wait until every process is about to end with an error that all have, and has said what it has to say: a
        launcher stops all of them as soon as one has ended."""
        if self.count > 1:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # each ends by itself, with its own exit code
        self.gather(None)

    @contextmanager
    def together(self, *, long: bool = False) -> Iterator[None]:
        """A step that every process does by itself: where one fails, all raise the error of the first that failed.

        Only for a user's mistakes (RewardBenchError); from anything else a process ends, and its launcher ends the
        others. Nothing inside may wait for another process. long: the others may be busy for hours; the one that fails
        says so at once.
        """
        failed: RewardBenchError | None = None
        try:
            yield
        except RewardBenchError as error:
            failed = error
            if long and self.count > 1:
                log.warning("process %d of %d stopped, the others go on: %s", self.index + 1, self.count, error)
        for error_of_one in self.gather(failed):
            if error_of_one is not None:
                raise error_of_one

    def on_main(self, step: Callable[[], T]) -> T:
        """Let the main process do a step alone; every process gets what came of it, or raises its error."""
        done: list[T] = []
        with self.together():
            if self.is_main:
                done.append(step())
        return self.gather(done)[0][0]

    def device(self, name: str) -> str:
        """The device for this process where the name leaves it open: of several GPUs each process takes one.

        Raises ModelError when there are fewer GPUs on this machine than processes.
        """
        if self.count == 1 or name not in ("auto", "cuda"):
            return name
        import torch

        gpus = torch.cuda.device_count()
        if not gpus:
            return name
        if self.local_index >= gpus:
            raise ModelError(f"a process for each GPU: this machine has {gpus}, and more processes were started on it")
        torch.cuda.set_device(self.local_index)  # kernels compiled while running go to the current device
        return f"cuda:{self.local_index}"


ALONE = Processes()


@cache
def current() -> Processes:
    """This process among those that a launcher started (torchrun's variables say so); alone without one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "LOCAL_RANK" not in os.environ:
        return ALONE
    if os.environ["RANK"] != "0":  # one process shows its downloads and loading; read when the libraries are imported
        os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    from accelerate import PartialState

    # "cpu" is how the processes talk, not where they compute: gloo takes no GPU memory, and notices a dead process
    # where NCCL would wait.
    state = PartialState(cpu=True, backend="gloo", timeout=PATIENCE)
    atexit.register(state.destroy_process_group)  # its threads would abort an interpreter that ends before them
    return Processes(state.process_index, state.num_processes, state.local_process_index)


def deal(work: Sequence[int], count: int) -> list[list[int]]:
    """Deal pieces of work out to `count` processes: for each the indices of its pieces, in their order.

    The largest piece left goes to whoever has least so far, so that no two loads differ by more than one piece. The
    same work is dealt out in the same way everywhere.
    """
    shares: list[list[int]] = [[] for _ in range(count)]
    loads = [(0, process) for process in range(count)]
    for index in sorted(range(len(work)), key=lambda i: (-work[i], i)):
        load, process = loads[0]
        shares[process].append(index)
        heapq.heapreplace(loads, (load + work[index], process))
    return [sorted(share) for share in shares]
