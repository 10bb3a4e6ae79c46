"""The HTML of a comparison."""

from __future__ import annotations

import json
from pathlib import Path

from rb_core.leaderboard.comparison import compare_models
from rb_core.space.compare.report import comparison_html, short_names
from rb_core.space.results_source import ResultsFolder
from tests.fakes.unscored_runs import SILENT

TINY, LONGEST = "builtin/tiny-rm", "baseline/longest"


def test_texts_are_escaped(results: ResultsFolder) -> None:
    """Titles, names and notes."""
    evil = "<img src=x onerror=alert(1)>\"'"
    text = json.dumps(compare_models(results, "starter", [TINY, LONGEST]).to_json())
    for name in (TINY, "chat-easy", "Starter"):
        text = text.replace(name, json.dumps(evil)[1:-1])
    compared = json.loads(text)
    compared["notes"].append(evil)
    assert "&lt;img" in comparison_html(compared)
    assert "<img" not in comparison_html(compared)


def test_bounds_and_coverage_stand_where_examples_are_unscored(results: ResultsFolder, silent_root: Path) -> None:
    whole = comparison_html(compare_models(results, "starter", [LONGEST, TINY]).to_json())
    assert "settle" in whole
    assert "bounds" not in whole.lower()
    source = ResultsFolder(silent_root)
    source.boards()
    html = comparison_html(compare_models(source, "starter", [LONGEST, SILENT]).to_json())
    for text in ("87.7% scored", "Bounds: with every unscored example failed", "<small>bounds −"):
        assert text in html


def test_short_names_are_distinct() -> None:
    assert short_names(["a/x", "b/x", "c/y"]) == {"a/x": "a/x", "b/x": "b/x", "c/y": "y"}
