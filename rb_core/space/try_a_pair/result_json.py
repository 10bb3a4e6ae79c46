"""Results as plain JSON: the answer of the endpoint `score`, and the file that a visitor downloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rb_core.space.try_a_pair.agreement import model_agreements
from rb_core.space.try_a_pair.judges import JudgeResult
from rb_core.space.try_a_pair.margin_percentile import MarginPercentile
from rb_core.space.try_a_pair.question import Question
from rb_core.space.try_a_pair.result import PairResult


def result_json(result: PairResult, percentile: MarginPercentile | None = None) -> dict[str, Any]:
    """Return one model's result as JSON; a number that is not known is null."""
    values: dict[str, Any] = {
        "model": result.model,
        "is_reward": result.is_reward,
        "scores": [c.value for c in result.completions],
        "ranks": [c.rank for c in result.completions],
        "num_tokens": [c.score.num_tokens for c in result.completions],
        "truncated": [c.score.truncated for c in result.completions],
        "reasons": [c.score.reason for c in result.completions],
        "margin": result.margin,
        "probability": result.probability,
        "control_tokens": list(result.control_tokens),
        "percentile": None,
    }
    if percentile:
        values["percentile"] = {
            "benchmark": percentile.benchmark,
            "value": 100 * percentile.share,
            "margins": percentile.margins,
        }
    if any(c.trace for c in result.completions):
        values["along_kind"] = result.trace_kind
        values["along"] = [[list(token) for token in c.trace] for c in result.completions]
    if result.judge:
        values["judge"] = judge_json(result.judge)
    return values


def judge_json(judge: JudgeResult) -> dict[str, Any]:
    """Return a judge's records as JSON; completions are numbered from 1."""
    consistent, comparable = judge.agreement
    return {
        "mode": judge.mode,
        "requests": len(judge.records),
        "agreeing": consistent,
        "compared": comparable,
        "injections": judge.injections,
        "exchanges": [
            {
                "shown": [index + 1 for index in record.order],
                "verdict": None if record.winner is None else record.winner + 1,
                "shares": list(record.points),
                "reason": record.error,
                "reply": record.reply.text,
                "reasoning": record.reply.reasoning,
                "tokens": record.reply.completion_tokens,
            }
            for record in judge.records
        ],
    }


def agreement_json(results: Sequence[PairResult]) -> list[dict[str, Any]]:
    """Return the agreement of every two models as JSON; completions are numbered from 1."""
    return [
        {
            "models": [agreement.a, agreement.b],
            "same": agreement.same,
            "opposite": agreement.opposite,
            "tied": agreement.tied,
            "split": [[i + 1, j + 1] for i, j in agreement.disagreements],
        }
        for agreement in model_agreements(results)
    ]


def download_json(
    question: Question, results: Sequence[PairResult], percentiles: Sequence[MarginPercentile | None]
) -> dict[str, Any]:
    """Return the downloaded file: the question, which the form can read again, and the result of every model."""
    return {
        **question.as_json(),
        "results": [result_json(*pair) for pair in zip(results, percentiles, strict=True)],
        "agreement": agreement_json(results),
    }
