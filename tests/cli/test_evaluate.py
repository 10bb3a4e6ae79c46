"""`evaluate` and `aggregate` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rb_core.cli.evaluate import hide_loading_bar
from rb_core.results.storage import read_result
from tests.cli.command_line import rb


def test_evaluate_and_aggregate_print_and_write_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--model", "baseline/longest", "--benchmark", "starter", "--out", str(tmp_path / "a")]
    assert rb(arguments, monkeypatch) == 0
    printed = capsys.readouterr().out
    for word in ("baseline/longest on Starter", "Chat Hard", "Ties", "95% interval", "written to"):
        assert word in printed
    place, scores = "results/starter/baseline/longest.json", "scores/starter/baseline/longest.parquet"
    result = read_result(tmp_path / "a" / place)
    assert result.run is not None
    assert result.run.command == f"rb {' '.join(arguments)}"
    assert rb(["aggregate", str(tmp_path / "a" / scores), "--json"], monkeypatch) == 0
    assert capsys.readouterr().out == (tmp_path / "a" / place).read_text("utf-8")
    assert rb(["aggregate", str(tmp_path / "a" / scores), "--out", str(tmp_path / "b")], monkeypatch) == 0
    for path in (place, scores):
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_the_bar_for_weights_is_hidden_and_that_of_downloads_is_not() -> None:
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    enable_progress_bars()  # another test of this process may have disabled them
    try:
        hide_loading_bar()
        assert not logging.is_progress_bar_enabled()
        assert not are_progress_bars_disabled()
    finally:
        if shown:
            logging.enable_progress_bar()
