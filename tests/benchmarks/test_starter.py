"""The examples of the starter benchmark."""

from __future__ import annotations

import json
from collections import Counter

import pandas as pd
import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.spec import Benchmark
from rb_core.stats.chance import chance_of_outcomes
from rb_core.stats.composition import compose
from rb_core.stats.outcome_files import outcomes_of_table
from tests.benchmarks.simple_rules import RULES


@pytest.fixture(scope="module")
def starter() -> Benchmark:
    return load_benchmark("starter")


def test_it_has_three_hundred_examples_in_every_subset_as_pairs_best_of_four_and_ties(starter: Benchmark) -> None:
    assert len(starter.examples) == 300
    assert {example.subset for example in starter.examples} == starter.spec.subset_names
    shapes = Counter((example.num_chosen, len(example.completions)) for example in starter.examples)
    assert shapes[1, 2] > 150
    assert shapes[1, 4] > 60
    ties = {example.id for example in starter.examples if example.subset == "ties"}
    tied = {name for name in ties if name.startswith("tied:")}
    assert {name.replace("ref:", "tied:") for name in ties} == tied
    assert len(tied) >= 25


def test_no_prompt_is_repeated_and_no_completion_is_empty_or_repeated(starter: Benchmark) -> None:
    prompts = Counter(json.dumps(example.prompt) for example in starter.examples)
    assert max(prompts.values()) == 1
    for example in starter.examples:
        assert all(text.strip() for text in example.completions)
        assert len(set(example.completions)) == len(example.completions)
        assert example.prompt[-1]["role"] == "user"


def test_the_best_of_fifty_simple_rules_is_at_most_five_points_above_chance(starter: Benchmark) -> None:
    texts = [
        (example.id, example.subset, example.group, number < example.num_chosen, prompt, text)
        for example in starter.examples
        for prompt in ["\n".join(message["content"] for message in example.prompt)]
        for number, text in enumerate(example.completions)
    ]
    frame = pd.DataFrame(texts, columns=["example_id", "subset", "group", "is_chosen", "prompt", "text"])
    frame["num_tokens"] = 0
    random = chance_of_outcomes(outcomes_of_table(frame.assign(score=0.0), starter.spec), starter.spec).headline
    assert random is not None
    above_chance = {}
    for name, rule in RULES.items():
        scores = [float(rule(prompt, text)) for prompt, text in zip(frame["prompt"], frame["text"], strict=True)]
        composition = compose(outcomes_of_table(frame.assign(score=scores), starter.spec), starter.spec)
        assert composition.headline is not None
        above_chance[name] = composition.value(composition.headline) - random
    assert len(RULES) == 50
    assert {name: value for name, value in above_chance.items() if value > 0.05} == {}


def test_its_record_has_the_numbers_of_examples(starter: Benchmark) -> None:
    assert {subset.name: subset.count for subset in starter.spec.subsets} == starter.sizes


def test_its_record_has_the_chance_levels_of_its_examples(starter: Benchmark) -> None:
    """Those of Ties are left to the score table."""
    chosen_of = {(e.subset, e.num_chosen, len(e.completions)) for e in starter.examples if e.subset != "ties"}
    declared = {(subset.name, subset.chance) for subset in starter.spec.subsets}
    assert declared == {(name, chosen / total) for name, chosen, total in chosen_of} | {("ties", None)}
