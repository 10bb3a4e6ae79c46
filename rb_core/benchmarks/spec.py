"""The records that define a benchmark: subsets, sections, source, and the benchmark itself."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rb_core.benchmarks.card import Card
from rb_core.benchmarks.example import Example
from rb_core.benchmarks.row_location import Row, RowLocation
from rb_core.stats.metrics import ACCURACY
from rb_core.stats.metrics.base import Metric, TieCredit

RowReader = Callable[[Row, RowLocation], Example]


@dataclass(frozen=True)
class Subset:
    """A named part of a benchmark. None means unknown.

    count: number of examples in the published data set; chance: what random choice is expected to score on them, by
    default that of pairs.
    """

    name: str
    count: int | None = None
    description: str = ""
    chance: float | None = 0.5


@dataclass(frozen=True)
class Section:
    """Subsets averaged into one number.

    weights: subset -> weight of its score in the section's score.
    metric: the rule for a subset's score.
    headline_weight: weight of the section in the headline.
    required: without this section there is no headline.
    pooled: a subset weighs as much as it has examples; `weights` are the published numbers.
    harmonic: the score is the harmonic mean of the subsets, all with equal weights, and 0 where one of them is 0.
    """

    name: str
    weights: Mapping[str, float]
    metric: Metric = ACCURACY
    headline_weight: float = 1.0
    required: bool = True
    description: str = ""
    pooled: bool = False
    harmonic: bool = False

    def mean(self, scores: Mapping[str, float]) -> float:
        """Return the section's score from the scores of its subsets."""
        if self.harmonic:
            return sum(factor * scores[name] for name, factor in self.coefficients(scores, scores).items())
        return sum(weight * scores[name] for name, weight in self.weights.items()) / sum(self.weights.values())

    def coefficients(self, scores: Mapping[str, float], others: Mapping[str, float]) -> dict[str, float]:
        """Return factors c such that sum of c x (score - other) over the subsets is the difference of two sections.

        With the same scores twice, sum of c x score is the section's score, and c its gradient. For n subsets with the
        scores x and y, the factors of a harmonic mean are n w(x) w(y), where w(x) is 1/x divided by the sum of 1/x; of
        other sections they are the weights, divided by their sum.
        """
        if self.harmonic:
            first, second = (_inverse_shares([values[name] for name in self.weights]) for values in (scores, others))
            return {name: len(first) * x * y for name, x, y in zip(self.weights, first, second, strict=True)}
        total = sum(self.weights.values())
        return {name: weight / total for name, weight in self.weights.items()}


def _inverse_shares(scores: Sequence[float]) -> list[float]:
    """Return 1/score divided by the sum of all; where scores are 0, these share alike and others have none."""
    inverse = [float(score == 0) for score in scores] if 0.0 in scores else [1 / score for score in scores]
    total = sum(inverse)
    return [share / total for share in inverse]


@dataclass(frozen=True)
class Source:
    """A dataset repository on the hub and the splits to read.

    splits: empty for its only split; config: None for the default configuration.
    """

    repo: str
    splits: tuple[str, ...]
    revision: str = "main"
    config: str | None = None


@dataclass(frozen=True)
class BenchmarkSpec:
    """The definition of a benchmark.

    Scores are fractions from 0 to 1. The headline is the weighted mean of the sections; a subset in no section is
    scored and shown, but is not part of the headline.

    read: reads a row of the data into an example.
    source: dataset on the hub; None for a file in `rb_core/builtin` or a user's file.
    prior, read_prior: second dataset, read only with `prior=True`, and the reader of its rows (default: `read`).
    tie_credit: credit of an example whose best chosen and best rejected completion tie ("none": 0, as in RewardBench;
        "split": 1/k for k completions that share the top score, as in RewardBench 2).
    style_levels: names of the rows and columns of a style matrix.
    pooled: a section weighs as much in the headline as it has examples; its `headline_weight` is the published number.
    groupings: other divisions of the subsets by name, into parts that are no part of the headline.
    """

    id: str
    title: str
    read: RowReader
    sections: tuple[Section, ...]
    subsets: tuple[Subset, ...]
    source: Source | None = None
    prior: Source | None = None
    read_prior: RowReader | None = None
    tie_credit: TieCredit = "none"
    licence: str = ""
    citation: str = ""
    url: str = ""
    description: str = ""
    style_levels: tuple[str, ...] = ()
    pooled: bool = False
    groupings: Mapping[str, tuple[Section, ...]] = field(default_factory=dict)

    @property
    def subset_names(self) -> frozenset[str]:
        return frozenset(subset.name for subset in self.subsets)

    def section_of(self, subset: str) -> Section | None:
        """Return the section that holds a subset, or None for a subset in no section."""
        return next((section for section in self.sections if subset in section.weights), None)

    def metric_of(self, subset: str) -> Metric:
        section = self.section_of(subset)
        return section.metric if section else ACCURACY

    @property
    def has_harmonic_means(self) -> bool:
        """True if sections are no weighted sums of subsets."""
        return any(section.harmonic for section in self.sections)

    @property
    def has_threshold(self) -> bool:
        """True if a metric compares scores with a threshold."""
        return any(section.metric.by_threshold for section in self.sections)

    def for_threshold(self, threshold: float) -> BenchmarkSpec:
        """Return the spec with this threshold in the metrics that compare scores with one."""
        sections = (replace(section, metric=section.metric.with_threshold(threshold)) for section in self.sections)
        return replace(self, sections=tuple(sections))

    def differing_subsets(self, sizes: Mapping[str, int]) -> list[str]:
        """Return the subsets whose number of examples in `sizes` is known not to be the published one.

        Subsets of a section that the headline does without may be missing altogether.
        """
        optional = {name for section in self.sections if not section.required for name in section.weights}
        return [
            subset.name
            for subset in self.subsets
            if subset.count not in (None, sizes.get(subset.name, 0))
            and (subset.name in sizes or subset.name not in optional)
        ]

    def for_other_data(self, sha256: str, sizes: Mapping[str, int]) -> BenchmarkSpec:
        """Return the spec of a board of its own for data that are not the published ones.

        It has the sections, metrics, weights and tie rule of this one, without the parts of which the data have none.
        The licence of the data is not known.

        Args:
            sha256: digest of the examples; its first eight digits are enough.
            sizes: number of examples of each subset.
        """
        names = {name for name, size in sizes.items() if size}
        for section in self.sections:  # without one of its subsets, a harmonic mean would be another measure
            if section.harmonic and names & section.weights.keys():
                names |= section.weights.keys()
        subsets = tuple(replace(s, count=sizes.get(s.name, 0)) for s in self.subsets if s.name in names)
        weights = {s.name: {n: w for n, w in s.weights.items() if n in names} for s in self.sections}
        return replace(
            self,
            id=f"{self.id}-{sha256[:8]}",
            title=f"{self.title}, other data ({sha256[:8]})",
            description=f"Other data than the published, in the form of {self.title} and scored by its rules.",
            sections=tuple(replace(s, weights=weights[s.name]) for s in self.sections if weights[s.name]),
            subsets=subsets,
            source=None,
            prior=None,
            licence="",
        ).weighted_for(sizes)

    def weighted_for(self, sizes: Mapping[str, int]) -> BenchmarkSpec:
        """Return the spec with the weights that pooling gives for data of these sizes.

        sizes: number of examples of each subset, unscored ones included, so that no model can change a weight by
        leaving examples unscored.
        """
        sections = tuple(self._weighted_section(section, sizes) for section in self.sections)
        groupings = {
            name: tuple(self._weighted_section(part, sizes) for part in parts) for name, parts in self.groupings.items()
        }
        return replace(self, sections=sections, groupings=groupings)

    def _weighted_section(self, section: Section, sizes: Mapping[str, int]) -> Section:
        present = {name: float(sizes[name]) for name in section.weights if sizes.get(name)}
        if present and section.pooled:
            section = replace(section, weights=present)
        if present and self.pooled:
            section = replace(section, headline_weight=sum(present.values()))
        return section


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's definition with its examples and their origin.

    source: repository or file name.
    revision: commit hash of the repository, None for a file.
    limit: number of examples kept, None for all.
    sha256: digest of the examples, equal for two files with the same content.
    sizes: number of examples of each subset before a limit; default: of the examples.
    layouts: of a user's own data, the number of rows in each layout; left_out: rows without a preference, by reason;
        card: their description and settings, if any.
    """

    spec: BenchmarkSpec
    examples: tuple[Example, ...]
    source: str
    revision: str | None
    limit: int | None = None
    sha256: str = field(default="", compare=False)
    sizes: Mapping[str, int] = field(default_factory=dict, compare=False)
    layouts: Mapping[str, int] = field(default_factory=dict, compare=False)
    left_out: Mapping[str, int] = field(default_factory=dict, compare=False)
    card: Card | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", self.sha256 or examples_digest(self.examples))
        object.__setattr__(self, "sizes", self.sizes or Counter(example.subset for example in self.examples))


def spec_to_json(spec: BenchmarkSpec) -> dict[str, Any]:
    """Return the fields that aggregation needs, to be stored with results of benchmarks that are not registered."""
    dropped = ("read", "source", "prior", "read_prior", "groupings")
    record = {key: value for key, value in asdict(spec).items() if key not in dropped}
    record["sections"] = [{**asdict(section), "metric": section.metric.name} for section in spec.sections]
    return record


def examples_digest(examples: Iterable[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        row = [example.id, example.subset, example.group, example.num_chosen, example.prompt, example.completions]
        digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
    return digest.hexdigest()


def weights_by_count(subsets: Iterable[Subset]) -> dict[str, float]:
    return {subset.name: float(subset.count or 1) for subset in subsets}


def equal_weights(subsets: Iterable[Subset]) -> dict[str, float]:
    return {subset.name: 1.0 for subset in subsets}
