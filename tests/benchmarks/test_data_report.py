"""Counts of oddities in preference data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rb_core.benchmarks.data_report import describe_data
from rb_core.benchmarks.load import load_benchmark
from tests.benchmarks.preference_files import write_jsonl


def row(chosen: Any, rejected: Any, prompt: Any = "Q", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


SAME = "cannot be won: a chosen text is also a rejected one"
BLANK = "cannot be won: a chosen and a rejected completion are empty or white space"
EMPTY = "completions are empty or white space"
REPEATED = "completions begin with their prompt, which the model reads before them"
MARKS = "completions have marks of a chat template, to which the model's own are added"
LISTS = "completions are lists written as text, each scored as one completion"
LONG = "What is a prime, then?"
ASSISTANT = [{"role": "assistant", "content": "Sure:"}]


@pytest.mark.parametrize(
    ("rows", "warnings"),
    [
        ([row("a", "b")], []),
        ([row("a", "a")], [f"1 of 1 examples {SAME}"]),
        ([row(["a", "b"], ["c", "b"]), row("a", "b")], [f"1 of 2 examples {SAME}"]),
        ([row("", " \n")], [f"1 of 1 examples {BLANK}", f"2 of 2 {EMPTY}"]),
        ([row("a", "")], [f"1 of 2 {EMPTY}"]),
        ([row("a", "b"), row("a", "b", id="x")], ["1 of 2 examples repeat an earlier example"]),
        ([row("a", "b", "What is the sum?"), row("What is a prime, then? 7", "8", LONG)], [f"1 of 4 {REPEATED}"]),
        ([row("a<|im_end|>", "b<|im_end|>")], [f"2 of 2 {MARKS}"]),
        ([row("['a']", '["b", "c"]')], [f"2 of 2 {LISTS}"]),
        ([row("a", "b", ASSISTANT)], ["1 of 1 examples have a prompt that ends with an assistant's turn"]),
    ],
)
def test_oddities_are_counted(tmp_path: Path, rows: list[dict[str, Any]], warnings: list[str]) -> None:
    benchmark = load_benchmark(str(write_jsonl(tmp_path / "d.jsonl", rows)))
    assert describe_data(benchmark).warnings() == warnings


def test_lengths_groups_and_subsets(tmp_path: Path) -> None:
    rows = [row("aaa", "b", "QQ", subset="x"), row("a", "bbb", "QQ", subset="x"), row("aa", "bb", subset="y")]
    report = describe_data(load_benchmark(str(write_jsonl(tmp_path / "d.jsonl", rows))))
    assert (report.examples, report.completions, report.subsets) == (3, 6, {"x": 2, "y": 1})
    assert sorted(report.groups.values()) == [1, 2]
    assert [report.lengths[name].median for name in ("prompt", "chosen", "rejected")] == [2, 2, 2]
