"""Load a benchmark: choose its record, read its rows from the hub or from files, and check the examples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

from rb_core.benchmarks.custom import custom_id, custom_spec
from rb_core.benchmarks.example import Example
from rb_core.benchmarks.files import read_rows
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.rows import Row, RowLocation
from rb_core.benchmarks.spec import Benchmark, BenchmarkSpec, RowReader, Source
from rb_core.errors import DataError, first_line, hub_errors


def load_benchmark(
    benchmark: str,
    *,
    data: Path | None = None,
    revision: str | None = None,
    prior: bool = False,
    limit: int | None = None,
) -> Benchmark:
    """Load a benchmark by its id, or any preference file by its path.

    Args:
        data: local file or folder to read the rows from, instead of the hub.
        revision: revision of the hub dataset; default: the one in the benchmark's record.
        prior: read the benchmark's prior sets too.
        limit: number of examples to keep. They are chosen by the hash of their ids, so that every subset keeps its
            share.

    Raises DataError for an unknown benchmark, a malformed row, an unknown subset or a repeated id.
    """
    if benchmark in BENCHMARKS:
        spec = BENCHMARKS[benchmark]
    else:
        path = Path(benchmark)
        if not path.suffix and not path.exists():
            names = ", ".join(BENCHMARKS)
            raise DataError(f"unknown benchmark {benchmark!r}: choose one of {names}, or give the path of a file")
        if data is not None:
            raise DataError(f"--data goes with a named benchmark; {benchmark!r} is a file already")
        spec, data = custom_spec(custom_id(path)), path
    if prior and spec.prior is None:
        raise DataError(f"benchmark {spec.id!r} has no prior sets")
    if prior and data is not None:
        raise DataError("--prior reads the prior sets from the hub; with --data, put their rows into the data instead")
    commit = None
    if data is not None:
        rows, source = read_rows(data), data.name
    elif spec.source is None:
        rows, source = _builtin_rows(spec), f"{spec.id} (built in)"
    else:
        (rows, commit), source = _hub_rows(spec.source, revision), spec.source.repo
    examples = list(_read_examples(rows, spec, spec.read))
    if prior and spec.prior is not None:
        prior_rows, _ = _hub_rows(spec.prior, None)
        examples += _read_examples(prior_rows, spec, spec.read_prior or spec.read)
    sizes = Counter(example.subset for example in examples)
    if not spec.subsets:
        spec = custom_spec(spec.id, sizes)
    check_examples(examples, spec)
    if limit is not None:
        examples = _limited(examples, limit)
    return Benchmark(spec, tuple(examples), source, commit, limit, sizes=sizes)


def _builtin_rows(spec: BenchmarkSpec) -> Iterator[tuple[Row, RowLocation]]:
    with resources.as_file(resources.files("rb_core.builtin") / f"{spec.id}.jsonl") as path:
        yield from list(read_rows(path))


def _hub_rows(source: Source, revision: str | None) -> tuple[Iterator[tuple[Row, RowLocation]], str | None]:
    """Return the rows of a hub dataset and their commit. Raises DataError when they cannot be downloaded."""
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
    return rows, commit


def _read_examples(rows: Iterable[tuple[Row, RowLocation]], spec: BenchmarkSpec, read: RowReader) -> Iterator[Example]:
    for row, location in rows:
        try:
            example = read(row, location)
        except DataError as error:
            if str(error).startswith(f"{location}:"):
                raise
            raise DataError(f"{location}: {error}") from error
        if spec.subsets and example.subset not in spec.subset_names:
            subsets = ", ".join(sorted(spec.subset_names))
            raise location.error("subset", f"is {example.subset!r}; the subsets of {spec.id} are {subsets}")
        yield example


def check_examples(examples: list[Example], spec: BenchmarkSpec) -> None:
    """Raise DataError when there are no examples or an id is repeated."""
    if not examples:
        raise DataError(f"benchmark {spec.id!r} has no examples")
    for example_id, count in Counter(example.id for example in examples).items():
        if count > 1:
            raise DataError(f"benchmark {spec.id!r}: the id {example_id!r} is repeated; ids must be unique")


def _limited(examples: list[Example], limit: int) -> list[Example]:
    if limit < 1:
        raise DataError(f"--limit is {limit}; it must be at least 1")
    kept = sorted(examples, key=lambda e: hashlib.sha256(e.id.encode("utf-8", "surrogatepass")).digest())[:limit]
    ids = {example.id for example in kept}
    return [example for example in examples if example.id in ids]
