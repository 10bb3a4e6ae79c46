"""The command `agree`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.preference_files import write_jsonl
from tests.cli.command_line import rb


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    rng = np.random.default_rng(0)
    good = rng.integers(0, 2, 200)
    scores = [{"id": i, "score": float(4 * good[i] + rng.normal()), "completion": f"answer {i}"} for i in range(200)]
    labels = [{"id": i, "label": "good" if good[i] else "bad"} for i in range(180)]
    return str(write_jsonl(tmp_path / "scores.jsonl", scores)), str(write_jsonl(tmp_path / "labels.jsonl", labels))


def test_agreement_is_printed_and_disagreements_are_written(
    files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, labels = files
    out = tmp_path / "disagreements.jsonl"
    command = ["agree", scores, "--labels", labels, "--threshold", "1.5", "--precision", "0.8"]
    assert rb([*command, "--disagreements", str(out)], monkeypatch) == 0
    text = capsys.readouterr().out
    for expected in (
        "labels: 180, read as good or bad (",
        "0 labels without a score, 0 rows without a label, 0 ties; 20 completions have a score and no label",
        "prediction: good from a score of 1.5",
        "accuracy: 9",
        "base rate: 5",
        "Cohen's kappa: 0.9",
        "AUC: 0.99",
        "precision 80: score from ",
    ):
        assert expected in text
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert f"{len(rows)} disagreements written to" in text
    assert all((row["prediction"] == "good") == (row["score"] >= 1.5) != (row["label"] == "good") for row in rows)
    assert rb([*command, "--disagreements", str(out)], monkeypatch) == 2
    assert "this file exists already; replace it with --overwrite" in capsys.readouterr().err


def test_no_threshold_is_said(
    files: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, labels = files
    for precision, message in (
        ("0.99", "precision 99: too few labels to show it, even if all were right"),
        ("0.96", "precision 96: no threshold reaches it with 95% confidence; the nearest: score from "),
    ):
        assert rb(["agree", scores, "--labels", labels, "--precision", precision], monkeypatch) == 0
        assert message in capsys.readouterr().out
    assert rb(["agree", scores, "--labels", labels, "--precision", "90"], monkeypatch) == 2
    assert "--precision 90: expected a share above 0 and below 1, such as 0.9" in capsys.readouterr().err
