"""The About tab: how the numbers are computed.

Sections, weights, tie rules and licences are read from the benchmarks' records, so that the text cannot differ from
what is computed.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from markupsafe import Markup

from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.leaderboard.verdict import p_text, power_text
from rb_core.space.api import ENDPOINTS, mcp_installed
from rb_core.space.html import render
from rb_core.space.judge_modes import MODE_DESCRIPTIONS
from rb_core.space.model.labels import JUDGE_SHARES
from rb_core.space.results_source import ResultsSource
from rb_core.stats.intervals import proportion_estimate, weighted_mean
from rb_core.stats.metrics.base import Measure
from rb_core.stats.metrics.ties import TIES_WEIGHTS
from rb_core.stats.paired import further_examples
from rb_core.stats.significance import ALPHA, DETECTABLE_ERRORS, difference_p

CITATION = re.compile(r"(?P<author>.+?) et al\. (?P<year>\d{4}), (?P<title>.+), arXiv:(?P<number>\d{4}\.\d{5})")


def build_about(page: gr.Blocks, results: ResultsSource) -> None:
    """Lay out the tab. It is the same for all results; every tab is built with these arguments."""
    gr.HTML(about_html(BENCHMARKS.values()), apply_default_css=False, elem_id="about")


def about_html(specs: Iterable[BenchmarkSpec]) -> Markup:
    """Return the tab for the benchmarks with these records (one or more)."""
    return render(
        "about/about.html",
        benchmarks=[describe(spec) for spec in specs],
        ties_weights=TIES_WEIGHTS,
        alpha=ALPHA,
        example=worked_example(),
        p_text=p_text,
        judge_modes=MODE_DESCRIPTIONS,
        judge_shares=JUDGE_SHARES.values(),
        endpoints=ENDPOINTS,
        mcp=mcp_installed(),
    )


def worked_example(
    examples: int = 210, scored: int = 200, only_a: int = 24, only_b: int = 16, both: int = 136
) -> dict[str, Any]:
    """Return the numbers of two models of which A leaves examples unscored. only_a: examples that only A gets right."""
    right_a, right_b = both + only_a, both + only_b
    values = np.repeat([1.0, -1.0, 0.0], [only_a, only_b, scored - only_a - only_b])
    lead = weighted_mean({"lead": Measure(values, np.arange(scored).astype(np.str_), lowest=-1.0)}, {"lead": 1.0})
    stderr = math.sqrt(lead.variance)
    return {
        "examples": examples,
        "scored": scored,
        "right_a": right_a,
        "right_b": right_b,
        "only_a": only_a,
        "only_b": only_b,
        "a": proportion_estimate(right_a / scored, scored),
        "b": proportion_estimate(right_b / scored, scored),
        "difference": lead.value,
        "p": difference_p(lead.value, lead.variance, lead.num_groups),
        "power": power_text(DETECTABLE_ERRORS * stderr, further_examples(lead.value, stderr, scored)),
    }


class SubsetRow(NamedTuple):
    """A subset with its section and its share of the section's score; examples: None where the record has no number."""

    name: str
    section: str | None
    share: float | None
    examples: int | None
    description: str


def describe(spec: BenchmarkSpec) -> dict[str, Any]:
    """Return a benchmark's record with the shares and numbers of examples that follow from it."""
    counts = example_counts(spec)
    total = sum(section.headline_weight for section in spec.sections)
    return {
        "spec": spec,
        "sections": [
            (section, section.headline_weight / total, sum_known(counts[name] for name in section.weights))
            for section in spec.sections
        ],
        "optional": [section.name for section in spec.sections if not section.required],
        # Without subsets of their own, the table of sections has everything.
        "subsets": [
            subset_row(subset.name, subset.description, spec.section_of(subset.name), counts[subset.name])
            for subset in spec.subsets
            if any(len(section.weights) > 1 for section in spec.sections)
        ],
        "citation": split_citation(spec.citation),
        "bibtex_key": spec.id.replace("-", ""),
    }


def example_counts(spec: BenchmarkSpec) -> Mapping[str, int | None]:
    """Return the number of examples by subset: as published, or of the examples that come with this package."""
    if spec.source is None:
        return Counter(example.subset for example in load_benchmark(spec.id).examples)
    return {subset.name: subset.count for subset in spec.subsets}


def subset_row(name: str, description: str, section: Section | None, examples: int | None) -> SubsetRow:
    share = section.weights[name] / sum(section.weights.values()) if section else None
    return SubsetRow(name, section.name if section else None, share, examples, description)


def sum_known(counts: Iterable[int | None]) -> int | None:
    """Return the sum, or None if one of the numbers is unknown."""
    numbers = list(counts)
    return None if None in numbers else sum(number for number in numbers if number is not None)


def split_citation(citation: str) -> dict[str, str] | None:
    """Return author, year, title and arXiv number of a citation, None for one without an arXiv number."""
    match = CITATION.fullmatch(citation)
    return match.groupdict() if match else None
