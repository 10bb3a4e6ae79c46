"""Preference pairs from scored completions."""

from __future__ import annotations

import math
from typing import Any

from rb_core.benchmarks.example import AssistantTurn, Message
from rb_core.evaluation.preference_pairs import PairSelection, PairTally, pair_rows
from rb_core.evaluation.scored_prompts import ScoredPrompt
from rb_core.results.score_table import Score

PROMPT = (Message(role="user", content="p"),)


def scored(number: int, *completions: tuple[str, float]) -> ScoredPrompt:
    texts, values = zip(*completions, strict=True)
    scores = tuple(Score.unscored("too long") if math.isnan(value) else Score(value, 1) for value in values)
    prompt = (Message(role="user", content=f"prompt {number}"),)
    return ScoredPrompt({}, number, prompt, texts, scores, tuple(range(len(texts))))


def texts(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows]


def test_best_against_worst_and_all_pairs_from_a_margin_on() -> None:
    prompt = scored(1, ("a", 1.0), ("b", 4.0), ("c", math.nan), ("d", 2.0))
    tally = PairTally()
    (row,) = pair_rows([prompt], 3.0, PairSelection.best_worst, tally)
    assert row == {
        "prompt": [{"role": "user", "content": "prompt 1"}],
        "chosen": [{"role": "assistant", "content": "b"}],
        "rejected": [{"role": "assistant", "content": "a"}],
        "chosen_score": 4.0, "rejected_score": 1.0, "margin": 3.0, "row": 1,
    }  # fmt: skip
    assert (tally.pairs, tally.with_unscored) == (1, 1)
    assert texts(list(pair_rows([prompt], 2.0, PairSelection.all, tally))) == [("b", "d"), ("b", "a")]
    assert list(pair_rows([prompt], 3.5, PairSelection.all, tally)) == []


def test_prompts_without_a_pair_are_counted_by_reason() -> None:
    prompts = [
        scored(1, ("a", 1.0)),
        scored(2, ("a", 1.0), ("b", math.nan)),
        scored(3, ("a", 1.0), ("b", 1.5)),
        scored(4, ("a", 1.0), ("b", 1.0)),
        scored(5, ("a", 1.0), ("a", 3.0)),
        scored(6, ("a", 1.0), ("b", 2.0)),
    ]
    tally = PairTally()
    rows = list(pair_rows(prompts, 1.0, PairSelection.best_worst, tally))
    assert [row["row"] for row in rows] == [6]
    assert dict(tally.without_pair) == {
        "one completion": 1,
        "fewer than two scored completions": 1,
        "a margin below 1": 1,
        "equal scores": 1,
        "equal texts": 1,
    }
    assert tally.pairs + tally.without_pair.total() == tally.prompts


def test_equal_scores_are_no_pair_without_a_minimal_margin() -> None:
    assert list(pair_rows([scored(1, ("a", 1.0), ("b", 1.0))], 0.0, PairSelection.all, PairTally())) == []


def test_a_turn_with_tool_calls_is_kept_whole() -> None:
    turn = AssistantTurn(Message(role="assistant", content="", tool_calls=[{"name": "f"}]))
    prompt = ScoredPrompt({}, 3, PROMPT, (turn, "b"), (Score(1.0, 1), Score(0.0, 1)), (0, 1))
    rows = list(pair_rows([prompt], 0.0, PairSelection.all, PairTally()))
    assert rows[0]["chosen"] == list(turn.messages)
