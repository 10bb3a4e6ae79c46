"""Benchmarks without a file in this package: a user's own preference file, or a record stored with a result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.rows import Row, RowLocation, read_completions, read_id, read_prompt, read_text
from rb_core.benchmarks.spec import BenchmarkSpec, Section, Subset
from rb_core.errors import DataError
from rb_core.stats.metrics import METRICS


def read_custom(row: Row, location: RowLocation) -> Example:
    """Read a row of any preference file.

    `id` defaults to `file/line`, `subset` to the file's name, and `group` to the prompt.
    """
    has = {field for field in ("id", "subset", "group") if row.get(field) is not None}
    completions = read_completions(row, location)
    return Example(
        prompt=read_prompt(row, location),
        id=read_id(row, location) if "id" in has else f"{location.name}/{location.line}",
        subset=read_text(row, "subset", location) if "subset" in has else location.name,
        group=str(row["group"]) if "group" in has else "",
        **completions,
    )


def custom_id(path: Path) -> str:
    """Return the benchmark id of a user's file: `custom-` and the file's name, unusual characters replaced by `-`."""
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in path.stem).strip(".")
    return f"custom-{name or 'file'}"


def custom_spec(benchmark_id: str, counts: Mapping[str, int] | None = None) -> BenchmarkSpec:
    """Return the record of a user's file: one section over all examples, each with the same weight.

    counts: number of examples in each subset; without it the record has no sections and no subsets.
    """
    weights = {name: float(count) for name, count in (counts or {}).items()}
    return BenchmarkSpec(
        id=benchmark_id,
        title=benchmark_id,
        read=read_custom,
        sections=(Section("All", weights, description="Every example"),) if counts else (),
        subsets=tuple(Subset(name, count) for name, count in (counts or {}).items()),
        tie_credit="split",
    )


def spec_from_json(content: Mapping[str, Any]) -> BenchmarkSpec:
    """Return the record that `spec_to_json` wrote. Raises DataError for any other content."""
    try:
        fields = dict(content)
        sections = tuple(
            Section(**section | {"metric": METRICS[section["metric"]]}) for section in fields.pop("sections")
        )
        subsets = tuple(Subset(**subset) for subset in fields.pop("subsets"))
        levels = tuple(fields.pop("style_levels"))
        return BenchmarkSpec(read=read_custom, sections=sections, subsets=subsets, style_levels=levels, **fields)
    except (KeyError, TypeError) as error:
        raise DataError(f"not the record of a benchmark: {error}") from error
