"""Benchmarks without a file in this package: a user's own data with or without a card, or a record in a result."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from rb_core.benchmarks.card import METRICS_OF_CARDS, Card, CardSection, CardSubset
from rb_core.benchmarks.layouts.pairs import read_standard
from rb_core.benchmarks.registry import registered_spec
from rb_core.benchmarks.spec import BenchmarkSpec, Section, Source, Subset
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


def card_id(card: Card, sha256: str) -> str:
    """Return the benchmark id of a card with an id of its own.

    The id alone if the card states the digest of exactly these examples; else with a digest of examples and rules, so
    that results of different data or rules have different ids.
    """
    if sha256 == card.sha256:
        return card.id
    return f"{card.id}-{hashlib.sha256(f'{sha256} {card.rules}'.encode()).hexdigest()[:8]}"


def check_card_id(card: Card, name: str) -> None:
    """Raise DataError, naming the card's file, for an id that names another kind of benchmark."""
    if registered_spec(card.id, {}) or re.search(r"^custom-|-[0-9a-f]{8}$", card.id):
        raise DataError(
            f"{name}: id: {card.id!r} is an id of a benchmark of this package, or one with a digest; choose another"
        )


def recorded_spec(benchmark_id: str, sizes: Mapping[str, int], card: Card | None) -> BenchmarkSpec | None:
    """Return the spec of a registered benchmark, or the one that a result's card gives; None without either.

    sizes: number of examples of each subset in the data.
    """
    return registered_spec(benchmark_id, sizes) or (custom_spec(benchmark_id, sizes, card) if card else None)


def custom_spec(benchmark_id: str, counts: Mapping[str, int] | None = None, card: Card = DEFAULT_CARD) -> BenchmarkSpec:
    """Return the record of a user's data; by default with one section over all examples, each with the same weight.

    counts: number of examples in each subset; without it the record has the sections and subsets of the card only.
    """
    counts = counts or {}
    sections = [_section(section, card, counts) for section in card.sections]
    if not sections and counts:
        weights = {name: float(count) for name, count in counts.items()}
        sections = [Section("All", weights, METRICS_OF_CARDS[card.metric], description="Every example")]
    listed = card.subset_names
    parts = [*card.subsets, *(CardSubset(name=name) for name in counts if name not in listed)]
    return BenchmarkSpec(
        id=benchmark_id,
        title=card.title or benchmark_id,
        read=read_standard,
        sections=tuple(sections),
        subsets=tuple(Subset(part.name, counts.get(part.name), part.description, part.chance) for part in parts),
        source=source_of(card),
        tie_credit=card.ties,
        licence=card.licence,
        citation=card.citation,
        url=card.url or (f"https://huggingface.co/datasets/{card.hub}" if card.hub else ""),
        description=card.description,
        style_levels=tuple(card.style_levels),
        pooled=card.pooled,
        groupings={
            name: tuple(
                _section(CardSection(name=part, subsets=names, pooled=True), card, counts)
                for part, names in parts.items()
            )
            for name, parts in card.groupings.items()
        },
    )


def source_of(card: Card) -> Source | None:
    """Return the dataset on the hub that a card names."""
    return Source(card.hub, tuple(card.splits), card.revision, card.config) if card.hub else None


def _section(section: CardSection, card: Card, counts: Mapping[str, int]) -> Section:
    equal = {subset: float(counts.get(subset) or 1) if section.pooled else 1.0 for subset in section.subsets}
    return Section(
        section.name,
        section.weights or equal,
        METRICS_OF_CARDS[section.metric or card.metric],
        section.headline_weight,
        section.required,
        section.description,
        section.pooled,
        section.harmonic,
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
