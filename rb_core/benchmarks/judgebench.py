"""JudgeBench (Tan et al. 2024, arXiv:2410.12784)."""

from __future__ import annotations

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.row_location import Row, RowLocation
from rb_core.benchmarks.rows import read_prompt, read_text
from rb_core.benchmarks.spec import BenchmarkSpec, Section, Source, Subset

_SUBSET_BY_SOURCE = {
    "mmlu-pro": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}


def read_judgebench(row: Row, location: RowLocation) -> Example:
    """Read `pair_id, source, question, response_A, response_B` and `label`, which is "A>B" or "B>A"."""
    source = read_text(row, "source", location)
    subset = next((name for prefix, name in _SUBSET_BY_SOURCE.items() if source.startswith(prefix)), None)
    if subset is None:
        raise location.error("source", f"is {source!r}; expected one that begins with {', '.join(_SUBSET_BY_SOURCE)}")
    responses = (read_text(row, "response_A", location), read_text(row, "response_B", location))
    label = row.get("label")
    if label not in ("A>B", "B>A"):
        raise location.error("label", f"is {label!r}; expected 'A>B' or 'B>A'")
    return Example(
        id=read_text(row, "pair_id", location),
        subset=subset,
        prompt=read_prompt(row, location, "question"),
        completions=responses if label == "A>B" else responses[::-1],
    )


_CATEGORIES = (
    Subset("knowledge", 154, "MMLU-Pro questions: a correct and a wrong answer of one model"),
    Subset("reasoning", 98, "LiveBench reasoning"),
    Subset("math", 56, "LiveBench mathematics"),
    Subset("coding", 42, "LiveCodeBench"),
)

JUDGEBENCH = BenchmarkSpec(
    id="judgebench",
    title="JudgeBench",
    description="350 pairs of answers by one model, one of them objectively correct.",
    read=read_judgebench,
    source=Source("ScalerLab/JudgeBench", ("gpt",)),
    sections=tuple(
        Section(
            subset.name.capitalize(),
            {subset.name: 1.0},
            headline_weight=float(subset.count or 1),
            description=subset.description,
        )
        for subset in _CATEGORIES
    ),
    subsets=_CATEGORIES,
    pooled=True,
    tie_credit="none",
    licence="MIT",
    citation="Tan et al. 2024, JudgeBench: A Benchmark for Evaluating LLM-based Judges, arXiv:2410.12784",
    url="https://huggingface.co/datasets/ScalerLab/JudgeBench",
)
