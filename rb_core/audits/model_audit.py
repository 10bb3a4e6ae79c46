"""The contract of an audit of a model: a benchmark made for one property, and a statistic over its scores.

A subclass is one audit (see `README.md`). Its items are scored by the ordinary path; what it says about the scores is
computed from the score table alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from rb_core.audits.report import AuditReport, AuditTable
from rb_core.audits.result import AuditResult
from rb_core.audits.views import standard_view
from rb_core.benchmarks.example import Conversation, Example
from rb_core.benchmarks.layouts.pairs import read_standard
from rb_core.benchmarks.spec import Benchmark, BenchmarkSpec, Section, Subset
from rb_core.errors import DataError
from rb_core.results.effect import Effect
from rb_core.stats.item_outcomes import Floats
from rb_core.stats.metrics.base import Metric

ORIGINAL = "original"
OUTPUT_COLUMNS = ("score", "num_tokens", "truncated", "reason")  # of a score table: what depends on the model


@dataclass(frozen=True)
class AuditItem:
    """One prompt with the completions whose scores an audit compares.

    id: unique in the audit; unit: items of one unit are not independent, such as versions of one prompt; group: what
    effects are reported by; variant: "original", or the name of the changed version; labels: one for each completion,
    such as chosen, rejected or refusal; base: the same for all versions of one example, whose scores are compared; by
    default the id.
    """

    id: str
    unit: str
    group: str
    prompt: Conversation
    completions: tuple[str, ...]
    labels: tuple[str, ...]
    variant: str = ORIGINAL
    base: str = ""


class Planted(NamedTuple):
    """An effect of a made-up scorer: `size` is the difference from the value without an effect."""

    measure: str
    group: str
    size: float


class Rated(Metric):
    """The metric of an audit's items: each completion is rated by itself, and the audit compares the ratings."""

    name = "rated"
    label = "rated"
    needs_ratings = True
    by_threshold = True


class ModelAudit(ABC):
    """An audit of one property of a model.

    Scores that `items` get from a model are given to `effects` as a table with one row for each completion, in order:
    item, base, unit, group, variant, completion (its index), label, score (NaN when unscored), num_tokens, truncated,
    reason, and the columns of `row_columns`. The self-test simulates scores without the other outputs of a model:
    `effects` and `simulate` must not depend on num_tokens, truncated and reason.

    kind: name in the registry; name: of this audit in commands and paths, different for other data than the built-in;
    title: a few words; question: one sentence; meaning: a sentence for the page on what the effects mean; method: how
    they are computed, with the source of its formulas; sources: of the data; cautions: what the numbers do not show.
    """

    kind: ClassVar[str]
    title: str
    question: str
    meaning: str
    method: str
    sources: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.kind

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that `effects`, `tables` and `simulate` depend on beside the table, as JSON values."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> ModelAudit:
        """Return the audit that has these settings; it may lack its data. Raises ValueError for invalid ones."""

    @abstractmethod
    def items(self) -> Sequence[AuditItem]:
        """Return the items to score. Raises DataError for data that cannot be read."""

    @abstractmethod
    def effects(self, scores: pd.DataFrame) -> list[Effect]:
        """Return the effects by measure and group, without correction for their number."""

    @abstractmethod
    def simulate(self, scores: pd.DataFrame, rng: np.random.Generator, planted: Planted | None = None) -> Floats | None:
        """Return the scores of a made-up scorer for the rows of the table, for the self-test.

        Without `planted` it has no effect on any measure and group that is tested, with it just this one. None where no
        scorer could have an effect of this size.
        """

    def tables(self, scores: pd.DataFrame) -> tuple[AuditTable, ...]:
        """Return further tables of the result; none by default."""
        return ()

    def row_columns(self, items: Sequence[AuditItem], kept: Path) -> Mapping[str, Sequence[Any]]:
        """Return further columns of the table, with a value for each completion of the items in order; none by default.

        kept: file for what is paid for, which a killed run finds again, and which is deleted with a result.
        """
        return {}

    @classmethod
    def view(cls, results: Sequence[AuditResult]) -> AuditReport:
        """Return the page's entry of this audit over the results of several models, at least one."""
        return standard_view(results)

    def benchmark(self, items: Sequence[AuditItem]) -> Benchmark:
        """Return the items as a benchmark, so that they are scored by the ordinary path.

        Raises DataError without items, for repeated ids, and for another number of labels than completions.
        """
        if not items:
            raise DataError(f"audit {self.name}: there are no examples")
        seen: set[str] = set()
        for item in items:
            if item.id in seen:
                raise DataError(f"audit {self.name}: the id {item.id!r} is repeated")
            if len(item.labels) != len(item.completions):
                raise DataError(f"audit {self.name}: {item.id!r} has {len(item.labels)} labels for its completions")
            seen.add(item.id)
        examples = tuple(
            Example(item.id, item.group, item.prompt, item.completions, 0, item.unit, by_threshold=True)
            for item in items
        )
        subsets = tuple(Subset(name, chance=None) for name in dict.fromkeys(item.group for item in items))
        spec = BenchmarkSpec(
            id=f"audit-{self.name}",
            title=self.title,
            read=read_standard,
            sections=(Section("All", {subset.name: 1.0 for subset in subsets}, Rated()),),
            subsets=subsets,
        )
        return Benchmark(spec, examples, source="; ".join(self.sources) or self.name, revision=None)
