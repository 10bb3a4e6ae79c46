"""The audit of values: leans of scorers whose views are known, one-word answers, the self-test and the view."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import AutoTokenizer

from rb_core.audits.result import AuditResult
from rb_core.audits.run import aggregate_audit, audit_scorer, read_audit_scores, run_audit
from rb_core.audits.self_test import run_self_test
from rb_core.audits.values.answers import DISTRIBUTION, EXTREMES, TOKEN, WORD_SCORES
from rb_core.audits.values.audit import VOCABULARY, ValuesAudit, values_audit
from rb_core.audits.values.statements import AGREE, FOR
from rb_core.audits.values.view import AGREEMENT, ALL, LEAN
from rb_core.models.options import ModelOptions
from rb_core.scorers.function import FunctionScorer
from rb_core.stats.effects import is_significant

AUDIT = values_audit("baseline/random")
STATEMENTS = {item.prompt[0]["content"]: item for item in AUDIT.items()}
ROWS = pd.DataFrame(
    [
        {"item": item.id, "unit": item.unit, "group": item.group, "variant": item.variant, "label": label, "text": text}
        for item in AUDIT.items()
        for label, text in zip(item.labels, item.completions, strict=True)
    ]
)


def audited(function: Callable[..., float], out: Path, name: str = "me/rule", prompt: str | None = None) -> AuditResult:
    audit = AUDIT if prompt is None else values_audit("baseline/random", prompt=prompt)
    result = audit_scorer(FunctionScorer(function), name, audit, out=out).result
    assert aggregate_audit(out / result.scores.path) == result
    return result


def significant(result: AuditResult) -> set[tuple[str, str]]:
    return {effect.key for effect in result.effects if is_significant(effect)}


def supports(prompt: object, completion: str) -> tuple[bool, bool, str]:
    """Return whether an answer agrees, whether it is for the theme, and the theme."""
    item = STATEMENTS[prompt[0]["content"]]  # type: ignore[index]
    agrees = item.labels[item.completions.index(completion)] == AGREE
    return agrees, agrees == (item.variant == FOR), item.group


@pytest.mark.usefixtures("short_self_test")
def test_agreement_with_everything_is_no_lean_to_a_theme(tmp_path: Path) -> None:
    result = audited(lambda prompt, text: len(prompt[0]["content"]) + 5.0 * supports(prompt, text)[0], tmp_path)
    assert significant(result) == {(AGREEMENT, ALL)}
    assert all(abs(e.value or 0) < 1e-9 for e in result.effects if e.measure == LEAN)


@pytest.mark.usefixtures("short_self_test")
def test_a_lean_is_found_beside_agreement(tmp_path: Path) -> None:
    def honest(prompt: object, text: str) -> float:
        agrees, is_for, theme = supports(prompt, text)
        return len(text) % 3 + 3.0 * agrees + 2.0 * (is_for and theme == "honesty") - (is_for and theme == "authority")

    result = audited(honest, tmp_path)
    assert significant(result) == {(AGREEMENT, ALL), (LEAN, "honesty"), (LEAN, "authority")}
    values = {effect.group: effect.value or 0 for effect in result.effects if effect.measure == LEAN}
    assert values["honesty"] > 0 > values["authority"]
    assert values["honesty"] == pytest.approx(-2 * values["authority"])


def test_a_pair_with_an_unscored_answer_is_unscored() -> None:
    scores = ROWS.assign(score=np.arange(len(ROWS), dtype=float))
    scores.loc[0, "score"] = np.nan
    effects = AUDIT.effects(scores)
    assert [(e.units, e.unscored) for e in effects] == [(11, 1), *[(12, 0)] * 9, (119, 1)]


def test_extreme_answers_and_unscored_ones_are_shown(tmp_path: Path) -> None:
    rows = ROWS[ROWS["group"].eq(VOCABULARY)].assign(score=lambda table: table["text"].str.len().astype(float))
    rows.loc[rows["text"].eq("grandparents"), "score"] = np.nan
    distribution, extremes, words = AUDIT.tables(rows)
    assert dict(distribution.rows)["unscored"] == 1
    assert extremes.rows[0] == (1, '"inconvenient"', 12.0, '"you"', 3.0)
    assert words.rows[0] == ("inconvenient", 12.0, None)
    assert "grandparents" not in {row[0] for row in words.rows}
    constant = AUDIT.tables(rows.assign(score=1.0))[0]
    assert (dict(constant.rows)["mean"], dict(constant.rows)["skewness"]) == (1.0, None)


@pytest.mark.usefixtures("short_self_test")
def test_every_token_that_is_an_answer_by_itself_is_scored(tmp_path: Path, tiny_model: Callable[[str], Path]) -> None:
    folder, options = tiny_model("llama-lm"), ModelOptions(kind="implicit", reference_free="mean")
    audit = values_audit(str(folder), options, limit=1)
    result = run_audit(str(folder), audit, options=options, out=tmp_path).result
    scores, _ = read_audit_scores(tmp_path / result.scores.path)
    tokens = set(scores.loc[scores["label"].isin((TOKEN, "word of one token")), "text"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    own = [tokenizer.decode([number]) for number in range(len(tokenizer))]
    alone = {
        text for number, text in enumerate(own) if tokenizer.encode(text, add_special_tokens=False) == [number]
    } - set(tokenizer.all_special_tokens)
    assert tokens <= alone
    assert len(tokens) > 0.7 * len(alone)  # the template strips white space
    counts = dict(next(table for table in result.tables if table.title == DISTRIBUTION).rows)
    assert counts["answers"] == len(tokens)
    assert counts["tokens that cannot be an answer by themselves"] == len(tokenizer) - len(tokens)
    assert result.counts.unscored == 0


@pytest.mark.usefixtures("short_self_test")
def test_the_view_compares_models_on_the_same_words(tmp_path: Path) -> None:
    functions: dict[str, Callable[..., float]] = {
        "me/long": lambda prompt, text: float(len(text)),
        "me/longer": lambda prompt, text: 2.0 * len(text),
        "me/short": lambda prompt, text: -float(len(text)),
    }
    results = [audited(function, tmp_path, name) for name, function in functions.items()]
    report = ValuesAudit.view([*results, audited(functions["me/long"], tmp_path, "me/other", "Name a thing.")])
    answers, overlap, leans, _ = report.tables
    assert [row[0] for row in answers.rows] == list(functions)
    assert str(answers.rows[0][1]).startswith('"grandparents", "inconvenient"')
    assert overlap.rows[0][:2] == ("me/long", "me/longer")
    assert [row[3] for row in overlap.rows] == pytest.approx([1.0, -1.0, -1.0])
    assert (overlap.rows[0][6], overlap.rows[1][6]) == (1.0, 0.0)
    assert len(leans.rows) == 3 * 10
    assert report.cautions[-1] == "me/other is left out: audited on other data."
    assert {table.title for table in results[0].tables} == {DISTRIBUTION, EXTREMES, WORD_SCORES}


def test_the_self_test_passes() -> None:
    assert run_self_test(AUDIT, ROWS, runs=50).passed
