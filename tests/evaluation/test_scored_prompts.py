"""A file of scores is read back, with the completions of each row together."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from rb_core.errors import DataError
from rb_core.evaluation.scored_prompts import read_scored_prompts
from rb_core.results.score_table import Score


def scored_row(row: int, prompt: str, completion: str, score: float | None, **more: Any) -> dict[str, Any]:
    reason = None if score is not None else "too long"
    return {
        "prompt": prompt, "row": row, "completion": completion, "completion_index": ord(completion) - ord("a"),
        "score": score,
        "percentile": None, "num_tokens": 9, "truncated": False, "reason": reason, **more,
    }  # fmt: skip


def test_the_completions_of_one_row_are_read_back_together(tmp_path: Path) -> None:
    path = tmp_path / "scored.jsonl"
    rows = [scored_row(1, "p", "a", 1.5, k="v"), scored_row(1, "p", "b", None, k="v"), scored_row(2, "p", "c", 0.0)]
    path.write_text("\n".join(map(json.dumps, rows)))
    first, second = read_scored_prompts(path)
    assert (first.completions, first.row, first.row_number) == (("a", "b"), {"prompt": "p", "k": "v"}, 1)
    assert first.scores[0] == Score(1.5, 9)
    assert math.isnan(first.scores[1].value)
    assert first.scores[1].reason == "too long"
    assert (second.completions, second.row_number) == (("c",), 2)


def test_completions_that_were_sorted_or_left_out_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "sorted.jsonl"
    rows = [scored_row(1, "p", "d", 3.0, ok=[0, 0, 1, 1]), scored_row(1, "p", "b", 1.0, ok=[0, 0, 1, 1])]
    path.write_text("\n".join(map(json.dumps, rows)))
    (read,) = read_scored_prompts(path)
    assert (read.completions, read.indices, read.scores[0].value) == (("b", "d"), (1, 3), 1.0)


def test_a_completion_with_two_scores_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "two_models.jsonl"
    path.write_text("\n".join(json.dumps(scored_row(4, "p", "b", score)) for score in (1.0, 2.0)))
    with pytest.raises(DataError, match="row 4: completion 1 is there twice"):
        list(read_scored_prompts(path))


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.jsonl"
    path.write_text('{"prompt": "p", "completion": "a", "score": 1}')
    with pytest.raises(DataError, match=r"plain.jsonl:1: was not written by `score`: it lacks row, "):
        list(read_scored_prompts(path))


def test_completions_of_a_row_that_are_apart_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sorted_by_score.jsonl"
    rows = [scored_row(1, "p", "a", 3.0), scored_row(2, "q", "b", 2.0), scored_row(1, "p", "c", 1.0)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"the completions of row 1 are apart; sort the file by row"):
        list(read_scored_prompts(path))
