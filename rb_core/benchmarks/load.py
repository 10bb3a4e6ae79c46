"""Load a benchmark: choose its record, read its rows from the hub or from files, and check the examples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from rb_core.benchmarks.card import FILE_SUFFIXES, SUFFIX, Card, read_card, read_card_beside, with_options
from rb_core.benchmarks.custom import card_id, check_card_id, custom_id, custom_spec, source_of
from rb_core.benchmarks.example import Example
from rb_core.benchmarks.files import Rows, file_name, read_rows
from rb_core.benchmarks.hub_rows import PREFIX, hub_rows, parse_address
from rb_core.benchmarks.layouts.reading import read_layouts
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.row_location import RowError, RowLocation, RowProblems
from rb_core.benchmarks.rows import fitted_to_metric
from rb_core.benchmarks.spec import Benchmark, BenchmarkSpec, RowReader, Source, examples_digest
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
    """Load a benchmark by its id or its card, or any preference data by path or by address `hf://ORG/NAME:SPLIT`.

    Args:
        benchmark: id, path of a card (`NAME.yaml`), of a file or of a folder, or address of a dataset.
        data: local file or folder to read the rows from, instead of where the benchmark's record or card says.
        revision: revision of the hub dataset; default: the one in the benchmark's record or card.
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
        _refuse_own_data_options(benchmark, {"--columns": columns, "--metric": metric, "--ties": ties})
        loaded = _load_registered(spec, data, revision, prior)
    else:
        located = _locate(benchmark, data, revision)
        if located.card.id:
            check_card_id(located.card, located.card_file)
            _refuse_own_data_options(located.card_file, {"--columns": columns, "--metric": metric, "--ties": ties})
        loaded = _load_custom(located._replace(card=with_options(located.card, metric, ties)), columns or {})
    return loaded if limit is None else _limited(loaded, limit)


def _refuse_own_data_options(benchmark: str, options: Mapping[str, object]) -> None:
    for option, value in options.items():
        if value:
            raise DataError(f"{option} is for data of your own; {benchmark!r} has fields and rules of its own")


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


class _LocatedData(NamedTuple):
    """Data that are no registered benchmark: rows, the name of their place, a name for the board, and their card.

    card_file: name of the card's file, "" without one; replaced: the rows are not from where the card says.
    """

    rows: Rows
    source: str
    name: str
    card: Card = Card()
    card_file: str = ""
    commit: str | None = None
    replaced: bool = False


def _locate(benchmark: str, data: Path | None, revision: str | None) -> _LocatedData:
    """Find the data that a card, a path or an address names. data: instead of where the card says."""
    path = Path(benchmark).absolute()
    if path.suffix in FILE_SUFFIXES and not benchmark.startswith(PREFIX):
        card = read_card(path)
        located = _locate_by_card(card, path, data, revision)
        return located._replace(card=card, card_file=as_text(path.name), replaced=data is not None)
    if data is not None:
        raise DataError(f"--data goes with a named benchmark or a card; {benchmark!r} is data already")
    if benchmark.startswith(PREFIX):
        return _locate_on_hub(parse_address(benchmark), revision, otherwise="")
    if benchmark and (path.suffix or path.exists()):
        return _locate_file(path)._replace(card=read_card_beside(path), card_file=as_text(path.name + SUFFIX))
    names = ", ".join(BENCHMARKS)
    raise DataError(
        f"unknown benchmark {benchmark!r}: choose one of {names}, or give the path of a card or a file, or "
        "hf://ORG/NAME:SPLIT"
    )


def _locate_by_card(card: Card, path: Path, data: Path | None, revision: str | None) -> _LocatedData:
    beside = path.with_name(path.name.removesuffix(SUFFIX))
    if data is None and (source := source_of(card)) is not None:
        return _locate_on_hub(source, revision, otherwise=", or give a local copy with --data PATH")
    if data is None and not card.data and beside == path:
        raise DataError(f"{as_text(path.name)}: data: is missing; name a file beside the card, or a dataset with hub")
    place = path.parent / card.data if card.data else beside
    if data is None and not place.exists():
        raise DataError(f"{as_text(path.name)}: data: there is no {place}; restore it, or give a copy with --data PATH")
    return _locate_file(data or place)


def _locate_file(path: Path) -> _LocatedData:
    return _LocatedData(read_rows(path), as_text(path.absolute().name), file_name(path))


def _locate_on_hub(source: Source, revision: str | None, *, otherwise: str) -> _LocatedData:
    rows, commit = hub_rows(source, revision, otherwise=otherwise)
    return _LocatedData(rows, source.repo, "-".join([source.repo.rpartition("/")[2], *source.splits]), commit=commit)


def _load_custom(located: _LocatedData, columns: Mapping[str, str]) -> Benchmark:
    """Load data that are no registered benchmark, in any known layout."""
    card, source = located.card, located.source
    reading = read_layouts(located.rows, {**card.columns, **columns})
    if not reading.examples and reading.left_out:
        reasons = "; ".join(f"{count} rows: {reason}" for reason, count in reading.left_out.items())
        raise DataError(f"{source}: no row states a preference ({reasons})")
    sizes = Counter(example.subset for example, _ in reading.examples)
    examples = check_examples(_fitted(reading.examples, custom_spec("", sizes, card), located), source)
    digest = examples_digest(examples)
    if card.sha256 not in ("", digest) and not located.replaced:
        raise DataError(
            f"{located.card_file}: sha256: the examples of {source} have {digest}: they are not the data that the card "
            "describes; restore them, or correct sha256"
        )
    benchmark_id = card_id(card, digest) if card.id else custom_id(located.name, digest, card)
    return Benchmark(
        custom_spec(benchmark_id, sizes, card),
        examples,
        source,
        located.commit,
        sha256=digest,
        layouts=reading.layouts,
        left_out=reading.left_out,
        card=None if card == Card() else card,
    )


def _fitted(examples: LocatedExamples, spec: BenchmarkSpec, located: _LocatedData) -> LocatedExamples:
    """Return the examples in the form that the metrics of their subsets need.

    Raises DataError for an example of another form, or of a subset that the card does not list, and for a subset of the
    card without examples.
    """
    fitted, problems = [], RowProblems()
    card, names = located.card, frozenset(located.card.subset_names)
    for example, location in examples:
        with problems.collected(location):
            if card.subsets and example.subset not in names:
                raise _unknown_subset(example, location, located.card_file, names)
            metric = spec.metric_of(example.subset)
            fitted.append((fitted_to_metric(example, metric, location, len(spec.style_levels)), location))
    problems.raise_any()
    optional = {name for section in card.sections if not section.required for name in section.subset_names}
    listed = [*card.subset_names, *(name for section in card.sections for name in section.subset_names)]
    sizes = Counter(example.subset for example, _ in fitted)
    if missing := next((name for name in listed if name not in sizes and name not in optional), None):
        raise DataError(f"{located.card_file}: the subset {missing!r} has no examples in {located.source}: remove it")
    return fitted


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
                raise _unknown_subset(example, location, spec.id, spec.subset_names)
            located.append((example, location))
    problems.raise_any()
    return located


def _unknown_subset(example: Example, location: RowLocation, benchmark: str, names: Iterable[str]) -> RowError:
    subsets = ", ".join(sorted(names))
    return location.error("subset", f"is {example.subset!r}; the subsets of {benchmark} are {subsets}")


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
