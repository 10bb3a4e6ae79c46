"""Checks for a CUDA machine, in less than eight minutes: python -m tests.perf.gpu

Prints one JSON object: whether packed scores equal single passes (five architectures, float32 and bfloat16), how fast
the ways of scoring are (`tests.perf.scoring`, a model of 8 billion parameters), and whether scores survive running out
of memory. Without CUDA the same checks run on the processor with a tiny model, as a test of this script.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from tests.perf import scoring
from tests.perf.scoring import Lengths, Rig, Work

ARCHITECTURES = ("llama", "qwen2", "mistral", "gemma2", "phi3")
SMALL: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 2000}
MEDIUM: dict[str, Any] = {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 8, "vocab_size": 32000}
HEADS: dict[str, Any] = {"num_attention_heads": 8, "num_key_value_heads": 4, "initializer_range": 0.1}
PARITY_LENGTHS = [Lengths(60, (5, 80, 33)), Lengths(400, (120,) * 6), Lengths(7, (9, 1)), Lengths(200, (300, 20))]
DTYPES = ("float32", "bfloat16")
# Float32 has to agree with the single pass; bfloat16 as well as rounding allows.
LIMITS = {"float32": 1e-4, "bfloat16": 0.05}


def parity(device: torch.device, size: dict[str, Any]) -> list[dict[str, Any]]:
    """Return for each architecture and dtype the largest difference from the single pass, of the largest score."""
    rows = []
    for architecture in ARCHITECTURES:
        shape = {"model_type": architecture, **size, **HEADS}
        shape |= {"head_dim": size["hidden_size"] // HEADS["num_attention_heads"]} if architecture == "gemma2" else {}
        work = scoring.make_work(PARITY_LENGTHS, size["vocab_size"])
        for dtype in DTYPES:
            rig = Rig.build("classifier", shape, device, getattr(torch, dtype))
            difference = difference_from_singles(rig, work)
            row = {"architecture": architecture, "dtype": dtype, "difference": difference}
            rows.append(row | {"passed": difference <= LIMITS[dtype]})
    return rows


def difference_from_singles(rig: Rig, work: Work) -> float:
    """Return the largest difference of a packed score from the single pass, as a share of the largest score."""
    singles = [rig.single(conversation) for conversations in work for conversation in conversations]
    packed = [score for scores in rig.score(work, "packed") for score in scores]
    return max(abs(a - b) for a, b in zip(packed, singles, strict=True)) / max(map(abs, singles))


def speed(device: torch.device, shape: str, scale: float, rounds: int) -> list[dict[str, Any]]:
    """Return the lines of `scoring.compare` for pairs, six and twenty completions."""
    dtype = scoring.DTYPES[device.type]
    rig = Rig.build("classifier", scoring.SHAPES[shape], device, getattr(torch, dtype))
    lines = []
    for name in scoring.WORKS:
        lengths = scoring.scaled(scoring.read_lengths(name), scale)
        work = scoring.make_work(lengths, scoring.SHAPES[shape]["vocab_size"])
        lines += [asdict(line) for line in scoring.compare(rig, name, work, rounds)]
    return lines


def memory_recovery(device: torch.device, size: dict[str, Any]) -> dict[str, Any]:
    """Return how scores with too little memory differ from those with enough, and whether memory did run out."""
    shape = {"model_type": "llama", **size, **HEADS}
    rig = Rig.build("classifier", shape, device, torch.float32, batch_tokens=1 << 16)
    work = scoring.make_work(PARITY_LENGTHS * 8, size["vocab_size"])
    enough = rig.score(work, "packed")
    with memory_for(rig, tokens=1000) as failures:
        scarce = rig.score(work, "packed")
    pairs = [(a, b) for left, right in zip(enough, scarce, strict=True) for a, b in zip(left, right, strict=True)]
    difference = max(abs(a - b) for a, b in pairs) / max(abs(a) for a, _ in pairs)
    return {
        "failures": len(failures),
        "difference": difference,
        "passed": bool(failures) and difference <= LIMITS["float32"],
    }


@contextmanager
def memory_for(rig: Rig, tokens: int) -> Iterator[list[int]]:
    """Let forward passes of more tokens run out of memory, on CUDA by allocating more than there is.

    Yields a list to which each failure adds its number of tokens.
    """
    failures: list[int] = []

    def check(_: Any, args: tuple[torch.Tensor, ...]) -> None:
        if args[0].numel() <= tokens:
            return
        failures.append(args[0].numel())
        if rig.device.type == "cuda":
            torch.empty(1 << 50, dtype=torch.uint8, device=rig.device)
        raise torch.OutOfMemoryError("simulated: out of memory")

    hook = rig.models[0].get_input_embeddings().register_forward_pre_hook(check)
    try:
        yield failures
    finally:
        hook.remove()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the checks and print their JSON; exit with 1 if a score is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.perf.gpu", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=0.25, help="part of the works of tests.perf.scoring")
    args = parser.parse_args(arguments)
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    start = time.perf_counter()
    report: dict[str, Any] = {
        "machine": scoring.machine(device),
        "parity": parity(device, MEDIUM if on_gpu else SMALL),
        "memory": memory_recovery(device, MEDIUM if on_gpu else SMALL),
        "speed": speed(device, "8b" if on_gpu else "tiny", args.scale, args.rounds),
    }
    report["seconds"] = round(time.perf_counter() - start, 1)
    print(json.dumps(report))
    if not all(row["passed"] for row in [*report["parity"], report["memory"]]):
        sys.exit(1)


if __name__ == "__main__":
    main()
