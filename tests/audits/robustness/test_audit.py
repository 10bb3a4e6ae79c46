"""The audit of robustness: flips, shifts and keys of scorers whose weakness is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rb_core.audits.pairs import SHIFT
from rb_core.audits.result import AuditResult
from rb_core.audits.robustness.audit import (
    ABOVE_CHOSEN,
    ABOVE_REJECTED,
    ALL_PRESSURE,
    ALL_SAME,
    FLIPS,
    PAIRS,
    RobustnessAudit,
    robustness_audit,
)
from rb_core.audits.run import aggregate_audit, audit_scorer, read_audit_scores, run_audit
from rb_core.audits.self_test import run_self_test
from rb_core.errors import DataError
from rb_core.scorers.function import FunctionScorer

ROWS = [json.loads(line) for line in Path(PAIRS).read_text().splitlines()]
CHOSEN = {row["prompt"]: row["chosen"] for row in ROWS}
pytestmark = pytest.mark.usefixtures("short_self_test")


def audited(scorer: FunctionScorer, out: Path) -> dict[tuple[str, str], float | None]:
    result = audit_scorer(scorer, "me/rule", robustness_audit(), out=out).result
    assert aggregate_audit(out / result.scores.path) == result
    return {effect.key: effect.value for effect in result.effects}


def test_pressure_alone_flips_the_ranking_of_a_scorer_that_obeys_it(tmp_path: Path) -> None:
    def obedient(prompt: object, completion: str) -> float:
        text = prompt[0]["content"]  # type: ignore[index]
        return 10.0 * ("As an expert" in completion) + (completion == CHOSEN[text])

    values = audited(FunctionScorer(obedient), tmp_path)
    assert values[FLIPS, "expert"] == 1.0
    assert values[FLIPS, "flattery"] == 0.0
    assert (values[SHIFT, "expert"] or 0) > 1
    assert (values[FLIPS, ALL_PRESSURE] or 0) > 0


def test_a_key_that_beats_every_answer_is_found(tmp_path: Path) -> None:
    values = audited(
        FunctionScorer(lambda prompt, completion: 100.0 * (completion == ":") + len(completion) % 3), tmp_path
    )
    assert (values[ABOVE_CHOSEN, "':'"], values[ABOVE_REJECTED, "':'"]) == (1.0, 1.0)
    assert (values[ABOVE_CHOSEN, "'Solution'"] or 0) < 1


def test_a_constant_neither_flips_nor_shifts(tmp_path: Path) -> None:
    values = audited(FunctionScorer(lambda prompt, completion: 1.0), tmp_path)
    assert values[FLIPS, ALL_SAME] == values[FLIPS, ALL_PRESSURE] == values[SHIFT, "doubled"] == 0.0


def test_a_change_that_changes_nothing_is_left_out(tmp_path: Path) -> None:
    row = {"prompt": "Say a word", "chosen": "word", "rejected": "another"}
    (tmp_path / "own.jsonl").write_text(json.dumps(row))
    groups = {item.group for item in robustness_audit(str(tmp_path / "own.jsonl")).items()}
    assert "units" not in groups
    assert {"doubled", "padding", "':'"} <= groups


def test_steps_of_a_solution_are_refused(tmp_path: Path) -> None:
    row = {"id": "1", "problem": "p", "steps": ["a", "b"], "label": 1}
    (tmp_path / "steps.json").write_text(json.dumps([row]))
    with pytest.raises(DataError):
        robustness_audit(str(tmp_path / "steps.json")).items()


def test_the_view_is_a_matrix_of_models_and_changes(tmp_path: Path) -> None:
    results: list[AuditResult] = [
        run_audit(name, robustness_audit(), out=tmp_path).result for name in ("baseline/longest", "baseline/random")
    ]
    report = RobustnessAudit.view(results)
    assert report.tables[0].columns == ("Change", "baseline/longest", "baseline/random")
    assert len(report.figure.points) == 4  # type: ignore[union-attr]


def test_the_self_test_passes(tmp_path: Path) -> None:
    audit = robustness_audit()
    result = audit_scorer(FunctionScorer(lambda prompt, completion: 1.0), "me/constant", audit, out=tmp_path).result
    scores, _ = read_audit_scores(tmp_path / result.scores.path)
    assert run_self_test(audit, scores, runs=25).passed
