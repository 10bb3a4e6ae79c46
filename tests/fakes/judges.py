"""Judges whose verdicts are known in advance, for the scripted server: they read the request and follow a rule."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from rb_core.scorers.judge.parsing import LETTERS
from tests.fakes.judge_server import Fault, Scripted

FENCED = re.compile(
    r"\[begin (?P<label>answer(?: [A-Z])?|(?:system|user|assistant) message) #(?P<mark>[0-9a-f]+)\]\n"
    r"(?P<text>.*?)\n\[end (?P=label) #(?P=mark)\]",
    re.DOTALL,
)


# From the prompt's last turn and a completion to how good that is, from 0 to 1.
Taste = Callable[[str, str], float]


def read(body: Any) -> tuple[str, list[str]]:
    """Return the last turn of the prompt and the completions that a request shows, in their order."""
    fenced = FENCED.findall(body["messages"][-1]["content"])
    turns = [text for label, _, text in fenced if label.endswith("message")]
    return turns[-1], [text for label, _, text in fenced if label.startswith("answer")]


def judge(taste: Taste) -> Callable[[Any], Scripted]:
    """Return a judge that follows a taste in every mode."""

    def answer(body: Any) -> Scripted:
        prompt, answers = read(body)
        worth = [taste(prompt, text) for text in answers]
        if len(answers) == 1 and not body.get("response_format"):
            return rating(worth[0], with_logprobs=bool(body.get("logprobs")))
        if 1 in (body.get("max_tokens"), body.get("max_completion_tokens")):
            share = [w / sum(worth) if sum(worth) else 1 / len(worth) for w in worth]
            top = {LETTERS[i]: math.log(max(p, 1e-9)) for i, p in enumerate(share)}
            best = max(top, key=lambda letter: top[letter])
            return Scripted(best, finish="length", logprobs=[(best, top[best], top)])
        best = LETTERS[max(range(len(worth)), key=lambda i: worth[i])]
        if body.get("response_format"):
            said = {"verdict": best} if len(answers) > 1 else {"rating": 10 if worth[0] >= 0.5 else 1}
            return Scripted(json.dumps({"reasoning": "I compared them."} | said))
        return Scripted(f"I compared them.\n\nVerdict: {best}")

    return answer


def rating(worth: float, *, with_logprobs: bool) -> Scripted:
    """Return a rating: 10 or 1, with log-probabilities for values between."""
    number = "10" if worth >= 0.5 else "1"
    if not with_logprobs:
        return Scripted(f"Rating: {number}")
    top = {"10": math.log(max(worth, 1e-12)), "1": math.log(max(1 - worth, 1e-12))}
    words = [("Rating", -0.01, {}), (":", -0.01, {}), (" ", -0.01, {}), (number, top[number], top)]
    return Scripted(f"Rating: {number}", logprobs=words)


def always_first(body: Any) -> Scripted | Fault:
    """Name the completion that is shown first."""
    _, answers = read(body)
    return Scripted("Rating: 5" if len(answers) == 1 else "Verdict: A")
