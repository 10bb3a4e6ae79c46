"""The input of `score`: what a survey says of it, and datasets of the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from rb_core.errors import DataError
from rb_core.evaluation import score_rows
from rb_core.evaluation.prompt_input import PromptInput, Survey, open_input
from tests.cli.command_line import rb
from tests.fakes.hub_server import hub, use_hub

ROWS = [{"prompt": f"q{i}", "completions": ["a" * i, "b"], "id": i} for i in range(20)]


def survey_of(path: Path, rows: list[dict[str, Any]]) -> Survey:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return PromptInput(path).survey()


def test_a_survey_counts_and_identifies(tmp_path: Path) -> None:
    survey = survey_of(tmp_path / "a.jsonl", ROWS)
    assert (survey.rows, survey.completions) == (20, 40)
    assert survey_of(tmp_path / "b.jsonl", ROWS).sha256 == survey.sha256
    for changed in (ROWS[:-1], ROWS[::-1], [*ROWS[:-1], ROWS[-1] | {"id": "x"}]):
        assert survey_of(tmp_path / "b.jsonl", changed).sha256 != survey.sha256


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, 2], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([None, None], pa.null()),
        ([None, "x"], pa.string()),
        ([1, "x"], None),
        ([True, 1], None),
        ([{"a": 1}, {"b": "x"}], pa.struct([("a", pa.int64()), ("b", pa.string())])),
        ([{}, {}], None),
        ([[{}], []], None),
        ([[], ["x"]], pa.list_(pa.string())),
        ([2**70, 1], None),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_column_has_one_type_or_is_json(
    tmp_path: Path, values: list[Any], kind: pa.DataType | None, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rb_core.evaluation.prompt_input._SURVEYED_ROWS", 4096 if at_once else 1)
    rows = [{"prompt": "p", "completion": "c", "value": value} for value in values]
    assert survey_of(tmp_path / "a.jsonl", rows).columns["value"] == kind


def test_a_dataset_of_the_hub_is_streamed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    (data / "data").mkdir(parents=True)
    for split in ("train", "test"):
        pd.DataFrame(ROWS if split == "test" else ROWS[:3]).to_parquet(data / f"data/{split}-00000-of-00001.parquet")
    out, folder = tmp_path / "out.csv", tmp_path / "out.csv.unfinished"
    command = ["score", "hf://org/answers", "--split", "test", "--model", "baseline/longest", "--out", str(out)]
    with hub({"datasets/org/answers": data}) as url:
        use_hub(url, tmp_path / "cache", monkeypatch)
        with pytest.raises(DataError, match="several splits"):
            open_input("hf://org/answers", {}, None, None, folder)
        with pytest.raises(DataError, match="dataset org/answers cannot be loaded from the hub"):
            open_input("hf://org/answers:missing", {}, None, None, folder)
        open_input("hf://org/answers", {}, "test", None, folder)
    assert rb(command, monkeypatch) == 0  # as after a kill, now without the hub
    assert not folder.exists()
    expected = score_rows.score("baseline/longest", ROWS)
    assert list(pd.read_csv(out)["score"]) == list(expected["score"])


def test_options_of_the_hub_are_refused_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--split and --data-revision are for a dataset of the hub"):
        open_input("rows.jsonl", {}, "test", None, tmp_path)
