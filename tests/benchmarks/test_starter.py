"""The examples of the starter benchmark."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.spec import Benchmark


@pytest.fixture(scope="module")
def starter() -> Benchmark:
    return load_benchmark("starter")


def test_it_has_every_subset_and_pairs_best_of_four_and_ties(starter: Benchmark) -> None:
    assert len(starter.examples) >= 120
    assert {example.subset for example in starter.examples} == starter.spec.subset_names
    shapes = Counter((example.num_chosen, len(example.completions)) for example in starter.examples)
    assert shapes[1, 2] > 50
    assert shapes[1, 4] > 20
    ties = {example.id for example in starter.examples if example.subset == "ties"}
    assert {name.replace("ref:", "tied:") for name in ties} == {name for name in ties if name.startswith("tied:")}


def test_no_prompt_is_repeated_and_no_completion_is_empty_or_repeated(starter: Benchmark) -> None:
    prompts = Counter(json.dumps(example.prompt) for example in starter.examples)
    assert max(prompts.values()) == 1
    for example in starter.examples:
        assert all(text.strip() for text in example.completions)
        assert len(set(example.completions)) == len(example.completions)
        assert example.prompt[-1]["role"] == "user"


def test_the_chosen_completion_is_the_longest_in_about_half_of_the_examples(starter: Benchmark) -> None:
    sizes = [[len(text) for text in e.completions] for e in starter.examples if e.subset != "ties"]
    longest = sum(first > max(rest) for first, *rest in sizes)
    assert 0.4 <= longest / len(sizes) <= 0.6


def test_its_record_has_the_numbers_of_examples(starter: Benchmark) -> None:
    assert {subset.name: subset.count for subset in starter.spec.subsets} == starter.sizes


def test_its_record_has_the_chance_levels_of_its_examples(starter: Benchmark) -> None:
    """Those of Ties are left to the score table."""
    chosen_of = {(e.subset, e.num_chosen, len(e.completions)) for e in starter.examples if e.subset != "ties"}
    declared = {(subset.name, subset.chance) for subset in starter.spec.subsets}
    assert declared == {(name, chosen / total) for name, chosen, total in chosen_of} | {("ties", None)}
