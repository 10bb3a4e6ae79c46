"""Load a benchmark: choose its record, read its rows from the hub or from files, and check the examples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

from rb_core.benchmarks.card import Card, read_card, with_options
from rb_core.benchmarks.custom import custom_id, custom_spec
from rb_core.benchmarks.example import Example
from rb_core.benchmarks.files import Rows, file_name, read_rows
from rb_core.benchmarks.hub_rows import PREFIX, hub_rows, parse_address
from rb_core.benchmarks.layouts.reading import read_layouts
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.row_location import RowError, RowLocation, RowProblems
from rb_core.benchmarks.spec import Benchmark, BenchmarkSpec, RowReader, examples_digest
from rb_core.errors import DataError, as_text

# A result has an estimate for each subset, and must not grow beyond what its readers accept.
MAX_SUBSETS = 1000
MAX_SUBSET_NAMES = 200_000  # bytes, together

LocatedExamples = list[tuple[Example, RowLocation]]


def load_benchmark(
    benchmark: str,
    *,
    data: Path | None = None,
    revision: str | None = None,
    prior: bool = False,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
    metric: str | None = None,
    ties: str | None = None,
) -> Benchmark:
    """Load a benchmark by its id, or any preference data by its path or its address `hf://ORG/NAME:SPLIT`.

    Args:
        data: local file or folder to read the rows from, instead of the hub.
        revision: revision of the hub dataset; default: the one in the benchmark's record.
        prior: read the benchmark's prior sets too.
        limit: number of examples to keep. They are chosen by the hash of their ids, so that every subset keeps its
            share.
        columns: for fields of a layout, the columns of the user's own data that hold them.
        metric, ties: how the user's own data are scored, see `Card`; default: as the card beside the file says.

    Raises DataError for an unknown benchmark, a malformed row, an unknown subset or a repeated id.
    """
    spec = BENCHMARKS.get(benchmark)
    if prior and (spec is None or spec.prior is None):
        raise DataError(f"benchmark {benchmark!r} has no prior sets")
    if spec is not None:
        for option, value in {"--columns": columns, "--metric": metric, "--ties": ties}.items():
            if value:
                raise DataError(f"{option} is for data of your own; {benchmark!r} has fields and rules of its own")
        loaded = _load_registered(spec, data, revision, prior)
    else:
        if data is not None:
            raise DataError(f"--data goes with a named benchmark; {benchmark!r} is a file already")
        loaded = _load_custom(benchmark, revision, columns or {}, metric, ties)
    return loaded if limit is None else _limited(loaded, limit)


def _load_registered(spec: BenchmarkSpec, data: Path | None, revision: str | None, prior: bool) -> Benchmark:
    if prior and data is not None:
        raise DataError("--prior reads the prior sets from the hub; with --data, put their rows into the data instead")
    commit, otherwise = None, ", or give a local copy with --data PATH"
    if data is not None:
        rows, source = read_rows(data), as_text(data.absolute().name)
    elif spec.source is None:
        rows, source = _builtin_rows(spec), f"{spec.id} (built in)"
    else:
        (rows, commit), source = hub_rows(spec.source, revision, otherwise=otherwise), spec.source.repo
    located = _read_examples(rows, spec, spec.read)
    if prior and spec.prior is not None:
        prior_rows, _ = hub_rows(spec.prior, None, otherwise=otherwise)
        located += _read_examples(prior_rows, spec, spec.read_prior or spec.read)
    loaded = Benchmark(spec, check_examples(located, spec.id), source, commit)
    if spec.differing_subsets(loaded.sizes):
        return replace(loaded, spec=spec.for_other_data(loaded.sha256, loaded.sizes))
    return loaded


def _load_custom(
    name: str, revision: str | None, columns: Mapping[str, str], metric: str | None, ties: str | None
) -> Benchmark:
    """Load data that is no registered benchmark, in any known layout."""
    commit, path, card = None, Path(name).absolute(), Card()
    if name.startswith(PREFIX):
        address = parse_address(name)
        rows, commit = hub_rows(address, revision, otherwise="")
        source, title = address.repo, "-".join([address.repo.rpartition("/")[2], *address.splits])
    elif name and (path.suffix or path.exists()):
        rows, source, title, card = read_rows(path), as_text(path.name), file_name(path), read_card(path)
    else:
        names = ", ".join(BENCHMARKS)
        raise DataError(
            f"unknown benchmark {name!r}: choose one of {names}, or give the path of a file or hf://ORG/NAME:SPLIT"
        )
    card = with_options(card, metric, ties)
    reading = read_layouts(rows, columns)
    if not reading.examples and reading.left_out:
        reasons = "; ".join(f"{count} rows: {reason}" for reason, count in reading.left_out.items())
        raise DataError(f"{source}: no row states a preference ({reasons})")
    examples = check_examples(reading.examples, name)
    digest = examples_digest(examples)
    return Benchmark(
        custom_spec(custom_id(title, digest, card), Counter(example.subset for example in examples), card),
        examples,
        source,
        commit,
        sha256=digest,
        layouts=reading.layouts,
        left_out=reading.left_out,
        card=None if card == Card() else card,
    )


def _builtin_rows(spec: BenchmarkSpec) -> Rows:
    with resources.as_file(resources.files("rb_core.builtin") / f"{spec.id}.jsonl") as path:
        yield from list(read_rows(path))


def _read_examples(rows: Rows, spec: BenchmarkSpec, read: RowReader) -> LocatedExamples:
    """Read the rows of a registered benchmark. Raises DataError that names those that cannot be read."""
    located, problems = [], RowProblems()
    for row, location in rows:
        with problems.collected(location):
            if isinstance(row, RowError):
                raise row
            example = read(row, location)
            if example.subset not in spec.subset_names:
                subsets = ", ".join(sorted(spec.subset_names))
                raise location.error("subset", f"is {example.subset!r}; the subsets of {spec.id} are {subsets}")
            located.append((example, location))
    problems.raise_any()
    return located


def check_examples(located: LocatedExamples, name: str) -> tuple[Example, ...]:
    """Return the examples. Raises DataError when there are none, an id is repeated, or there are too many subsets."""
    if not located:
        raise DataError(f"benchmark {name!r} has no examples")
    first: dict[str, RowLocation] = {}
    problems = RowProblems()
    for example, location in located:
        with problems.collected(location):
            if (earlier := first.setdefault(example.id, location)) is not location:
                raise location.error("id", f"the id {example.id!r} is repeated, first at {earlier}; ids must be unique")
    problems.raise_any()
    subsets = {example.subset for example, _ in located}
    if len(subsets) > MAX_SUBSETS or sum(len(subset.encode()) for subset in subsets) > MAX_SUBSET_NAMES:
        raise DataError(
            f"{name}: {len(subsets):,} subsets are too many, or their names too long: 'subset' names a part of the "
            "data, not a row"
        )
    return tuple(example for example, _ in located)


def _limited(benchmark: Benchmark, limit: int) -> Benchmark:
    if limit < 1:
        raise DataError(f"--limit is {limit}; it must be at least 1")
    digests = {e.id: hashlib.sha256(e.id.encode("utf-8", "surrogatepass")).digest() for e in benchmark.examples}
    ids = set(sorted(digests, key=lambda example_id: digests[example_id])[:limit])
    examples = tuple(example for example in benchmark.examples if example.id in ids)
    return replace(benchmark, examples=examples, limit=limit, sha256="")
