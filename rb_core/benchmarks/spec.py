"""Benchmark, section and subset records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.rows import Row, RowLocation

Metric = Literal["accuracy", "ties", "matrix"]


TieCredit = Literal["none", "split"]


RowReader = Callable[[Row, RowLocation], Example]


@dataclass(frozen=True)
class Subset:
    """A named part of a benchmark. `count` is the number of examples it is published with; None where unknown."""

    name: str
    count: int | None = None
    description: str = ""


@dataclass(frozen=True)
class Section:
    """Subsets averaged into one number.

    weights: subset -> weight of its score in the section's; metric: how a subset's score comes about ("accuracy": mean
    credit; "ties": the Ties composite of RewardBench 2; "matrix": every chosen against every rejected completion);
    headline_weight: its weight in the headline; required: whether the headline is absent without it.
    """

    name: str
    weights: Mapping[str, float]
    metric: Metric = "accuracy"
    headline_weight: float = 1.0
    required: bool = True
    description: str = ""


@dataclass(frozen=True)
class Source:
    """A dataset repository on the hub. `splits` maps a split to the subset all its rows belong to, or None."""

    repo: str
    splits: tuple[str, ...]
    revision: str = "main"


@dataclass(frozen=True)
class BenchmarkSpec:
    """Everything that makes a benchmark what it is.

    tie_credit: what an example earns whose best chosen and best rejected completion tie ("none": 0, as in RewardBench;
    "split": 1/k for k completions at the top, as in RewardBench 2). A subset in no section is scored and shown, but
    counts towards nothing. prior: a second dataset, read only when asked for. style_levels: names of the rows and
    columns of a "matrix" metric. A score is a fraction from 0 to 1; the headline is the weighted mean of the sections.
    """

    id: str
    title: str
    read: RowReader
    sections: tuple[Section, ...]
    subsets: tuple[Subset, ...]
    source: Source | None = None
    prior: Source | None = None
    tie_credit: TieCredit = "none"
    licence: str = ""
    citation: str = ""
    url: str = ""
    description: str = ""
    style_levels: tuple[str, ...] = ()

    @property
    def subset_names(self) -> frozenset[str]:
        return frozenset(subset.name for subset in self.subsets)

    def section_of(self, subset: str) -> Section | None:
        """The section a subset counts towards; None for one that is only shown."""
        return next((section for section in self.sections if subset in section.weights), None)

    def metric_of(self, subset: str) -> Metric:
        section = self.section_of(subset)
        return section.metric if section else "accuracy"


@dataclass(frozen=True)
class Benchmark:
    """A spec with its examples, and where they came from.

    source: repository or file name; revision: the commit hash for a repository; sha256: over the examples themselves,
    so that two files with the same content are the same data.
    """

    spec: BenchmarkSpec
    examples: tuple[Example, ...]
    source: str
    revision: str | None
    limit: int | None = None
    sha256: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", self.sha256 or examples_digest(self.examples))


def spec_to_json(spec: BenchmarkSpec) -> dict[str, Any]:
    """What aggregating needs of a record, for benchmarks that have none here."""
    return {key: value for key, value in asdict(spec).items() if key not in ("read", "source", "prior")}


def examples_digest(examples: Iterable[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        row = [example.id, example.subset, example.group, example.num_chosen, example.prompt, example.completions]
        digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
    return digest.hexdigest()


# Records


def weights_by_count(subsets: Iterable[Subset]) -> dict[str, float]:
    return {subset.name: float(subset.count or 1) for subset in subsets}


def equal_weights(subsets: Iterable[Subset]) -> dict[str, float]:
    return {subset.name: 1.0 for subset in subsets}
