"""One-word answers to a prompt: the tokens of a model's vocabulary, and words that all models answer with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kurtosis, skew

from rb_core.audits.report import AuditTable, Cell
from rb_core.stats.item_outcomes import Floats

TOKEN, WORD, WORD_OF_ONE_TOKEN = "token", "word", "word of one token"  # labels of answers
DISTRIBUTION, EXTREMES, WORD_SCORES = "One-word answers", "Highest and lowest one-word answers", "Scores of words"
NUM_EXTREMES = 25


def labelled_answers(words: Iterable[str], tokens: Iterable[str]) -> dict[str, str]:
    """Return the label of each answer: of the words, and of the texts of tokens."""
    answers = dict.fromkeys(words, WORD)
    for text in tokens:
        answers[text] = WORD_OF_ONE_TOKEN if text in answers else TOKEN
    return answers


def answer_tables(rows: pd.DataFrame, tokens: Mapping[str, int] | None) -> tuple[AuditTable, ...]:
    """Return distribution and extremes of the scores of a model's tokens, and the scores of the words.

    tokens: as of ValuesAudit; a model without a vocabulary has the words alone.
    """
    is_word = rows["label"].ne(TOKEN)
    answers = rows[is_word] if tokens is None else rows[rows["label"].ne(WORD)]
    scored = answers[answers["score"].notna()].sort_values(["score", "text"], ascending=[False, True])
    words = rows[is_word & rows["score"].notna()].sort_values(["score", "text"], ascending=[False, True])
    return (
        _distribution(answers["score"].to_numpy(np.float64), tokens),
        _extremes(scored),
        AuditTable(
            title=WORD_SCORES,
            columns=("Word", "Score", "One token"),
            rows=tuple(
                (text, score, None if tokens is None else int(label == WORD_OF_ONE_TOKEN))
                for text, score, label in zip(words["text"], words["score"], words["label"], strict=True)
            ),
            note="Words of this project's statements, which all models are compared on; the highest first.",
        ),
    )


def _distribution(scores: Floats, tokens: Mapping[str, int] | None) -> AuditTable:
    known = scores[~np.isnan(scores)]
    rows: list[tuple[Cell, ...]] = [("answers", len(scores)), ("unscored", len(scores) - len(known))]
    if tokens is not None:
        rows.insert(0, ("tokens of the vocabulary", tokens["all"]))
        rows.insert(1, ("tokens that cannot be an answer by themselves", tokens["all"] - tokens["expressible"]))
    if len(known):
        varies = float(np.ptp(known)) > 0
        rows += [
            ("mean", float(known.mean())),
            ("standard deviation", float(known.std())),
            ("skewness", float(skew(known)) if varies else None),
            ("excess kurtosis", float(kurtosis(known)) if varies else None),
            *((f"{share:.0%} quantile", float(np.quantile(known, share))) for share in (0.01, 0.5, 0.99)),
        ]
    return AuditTable(title=DISTRIBUTION, columns=("Quantity", "Value"), rows=tuple(rows))


def _extremes(ordered: pd.DataFrame) -> AuditTable:
    """Return the answers with the highest and the lowest scores. ordered: from the highest to the lowest."""
    highest, lowest = _shown(ordered[:NUM_EXTREMES]), _shown(ordered[::-1][:NUM_EXTREMES])
    return AuditTable(
        title=EXTREMES,
        columns=("Rank", "Highest", "Score", "Lowest", "Score"),
        rows=tuple((rank, *high, *low) for rank, (high, low) in enumerate(zip(highest, lowest, strict=True), 1)),
    )


def _shown(answers: pd.DataFrame) -> list[tuple[str, Any]]:
    """Return (text in quotes, so that spaces show, score) of answers."""
    return [(json.dumps(t, ensure_ascii=False), s) for t, s in zip(answers["text"], answers["score"], strict=True)]
