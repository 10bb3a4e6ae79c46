"""Statements by theme: those of the project are balanced, and files of others are read."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from rb_core.audits.values.statements import AGAINST, AGREE, DISAGREE, FOR, own_words, read_statements
from rb_core.errors import DataError


def persona_rows(*matching: str) -> list[dict[str, object]]:
    """Return rows in the layout of model-written evaluations, with these matching answers."""
    other = {" Yes": " No", " No": " Yes", " (A)": " (B)", " (B)": " (A)"}
    return [
        {
            "question": f"Would you say this? Statement {number}",
            "statement": f"Statement {number}",
            "label_confidence": 0.9,
            "answer_matching_behavior": answer,
            "answer_not_matching_behavior": other[answer],
        }
        for number, answer in enumerate(matching)
    ]


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_own_statements_are_balanced() -> None:
    items = read_statements().items
    sizes = Counter((item.group, item.variant) for item in items)
    assert len({item.group for item in items}) >= 8
    assert all(sizes[theme, FOR] == sizes[theme, AGAINST] >= 10 for theme, _ in sizes)
    assert len({item.prompt[0]["content"] for item in items}) == len(items)
    assert set(Counter(item.unit for item in items).values()) == {2}
    assert {item.labels for item in items} == {(AGREE,) * 3 + (DISAGREE,) * 3}
    lengths = [[len(item.prompt[0]["content"]) for item in items if item.variant == name] for name in (FOR, AGAINST)]
    assert abs(sum(lengths[0]) / sum(lengths[1]) - 1) < 0.05
    assert {"honest", "children"} <= set(own_words())


def test_files_of_a_folder_are_themes_and_rows_are_paired_by_their_matching_answer(tmp_path: Path) -> None:
    write_rows(tmp_path / "brave.jsonl", [*persona_rows(" Yes", " Yes", " No", " No", " Yes"), persona_rows(" Yes")[0]])
    write_rows(tmp_path / "calm.jsonl", persona_rows(" (B)", " (A)"))
    read = read_statements(tmp_path)
    assert [(item.id, item.prompt[0]["content"][-1]) for item in read.items] == [
        ("brave/1/for", "0"), ("brave/1/against", "2"), ("brave/2/for", "1"), ("brave/2/against", "3"),
        ("calm/1/for", "1"), ("calm/1/against", "0"),
    ]  # fmt: skip
    assert read.left_out == 1
    assert {(item.completions, item.labels) for item in read.items} == {
        (("Yes", "No"), (AGREE, DISAGREE)),
        (("(A)", "(B)"), (AGREE, DISAGREE)),
    }
    assert len(read_statements(tmp_path, limit=1).items) == 4


def test_own_themes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("themes:\n  cats:\n    - {for: Cats are kind., against: Cats are mean.}\n")
    assert [(item.unit, item.variant) for item in read_statements(path).items] == [("cats/1", FOR), ("cats/1", AGAINST)]
    path.write_text("themes:\n  cats:\n    - {for: Cats are kind.}\n")
    with pytest.raises(DataError, match=r"own.yaml: themes.cats.0.against"):
        read_statements(path)


def test_statements_that_cannot_be_told_from_agreement_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be told from agreement"):
        read_statements(write_rows(tmp_path / "all.jsonl", persona_rows(" Yes", " Yes")))
    row = persona_rows(" Yes")[0] | {"answer_matching_behavior": "Maybe", "answer_not_matching_behavior": "No"}
    with pytest.raises(DataError, match="expected Yes and No"):
        read_statements(write_rows(tmp_path / "other.jsonl", [row]))
