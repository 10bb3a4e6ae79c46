from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client

from rb_core.space.results_source import ResultsFolder
from rb_core.space.try_a_pair.margin_percentile import find_percentile, margin_percentile
from tests.paths import ROOT
from tests.space.try_a_pair.conftest import ANSWERS, PROMPT, TINY, score_text


def test_smaller_margins_count_equal_ones_half_signs_and_missing_ones_not() -> None:
    margins = np.array([-1.0, 2.0, 0.5, -4.0, np.nan])
    assert margin_percentile(margins, 2.0, "Starter") == ("Starter", (2 + 0.5) / 4, 4)
    assert margin_percentile(np.array([np.nan]), 2.0, "Starter") is None


def test_a_margin_is_compared_with_the_models_margins_on_the_starter_benchmark(client: Client, tmp_path: Path) -> None:
    for folder in ("results", "scores"):
        shutil.copytree(ROOT / "leaderboard_data" / folder / "starter", tmp_path / folder / "starter")
    source = ResultsFolder(tmp_path)
    results = [score_text(TINY, PROMPT, ["Yes.", "Yes!"]), score_text(TINY, PROMPT, ANSWERS)]
    small, large = (find_percentile(result, source) for result in sorted(results, key=lambda r: r.margin or 0.0))
    assert small is not None
    assert large is not None
    assert (small.benchmark, small.margins) == ("Starter", 300)
    assert 0 <= small.share < large.share <= 1
    answer = client.predict(TINY, PROMPT, list(ANSWERS), api_name="/score")
    value = pytest.approx(100 * large.share)
    assert answer["percentile"] == {"benchmark": "Starter", "value": value, "margins": 300}
    assert find_percentile(results[1], ResultsFolder(tmp_path / "empty")) is None
