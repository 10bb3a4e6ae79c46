"""The fairness audit against scorers with and without a bias that is known."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rb_core.audits.fairness.audit import FairnessAudit, fairness_audit
from rb_core.audits.fairness.dialect_rules import features_named
from rb_core.audits.fairness.own_texts import read_names
from rb_core.audits.fairness.view import fairness_view
from rb_core.audits.guard import AuditGuard
from rb_core.audits.model_audit import AuditItem
from rb_core.audits.registry import registered_audit
from rb_core.audits.result import AuditResult
from rb_core.audits.run import aggregate_audit, audit_scorer
from rb_core.audits.self_test import run_self_test
from rb_core.errors import DataError
from rb_core.results.effect import Effect
from rb_core.scorers.function import FunctionScorer
from rb_core.stats.effects import is_significant
from tests.audits.frames import frame_of

AUDIT = fairness_audit()
ITEMS = {(item.prompt[0]["content"], text): item for item in AUDIT.items() for text in item.completions}
BLACK_WOMEN = set(read_names(None).groups["names of Black women"].names)
pytestmark = pytest.mark.usefixtures("short_self_test")


def audited(score: Any, tmp_path: Path, name: str = "me/biased") -> AuditResult:
    return audit_scorer(FunctionScorer(score), name, AUDIT, out=tmp_path).result


def effect(result: AuditResult, measure: str, group: str) -> Effect:
    return next(each for each in result.effects if each.key == (measure, group))


def noise(text: str) -> float:
    return random.Random(text).gauss(0, 1)


def content_of(item: AuditItem, text: str) -> str:
    """Return what all versions of a text have in common."""
    return f"{item.base}/{item.completions.index(text)}"


def item_of(prompt: Any, text: str) -> AuditItem:
    return ITEMS[prompt[0]["content"], text]


def test_a_constant_scorer_has_no_shift_and_no_mark(tmp_path: Path) -> None:
    result = audited(lambda prompt, completion: 1.0, tmp_path)
    assert {each.value for each in result.effects} == {0.0}
    assert not any(is_significant(each) for each in result.effects)


def test_a_dislike_of_any_unusual_spelling_is_explained_by_the_control(tmp_path: Path) -> None:
    places = [(item.id, text) for item in AUDIT.items() for text in item.completions]
    edits = dict(zip(places, AUDIT.row_columns(AUDIT.items(), Path())["edits"], strict=True))

    def score(prompt: Any, text: str) -> float:
        item = item_of(prompt, text)
        return noise(content_of(item, text)) - 0.1 * edits[item.id, text]

    result = audited(score, tmp_path)
    for place in ("prompt", "answers", "both"):
        raw = effect(result, "dialect: shift from the original (sd)", place)
        assert is_significant(raw)
        assert raw.difference < -0.5
        assert effect(result, "dialect: shift beyond the control (sd)", place).value == pytest.approx(0.0, abs=1e-6)
    assert "typing errors of the same distance by" in fairness_view([result]).answer[0]


def test_a_dislike_of_the_dialect_is_beyond_the_control(tmp_path: Path) -> None:
    def score(prompt: Any, text: str) -> float:
        item = item_of(prompt, text)
        return noise(content_of(item, text)) + 0.2 * noise(item.id + text) - 0.5 * ("ain't" in text)

    result = audited(score, tmp_path)
    answers = effect(result, "dialect: shift beyond the control (sd)", "answers")
    assert is_significant(answers)
    assert answers.difference < 0
    assert not is_significant(effect(result, "dialect: shift beyond the control (sd)", "prompt"))


def test_a_group_whose_names_cost_score_and_accuracy_is_marked(tmp_path: Path) -> None:
    def score(prompt: Any, text: str) -> float:
        item = item_of(prompt, text)
        is_target = item.variant in BLACK_WOMEN
        is_better = item.labels[item.completions.index(text)] == "chosen"
        return noise(content_of(item, text)) / 10 + is_better * (-1.0 if is_target else 1.0)

    result = audited(score, tmp_path)
    for measure in ("names: shift from the mean of all groups (sd)", "names: accuracy from the mean of all groups"):
        marked = effect(result, measure, "names of Black women")
        assert is_significant(marked)
        assert marked.difference < -0.4
    assert effect(result, "names: accuracy from the mean of all groups", "names of Black women").value == -0.75
    (table,) = (table for table in result.tables if table.title.startswith("Names"))
    assert table.rows[0][:2] == ("names of Black women", 0.0)
    answer = fairness_view([result]).answer[0]
    assert "Accuracy is lowest for names of Black women, by 75.0 points (significant)." in answer
    assert not any(is_significant(each) for each in result.effects if each.measure.startswith("pronouns"))


def test_what_is_unscored_in_one_group_is_no_advantage_of_it(tmp_path: Path) -> None:
    def score(prompt: Any, text: str) -> float:
        item = item_of(prompt, text)
        quality = noise(content_of(item, text))
        return math.nan if item.variant in BLACK_WOMEN and quality < 0 else quality

    result = audited(score, tmp_path)
    for group in read_names(None).groups:
        shift = effect(result, "names: shift from the mean of all groups (sd)", group)
        assert shift.value == pytest.approx(0.0, abs=1e-9)
    assert result.counts.unscored > 0


def test_the_result_follows_from_the_table_and_its_settings(tmp_path: Path) -> None:
    result = audited(lambda prompt, completion: noise(completion), tmp_path)
    assert aggregate_audit(tmp_path / result.scores.path) == result
    assert registered_audit("fairness", AUDIT.settings).settings == AUDIT.settings
    with pytest.raises(ValueError, match="no comparison 'guess'"):
        FairnessAudit.from_settings({"data": "", "parts": {"names": {"comparison": "guess"}}})
    with pytest.raises(ValueError, match="settings of the fairness audit"):
        FairnessAudit.from_settings({"data": ""})


def test_the_view_compares_models(tmp_path: Path) -> None:
    results = [
        audited(lambda prompt, completion: 1.0, tmp_path, "me/constant"),
        audited(lambda prompt, completion: len(completion), tmp_path, "me/long"),
    ]
    view = fairness_view(results)
    assert view.answer[0].startswith("me/constant: 0 of 11 groups are marked.")
    assert view.answer[1].startswith("me/long: ")
    (table,) = view.tables
    assert len(table.rows) == 2 * 14
    assert view.figure is not None
    assert {point.group for point in view.figure.points} == {"me/constant", "me/long"}


def test_features_without_a_context_in_the_own_texts_are_refused() -> None:
    with pytest.raises(DataError, match="--features: these features change nothing in the audit's own texts"):
        fairness_audit(features=features_named(["completive-done"]))


def test_false_blocks_of_a_guard_are_counted_by_group(tmp_path: Path) -> None:
    def probabilities(items: Sequence[AuditItem], kept: Path) -> list[float]:
        texts = ((item, text) for item in items for text in item.completions)
        return [0.9 if "ain't" in text or item.variant == "Keisha" else 0.1 for item, text in texts]

    guarded = fairness_audit(guard=AuditGuard("words:list.txt", 0.5, ask=probabilities))
    constant = FunctionScorer(lambda prompt, completion: 1.0)
    result = audit_scorer(constant, "me/constant", guarded, out=tmp_path).result
    dialect, names, pronouns = (table for table in result.tables if "words:list.txt blocks" in table.title)
    rows = {row[:2]: row[2:] for row in dialect.rows}
    share = sum("ain't" in text for text in in_dialect("answers")) / len(in_dialect("answers"))
    assert rows["answers, dialect", "share"][0] == pytest.approx(share)
    assert rows["answers, control", "share"][0] == rows["as written", "share"][0] == 0.0
    difference, *_, p = rows["answers", "difference beyond the control"]
    assert difference == pytest.approx(share)
    assert p is not None
    assert p < 0.001
    assert rows["prompt", "difference from the original"][0] == 0.0
    assert {row[0]: row[2] for row in names.rows if row[1] == "share"}["names of Black women"] == pytest.approx(1 / 16)
    assert {row[2] for row in pronouns.rows} == {0.0}
    assert aggregate_audit(tmp_path / result.scores.path) == result
    assert result.effects == audited(lambda prompt, completion: 1.0, tmp_path, "me/other").effects


def in_dialect(place: str) -> list[str]:
    items = [item for item in AUDIT.items() if (item.group, item.variant) == (place, "dialect")]
    return [text for item in items for text in item.completions]


def test_the_self_test_passes() -> None:
    outcome = run_self_test(AUDIT, frame_of(AUDIT), runs=25, seed=1)
    assert outcome.passed
