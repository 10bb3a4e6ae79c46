"""Bundled results and outcomes, read once."""

from __future__ import annotations

import pytest

from rb_core.results.schema import Result
from rb_core.results.storage import read_results
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.outcome_files import outcomes_of_scores, read_items
from tests.paths import BUNDLED


@pytest.fixture(scope="session")
def results() -> dict[tuple[str, str], Result]:
    """Bundled results by benchmark and model."""
    return {(result.benchmark.id, result.model.name): result for result in read_results(BUNDLED)[0]}


@pytest.fixture(scope="session")
def items() -> dict[str, ItemOutcomes]:
    """Published outcomes on RewardBench by model."""
    return read_items(BUNDLED / "items" / "rewardbench.parquet")


@pytest.fixture(scope="session")
def runs() -> dict[str, ItemOutcomes]:
    """Outcomes of the bundled runs on the starter benchmark by model."""
    outcomes = [outcomes_of_scores(path) for path in sorted((BUNDLED / "scores" / "starter").rglob("*.parquet"))]
    return {run.model: run for run in outcomes}
