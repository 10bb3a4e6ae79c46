"""Benchmarks: the records, the rows of every layout, and bad rows of every kind."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import Benchmark
from rb_core.errors import DataError

PAIR = {"id": "1", "subset": "alpacaeval-easy", "prompt": "Q", "chosen": "good", "rejected": "bad"}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# ---- records


def test_v1_has_its_23_subsets_and_2985_pairs() -> None:
    """RewardBench: 23 subsets in four sections with 2,985 pairs, and math-prm weighs 984."""
    spec = BENCHMARKS["rewardbench"]
    required = [s for s in spec.sections if s.required]
    names = [name for section in required for name in section.weights]
    counts = {s.name: s.count for s in spec.subsets}
    assert len(names) == 23
    assert sum(counts[name] for name in names) == 2985
    for section in required:
        assert section.weights == {n: 984.0 if n == "math-prm" else float(counts[n]) for n in section.weights}


@pytest.mark.parametrize(("benchmark", "total"), [("rewardbench-2", 1865), ("rm-bench", 1327), ("judgebench", 350)])
def test_published_sizes(benchmark: str, total: int) -> None:
    """The records' counts add up to the benchmarks' published sizes."""
    assert sum(s.count or 0 for s in BENCHMARKS[benchmark].subsets) == total


@pytest.mark.parametrize("spec", BENCHMARKS.values(), ids=list(BENCHMARKS))
def test_records_are_consistent(spec: Any) -> None:
    """Every weighted subset exists, no subset is in two sections, and every record says its licence and citation."""
    weighted = Counter(name for section in spec.sections for name in section.weights)
    assert set(weighted) <= spec.subset_names
    assert set(weighted.values()) == {1}
    assert spec.licence
    assert spec.citation


# ---- the starter benchmark


@pytest.fixture(scope="module")
def starter() -> Benchmark:
    return load_benchmark("starter")


def test_starter_is_complete(starter: Benchmark) -> None:
    """At least 120 examples, every subset of the record present, with pairs, best-of-four and Ties among them."""
    assert len(starter.examples) >= 120
    assert {e.subset for e in starter.examples} == starter.spec.subset_names
    shapes = Counter((e.num_chosen, len(e.completions)) for e in starter.examples)
    assert shapes[1, 2] > 50
    assert shapes[1, 4] > 20
    ties = {e.id for e in starter.examples if e.subset == "ties"}
    assert {i.replace("ref:", "tied:") for i in ties} == {i for i in ties if i.startswith("tied:")}


def test_starter_examples_are_sound(starter: Benchmark) -> None:
    """No prompt stands twice, no completion is empty, and none is both chosen and rejected."""
    prompts = Counter(json.dumps(e.prompt) for e in starter.examples)
    assert max(prompts.values()) == 1
    for example in starter.examples:
        assert all(text.strip() for text in example.completions)
        assert len(set(example.completions)) == len(example.completions)
        assert example.prompt[-1]["role"] == "user"


def test_starter_is_not_won_by_length(starter: Benchmark) -> None:
    """The chosen completion is the longest in four to six tenths of the pairs and best-of-four examples."""
    sizes = [[len(text) for text in e.completions] for e in starter.examples if e.subset != "ties"]
    longest = sum(first > max(rest) for first, *rest in sizes)
    assert 0.4 <= longest / len(sizes) <= 0.6


# ---- layouts


def test_v1_rows(tmp_path: Path) -> None:
    """RewardBench's rows: text prompts, whole-number ids."""
    loaded = load_benchmark("rewardbench", data=write(tmp_path / "d.jsonl", [PAIR | {"id": 7, "extra": "ignored"}]))
    (example,) = loaded.examples
    assert (example.id, example.subset, example.num_chosen) == ("7", "alpacaeval-easy", 1)
    assert example.prompt == ({"role": "user", "content": "Q"},)
    assert example.completions == ("good", "bad")


def test_v2_rows(tmp_path: Path) -> None:
    """RewardBench 2's rows: lists of completions; the two versions of a Ties question share a group."""
    rows = [
        {"id": "3", "subset": "Math", "prompt": "Q", "chosen": ["a"], "rejected": ["b", "c", "d"]},
        {"id": "ref:5", "subset": "Ties", "prompt": "Q1", "chosen": ["a"], "rejected": ["b", "c"]},
        {"id": "tied:5", "subset": "Ties", "prompt": "Q2", "chosen": ["a", "b"], "rejected": ["c"]},
    ]
    best, ref, tied = load_benchmark("rewardbench-2", data=write(tmp_path / "d.jsonl", rows)).examples
    assert (best.num_chosen, len(best.completions)) == (1, 4)
    assert ref.group == tied.group == "ties:5"
    assert tied.num_chosen == 2


def test_rm_bench_rows_in_both_layouts(tmp_path: Path) -> None:
    """RM-Bench's rows say their domain, or the file's name says it; ids are told apart by domain."""
    row = {"id": "8", "prompt": "Q", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"], "subset": "whatever"}
    folder = tmp_path / "domains"
    folder.mkdir()
    for name in ("chat_filtered", "safety-refuse_filtered"):
        (folder / f"{name}.json").write_text(json.dumps([row]), encoding="utf-8")
    chat, safety = load_benchmark("rm-bench", data=folder).examples
    assert (chat.id, chat.subset, chat.num_chosen) == ("chat/8", "chat", 3)
    assert (safety.id, safety.subset) == ("safety-refuse/8", "safety-refuse")
    (whole,) = load_benchmark("rm-bench", data=write(tmp_path / "total.jsonl", [row | {"domain": "chat"}])).examples
    assert whole == chat


def test_judgebench_rows(tmp_path: Path) -> None:
    """JudgeBench's label decides which answer is chosen; its source decides the category."""
    row = {"pair_id": "p", "source": "mmlu-pro-law", "question": "Q", "response_A": "a", "response_B": "b"}
    rows = [row | {"label": "B>A"}, row | {"pair_id": "q", "label": "A>B", "source": "livecodebench"}]
    one, two = load_benchmark("judgebench", data=write(tmp_path / "d.jsonl", rows)).examples
    assert (one.completions, one.subset) == (("b", "a"), "knowledge")
    assert (two.completions, two.subset) == (("a", "b"), "coding")


def test_custom_rows(tmp_path: Path) -> None:
    """Any preference file: prompts as text or messages, answers as text, list or conversation, optional fields."""
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    rows = [
        {"prompt": "Q", "chosen": "a", "rejected": "b"},
        {"prompt": messages, "chosen": ["a"], "rejected": ["b", "c"], "id": 4, "subset": "tone", "group": "g"},
        {"prompt": messages, "chosen": [*messages, answer("a")], "rejected": [answer("b")]},
    ]
    loaded = load_benchmark(str(write(tmp_path / "my set.jsonl", rows)))
    assert loaded.spec.id == "custom-my-set"
    plain, full, conversation = loaded.examples
    assert (plain.id, plain.subset) == ("my set/1", "my set")
    assert (full.id, full.subset, full.group, len(full.completions)) == ("4", "tone", "g", 3)
    assert conversation.completions == ("a", "b")
    assert dict(loaded.spec.sections[0].weights) == {"my set": 2.0, "tone": 1.0}


def answer(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_every_file_format_gives_the_same_data(tmp_path: Path, suffix: str) -> None:
    """JSONL, JSON, CSV and parquet of the same rows have the same digest."""
    rows = [PAIR, PAIR | {"id": "2", "rejected": "", "prompt": 'Zwei, "Ünïcode"\nlines'}]
    path = tmp_path / f"d.{suffix}"
    if suffix == "jsonl":
        write(path, rows)
    elif suffix == "json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif suffix == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(PAIR))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pd.DataFrame(rows).to_parquet(path)
    reference = load_benchmark("rewardbench", data=write(tmp_path / "reference.jsonl", rows))
    assert load_benchmark("rewardbench", data=path).sha256 == reference.sha256


# ---- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": None}, "field 'prompt': is missing"),
        ({"prompt": ""}, "field 'prompt': is empty"),
        ({"prompt": 3}, "field 'prompt': is a number; expected text or a non-empty list of messages"),
        ({"prompt": []}, "field 'prompt': is empty"),
        ({"prompt": [{"role": "robot", "content": "x"}]}, "message 0 needs a role, one of system, user, assistant"),
        ({"prompt": [{"role": "user"}]}, "message 0 needs its content as text"),
        ({"chosen": None}, "field 'chosen': is missing; the row has 'id', 'subset'"),
        ({"chosen": 5}, "field 'chosen': is a number; expected text or a non-empty list of texts"),
        ({"rejected": []}, "field 'rejected': is empty"),
        ({"rejected": ["ok", 1]}, "field 'rejected': is a list of 2 of which not all fit"),
        ({"chosen": [{"role": "user", "content": "x"}]}, "does not end with an assistant message"),
        ({"subset": "nope"}, "field 'subset': is 'nope', which rewardbench does not have"),
        ({"subset": None}, "field 'subset': is missing"),
        ({"id": ""}, "field 'id': is empty"),
        ({"id": True}, "field 'id': is true or false"),
    ],
)
def test_a_malformed_row_names_file_line_field_and_expectation(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """The error says where the row stands, which field is wrong, and what was expected."""
    path = write(tmp_path / "bad.jsonl", [PAIR, PAIR | {"id": "2"} | change])
    with pytest.raises(DataError) as error:
        load_benchmark("rewardbench", data=path)
    assert str(error.value).startswith("bad.jsonl:2: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"id": 1', "bad.jsonl:1: not a line of JSON"),
        (b'{"id": "\xff"}', "bad.jsonl:1: not a line of JSON"),
        (b"[1, 2]", "bad.jsonl:1: expected an object"),
        (b"\n\n", "has no examples"),
        (b"null", "bad.jsonl:1: expected an object"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    """What is not JSON, not UTF-8, not an object, or nothing at all, is said with its place."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_benchmark("rewardbench", data=path)


@pytest.mark.parametrize(("name", "content"), [("d.json", b"{"), ("d.json", b"{}"), ("d.parquet", b"PAR1nope")])
def test_a_broken_table_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    """A JSON file that is no list and a parquet file that is none are errors with the file's name."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        load_benchmark("rewardbench", data=tmp_path / name)


def test_a_repeated_id_is_an_error(tmp_path: Path) -> None:
    """Two examples with one id cannot be told apart, and are refused by name."""
    with pytest.raises(DataError, match="the id '1' stands twice"):
        load_benchmark("rewardbench", data=write(tmp_path / "d.jsonl", [PAIR, PAIR]))


@pytest.mark.parametrize("identity", ["5", "ref5", "best:1"])
def test_a_ties_id_says_its_version(tmp_path: Path, identity: str) -> None:
    """A Ties example is called ref:N or tied:N; anything else is an error."""
    row = {"id": identity, "subset": "Ties", "prompt": "Q", "chosen": ["a"], "rejected": ["b"]}
    with pytest.raises(DataError, match="ref:N or tied:N"):
        load_benchmark("rewardbench-2", data=write(tmp_path / "d.jsonl", [row]))


def test_rm_bench_needs_three_and_three(tmp_path: Path) -> None:
    """A row that is not three against three is refused with its line."""
    row = {"id": "1", "domain": "chat", "prompt": "Q", "chosen": ["a"], "rejected": ["b"]}
    with pytest.raises(DataError, match=r"d\.jsonl:1: .*three chosen and three rejected"):
        load_benchmark("rm-bench", data=write(tmp_path / "d.jsonl", [row]))


def test_unknown_names_and_misplaced_options(tmp_path: Path) -> None:
    """An unknown benchmark lists the known ones; options that do not fit say so."""
    with pytest.raises(DataError, match="unknown benchmark 'rewardbnch': choose one of rewardbench"):
        load_benchmark("rewardbnch")
    with pytest.raises(DataError, match="no such file"):
        load_benchmark(str(tmp_path / "missing.jsonl"))
    (tmp_path / "d.txt").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="unknown kind of file"):
        load_benchmark(str(tmp_path / "d.txt"))
    with pytest.raises(DataError, match="no prior sets"):
        load_benchmark("starter", prior=True)
    with pytest.raises(DataError, match="at least 1"):
        load_benchmark("starter", limit=0)


def test_limit_keeps_the_same_examples_in_order() -> None:
    """A limit keeps that many examples, the same ones every time, in the benchmark's order."""
    every = [e.id for e in load_benchmark("starter").examples]
    some = [e.id for e in load_benchmark("starter", limit=40).examples]
    assert len(some) == 40
    assert some == [i for i in every if i in set(some)]
    assert {e.id for e in load_benchmark("starter", limit=20).examples} <= set(some)


def test_without_the_hub_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset that cannot be reached is one clear error that names --data."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="--data PATH"):
        load_benchmark("rewardbench")
