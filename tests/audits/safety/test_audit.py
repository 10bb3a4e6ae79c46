"""The audit of safety: its prompts, its two errors, and its self-test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rb_core.audits.result import AuditResult
from rb_core.audits.run import aggregate_audit, audit_scorer, run_audit
from rb_core.audits.safety.audit import ALL, LABELS, LEAN, OVER, UNDER, SafetyAudit
from rb_core.errors import DataError
from rb_core.scorers.function import FunctionScorer

ITEMS = SafetyAudit().items()
LABEL_OF = {
    (item.prompt[0]["content"], text): label
    for item in ITEMS
    for text, label in zip(item.completions, item.labels, strict=True)
}


def by_label(**scores: float) -> FunctionScorer:
    return FunctionScorer(lambda prompt, completion: scores[LABEL_OF[prompt[0]["content"], completion]])


def totals(result: AuditResult) -> dict[str, float | None]:
    return {effect.measure: effect.value for effect in result.effects if effect.group == ALL}


def test_prompts_come_in_pairs_with_four_answers_each() -> None:
    assert len(ITEMS) >= 120
    assert all(item.labels == LABELS for item in ITEMS)
    for unit in {item.unit for item in ITEMS}:
        assert sorted(item.variant for item in ITEMS if item.unit == unit) == ["safe", "unsafe"]
    assert len({text for item in ITEMS for text in item.completions}) == 4 * len(ITEMS)


@pytest.mark.parametrize("baseline", ["longest", "shortest", "prompt-overlap"])
def test_a_rule_without_a_model_has_no_lean(tmp_path: Path, baseline: str) -> None:
    result = run_audit(f"baseline/{baseline}", SafetyAudit(), out=tmp_path).result
    assert all(0.3 <= (totals(result)[measure] or 0) <= 0.7 for measure in (OVER, UNDER))
    lean = next(effect for effect in result.effects if effect.key == (LEAN, ALL))
    assert lean.adjusted_p is not None
    assert lean.adjusted_p > 0.05
    assert result.self_test.passed


@pytest.mark.parametrize(
    ("scores", "over", "under"),
    [
        ({"refusal": 2.0, "helpful": 1.0, "partial": 0.0, "unsafe": 0.0}, 1.0, 0.0),
        ({"refusal": 0.0, "helpful": 1.0, "partial": 1.0, "unsafe": 2.0}, 0.0, 1.0),
        ({"refusal": 1.0, "helpful": 2.0, "partial": 1.0, "unsafe": 0.0}, 0.0, 0.0),
        ({"refusal": 1.0, "helpful": 1.0, "partial": 1.0, "unsafe": 1.0}, 0.5, 0.5),
    ],
)
def test_the_two_errors_are_two_numbers(tmp_path: Path, scores: dict[str, float], over: float, under: float) -> None:
    result = audit_scorer(by_label(**scores), "me/rule", SafetyAudit(), out=tmp_path).result
    assert totals(result) == {OVER: over, UNDER: under, LEAN: over - under}
    assert aggregate_audit(tmp_path / result.scores.path) == result


def test_an_unscored_answer_is_no_preference(tmp_path: Path) -> None:
    scorer = by_label(refusal=1.0, helpful=np.nan, partial=1.0, unsafe=0.0)
    result = audit_scorer(scorer, "me/silent", SafetyAudit(), out=tmp_path).result
    (over,) = (effect for effect in result.effects if effect.key == (OVER, ALL))
    assert (over.value, over.units, over.unscored) == (None, 0, len(ITEMS) // 2)


def test_a_file_of_the_same_layout_is_read(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n}", "safe": n % 2 == 0, "kind": "own", "pair": n // 2} for n in range(12)]
    answers = {"helpful": "yes", "refusal": "no", "unsafe": "sure"}
    (tmp_path / "own.jsonl").write_text("\n".join(json.dumps(row | answers) for row in rows))
    audit = SafetyAudit(tmp_path / "own.jsonl")
    assert (audit.name, len(audit.items())) == ("safety-own", 12)
    (tmp_path / "bad.jsonl").write_text(json.dumps({"prompt": "p", "safe": True, "kind": "own", "unsafe": "x"}))
    with pytest.raises(DataError, match=r"bad.jsonl:1: needs the answers refusal and helpful"):
        SafetyAudit(tmp_path / "bad.jsonl").items()


def test_the_view_is_a_map_with_two_rules_without_a_model(tmp_path: Path) -> None:
    results = [run_audit(name, SafetyAudit(), out=tmp_path).result for name in ("baseline/longest", "baseline/random")]
    report = SafetyAudit.view(results)
    assert [point.label for point in report.figure.points] == ["baseline/longest", "baseline/random"]  # type: ignore[union-attr]
    assert report.tables[-1].rows[0] == ("always prefers the refusal", 1.0, 0.0)
