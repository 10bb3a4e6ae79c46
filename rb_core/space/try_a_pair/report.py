"""An outcome as plain JSON, and the question as code that asks it again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from typing import Any

from rb_core.space.try_a_pair.agreement import Place, agreements
from rb_core.space.try_a_pair.judge_html import judged_json
from rb_core.space.try_a_pair.question import Question
from rb_core.space.try_a_pair.scoring import Outcome

LOCAL = "http://127.0.0.1:7860"


_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(:\d{1,5})?|https?://\[[0-9A-Fa-f:]{2,39}\](:\d{1,5})?")


def as_json(outcome: Outcome, placed: Place | None = None) -> dict[str, Any]:
    """The outcome of one model as plain JSON. percentile: of its margin among the model's on a benchmark, or null."""
    found: dict[str, Any] = {
        "model": outcome.model,
        "is_reward": outcome.is_reward,
        "scores": [c.value for c in outcome.completions],
        "ranks": [c.rank for c in outcome.completions],
        "num_tokens": [c.score.num_tokens for c in outcome.completions],
        "truncated": [c.score.truncated for c in outcome.completions],
        "reasons": [c.score.reason for c in outcome.completions],
        "margin": outcome.margin,
        "probability": outcome.probability,
        "control_tokens": list(outcome.control_tokens),
        "percentile": {"benchmark": placed.benchmark, "value": 100 * placed.share, "margins": placed.margins}
        if placed
        else None,
    }
    if any(c.along for c in outcome.completions):
        found["along_kind"] = outcome.along_kind
        found["along"] = [[list(token) for token in c.along] for c in outcome.completions]
    if outcome.judged:
        found["judge"] = judged_json(outcome.judged)
    return found


def agreement_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """What every two models agree on; completions are counted from 1."""
    return [
        {
            "models": [each.a, each.b],
            "same": each.same,
            "opposite": each.opposite,
            "tied": each.tied,
            "split": [[i + 1, j + 1] for i, j in each.split],
        }
        for each in agreements(outcomes)
    ]


def report(question: Question, outcomes: Sequence[Outcome], places: Sequence[Place | None]) -> dict[str, Any]:
    """What a visitor takes away: the question, which the form reads again, and what every model says of it."""
    results = [as_json(outcome, placed) for outcome, placed in zip(outcomes, places, strict=True)]
    return {**question.as_json(), "results": results, "agreement": agreement_json(outcomes)}


def arguments(question: Question) -> list[Any]:
    """What the endpoint `score` is called with, in order."""
    empty = any(not text.strip() for text in question.completions)
    first, *others = question.models
    return [first, question.prompt, list(question.completions), question.system, empty, question.turns, others, False]


def address(origin: str | None) -> str:
    """The page's address as the browser says it; what is no address becomes the one of a page at home."""
    return origin if origin and _ORIGIN.fullmatch(origin) else LOCAL


def python_code(question: Question, at: str) -> str:
    """A program that asks the same through gradio's client."""
    names = ("model", "prompt", "completions", "system", "score_empty", "turns", "others", "along")
    given = zip(names, arguments(question), strict=True)
    lines = [f"    {name}={value!r}," for name, value in given if value or name == "prompt"]
    return "\n".join(
        [
            "from gradio_client import Client",
            "",
            f"client = Client({at!r})",
            "found = client.predict(",
            *lines,
            '    api_name="/score",',
            ")",
            'print(found["scores"])',
        ]
    )


def curl_code(question: Question, at: str) -> str:
    """The same in a shell: the question is sent, then its answer read."""
    body = shlex.quote(json.dumps({"data": arguments(question)}))
    call = shlex.quote(f"{at}/gradio_api/call/score")
    return (
        f"EVENT=$(curl -s {call} -H 'Content-Type: application/json' \\\n"
        f"  -d {body} \\\n"
        """  | sed 's/.*"event_id": *"\\([^"]*\\)".*/\\1/')\n"""
        f"curl -sN {call}/$EVENT"
    )
