"""Prompts of one turn and of several, with completions short, long and empty, for tests of every kind of scorer."""

from __future__ import annotations

from collections.abc import Sequence

from rb_core.benchmarks.example import CompletionSet, Conversation, Message, Role
from rb_core.results.score_table import Score


def turn(role: Role, content: str) -> Message:
    return Message(role=role, content=content)


def ask(text: str) -> Conversation:
    return (turn("user", text),)


ASK = ask("What is the capital of France?")


CANDIDATES = (
    CompletionSet(ASK, ("Paris is the capital of France.", "I do not know.", "Lyon", "")),
    CompletionSet(
        (
            turn("user", "Name three rivers in Europe."),
            turn("assistant", "The Rhine, the Danube and the Volga."),
            turn("user", "And one more, please! " * 3),
        ),
        ("The Seine. " * 9, "The Po."),
    ),
    CompletionSet(ask("Hi"), ("Hello, how are you?", "0 1 2 3 4 5 6 7 8 9", "?")),
)


def values(scores: Sequence[Sequence[Score]]) -> list[list[float]]:
    return [[score.value for score in row] for row in scores]
