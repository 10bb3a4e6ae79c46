"""Halve the number of tokens in a batch each time memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate.utils.memory import should_reduce_batch_size

from rb_core.errors import ModelError

log = logging.getLogger(__name__)

Part = TypeVar("Part")
Output = TypeVar("Output")


@dataclass
class BatchLimit:
    """The number of tokens that fit into memory at once, as far as running out of it has shown.

    tokens: None until memory has run out once; it is only ever lowered, and no score depends on it.
    """

    device: torch.device
    tokens: int | None = None

    def run(
        self,
        parts: Iterable[Part],
        compute: Callable[[Part], Output],
        *,
        tokens_in: Callable[[Part], int],
        is_single: Callable[[Part], bool],
        split: Callable[[Part], Iterable[Part]],
        unit: str,
    ) -> Iterator[tuple[Part, Output]]:
        """Compute each part and yield it with its output; a part that does not fit is split and its halves are tried.

        `split` may use `tokens`, which is lowered before. Raises ModelError if a single `unit` does not fit.
        """
        waiting = list(parts)
        while waiting:
            part = waiting.pop(0)
            tokens, single = tokens_in(part), is_single(part)
            fits = single or self.tokens is None or tokens <= self.tokens
            output = _attempt(compute, part) if fits else None
            if output is None and single:  # nothing smaller is left to try, but memory that the device keeps for reuse
                self.empty_cache()
                output = _attempt(compute, part)
            if output is not None:
                yield part, output
                continue
            if single:
                raise ModelError(
                    f"out of memory with one {unit} of {tokens} tokens, which cannot be split; "
                    "what was scored before is kept"
                )
            if fits:
                self.halve(tokens)
            waiting = [*split(part), *waiting]

    def halve(self, tokens: int) -> None:
        """Remember that so many tokens do not fit, for this batch and all that follow."""
        self.tokens = max(1, tokens // 2)
        log.warning("out of memory with %d tokens at once; going on with %d", tokens, self.tokens)
        self.empty_cache()

    def empty_cache(self) -> None:
        """Free the memory that the device keeps for reuse: its pieces may be too small for the next attempt."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _attempt(compute: Callable[[Part], Output], part: Part) -> Output | None:
    """Return the output, or None if memory runs out.

    The error is dropped before anything else is tried, because it refers to tensors that fill the memory.
    """
    try:
        return compute(part)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return True for an error of a device, or of the machine, that has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, Exception) and should_reduce_batch_size(error)
    )
