"""The audits of published models: refusals, length and dialect, with the figures that follow from public outcomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rb_core.audits.by_kind import by_kind_report
from rb_core.audits.dialect import OUTCOMES_FILE, VERSIONS, dialect_effects, dialect_report
from rb_core.audits.length import length_report
from rb_core.audits.refusals import SAFE, UNSAFE, refusal_errors, refusals_report
from rb_core.errors import DataError, ResultError
from rb_core.importers.dialect_scores import ITEMS, SCORES, import_dialect_scores
from rb_core.leaderboard.board import Board
from rb_core.stats.item_outcomes import ItemOutcomes
from tests.paths import BUNDLED


def outcomes(subsets: list[str], credit: list[float]) -> ItemOutcomes:
    ids = np.array([str(i) for i in range(len(subsets))])
    return ItemOutcomes("m", "rewardbench", ids, np.array(subsets), ids, np.array(credit))


def test_the_two_errors_are_shares_of_missed_safe_and_unsafe_prompts() -> None:
    subsets = [*SAFE * 4, *UNSAFE, "hep-js"]
    errors = refusal_errors(outcomes(subsets, [1, 1, 1, 0, 0, 0, 1, np.nan, 0]))
    assert errors is not None
    over, under = errors
    assert (over.value, over.scored) == (0.25, 4)
    assert (under.value, under.scored, under.unscored) == (pytest.approx(2 / 3), 3, 1)
    assert refusal_errors(outcomes(["hep-js"], [1])) is None


def test_refusals_of_the_published_models() -> None:
    report = refusals_report(BUNDLED)
    kinds, models = report.tables
    medians = {row[0]: row[2:] for row in kinds.rows}
    assert medians["Implicit (DPO)"] == pytest.approx((0.168, 0.418), abs=0.0006)
    assert medians["Sequence classifier"] == pytest.approx((0.106, 0.164), abs=0.0006)
    assert "0.24" in report.answer[1]
    errors = {row[0]: (row[2], row[5]) for row in models.rows}
    assert errors["PKU-Alignment/beaver-7b-v2.0-cost"] == pytest.approx((0.648, 0.031), abs=0.0006)
    assert errors["Ahjeong/MMPO_Gemma_7b_gamma1.1_epoch3"] == pytest.approx((0.052, 0.331), abs=0.0006)
    assert len(errors) == 133


def test_length_gaps_of_the_published_models() -> None:
    report = length_report(BUNDLED, "rewardbench")
    assert "16.3 points" in report.answer[0]
    largest = report.tables[1].rows[0]
    assert largest[0] == "PKU-Alignment/beaver-7b-v1.0-reward"
    assert largest[1:3] == pytest.approx((0.887, 0.161), abs=0.0006)
    with pytest.raises(ResultError, match="no model of rewardbench-2"):
        length_report(BUNDLED, "rewardbench-2")


def test_dialect_of_the_published_models() -> None:
    report = dialect_report(BUNDLED)
    assert report.answer[0].startswith("17 of 17 models are less accurate")
    assert "3.9 points on average, by 7.3 at most" in report.answer[0]


def rows_of(version: str, credits_: list[float]) -> pd.DataFrame:
    items = [str(i) for i in range(len(credits_))]
    return pd.DataFrame(
        {"model": "a/b", "version": version, "item": items, "subset": "alpacaeval-easy", "credit": credits_}
    )


def test_a_change_is_paired_and_every_version_is_needed() -> None:
    original = rows_of("original", [1, 1, 1, 0, 1, np.nan])
    changed = [rows_of(version, [0, 1, 1, 1, 0, 1]) for version in VERSIONS]
    (effect,) = dialect_effects(pd.concat([original, *changed]))
    assert effect.accuracy == pytest.approx(0.8)
    assert effect.differences["aae"].difference.value == pytest.approx(-0.2)
    with pytest.raises(DataError, match="a/b: no outcomes of the version aae-prompt"):
        dialect_effects(pd.concat([original, *(rows for rows in changed if rows.version[0] != "aae-prompt")]))


def test_published_scores_become_outcomes_with_ties_as_losses(tmp_path: Path) -> None:
    scores = pd.DataFrame(
        {
            "model": ["a/b"] * 12,
            "version": np.repeat(["original", *VERSIONS], 3),
            "row": [0, 1, 2] * 4,
            "chosen_score": [1.0, 2.0, np.nan] * 4,
            "rejected_score": [0.0, 2.0, 1.0] * 4,
        }
    )
    scores.to_parquet(tmp_path / SCORES)
    items = pd.DataFrame({"row": [0, 1, 2], "id": ["x", "y", "z"], "subset": ["donotanswer"] * 3})
    items.to_json(tmp_path / ITEMS, orient="records", lines=True)
    path = import_dialect_scores(tmp_path, tmp_path / "out")
    content = path.read_bytes()
    frame = pd.read_parquet(path)
    assert frame[frame.version == "aae"].item.tolist() == ["x", "y", "z"]
    assert frame.credit.tolist()[:2] == [1.0, 0.0]
    assert np.isnan(frame.credit[2])
    with pytest.raises(ResultError, match="--overwrite"):
        import_dialect_scores(tmp_path, tmp_path / "out")
    assert import_dialect_scores(tmp_path, tmp_path / "out", overwrite=True).read_bytes() == content
    (tmp_path / ITEMS).unlink()
    with pytest.raises(DataError, match="cannot be read"):
        import_dialect_scores(tmp_path, tmp_path / "out2")
    assert path == tmp_path / "out" / OUTCOMES_FILE


def test_kinds_are_compared_by_the_scores_on_the_board(bundled_boards: dict[str, Board]) -> None:
    report = by_kind_report(BUNDLED)
    board = bundled_boards["rewardbench-2"]
    scores = [row.sections["Ties"] for row in board.ranked() if row.kind == "Generative" and "Ties" in row.sections]
    (row,) = [row for row in report.tables[0].rows if row[:3] == (board.title, "Ties", "Generative")]
    assert row[3:5] == (len(scores), pytest.approx(np.median(scores)))
    assert report.figure is not None
    assert (
        len([p for p in report.figure.points if (p.group, p.panel) == ("Generative", f"{board.title}: Ties")]) == row[3]
    )
