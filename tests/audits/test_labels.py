from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rb_core.audits.corrections import CORRECTIONS_FILE, Correction, corrected, read_corrections
from rb_core.audits.labels import (
    NUM_STRONG,
    LabelAudit,
    audit_labels,
    labels_report,
    outcome_matrix,
    reported_suspects,
    write_suspects,
)
from rb_core.audits.report import AuditReport
from rb_core.errors import DataError, ResultError
from rb_core.stats.item_outcomes import ItemOutcomes
from tests.paths import BUNDLED

MISSED_BY_ALL_OF_THE_BEST = {"1422", "1454", "1457", "1470", "1490", "1548"}


@pytest.fixture(scope="module")
def audit() -> LabelAudit:
    return audit_labels(BUNDLED, "rewardbench")


@pytest.fixture(scope="module")
def report(audit: LabelAudit) -> AuditReport:
    return labels_report(audit, [])


def outcomes_of(model: str, credits_by_item: dict[str, float]) -> ItemOutcomes:
    ids = np.array(list(credits_by_item))
    return ItemOutcomes(model, "b", ids, np.array(["s"] * len(ids)), ids, np.array(list(credits_by_item.values())))


def test_the_six_items_that_all_of_the_best_models_miss_are_listed_first(report: AuditReport) -> None:
    suspects, subsets, board = report.tables
    assert {row[0] for row in suspects.rows[:6]} == MISSED_BY_ALL_OF_THE_BEST
    assert all(row[2] == 1.0 for row in suspects.rows[:6])
    assert "6 are missed by all" in report.answer[0]
    assert suspects.links is not None
    assert suspects.links[0] is not None
    assert suspects.links[0].startswith(
        "https://huggingface.co/datasets/allenai/reward-bench/discussions/new?title=Label"
    )
    assert sum(int(row[1] or 0) for row in subsets.rows) == 2985
    assert [row[1] for row in board.rows[:3]] == [1, 2, 3]
    listed = reported_suspects([report], "rewardbench")
    assert {item for item, suspect in listed.items() if suspect.missed_by_best == 1.0} == MISSED_BY_ALL_OF_THE_BEST
    assert reported_suspects([report], "starter") == {}
    assert all(float(row[4] or 0) > float(row[2] or 0) for row in board.rows)  # suspects count as missed by the best


def test_suspects_are_written_with_their_texts_from_the_data(audit: LabelAudit, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    rows = [
        {"id": item, "subset": "donotanswer", "prompt": f"question {item}", "chosen": "no", "rejected": "yes"}
        for item in (1422, 1548, 1)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert write_suspects(audit, tmp_path / "read.jsonl", data) == 2
    first, second = map(json.loads, (tmp_path / "read.jsonl").read_text(encoding="utf-8").splitlines())
    assert {first["item"], second["item"]} == {"1422", "1548"}
    assert (first["chosen"], first["rejected"]) == (["no"], ["yes"])
    data.write_text(json.dumps(rows[2]) + "\n", encoding="utf-8")
    with pytest.raises(ResultError, match="none of the"):
        write_suspects(audit, tmp_path / "read.jsonl", data)


def test_items_are_matched_by_their_ids_and_what_a_model_lacks_is_unknown() -> None:
    models = [outcomes_of(f"m{i}", {"a": 1.0, "b": 0.0, "c": float(i % 2)}) for i in range(10)]
    models[3] = outcomes_of("m3", {"c": 1.0, "other": 0.0})
    matrix = outcome_matrix(models, "b")
    assert matrix.item_ids == ("a", "b", "c")
    assert np.isnan(matrix.credits[3]).tolist() == [True, True, False]
    assert len(matrix.strong) == min(NUM_STRONG, 5)
    assert matrix.missed[:2].tolist() == [0.0, 1.0]
    with pytest.raises(ResultError, match="at least 10"):
        outcome_matrix(models[:9], "b")


def test_discrimination_is_high_for_an_item_that_follows_ability_and_negative_for_a_reversed_one() -> None:
    items = {str(i): [float(model > i) for model in range(20)] for i in range(20)}
    items["reversed"] = [float(model < 10) for model in range(20)]
    models = [outcomes_of(f"m{k}", {name: row[k] for name, row in items.items()}) for k in range(20)]
    discrimination = dict(zip(items, outcome_matrix(models, "b").discrimination(), strict=True))
    assert discrimination["10"] > 0.8
    assert discrimination["reversed"] < -0.8
    assert np.isnan(discrimination["19"])  # all models miss it


def correction(item: str, verdict: str, benchmark: str = "b") -> dict[str, str]:
    return {"benchmark": benchmark, "item": item, "verdict": verdict, "reason": "read it", "who": "a reader"}


def test_corrections_reverse_wrong_labels_and_leave_out_items_without_an_answer(tmp_path: Path) -> None:
    entries = [
        correction("a", "wrong"),
        correction("b", "no answer"),
        correction("c", "unclear"),
        correction("a", "right", "other"),
    ]
    (tmp_path / CORRECTIONS_FILE).write_text("\n".join(map(json.dumps, entries)) + "\n\n", encoding="utf-8")
    corrections = read_corrections(tmp_path, "b")
    after = corrected(outcomes_of("m", {"a": 0.0, "b": 1.0, "c": 1.0, "d": np.nan}), corrections)
    assert after.example_ids.tolist() == ["a", "c", "d"]
    assert after.credits.tolist()[:2] == [1.0, 1.0]
    assert np.isnan(after.credits[2])
    assert [entry.verdict for entry in read_corrections(tmp_path, "other")] == ["right"]
    assert read_corrections(tmp_path / "nothing", "b") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: "),
        (json.dumps(correction("z", "maybe")), "line 2: verdict"),
        (json.dumps(correction("a", "right")), "line 2: a second verdict on item a"),
        (json.dumps(correction("z", "wrong") | {"colour": "red"}), "line 2: colour"),
    ],
)
def test_a_line_that_is_no_correction_is_named(tmp_path: Path, line: str, message: str) -> None:
    text = json.dumps(correction("a", "wrong")) + "\n" + line
    (tmp_path / CORRECTIONS_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_corrections(tmp_path, "b")


def test_the_bundled_corrections_can_be_read() -> None:
    assert all(isinstance(entry, Correction) for entry in read_corrections(BUNDLED, "rewardbench"))
