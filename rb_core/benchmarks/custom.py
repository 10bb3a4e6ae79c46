"""Benchmarks that are a user's own preference file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.rows import Row, RowLocation, read_answers, read_id, read_messages, read_text
from rb_core.benchmarks.spec import BenchmarkSpec, Section, Subset
from rb_core.errors import DataError


def read_custom(row: Row, location: RowLocation) -> Example:
    """Any preference file. `id` defaults to the row's location, `subset` to the file's name, `group` to the prompt."""
    both = read_answers(row, location)
    messages = row.get("prompt")
    if messages is None:
        raise location.error("prompt", f"is missing; the row has {', '.join(map(repr, row)) or 'no fields'}")
    identity = row.get("id")
    return Example(
        id=read_id(row, location) if identity is not None else f"{location.name}/{location.line}",
        subset=read_text(row, "subset", location) if row.get("subset") is not None else location.name,
        prompt=read_messages(messages, location, "prompt"),
        group=str(row["group"]) if row.get("group") is not None else "",
        **both,
    )


def empty_custom_spec(benchmark: str, data: Path | None) -> tuple[BenchmarkSpec, Path]:
    path = Path(benchmark)
    if not path.suffix and not path.exists():
        raise DataError(
            f"unknown benchmark {benchmark!r}: choose one of {', '.join(BENCHMARKS)}, or give the path of a file"
        )
    if data is not None:
        raise DataError(f"--data goes with a named benchmark; {benchmark!r} is a file already")
    slug = "".join(c if c.isalnum() or c in "-_." else "-" for c in path.stem).strip(".") or "file"
    return custom_spec(f"custom-{slug}"), path


def custom_spec(benchmark_id: str, counts: Mapping[str, int] | None = None) -> BenchmarkSpec:
    """The record of a benchmark that is a file: one section over all examples, each counting the same."""
    spec = BenchmarkSpec(
        id=benchmark_id, title=benchmark_id, read=read_custom, sections=(), subsets=(), tie_credit="split"
    )
    return _with_counts(spec, counts) if counts else spec


def spec_from_json(content: Mapping[str, Any]) -> BenchmarkSpec:
    """The record that `spec_to_json` wrote. Raises DataError when it is not one."""
    try:
        known = dict(content)
        sections = tuple(Section(**section) for section in known.pop("sections"))
        subsets = tuple(Subset(**subset) for subset in known.pop("subsets"))
        levels = tuple(known.pop("style_levels"))
        return BenchmarkSpec(read=read_custom, sections=sections, subsets=subsets, style_levels=levels, **known)
    except (KeyError, TypeError) as error:
        raise DataError(f"not a benchmark's record: {error}") from error


def with_found_subsets(spec: BenchmarkSpec, examples: Iterable[Example]) -> BenchmarkSpec:
    counts: dict[str, int] = {}
    for example in examples:
        counts[example.subset] = counts.get(example.subset, 0) + 1
    return _with_counts(spec, counts)


def _with_counts(spec: BenchmarkSpec, counts: Mapping[str, int]) -> BenchmarkSpec:
    section = Section("All", {name: float(count) for name, count in counts.items()}, description="Every example")
    return replace(spec, sections=(section,), subsets=tuple(Subset(n, c) for n, c in counts.items()))
