"""Scores and labels are joined, and nothing is dropped without being counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rb_core.errors import DataError
from rb_core.evaluation.human_labels import (
    DEFAULT_COLUMNS,
    ColumnNames,
    LabelledItems,
    label_disagreements,
    read_labelled_items,
)
from tests.paths import ROOT

Rows = list[dict[str, Any]]
PAIRS = [
    {"id": f"q{i}", "completion": text, "completion_index": index, "score": score, "prompt": f"p{i // 2}"}
    for i in range(4)
    for index, (text, score) in enumerate((("long", i + 0.5), ("short", 2.0)))
]
SINGLES = [{"id": i, "score": float(i)} for i in range(6)]


def joined(folder: Path, scores: Rows, labels: Rows, columns: ColumnNames = DEFAULT_COLUMNS) -> LabelledItems:
    for name, rows in (("scores", scores), ("labels", labels)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return read_labelled_items(folder / "scores.jsonl", folder / "labels.jsonl", columns)


def values(items: LabelledItems) -> list[float]:
    return [each.value for each in items.labelled]


@pytest.mark.parametrize(
    ("labels", "positions"),
    [
        (["A", "B", "b", "[[A]]"], [0, 1, 1, 0]),
        ([0, 1, 1, 0], [0, 1, 1, 0]),
        ([1, 2, 2.0, "1"], [0, 1, 1, 0]),
        (["response_1", "Response 2", "model_2", "answer 1"], [0, 1, 1, 0]),
    ],
)
def test_choices_are_letters_or_numbers_from_0_or_1(tmp_path: Path, labels: list[Any], positions: list[int]) -> None:
    items = joined(tmp_path, PAIRS, [{"id": f"q{i}", "label": label} for i, label in enumerate(labels)])
    assert (items.kind, values(items)) == ("choice", positions)
    assert len({each.item.group for each in items.labelled}) == 2
    assert items.compare().predictions.tolist() == ["B", "B", "A", "A"]


@pytest.mark.parametrize(
    ("labels", "kind", "expected"),
    [
        (["good", "bad", "Good"], "good or bad", [1, 0, 1]),
        ([True, False, True], "good or bad", [1, 0, 1]),
        ([1, 0, "1"], "good or bad", [1, 0, 1]),
        ([1, -1, 1], "good or bad", [1, 0, 1]),
        ([1, 5, 3], "rating", [1, 5, 3]),
        ([-1, 0, 1], "rating", [-1, 0, 1]),
        (["0.5", "2.5", "1"], "rating", [0.5, 2.5, 1]),
    ],
)
def test_grades_are_good_or_bad_or_ratings(tmp_path: Path, labels: list[Any], kind: str, expected: list[float]) -> None:
    items = joined(tmp_path, SINGLES, [{"id": str(i), "rating": label} for i, label in enumerate(labels)])
    assert (items.kind, values(items)) == (kind, expected)


def test_a_label_of_one_completion_is_joined_with_its_score(tmp_path: Path) -> None:
    labels = [{"id": "q0", "completion_index": 1, "label": "good"}, {"id": "q0", "completion_index": 0, "label": "bad"}]
    items = joined(tmp_path, PAIRS, labels)
    assert [next(iter(each.item.completions.values())).score for each in items.labelled] == [2.0, 0.5]
    assert (items.without_label, items.without_score) == (6, 0)


def test_completions_in_rows_of_their_own_are_joined_by_the_column_that_both_files_have(tmp_path: Path) -> None:
    scores = [{"id": "q", "row": row, "completion_index": 0, "score": float(row)} for row in (2, 1, 3)]
    choice = joined(tmp_path, scores, [{"id": "q", "label": "C"}])
    assert (choice.kind, choice.compare().predictions.tolist()) == ("choice", ["C"])
    graded = joined(tmp_path, scores, [{"id": "q", "row": 2, "completion_index": 0, "label": "good"}])
    assert [each.score for each in graded.labelled[0].item.completions.values()] == [2.0]
    with pytest.raises(DataError, match="item 'q' has several completions 0: add the column row"):
        joined(tmp_path, scores, [{"id": "q", "completion_index": 0, "label": "good"}])


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    labels = [{"id": f"q{i}", "label": label} for i, label in ((0, "A"), (1, "tie"), (2, None), (9, "B"), (0, "B"))]
    items = joined(tmp_path, PAIRS, labels)
    assert (len(items.labelled), items.ties, items.empty, items.without_score) == (2, 1, 1, 1)
    assert items.without_label == 2


@pytest.mark.parametrize("missing", [None, "", "NaN"])
def test_a_missing_score_stays_an_item(tmp_path: Path, missing: str | None) -> None:
    scores = [dict(row) for row in PAIRS]
    scores[0]["score"] = missing
    items = joined(tmp_path, scores, [{"id": f"q{i}", "label": "A"} for i in range(4)])
    accuracy = items.compare().accuracy
    assert accuracy is not None
    assert (accuracy.scored, accuracy.unscored) == (3, 1)


def test_columns_can_be_named(tmp_path: Path) -> None:
    scores = [{"key": "x", "reward": 1.0}, {"key": "y", "reward": 2.0}]
    labels = [{"key": "x", "mine": 1}, {"key": "y", "mine": 3}]
    assert values(joined(tmp_path, scores, labels, ColumnNames("key", "mine", "reward"))) == [1, 3]


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (SINGLES, [{"x": 1, "label": 1}], r"labels.jsonl:1: has no column with the id: pass --id COLUMN; it has x"),
        (SINGLES, [{"id": 1, "x": 1}], r"labels.jsonl:1: has no column with the label: pass --label COLUMN"),
        ([{"id": 1, "x": 1}], [{"id": 1, "label": 1}], r"scores.jsonl:1: has no column 'score': pass --score COLUMN"),
        (SINGLES, [{"id": 77, "label": 1}], r"labels.jsonl: scores.jsonl has a score for none of its 1 labels"),
        (SINGLES, [{"id": 1, "label": "meh"}], r"labels.jsonl:1: the label 'meh' is not understood; expected good and"),
        (PAIRS, [{"id": "q1", "label": "C"}], r"labels.jsonl:1: the label 'C' names none of the 2 completions of item"),
        (PAIRS, [{"id": "q1", "label": "tie"}], r"labels.jsonl: every label is a tie"),
        (PAIRS, [{"id": "q1", "label": 1}], r"labels.jsonl: the labels 1 may count completions from 0 or from 1"),
        (
            [*PAIRS, {"id": "z", "score": 1.0}],
            [{"id": "q1", "label": "A"}, {"id": "z", "label": "A"}],
            r"labels.jsonl:2: item 'z' has one completion: there is nothing to prefer",
        ),
        (PAIRS, [{"id": "q1", "label": None}], r"labels.jsonl: has no labels"),
        ([*PAIRS, PAIRS[0]], [{"id": "q0", "label": "A"}], r"scores.jsonl:9: completion 0 of item 'q0' has two scores"),
        ([{"id": 1, "score": "high"}], [{"id": 1, "label": 1}], r"scores.jsonl:1: field 'score': is text"),
    ],
)  # fmt: skip
def test_problems_are_named_with_their_place(tmp_path: Path, scores: Rows, labels: Rows, message: str) -> None:
    with pytest.raises(DataError, match=message):
        joined(tmp_path, scores, labels)


def test_options_that_do_not_apply_are_refused(tmp_path: Path) -> None:
    choices = joined(tmp_path, PAIRS, [{"id": "q0", "label": "A"}])
    with pytest.raises(DataError, match="--threshold applies to labels good and bad"):
        choices.compare(threshold=1.0)
    ratings = joined(tmp_path, SINGLES, [{"id": 1, "label": 4}])
    with pytest.raises(DataError, match="--precision applies to labels good and bad, and to choices"):
        ratings.compare(precision=0.9)


def test_disagreements_hold_the_texts_to_read(tmp_path: Path) -> None:
    items = joined(tmp_path, PAIRS, [{"id": f"q{i}", "label": "A", "note": f"n{i}"} for i in range(4)])
    rows = label_disagreements(items, items.compare())
    assert [row["item"] for row in rows] == ["q0", "q1"]
    assert rows[0]["distance"] == pytest.approx(1.5)
    assert rows[0] == {
        "id": "q0", "prompt": "p0", "note": "n0", "item": "q0", "label": "A", "prediction": "B", "distance": 1.5,
        "scores": [0.5, 2.0], "completions": ["long", "short"],
    }  # fmt: skip


def test_a_score_file_of_evaluate_is_joined_by_example(tmp_path: Path) -> None:
    """A person who always prefers the first chosen completion of each pair agrees as often as the model is right."""
    scores = ROOT / "leaderboard_data/scores/starter/builtin/tiny-rm.parquet"
    frame = pd.read_parquet(scores)
    examples = frame.groupby("example_id", sort=False)
    is_pair = (examples.size() == 2) & (examples["is_chosen"].sum() == 1)
    ids = is_pair.index[is_pair]
    path = tmp_path / "labels.csv"
    pd.DataFrame({"example_id": ids, "winner": "A"}).to_csv(path, index=False)
    items = read_labelled_items(scores, path)
    assert items.without_label == len(is_pair) - len(ids)
    chosen, rejected = (
        frame[frame["is_chosen"] == is_chosen].set_index("example_id")["score"][lambda each: each.index.isin(ids)]
        for is_chosen in (True, False)
    )
    accuracy = items.compare().accuracy
    assert accuracy is not None
    assert accuracy.value == pytest.approx(((chosen > rejected) + 0.5 * (chosen == rejected)).mean())
