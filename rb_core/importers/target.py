"""The benchmark that published numbers are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rb_core.benchmarks.card import FILE_SUFFIXES, Card, read_card
from rb_core.benchmarks.custom import check_card_id, custom_spec
from rb_core.benchmarks.example import Example
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, as_text
from rb_core.evaluation.provenance import benchmark_ref
from rb_core.leaderboard.derived_files import benchmark_card_path
from rb_core.results.schema import BenchmarkRef


@dataclass(frozen=True)
class ImportTarget:
    """A benchmark, and its examples by id where the data are at hand."""

    spec: BenchmarkSpec
    ref: BenchmarkRef
    examples: Mapping[str, Example] = field(default_factory=dict)

    def with_sizes(self, sizes: Mapping[str, int]) -> ImportTarget:
        """Return the target with the numbers of examples of its subsets; of known examples, they stay."""
        if self.examples:
            return self
        card = self.ref.card
        spec = self.spec if card is None else custom_spec(self.spec.id, sizes, card)
        ordered = {subset.name: sizes[subset.name] for subset in spec.subsets if subset.name in sizes}
        return ImportTarget(spec, self.ref.model_copy(update={"subsets": ordered}))


def find_target(benchmark: str, root: Path, data: Path | None = None) -> ImportTarget:
    """Return a benchmark by its id, by the path of its card, or by the id of a card in `benchmarks/` below `root`.

    data: file or folder with the examples. Without it, results of a card have the card's id alone, as its authors
    publish them. Raises DataError for an unknown benchmark, and for a card without an id.
    """
    bundled = root / benchmark_card_path(benchmark)
    is_card = Path(benchmark).suffix in FILE_SUFFIXES
    card_file = Path(benchmark) if is_card else bundled if bundled.is_file() else None
    if data is not None:
        loaded = load_benchmark(str(card_file or benchmark), data=data)
        return ImportTarget(loaded.spec, benchmark_ref(loaded), {example.id: example for example in loaded.examples})
    if card_file is None and benchmark not in BENCHMARKS:
        raise DataError(
            f"unknown benchmark {benchmark!r}: choose one of {', '.join(BENCHMARKS)}, or give the path of a card"
        )
    if card_file is None:
        spec, card = BENCHMARKS[benchmark], None
    else:
        spec, card = _spec_of_card(card_file)
    ref = BenchmarkRef(id=spec.id, title=spec.title, source=spec.source.repo if spec.source else spec.id, card=card)
    return ImportTarget(spec, ref)


def _spec_of_card(path: Path) -> tuple[BenchmarkSpec, Card]:
    card = read_card(path)
    if not card.id:
        raise DataError(f"{as_text(path.name)}: id: is missing; give the card one, or the examples with --data")
    check_card_id(card, as_text(path.name))
    return custom_spec(card.id, {}, card), card
