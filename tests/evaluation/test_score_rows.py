"""Scoring rows in memory and line by line."""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import Dataset

import rb_core
from rb_core.benchmarks.load import load_benchmark
from rb_core.errors import DataError
from rb_core.evaluation import score_rows
from rb_core.evaluation.score import score_completions
from rb_core.evaluation.score_rows import score, score_lines
from rb_core.evaluation.score_writers import Tally
from rb_core.evaluation.scored_prompts import SCORE_COLUMNS
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.baseline import BaselineScorer
from rb_core.scorers.function import FunctionScorer
from tests.paths import ROOT

ROWS = [{"prompt": "p", "completions": ["a", "bb"], "k": 1}, {"prompt": "q", "completions": ["ccc"], "k": 2}]
LONGEST = BaselineScorer("longest")


def test_every_form_of_data_gives_the_same_table(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    expected = score(LONGEST, ROWS)
    assert list(expected) == ["prompt", "k", *SCORE_COLUMNS]
    assert list(expected["row"]) == [1, 1, 2]
    assert list(expected["completion"]) == ["a", "bb", "ccc"]
    for data in (pd.DataFrame(ROWS), Dataset.from_list(ROWS), iter(ROWS), path, str(path)):
        pd.testing.assert_frame_equal(score(LONGEST, data), expected)
    pairs = score(LONGEST, [("p", ["a", "bb"]), ([{"role": "user", "content": "q"}], "ccc")])
    pd.testing.assert_frame_equal(pairs[[*SCORE_COLUMNS]], expected[[*SCORE_COLUMNS]])
    renamed = score(LONGEST, [{"x": "p", "y": ["a", "bb"]}], columns={"prompt": "x", "completions": "y"})
    assert list(renamed["score"]) == list(expected["score"][:2])


def test_scores_are_those_of_each_prompt_by_itself() -> None:
    model = rb_core.load_model("builtin/tiny-rm")
    examples = load_benchmark("starter").examples[:6]
    table = score(model, [{"prompt": list(e.prompt), "completions": list(e.completions)} for e in examples])
    alone = [value for e in examples for value in score_completions(model, e.prompt, e.completions)]
    assert list(table["score"]) == pytest.approx(alone, abs=1e-5)


def test_a_name_is_loaded_once_and_a_missing_score_is_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load(spec: ModelSpec, seed: int) -> FunctionScorer:
        loaded.append((spec.name, seed))
        return FunctionScorer(lambda prompt, completion: math.nan)

    monkeypatch.setattr(score_rows, "load_scorer", load)
    monkeypatch.setattr(score_rows, "_last_loaded", [])
    tables = [score("baseline/constant", ROWS[:1], seed=seed) for seed in (1, 1, 2)]
    assert loaded == [("baseline/constant", 1), ("baseline/constant", 2)]
    assert tables[0]["score"].isna().all()
    assert set(tables[0]["reason"]) == {"score is not a finite number"}


def test_a_model_in_a_folder_has_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(ROOT / "rb_core/builtin/tiny_rm", folder)
    table = score(str(folder), ROWS)
    assert list(table["score"]) == list(score("builtin/tiny-rm", ROWS)["score"])


@pytest.mark.parametrize("data", [[3], [("p",)], [{"prompt": "p"}], [("p", [])], [{**ROWS[0], "score": 1}]])
def test_rows_that_cannot_be_read_are_named(data: list[Any]) -> None:
    with pytest.raises(DataError, match=r"^data:2: "):
        score(LONGEST, [ROWS[0], *data])


def test_percentiles_are_those_of_the_model(tmp_path: Path) -> None:
    written = rb_core.evaluate_scorer(LONGEST, "baseline/longest", load_benchmark("starter"), out=tmp_path)
    assert written.result.counts is not None
    table = score("baseline/longest", ROWS, results=tmp_path)
    assert list(table["percentile"]) == sorted(table["percentile"])
    assert score("baseline/longest", ROWS, results=tmp_path / "none")["percentile"].isna().all()
    named = score(LONGEST, ROWS, results=tmp_path, name="baseline/longest")
    pd.testing.assert_frame_equal(named, table)


# ---- standard input


class Pipe(io.BytesIO):
    """Lines that may be read only when all scores of the lines before are written."""

    def __init__(self, lines: list[bytes], out: io.BytesIO, counts: list[int]) -> None:
        super().__init__()
        self.lines, self.out, self.counts, self.read_so_far = lines, out, counts, 0

    def readline(self, size: int | None = -1) -> bytes:
        assert self.out.getvalue().count(b"\n") == sum(self.counts[: self.read_so_far])
        self.read_so_far += 1
        return self.lines[self.read_so_far - 1] if self.read_so_far <= len(self.lines) else b""


def test_lines_are_answered_one_by_one_and_errors_are_rows_with_a_reason() -> None:
    lines = [json.dumps(ROWS[0]).encode() + b"\n", b"{\n", b"\n", b"\xff\n", b'{"prompt": "p", "id": 7}\n']
    lines += [b'{"prompt": "p", "completion": "a", "reason": "x"}\n', json.dumps(ROWS[1]).encode()]
    out, tally = io.BytesIO(), Tally()
    pipe = Pipe(lines, out, [2, 1, 0, 1, 1, 1, 1])
    score_lines(LONGEST, pipe, out, columns={}, seed=0, percentiles=None, tally=tally)
    written = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [row["row"] for row in written] == [1, 1, 2, 4, 5, 6, 7]
    assert [row["score"] is None for row in written] == [False, False, True, True, True, True, False]
    reasons = [row["reason"] for row in written]
    assert [bool(reason) for reason in reasons] == [row["score"] is None for row in written]
    assert all(f"standard input:{row['row']}: " in row["reason"] for row in written if row["reason"])
    assert written[4]["id"] == 7
    assert (tally.completions, tally.unscored.total()) == (7, 4)
