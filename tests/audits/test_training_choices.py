from __future__ import annotations

import math

import pytest
from scipy.stats import ttest_1samp

from rb_core.audits.training_choices import (
    Contrast,
    find_contrasts,
    paired_differences,
    training_choices_report,
)
from rb_core.leaderboard.model_registry import read_registry
from tests.paths import BUNDLED


def key(
    base: str = "sft", rate: float | None = 3e-6, epochs: int | None = 1, data: str = "default", flipped: float = 0.0
) -> tuple[str, float | None, int | None, str, float]:
    return base, rate, epochs, data, flipped


def test_a_pair_differs_in_one_choice_only() -> None:
    cells = {key(): 0.5, key(epochs=2): 0.4, key(data="b"): 0.6, key(data="b", epochs=2): 0.55, key(base="x"): 0.9}
    assert paired_differences(cells, 2, 1, 2) == pytest.approx((-0.1, -0.05))
    assert paired_differences(cells, 3, "default", "b") == pytest.approx((0.1, 0.15))
    assert paired_differences(cells, 0, "sft", "x") == pytest.approx((0.4,))


def test_contrasts_need_three_pairs_and_names_are_compared_with_the_reference() -> None:
    bases = ("sft", "dpo", "rl")
    cells = {key(base=base, data=data): 0.5 for base in bases for data in ("default", "b")}
    names = {(c.choice, c.first, c.second) for c in find_contrasts(cells)}
    assert names == {("data", "default", "b")}


def test_the_interval_and_p_are_those_of_the_t_test() -> None:
    differences = (0.05, 0.02, 0.04, -0.01)
    contrast = Contrast("epochs", 1, 2, differences)
    expected = ttest_1samp(differences, 0.0)
    interval = expected.confidence_interval()
    assert contrast.p == pytest.approx(expected.pvalue)
    assert contrast.mean - contrast.half_width == pytest.approx(interval.low)
    assert contrast.mean + contrast.half_width == pytest.approx(interval.high)


def test_the_bundled_report_has_the_published_figures() -> None:
    """Flipped labels, seeds and second epochs as they follow from the published scores."""
    report = training_choices_report(BUNDLED)
    effects, flipped, seeds = report.tables
    row = next(row for row in flipped.rows if row[0] == "3e-06, 1")
    shares = dict(zip(flipped.columns[1:], row[1:], strict=True))
    values = [shares[f"{share}% flipped"] for share in (0, 5, 10, 20, 30)]
    assert values == pytest.approx([0.606, 0.609, 0.609, 0.583, 0.527], abs=0.0006)
    spreads = {str(row[0]): row[4] for row in seeds.rows}
    assert spreads["llama, 3e-06, 1, default, 0%"] == pytest.approx(0.018, abs=0.0006)
    assert spreads["sft, 3e-06, 1, skyworkstulufull, 0%"] == pytest.approx(0.010, abs=0.0006)
    epochs = next(row for row in effects.rows if row[0] == "Epochs at learning rate 2e-05")
    assert -0.10 < float(epochs[4] or math.nan) < -0.05
    assert sum(model.recipe is not None for model in read_registry(BUNDLED).models) == 106
