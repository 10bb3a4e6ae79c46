"""The row format of every benchmark, and malformed rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.errors import DataError
from tests.benchmarks.preference_files import PAIR, write_jsonl


def test_rewardbench_rows_have_text_prompts_and_whole_number_ids(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [PAIR | {"id": 7, "extra": "ignored"}])
    (example,) = load_benchmark("rewardbench", data=path).examples
    assert (example.id, example.subset, example.num_chosen) == ("7", "alpacaeval-easy", 1)
    assert example.prompt == ({"role": "user", "content": "Q"},)
    assert example.completions == ("good", "bad")


def test_the_two_versions_of_a_ties_question_share_a_group(tmp_path: Path) -> None:
    rows = [
        {"id": "3", "subset": "Math", "prompt": "Q", "chosen": ["a"], "rejected": ["b", "c", "d"]},
        {"id": "ref:5", "subset": "Ties", "prompt": "Q1", "chosen": ["a"], "rejected": ["b", "c"]},
        {"id": "tied:5", "subset": "Ties", "prompt": "Q2", "chosen": ["a", "b"], "rejected": ["c"]},
    ]
    best, ref, tied = load_benchmark("rewardbench-2", data=write_jsonl(tmp_path / "d.jsonl", rows)).examples
    assert (best.num_chosen, len(best.completions)) == (1, 4)
    assert ref.group == tied.group == "ties:5"
    assert tied.num_chosen == 2


@pytest.mark.parametrize("ties_id", ["5", "ref5", "best:1"])
def test_a_ties_id_must_name_its_version(tmp_path: Path, ties_id: str) -> None:
    row = {"id": ties_id, "subset": "Ties", "prompt": "Q", "chosen": ["a"], "rejected": ["b"]}
    with pytest.raises(DataError, match="ref:N or tied:N"):
        load_benchmark("rewardbench-2", data=write_jsonl(tmp_path / "d.jsonl", [row]))


def test_the_domain_of_rm_bench_is_a_field_or_the_beginning_of_the_file_name(tmp_path: Path) -> None:
    """Ids are unique only within a domain."""
    row = {"id": "8", "prompt": "Q", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"], "subset": "whatever"}
    folder = tmp_path / "domains"
    folder.mkdir()
    for name in ("chat_filtered", "safety-refuse_filtered"):
        (folder / f"{name}.json").write_text(json.dumps([row]), encoding="utf-8")
    chat, safety = load_benchmark("rm-bench", data=folder).examples
    assert (chat.id, chat.subset, chat.num_chosen) == ("chat/8", "chat", 3)
    assert (safety.id, safety.subset) == ("safety-refuse/8", "safety-refuse")
    total = write_jsonl(tmp_path / "total.jsonl", [row | {"domain": "chat"}])
    assert load_benchmark("rm-bench", data=total).examples == (chat,)


def test_rm_bench_needs_three_chosen_and_three_rejected(tmp_path: Path) -> None:
    row = {"id": "1", "domain": "chat", "prompt": "Q", "chosen": ["a"], "rejected": ["b"]}
    with pytest.raises(DataError, match=r"d\.jsonl:1: .*three chosen and three rejected"):
        load_benchmark("rm-bench", data=write_jsonl(tmp_path / "d.jsonl", [row]))


def test_the_label_of_judgebench_decides_which_response_is_chosen(tmp_path: Path) -> None:
    row = {"pair_id": "p", "source": "mmlu-pro-law", "question": "Q", "response_A": "a", "response_B": "b"}
    rows = [row | {"label": "B>A"}, row | {"pair_id": "q", "label": "A>B", "source": "livecodebench"}]
    law, code = load_benchmark("judgebench", data=write_jsonl(tmp_path / "d.jsonl", rows)).examples
    assert (law.completions, law.subset) == (("b", "a"), "knowledge")
    assert (code.completions, code.subset) == (("a", "b"), "coding")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": None}, "field 'prompt': is missing"),
        ({"prompt": ""}, "field 'prompt': is empty"),
        ({"prompt": 3}, "field 'prompt': is a number; expected text or a non-empty list of messages"),
        ({"prompt": []}, "field 'prompt': is empty"),
        (
            {"prompt": [{"role": "robot", "content": "x"}]},
            "message 0 has the role 'robot'; expected one of system, user",
        ),
        ({"prompt": [{"role": "user"}]}, "message 0 needs its content as text"),
        ({"chosen": None}, "field 'chosen': is missing; the row has 'id', 'subset'"),
        ({"chosen": 5}, "field 'chosen': is a number; expected text or a non-empty list of texts"),
        ({"rejected": []}, "field 'rejected': is empty"),
        ({"rejected": ["ok", 1]}, "field 'rejected': is a list of 2 with items of a wrong type"),
        ({"chosen": [{"role": "user", "content": "x"}]}, "does not end with an assistant message"),
        (
            {"chosen": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
            "differ from the prompt",
        ),
        ({"chosen_model": ["m", "n"]}, "field 'chosen_model': is a list of 2"),
        ({"subset": "nope"}, "field 'subset': is 'nope'; the subsets of rewardbench are"),
        ({"subset": None}, "field 'subset': is missing"),
        ({"id": ""}, "field 'id': is empty"),
        ({"id": True}, "field 'id': is true or false"),
    ],
)
def test_a_malformed_row_names_file_line_field_and_expectation(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = write_jsonl(tmp_path / "bad.jsonl", [PAIR, PAIR | {"id": "2"} | change])
    with pytest.raises(DataError) as error:
        load_benchmark("rewardbench", data=path)
    assert str(error.value).startswith("bad.jsonl:2: ")
    assert message in str(error.value)
