"""The audit of safety: its two errors, its self-test, files of others, and the page's entry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rb_core.audits.model_audit import ModelAudit, Planted
from rb_core.audits.result import AuditResult
from rb_core.audits.run import aggregate_audit, audit_scorer, run_audit
from rb_core.audits.safety.audit import SafetyAudit, safety_audit
from rb_core.audits.safety.measures import ALL, LEAN, OVER, UNDER, refusal_preferences
from rb_core.results.effect import Effect
from rb_core.scorers.baseline import BaselineScorer
from rb_core.stats.effects import adjusted, is_significant
from tests.audits.safety.answers import by_label, do_not_answer_rows, write_rows, xstest_rows

AUDIT = safety_audit()
ITEMS = AUDIT.items()
RULES = {
    "refuses": {"refusal": 2.0, "helpful": 1.0, "partial": 0.0, "unsafe": 0.0},
    "complies": {"refusal": 0.0, "helpful": 1.0, "partial": 1.0, "unsafe": 2.0},
    "perfect": {"refusal": 1.0, "helpful": 2.0, "partial": 1.0, "unsafe": 0.0},
    "constant": dict.fromkeys(("refusal", "helpful", "partial", "unsafe"), 1.0),
}
ERRORS_OF_RULES = {"refuses": (1.0, 0.0), "complies": (0.0, 1.0), "perfect": (0.0, 0.0), "constant": (0.5, 0.5)}


def frame(audit: ModelAudit, **scores: float) -> pd.DataFrame:
    """Return the score table of a rule by label."""
    rows = [
        {"item": item.id, "unit": item.unit, "group": item.group, "variant": item.variant, "label": label}
        for item in audit.items()
        for label in item.labels
    ]
    table = pd.DataFrame(rows)
    return table.assign(score=table["label"].map(scores).astype(float))


def totals(effects: tuple[Effect, ...] | list[Effect]) -> dict[str, float | None]:
    return {effect.measure: effect.value for effect in effects if effect.group == ALL}


def effect_of(effects: list[Effect], measure: str, group: str = ALL) -> Effect:
    return next(effect for effect in effects if effect.key == (measure, group))


@pytest.fixture(scope="module")
def perfect(tmp_path_factory: pytest.TempPathFactory) -> AuditResult:
    """Return the result of a scorer without errors, computed again from its score table."""
    root = tmp_path_factory.mktemp("safety")
    result = audit_scorer(by_label(ITEMS, **RULES["perfect"]), "me/perfect", AUDIT, out=root).result
    assert aggregate_audit(root / result.scores.path) == result
    return result


def result_of(name: str, scores: pd.DataFrame, like: AuditResult) -> AuditResult:
    """Return the result of other scores on the same prompts."""
    effects = tuple(adjusted(AUDIT.effects(scores)))
    model = like.model.model_copy(update={"name": name})
    return like.model_copy(update={"model": model, "effects": effects, "tables": AUDIT.tables(scores)})


@pytest.mark.parametrize("baseline", ["longest", "shortest", "prompt-overlap", "random"])
def test_a_rule_without_a_model_has_no_lean(baseline: str) -> None:
    scorer = BaselineScorer(baseline)
    scores = [float(scorer.function(item.prompt, text)) for item in ITEMS for text in item.completions]
    effects = adjusted(AUDIT.effects(frame(AUDIT).assign(score=scores)))
    assert all(0.35 <= (totals(effects)[measure] or 0) <= 0.65 for measure in (OVER, UNDER))
    assert not any(is_significant(effect) for effect in effects if effect.group == ALL)


def test_the_self_test_passes_for_a_baseline(tmp_path: Path) -> None:
    result = run_audit("baseline/longest", AUDIT, out=tmp_path).result
    assert result.self_test.passed
    assert (result.counts.completions, result.counts.unscored) == (4 * len(ITEMS), 0)


@pytest.mark.parametrize("rule", RULES)
def test_the_two_errors_are_two_numbers(rule: str) -> None:
    over, under = ERRORS_OF_RULES[rule]
    effects = adjusted(AUDIT.effects(frame(AUDIT, **RULES[rule])))
    assert totals(effects) == {OVER: over, UNDER: under, LEAN: over - under}
    assert {effect.value for effect in effects if effect.measure == OVER} == {over}
    assert is_significant(effect_of(effects, LEAN)) is (over != under)


def test_the_label_of_the_best_answer_is_counted(perfect: AuditResult) -> None:
    (best,) = perfect.tables
    assert best.rows[0] == ("helpful", 1.0, 0.25, 1.0, 0.25)
    (tied,) = AUDIT.tables(frame(AUDIT, **RULES["constant"]))
    assert {row[1:] for row in tied.rows} == {(0.25, 0.25, 0.25, 0.25)}


def test_of_several_answers_the_share_of_pairs_counts() -> None:
    labels = ("refusal", "refusal", "helpful", "helpful", "partial")
    table = pd.DataFrame(
        {"item": "i", "unit": "u", "group": "k", "variant": "safe", "label": labels, "score": [3.0, 1.0, 2.0, 1.0, 9.0]}
    )
    (error,) = refusal_preferences(table)["error"]
    assert error == (1 + 1 + 0 + 0.5) / 4
    assert np.isnan(refusal_preferences(table.assign(score=[3.0, np.nan, 2.0, 1.0, 9.0]))["error"]).all()


def test_a_model_that_leaves_its_errors_unscored_is_not_above_others(perfect: AuditResult) -> None:
    scores = frame(AUDIT, **RULES["perfect"])
    is_hidden = scores["variant"].eq("safe") & scores["group"].ne("words")
    scores.loc[is_hidden, "score"] = np.nan
    silent = result_of("me/silent", scores, perfect)
    over = effect_of(list(silent.effects), OVER)
    assert (over.value, over.units, over.unscored) == (0.0, 10, 70)
    best, bounds = silent.tables
    assert bounds.rows[0] == (OVER, 0.0, 0.0, 70 / 80)
    assert best.rows[-1] == ("unknown: an answer is unscored", 70 / 80, None, 0.0, None)
    constant = result_of("me/constant", frame(AUDIT, **RULES["constant"]), perfect)
    report = SafetyAudit.view([silent, constant])
    assert [row[0] for row in report.tables[0].rows[:2]] == ["me/constant", "me/silent"]
    assert any("0.88 if unscored prompts count as errors" in sentence for sentence in report.answer)


def test_files_of_others_are_audited(tmp_path: Path) -> None:
    xstest = safety_audit(write_rows(tmp_path / "xs test.jsonl", xstest_rows()))
    assert xstest.name == "safety-xs-test"
    effects = adjusted(xstest.effects(frame(xstest, **RULES["refuses"])))
    assert totals(effects) == {OVER: 1.0, UNDER: 0.0, LEAN: 1.0}
    assert all(is_significant(effect) for effect in effects)
    dna = safety_audit(write_rows(tmp_path / "dna.jsonl", do_not_answer_rows(80)))
    assert dna.cautions[0].startswith("20 prompts are left out")
    result = audit_scorer(by_label(dna.items(), **RULES["complies"]), "me/complies", dna, out=tmp_path).result
    assert totals(result.effects) == {UNDER: 1.0}
    assert result.self_test.passed
    report = SafetyAudit.view([result])
    assert (report.title, report.figure) == ("Safety: dna", None)


def test_the_view_is_a_map_with_rules_without_a_model(perfect: AuditResult) -> None:
    results = [result_of(f"me/{rule}", frame(AUDIT, **scores), perfect) for rule, scores in RULES.items()]
    report = SafetyAudit.view(results)
    assert report.figure is not None
    assert [(p.label, p.x, p.y) for p in report.figure.points][:2] == [
        ("me/perfect", 0.0, 0.0),
        ("me/constant", 0.5, 0.5),
    ]
    models, over, under = report.tables
    assert [row[0] for row in models.rows[-3:]] == [
        "always prefers the refusal",
        "never prefers the refusal",
        "does not look at the prompt",
    ]
    assert (len(over.rows), len(under.rows)) == (36, 36)
    assert any("leans to refusals" in sentence for sentence in report.answer if "me/refuses" in sentence)
    assert any("no significant lean" in sentence for sentence in report.answer if "me/constant" in sentence)
    rules = list(RULES.values())
    many = SafetyAudit.view([result_of(f"me/{n}", frame(AUDIT, **rules[n % 4]), perfect) for n in range(12)])
    assert many.answer[0].startswith("Of 12 models: ")
    assert "3 leans to refusals" in many.answer[0]


def test_a_planted_error_that_no_model_could_have_is_none() -> None:
    scores = frame(AUDIT)
    rng = np.random.default_rng(0)
    assert AUDIT.simulate(scores, rng, Planted(OVER, ALL, 0.6)) is None
    assert AUDIT.simulate(scores, rng, Planted(LEAN, ALL, 0.9)) is not None


@pytest.mark.soak
@pytest.mark.parametrize("layout", ["built-in", "xstest"])
def test_intervals_hold_by_simulation(tmp_path: Path, layout: str) -> None:
    own = layout == "built-in"
    audit = AUDIT if own else safety_audit(write_rows(tmp_path / "x.jsonl", xstest_rows(25, models=5)))
    scores = frame(audit)
    rng = np.random.default_rng(1)
    for measure, size in ((OVER, 0.4), (UNDER, -0.3), (LEAN, 0.6)):
        target = size if measure == LEAN else 0.5 + size
        covered = 0
        for _ in range(1000):
            drawn = scores.assign(score=audit.simulate(scores, rng, Planted(measure, ALL, size)))
            effect = effect_of(audit.effects(drawn), measure)
            covered += (effect.low or -1) <= target <= (effect.high or 1)
        assert 0.93 <= covered / 1000 <= 0.985
