"""Scores composed of subsets and sections by a benchmark's weights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.results.schema import Result
from rb_core.stats.composition import compose, outcomes_match_sections, section_scores
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.outcome_files import outcomes_of_table
from tests.fakes.outcomes import Row, pairs, score_table
from tests.stats.golden import V1_SECTIONS, V1_SUBSETS

V1, STARTER = BENCHMARKS["rewardbench"], BENCHMARKS["starter"]


def test_v1_section_weights_are_the_published_ones() -> None:
    """RewardBench's weights (example counts, math-prm as 984) turn subset scores into the reference's sections."""
    for section in V1.sections:
        if section.name in V1_SECTIONS:
            total = sum(section.weights.values())
            value = sum(weight * V1_SUBSETS[name] for name, weight in section.weights.items()) / total
            assert value == pytest.approx(V1_SECTIONS[section.name], abs=1e-12)


@pytest.mark.parametrize("prior", [False, True])
def test_v1_headline_counts_prior_sets_half(prior: bool) -> None:
    """The headline is (Chat + Chat Hard + Safety + Reasoning + Prior / 2) / 4.5, or the mean of four without Prior.

    Prior Sets is the mean of four of the prior sets; the others are scored and shown.
    """
    rows: list[Row] = []
    for k, subset in enumerate(V1.subsets):
        if prior or V1.section_of(subset.name) not in (V1.sections[4], None):
            rows += pairs(subset.name, [1.0] * (k % 8) + [0.0] * (8 - k % 8))
    composition = compose(outcomes_of_table(score_table(rows), V1), V1)
    scores = {name: composition.value(combination) for name, combination in composition.sections.items()}
    expected = sum(scores[name] for name in ("Chat", "Chat Hard", "Safety", "Reasoning")) / 4
    if prior:
        subsets = {name: composition.value(combination) for name, combination in composition.subsets.items()}
        averaged = ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")
        assert scores["Prior Sets"] == pytest.approx(sum(subsets[name] for name in averaged) / 4, abs=1e-12)
        assert "mtbench_gpt4" in subsets
        expected = (4 * expected + 0.5 * scores["Prior Sets"]) / 4.5
    assert composition.headline is not None
    assert composition.value(composition.headline) == pytest.approx(expected, abs=1e-12)
    assert ("Prior Sets" in scores) is prior


def test_outcomes_of_runs_give_their_results_sections(
    runs: dict[str, ItemOutcomes], results: dict[tuple[str, str], Result]
) -> None:
    """The Ties composite included."""
    for model, outcomes in runs.items():
        expected = {name: estimate.value for name, estimate in results["starter", model].sections.items()}
        assert section_scores(outcomes, STARTER) == pytest.approx(expected, abs=1e-12)


def test_outcomes_match_the_sections_they_give(runs: dict[str, ItemOutcomes]) -> None:
    """Sections that only one has do not count, but one in common is needed."""
    outcomes = runs["builtin/tiny-rm"]
    scores: dict[str, float | None] = dict(section_scores(outcomes, STARTER))
    assert outcomes_match_sections(outcomes, STARTER, scores | {"Other": 0.5, "Chat": None})
    assert not outcomes_match_sections(outcomes, STARTER, scores | {"Chat": (scores["Chat"] or 0) + 0.002})
    assert not outcomes_match_sections(outcomes, STARTER, {"Other": 0.5})
    without_scores = replace(outcomes, margins=None, spreads=None)
    assert section_scores(without_scores, STARTER).keys() == scores.keys() - {"Ties"}
