"""Coordinate the processes of one run, on one machine or several.

`accelerate launch` starts them and accelerate connects them. Each works on its own share, and they only exchange small
Python objects. Without a launcher there is one process, and everything in this module is a no-op that loads nothing.
"""

from __future__ import annotations

import atexit
import heapq
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import TypeVar, cast

from rb_core.errors import ModelError, RewardBenchError, first_line
from rb_core.models.resolve import ModelSpec

log = logging.getLogger(__name__)

T = TypeVar("T")

# The longest wait for another process, longer than any lags behind. A process that dies is noticed at once; only a
# machine that vanishes without closing its connections is waited for this long.
TIMEOUT = timedelta(days=1)


@dataclass(frozen=True)
class Process:
    """This process among those of the run. index: 0 to count - 1; local_index: the same on this machine alone."""

    index: int = 0
    count: int = 1
    local_index: int = 0

    @property
    def is_main(self) -> bool:
        """True for the process that decides, prints and writes the result."""
        return self.index == 0

    @property
    def is_local_main(self) -> bool:
        """True for one process on each machine."""
        return self.local_index == 0

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, in order, to each of them. Waits for all."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        try:
            return cast("list[T]", gather_object([value]))
        except RuntimeError as error:
            raise RuntimeError(
                "another process of this run has ended or cannot be reached; completed batches are kept: "
                "fix that and start the run again"
            ) from error

    def wait_before_exit(self) -> None:
        """Barrier before exiting with a shared error, so that the launcher does not kill ranks that have not printed
        it yet."""
        if self.count > 1:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # each process exits by itself, with its own exit code
        self.gather(None)

    @contextmanager
    def share_errors(self, *, long: bool = False) -> Iterator[None]:
        """Run a step in every process; if it fails in one, raise the error of the first that failed in all.

        Only for a user's mistakes (RewardBenchError). On any other error the process ends, and its launcher ends the
        others. The step must not wait for another process. long: the others may be busy for hours, so the process that
        fails logs its error at once.
        """
        own_error: RewardBenchError | None = None
        try:
            yield
        except RewardBenchError as error:
            own_error = error
            if long and self.count > 1:
                log.warning("process %d of %d stopped, the others go on: %s", self.index + 1, self.count, error)
        for error_of_process in self.gather(own_error):
            if error_of_process is not None:
                raise error_of_process

    def on_main(self, step: Callable[[], T]) -> T:
        """Run a step in the main process only; every process gets its result, or raises its error."""
        results: list[T] = []
        with self.share_errors():
            if self.is_main:
                results.append(step())
        return self.gather(results)[0][0]

    def place(self, spec: ModelSpec) -> ModelSpec:
        """Return the spec with the device that this process loads a checkpoint on: of several GPUs each takes one.

        Raises ModelError when this machine has fewer GPUs than processes, or --device-map claims all of them.
        """
        if spec.kind == "ensemble":
            return replace(spec, members=tuple(map(self.place, spec.members)))
        # no checkpoint, or one process
        if self.count == 1 or spec.kind in ("baseline", "generative", "custom", "remote"):
            return spec
        if spec.options.device_map is not None:
            if self.local_index:
                raise ModelError(
                    "--device-map spreads one model over all GPUs of a machine: start one process on each machine"
                )
            return spec
        if spec.options.device not in ("auto", "cuda"):
            return spec
        import torch

        gpus = torch.cuda.device_count()
        if not gpus:
            return spec
        if self.local_index >= gpus:
            raise ModelError(
                f"this machine has {gpus} GPUs, and more processes were started on it: start one process per GPU"
            )
        torch.cuda.set_device(self.local_index)  # kernels compiled at run time go to the current device
        return replace(spec, options=replace(spec.options, device=f"cuda:{self.local_index}"))


SINGLE_PROCESS = Process()


@cache
def this_process() -> Process:
    """Return this process among those that a launcher started (torchrun's variables), or the only one.

    Raises RewardBenchError, naming the variable, if a launcher's variables are incomplete or have another form.
    """
    count = _launcher_number("WORLD_SIZE", "1")
    if count == 1 or "LOCAL_RANK" not in os.environ:
        return SINGLE_PROCESS
    rank, local_rank = (_launcher_number(name) for name in ("RANK", "LOCAL_RANK"))
    if not local_rank <= rank < count:
        raise RewardBenchError(
            f"RANK {rank}, LOCAL_RANK {local_rank} and WORLD_SIZE {count} are not those of one launch"
        )
    if rank:  # one process shows progress; the libraries read this when they are imported
        os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    from accelerate import PartialState

    # "cpu" is how the processes communicate, not where they compute: gloo takes no GPU memory, and notices a dead
    # process where NCCL would wait.
    try:
        state = PartialState(cpu=True, backend="gloo", timeout=TIMEOUT)
    except (ValueError, RuntimeError) as error:
        raise RewardBenchError(f"the processes of this run cannot be connected: {first_line(error)}") from error
    atexit.register(state.destroy_process_group)  # its threads would abort an interpreter that ends before them
    return Process(state.process_index, state.num_processes, state.local_process_index)


def _launcher_number(variable: str, default: str = "") -> int:
    text = os.environ.get(variable, default)
    if not text.isdecimal():
        raise RewardBenchError(
            f"the environment variable {variable} is {text!r}, not a number: "
            "start the processes with `accelerate launch`, or unset WORLD_SIZE"
        )
    return int(text)


def deal(work: Sequence[int], count: int) -> list[list[int]]:
    """Distribute pieces of work over `count` processes; return the indices of each one's pieces, in order.

    The largest remaining piece goes to the process with the least work, so no two loads differ by more than one piece.
    The same work is distributed in the same way in every process.
    """
    shares: list[list[int]] = [[] for _ in range(count)]
    loads = [(0, process) for process in range(count)]
    for index in sorted(range(len(work)), key=lambda i: (-work[i], i)):
        load, process = loads[0]
        shares[process].append(index)
        heapq.heapreplace(loads, (load + work[index], process))
    return [sorted(share) for share in shares]
