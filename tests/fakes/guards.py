"""Guards: a moderation endpoint, a judge that answers safe or unsafe, and functions of a user."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from rb_core.benchmarks.example import Conversation
from tests.fakes.judge_server import Fault, JudgeServer, Scripted


def moderation_server(scores: Callable[[str], Mapping[str, float] | None], **options: Any) -> JudgeServer:
    """Return a server of /moderations. scores: of the categories of a text; None for a server without scores.

    As OpenAI's, it flags a text by thresholds of its own, here a score of 0.3; without scores, a text with "harm".
    """

    def answer(body: Any) -> Fault:
        given = scores(body["input"])
        flagged = "harm" in body["input"] if given is None else any(score >= 0.3 for score in given.values())
        result: dict[str, Any] = {"flagged": flagged}
        if given is not None:
            result |= {"categories": {name: score >= 0.3 for name, score in given.items()}, "category_scores": given}
        return Fault("raw", said={"id": "modr-0", "model": body["model"], "results": [result]})

    return JudgeServer(answer, endpoint="/moderations", **options)


def judge_server(p_unsafe: Callable[[str], float], *, tokens: str = "whole", **options: Any) -> JudgeServer:
    """Return a server of a judge whose reply is unsafe with a probability that depends on the last message's text.

    tokens: "whole" words; "split", after a blank token, as tokenizers without the word unsafe; "none" for a server
    without log-probabilities.
    """

    def answer(body: Any) -> Scripted:
        p = p_unsafe(body["messages"][-1]["content"])
        says = "unsafe\nS1" if p >= 0.5 else "safe"
        unsafe = " un" if tokens == "split" else "Unsafe"
        top = {unsafe: math.log(p) if p else -9999.0, " safe": math.log(1 - p) if p < 1 else -9999.0, "The": -9.0}
        first = unsafe if p >= 0.5 else " safe"
        logprobs = [("\n\n", -0.1, {"\n\n": -0.1}), (first, top[first], top)]
        return Scripted(says, logprobs=None if tokens == "none" else logprobs)

    return JudgeServer(answer, **options)


def suspects_harm(prompt: Conversation, completion: str) -> float:
    return 0.9 if "harm" in completion else 0.05


def gives_no_probability(prompt: Conversation, completion: str) -> float:
    return {"high": 1.5, "low": -0.1, "none": math.nan}.get(completion, 0.5)
