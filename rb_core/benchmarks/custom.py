"""Benchmarks without a file in this package: a user's own preference file, or a record stored with a result."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from rb_core.benchmarks.card import METRICS_OF_CARDS, Card
from rb_core.benchmarks.layouts.pairs import read_standard
from rb_core.benchmarks.spec import BenchmarkSpec, Section, Subset
from rb_core.errors import DataError
from rb_core.stats.metrics import METRICS

_MAX_NAME = 60
DEFAULT_CARD = Card()


def custom_id(name: str, sha256: str, card: Card = DEFAULT_CARD) -> str:
    """Return the benchmark id of a user's file: `custom-`, its name in the characters of an id, and a data digest.

    Settings other than the defaults follow, as in `custom-mine-0a1b2c3d+pairs+half`. Results of different data or
    settings have different ids, so they are neither ranked together nor overwritten.

    Args:
        name: of the file, without suffixes.
        sha256: digest of all examples in it.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9_.+-]+", "-", ascii_name).strip("-.")[:_MAX_NAME].rstrip("-.")
    return "+".join([f"custom-{safe or 'file'}-{sha256[:8]}", *card.settings()])


def custom_spec(benchmark_id: str, counts: Mapping[str, int] | None = None, card: Card = DEFAULT_CARD) -> BenchmarkSpec:
    """Return the record of a user's file: one section over all examples, each with the same weight.

    counts: number of examples in each subset; without it the record has no sections and no subsets.
    """
    weights = {name: float(count) for name, count in (counts or {}).items()}
    return BenchmarkSpec(
        id=benchmark_id,
        title=card.title or benchmark_id,
        read=read_standard,
        sections=(Section("All", weights, METRICS_OF_CARDS[card.metric], description="Every example"),)
        if counts
        else (),
        subsets=tuple(Subset(name, count, chance=None) for name, count in (counts or {}).items()),
        tie_credit=card.ties,
        licence=card.licence,
        citation=card.citation,
        url=card.url,
        description=card.description,
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
        return BenchmarkSpec(read=read_standard, sections=sections, subsets=subsets, style_levels=levels, **fields)
    except (KeyError, TypeError) as error:
        raise DataError(f"not the record of a benchmark: {error}") from error
