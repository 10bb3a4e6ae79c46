"""ProcessBench (Zheng et al. 2024, arXiv:2412.06559)."""

from __future__ import annotations

from itertools import accumulate

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.row_location import Row, RowLocation, describe_value, required_field
from rb_core.benchmarks.rows import read_name, read_prompt
from rb_core.benchmarks.spec import BenchmarkSpec, Section, Source, Subset, equal_weights
from rb_core.stats.metrics import FIRST_ERROR

# Erroneous and correct solutions of each split: table 2 of the paper. Not compared with the files on the hub.
_SPLITS = {
    "gsm8k": ("GSM8K", 207, 193),
    "math": ("MATH", 594, 406),
    "olympiadbench": ("OlympiadBench", 661, 339),
    "omnimath": ("Omni-MATH", 759, 241),
}


def read_processbench(row: Row, location: RowLocation) -> Example:
    """Read `id, problem, steps, label`: the index of the first wrong step, or -1 if all are right.

    Completion i is the solution up to step i, with blank lines between steps, so that it has a score of its own: the
    first `label` completions are the chosen ones. The split is the field `split` or the file's name.
    """
    split = row.get("split") or location.name
    if split not in _SPLITS:
        raise location.error("split", f"is {split!r}; expected one of {', '.join(_SPLITS)}, here or as the file's name")
    steps = required_field(row, "steps", location)
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) for step in steps):
        raise location.error("steps", f"is {describe_value(steps)}; expected a non-empty list of texts")
    label = required_field(row, "label", location)
    if type(label) is not int or not -1 <= label < len(steps):
        raise location.error("label", f"is {describe_value(label)}; expected a step from 0 to {len(steps) - 1}, or -1")
    return Example(
        id=f"{split}/{read_name(row, 'id', location)}",
        subset=f"{split}-{'correct' if label == -1 else 'error'}",
        prompt=read_prompt(row, location, "problem"),
        completions=tuple(accumulate(steps, lambda before, step: f"{before}\n\n{step}")),
        num_chosen=len(steps) if label == -1 else label,
        by_threshold=True,
    )


_SUBSETS = {
    title: (
        Subset(f"{split}-error", errors, "The first wrong step of a solution is found", chance=None),
        Subset(f"{split}-correct", correct, "No step of a correct solution is taken for wrong", chance=None),
    )
    for split, (title, errors, correct) in _SPLITS.items()
}

PROCESSBENCH = BenchmarkSpec(
    id="processbench",
    title="ProcessBench",
    description="3,400 solutions of mathematical problems, in steps, with the first wrong step.",
    read=read_processbench,
    source=Source("Qwen/ProcessBench", tuple(_SPLITS)),
    sections=tuple(
        Section(
            title,
            equal_weights(subsets),
            metric=FIRST_ERROR,
            description="F1: the harmonic mean of the accuracies on wrong and on correct solutions",
            harmonic=True,
        )
        for title, subsets in _SUBSETS.items()
    ),
    subsets=tuple(subset for subsets in _SUBSETS.values() for subset in subsets),
    licence="Apache-2.0",
    citation="Zheng et al. 2024, ProcessBench: Identifying Process Errors in Mathematical Reasoning, arXiv:2412.06559",
    url="https://huggingface.co/datasets/Qwen/ProcessBench",
)
