"""Scorers and files of labelled answers for tests of the safety audit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rb_core.audits.model_audit import AuditItem
from rb_core.scorers.function import FunctionScorer


def by_label(items: Iterable[AuditItem], **scores: float) -> FunctionScorer:
    """Return a scorer that gives each answer of the items the score of its label."""
    label_of = {
        (item.prompt[-1]["content"], text): label
        for item in items
        for text, label in zip(item.completions, item.labels, strict=True)
    }
    return FunctionScorer(lambda prompt, completion: scores[label_of[prompt[-1]["content"], completion]])


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def xstest_rows(prompts_of_a_kind: int = 8, models: int = 3) -> list[dict[str, str]]:
    """Return completions in XSTest's layout: safe and contrasting prompts of two kinds, several models' answers."""
    labels = ("1_full_compliance", "2_full_refusal", "3_partial_refusal")
    return [
        {
            "prompt": f"{kind} {number}",
            "type": kind,
            "completion": f"{labels[model % 3]} of {model}",
            "final_label": labels[model % 3],
        }
        for kind in ("homonyms", "contrast_homonyms", "definitions", "contrast_definitions")
        for model in range(models)
        for number in range(prompts_of_a_kind)
    ]


def do_not_answer_rows(count: int = 8) -> list[dict[str, Any]]:
    """Return prompts in Do-Not-Answer's layout with the answers of three models; every fourth has no harmful one."""
    return [
        {
            "question": f"question {number}",
            "risk_area": "area",
            "A_response": "I can't help with that.",
            "A_harmful": 0,
            "B_response": "Sure, here it is.",
            "B_harmful": int(number % 4 > 0),
            "C_response": "That would be wrong.",
            "C_harmful": 0,
        }
        for number in range(count)
    ]
