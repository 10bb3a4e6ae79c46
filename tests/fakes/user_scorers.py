"""Scorers as a user could write them, right and broken; tests copy this file or name it with --scorer."""

from __future__ import annotations

import random
from typing import Any

from rb_core.benchmarks.example import CompletionSet, Conversation
from rb_core.results.score_table import Score
from rb_core.scorers.base import Batch, Plan, Scorer, cells_of

calls: list[int] = []
text = "not a scorer"


def brief(prompt: Conversation, completion: str) -> float:
    return -abs(len(completion) - 200)


def counting(prompt: Conversation, completion: str) -> float:
    calls.append(1)
    return len(completion) + len(calls)


def dice(prompt: Conversation, completion: str) -> float:
    return random.random()


def constant(prompt: Conversation, completion: str) -> float:
    return 1.0


def raising(prompt: Conversation, completion: str) -> float:
    raise KeyError("no such key")


def refuses_long(prompt: Conversation, completion: str) -> float:
    if len(completion) > 100:
        raise ValueError("too long")
    return len(completion)


def infinite(prompt: Conversation, completion: str) -> float:
    return float("inf")


def of_one(prompt: Conversation) -> float:
    return 0.0


class Length:
    """A class whose instances are functions."""

    def __init__(self, target: int = 100) -> None:
        self.target = target

    def __call__(self, prompt: Conversation, completion: str) -> float:
        return -abs(len(completion) - self.target)


class Unloadable:
    def __init__(self) -> None:
        raise RuntimeError("no weights")


class Whole(Scorer):
    """All completions in one batch."""

    kind = "function"

    def plan(self, completion_sets: Any) -> Plan:
        texts = tuple(text for each in completion_sets for text in each.completions)
        return Plan((Batch(tuple(cells_of(completion_sets)), texts, 1),), {})

    def score(self, batch: Batch) -> list[Score]:
        return [Score(float(len(text)), 1) for text in batch.inputs]

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind}


class Centred(Whole):
    """Its scores depend on what else is in the batch."""

    def score(self, batch: Batch) -> list[Score]:
        mean = sum(map(len, batch.inputs)) / len(batch.inputs)
        return [Score(len(text) - mean, 1) for text in batch.inputs]


class TooFew(Whole):
    def score(self, batch: Batch) -> list[Score]:
        return super().score(batch)[1:]


class Numbers(Whole):
    def score(self, batch: Batch) -> list[Any]:
        return [1.0 for _ in batch.inputs]


class Crashing(Whole):
    def score(self, batch: Batch) -> list[Score]:
        raise OSError("disk on fire")


class Ending(Whole):
    def stream(self, batches: Any) -> Any:
        return iter(())


class Forgetful(Whole):
    def plan(self, completion_sets: list[CompletionSet]) -> Plan:
        return Plan((), {})


class Chatty(Whole):
    def plan(self, completion_sets: Any) -> Plan:
        return super().plan(completion_sets)._replace(notes={"mood": 1})


class OfAnotherKind(Whole):
    def describe(self) -> dict[str, Any]:
        return {"kind": "oracle"}


class NotFinite(Whole):
    """A number with a reason, and numbers that are not finite without one."""

    def score(self, batch: Batch) -> list[Score]:
        failures = (Score(1.0, 1, reason="odd"), Score(float("nan"), 1), Score(float("inf"), 1))
        return [failures[i % 3] for i in range(len(batch.cells))]


instance = Whole()
