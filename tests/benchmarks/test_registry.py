"""The benchmarks' records."""

from __future__ import annotations

from collections import Counter

import pytest

from rb_core.benchmarks.registry import BENCHMARKS, registered_spec


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


@pytest.mark.parametrize(
    "benchmark", ["rewardbench-2-1a2b3c4", "nothing-1a2b3c4d", "1a2b3c4d", "rewardbench-1A2B3C4D", "custom-a-1a2b3c4d"]
)
def test_only_a_registered_id_with_eight_digits_is_other_data(benchmark: str) -> None:
    assert registered_spec(benchmark, {}) is None
    assert registered_spec("rewardbench-2", {}) is BENCHMARKS["rewardbench-2"]


def test_other_data_keep_the_rules_and_leave_out_what_they_do_not_have() -> None:
    """RM-Bench's safety files alone, for example, and RewardBench's constant weights."""
    rm_bench = BENCHMARKS["rm-bench"]
    safety = registered_spec("rm-bench-1a2b3c4d", {"safety-refuse": 2, "safety-response": 6, "chat": 0})
    assert safety is not None
    assert [(s.name, s.weights, s.metric) for s in safety.sections] == [
        ("Safety", {"safety-refuse": 2.0, "safety-response": 6.0}, rm_bench.sections[-1].metric)
    ]
    assert (safety.tie_credit, safety.style_levels) == (rm_bench.tie_credit, rm_bench.style_levels)
    reasoning = registered_spec("rewardbench-1a2b3c4d", {"math-prm": 3, "hep-go": 5})
    assert reasoning is not None
    assert [section.weights for section in reasoning.sections] == [{"math-prm": 984.0, "hep-go": 164.0}]
    assert {subset.name: subset.count for subset in reasoning.subsets} == {"math-prm": 3, "hep-go": 5}
