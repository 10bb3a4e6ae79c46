"""Add the lengths and markdown marks of a benchmark's completions to its file of published outcomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.markdown import count_markdown
from rb_core.stats.outcome_files import add_style, items_path


def import_item_styles(
    benchmark: str, out: Path, *, data: Path | None = None, revision: str | None = None
) -> tuple[int, int]:
    """Count in the benchmark's texts, and write the counts to `items/<benchmark>.parquet` below `out`.

    data: file or folder with some or all of the examples, instead of the hub. Returns the number of examples with
    counts, and of all in the file. Raises DataError as `load_benchmark` and `add_style`.
    """
    loaded = load_benchmark(benchmark, data=data, revision=revision)
    source = f"{loaded.source}@{loaded.revision}" if loaded.revision else f"{loaded.source}, sha256 {loaded.sha256}"
    return add_style(out / items_path(benchmark), {e.id: _style(e) for e in loaded.examples}, source)


def _style(example: Example) -> list[float]:
    """Return the values of `STYLE_COLUMNS`."""
    chosen, rejected = example.completions[: example.num_chosen], example.completions[example.num_chosen :]
    return [
        float(np.mean([count(t) for t in texts])) for count in (len, count_markdown) for texts in (chosen, rejected)
    ]
