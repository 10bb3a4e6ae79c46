"""The best completion of each prompt."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rb_core.benchmarks.example import Message
from rb_core.errors import DataError
from rb_core.evaluation.best_completions import BestOfTally, best_rows, curve_rows
from rb_core.evaluation.scored_prompts import ScoredPrompt
from rb_core.results.score_table import Score


def prompt(text: str, number: int, scores: dict[str, float], **row: Any) -> ScoredPrompt:
    values = tuple(Score.unscored("too long") if math.isnan(value) else Score(value, 1) for value in scores.values())
    indices = tuple(range(len(scores)))
    return ScoredPrompt(row, number, (Message(role="user", content=text),), tuple(scores), values, indices)


def test_the_best_completion_has_its_margin_and_names_ties() -> None:
    tally = BestOfTally()
    best, tied, single, nothing = best_rows(
        [
            prompt("p", 1, {"a": 1.0, "b": 3.5, "c": 2.0}, id="x"),
            prompt("q", 2, {"a": 2.0, "b": 2.0, "c": math.nan}),
            prompt("r", 3, {"a": 1.0}),
            prompt("s", 4, {"a": math.nan, "b": math.nan}),
        ],
        tally,
    )
    assert best == {
        "id": "x", "row": 1, "completion": "b", "completion_index": 1, "score": 3.5, "margin": 1.5,
        "num_completions": 3, "num_unscored": 0, "tied": [], "reason": None,
    }  # fmt: skip
    assert (tied["completion"], tied["margin"], tied["tied"]) == ("a", 0.0, ["b"])
    assert (tied["num_unscored"], tied["reason"]) == (1, "too long")
    assert (single["completion"], single["margin"]) == ("a", None)
    assert (nothing["completion"], nothing["score"], nothing["reason"]) == (None, None, "too long")
    assert (tally.prompts, tally.tied, tally.with_unscored, tally.without_score) == (4, 1, 2, 1)


def test_consecutive_rows_of_a_prompt_compete_and_the_best_row_is_kept() -> None:
    rows = [prompt("p", number, {text: float(number % 3)}, id=text) for number, text in enumerate("abc", start=1)]
    (best,) = best_rows(rows, BestOfTally())
    assert (best["id"], best["row"], best["completion"], best["num_completions"]) == ("b", 2, "b", 3)


@pytest.mark.parametrize("labels", [[True, False, True], [1, 0, 1.0], "[1, 0, 1]", ["true", "False", "1"]])
def test_labels_beside_completions_and_one_per_row_give_one_curve(labels: Any) -> None:
    scores = {"a": 1.0, "b": 3.0, "c": 2.0}
    together, apart = BestOfTally("correct"), BestOfTally("correct")
    list(best_rows([prompt("p", 1, scores, correct=labels)], together))
    rows = [prompt("p", 1, {text: score}, correct=text != "b") for text, score in scores.items()]
    list(best_rows(rows, apart))
    assert curve_rows(together.curve()) == curve_rows(apart.curve())
    assert [point["best_of"] for point in curve_rows(together.curve())] == pytest.approx([2 / 3, 1 / 3, 0])
    assert [point["oracle"] for point in curve_rows(together.curve())] == pytest.approx([2 / 3, 1, 1])


def test_prompts_without_labels_are_counted() -> None:
    tally = BestOfTally("ok")
    rows = [prompt("p", 1, {"a": 1.0, "b": 0.0}, ok=[1, None]), prompt("q", 2, {"a": 1.0, "b": 0.0}, ok=[1, 0])]
    list(best_rows(rows, tally))
    assert (tally.unlabelled, [point.prompts for point in tally.curve()]) == (1, [1, 1])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 0, 1], "row 7: --correct ok: 3 labels for 2 completions"),
        ([1, 2], "row 7: --correct ok: 2 is no label; expected true or false, or a number from 0 to 1"),
        (["good", 1], "row 7: --correct ok: 'good' is no label"),
    ],
)
def test_labels_that_are_none_are_named(labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(best_rows([prompt("p", 7, {"a": 1.0, "b": 0.0}, ok=labels)], BestOfTally("ok")))
