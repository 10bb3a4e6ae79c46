"""The benchmarks' records."""

from __future__ import annotations

from collections import Counter

import pytest

from rb_core.benchmarks.registry import BENCHMARKS


def test_rewardbench_has_23_weighted_subsets_with_2985_pairs() -> None:
    """Each subset weighs its number of pairs, but math-prm weighs as much as all code subsets together."""
    spec = BENCHMARKS["rewardbench"]
    required = [section for section in spec.sections if section.required]
    counts = {subset.name: subset.count for subset in spec.subsets}
    names = [name for section in required for name in section.weights]
    assert len(names) == 23
    assert sum(counts[name] or 0 for name in names) == 2985
    for section in required:
        assert section.weights == {n: 984.0 if n == "math-prm" else float(counts[n] or 0) for n in section.weights}


@pytest.mark.parametrize(("benchmark", "total"), [("rewardbench-2", 1865), ("rm-bench", 1327), ("judgebench", 350)])
def test_counts_add_up_to_the_published_sizes(benchmark: str, total: int) -> None:
    assert sum(subset.count or 0 for subset in BENCHMARKS[benchmark].subsets) == total


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_records_are_complete_and_no_subset_is_in_two_sections(benchmark: str) -> None:
    spec = BENCHMARKS[benchmark]
    sections_of = Counter(name for section in spec.sections for name in section.weights)
    assert set(sections_of) <= spec.subset_names
    assert set(sections_of.values()) == {1}
    assert spec.licence
    assert spec.citation
