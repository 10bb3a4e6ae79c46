"""Benchmarks as frozen records, and how their rows become examples.

RewardBench, RewardBench 2, RM-Bench and the rest differ in their records only: which dataset at which revision, how a
row is read, which subsets make a section with what weight, what a tie earns. No code asks which benchmark it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

from rb_core.benchmarks.custom import empty_custom_spec, with_found_subsets
from rb_core.benchmarks.example import Example
from rb_core.benchmarks.files import read_rows
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.rewardbench import read_prior
from rb_core.benchmarks.rows import Row, RowLocation
from rb_core.benchmarks.spec import Benchmark, BenchmarkSpec, Source
from rb_core.errors import DataError, first_line, hub_errors

# Loading


def load_benchmark(
    benchmark: str,
    *,
    data: Path | None = None,
    revision: str | None = None,
    prior: bool = False,
    limit: int | None = None,
) -> Benchmark:
    """Load a benchmark by its id, or any preference file by its path.

    data reads the benchmark's rows from a local file or folder instead of the hub; prior adds the optional sections;
    limit keeps that many examples, chosen by the hash of their ids so that every subset keeps its share.

    Raises DataError for a malformed row, a repeated id, an unknown subset or an unknown benchmark.
    """
    spec = BENCHMARKS.get(benchmark)
    if spec is None:
        spec, data = empty_custom_spec(benchmark, data)
    if prior and spec.prior is None:
        raise DataError(f"benchmark {spec.id!r} has no prior sets")
    if prior and data is not None:
        raise DataError("--prior reads the prior sets from the hub; with --data, put their rows into the data instead")
    if data is not None:
        rows, source, commit = read_rows(data), data.name, None
    elif spec.source is None:
        rows, source, commit = _builtin_rows(spec), f"{spec.id} (built in)", None
    else:
        rows, source, commit = _hub_rows(spec.source, revision)
    examples = _examples(rows, spec)
    if prior and spec.prior is not None:
        more, _, _ = _hub_rows(spec.prior, None)
        examples += _examples(more, replace(spec, read=read_prior))
    if not spec.subsets:
        spec = with_found_subsets(spec, examples)
    check_examples(examples, spec)
    if limit is not None:
        examples = _limited(examples, limit)
    return Benchmark(spec, tuple(examples), source, commit, limit)


def _builtin_rows(spec: BenchmarkSpec) -> Iterator[tuple[Row, RowLocation]]:
    file = resources.files("rb_core.builtin") / f"{spec.id}.jsonl"
    with resources.as_file(file) as path:
        yield from list(read_rows(path))


def _hub_rows(source: Source, revision: str | None) -> tuple[Iterator[tuple[Row, RowLocation]], str, str | None]:
    """Rows of a hub dataset at one commit. Raises DataError when the hub or the dataset cannot be reached."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(source.repo, revision=revision or source.revision).sha
        tables = {split: load_dataset(source.repo, split=split, revision=commit) for split in source.splits}
    except (*hub_errors(), DatasetsError) as error:
        raise DataError(
            f"dataset {source.repo} cannot be loaded from the hub ({first_line(error)}): check the connection and the "
            "revision, or give a local copy with --data PATH"
        ) from error
    rows = (
        (row, RowLocation(f"{source.repo}/{split}", line, split))
        for split, table in tables.items()
        for line, row in enumerate(table, start=1)
    )
    return rows, source.repo, commit


def _examples(rows: Iterable[tuple[Row, RowLocation]], spec: BenchmarkSpec) -> list[Example]:
    examples = []
    for row, location in rows:
        try:
            example = spec.read(row, location)
        except DataError as error:
            named = str(error).startswith(f"{location.source}:{location.line}:")
            raise error if named else DataError(f"{location.source}:{location.line}: {error}") from error
        if spec.subsets and example.subset not in spec.subset_names:
            known = ", ".join(sorted(spec.subset_names))
            raise location.error("subset", f"is {example.subset!r}, which {spec.id} does not have; it has {known}")
        examples.append(example)
    return examples


def check_examples(examples: list[Example], spec: BenchmarkSpec) -> None:
    """Raise DataError when there are none, or when an id stands twice."""
    if not examples:
        raise DataError(f"benchmark {spec.id!r} has no examples")
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            raise DataError(f"benchmark {spec.id!r}: the id {example.id!r} stands twice; ids must be unique")
        seen.add(example.id)


def _limited(examples: list[Example], limit: int) -> list[Example]:
    if limit < 1:
        raise DataError(f"--limit is {limit}; it must be at least 1")
    kept = sorted(examples, key=lambda e: hashlib.sha256(e.id.encode("utf-8", "surrogatepass")).digest())[:limit]
    ids = {example.id for example in kept}
    return [example for example in examples if example.id in ids]
