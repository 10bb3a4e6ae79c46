"""Benchmarks that are a user's own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from rb_core.benchmarks.custom import custom_id, custom_spec, spec_from_json
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.spec import spec_to_json
from rb_core.errors import DataError
from rb_core.results.schema import BenchmarkRef
from tests.benchmarks.preference_files import write_jsonl


def test_id_subset_and_group_are_optional_and_completions_have_three_forms(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    good, bad = ({"role": "assistant", "content": text} for text in "ab")
    rows = [
        {"prompt": "Q", "chosen": "a", "rejected": "b"},
        {"prompt": messages, "chosen": ["a"], "rejected": ["b", "c"], "id": 4, "subset": "tone", "group": "g"},
        {"prompt": messages, "chosen": [*messages, good], "rejected": [bad]},
    ]
    benchmark = load_benchmark(str(write_jsonl(tmp_path / "my set.jsonl", rows)))
    assert benchmark.spec.id.startswith("custom-my-set-")
    plain, full, conversation = benchmark.examples
    assert (plain.id, plain.subset) == ("my set/1", "my set")
    assert (full.id, full.subset, full.group, len(full.completions)) == ("4", "tone", "g", 3)
    assert conversation.completions == ("a", "b")
    assert dict(benchmark.spec.sections[0].weights) == {"my set": 2.0, "tone": 1.0}


def test_a_record_survives_json() -> None:
    spec = custom_spec("custom-x", {"a": 2, "b": 1})
    assert spec_from_json(spec_to_json(spec)) == spec
    with pytest.raises(DataError, match="not the record of a benchmark"):
        spec_from_json({"id": "x"})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mine", "custom-mine"),
        ("my set (2)", "custom-my-set-2"),
        ("café", "custom-cafe"),
        ("偏好", "custom-file"),
        ("..", "custom-file"),
        ("x" * 250, f"custom-{'x' * 60}"),
        ("a\udcff/b\n", "custom-a-b"),
    ],
)
def test_every_file_name_gives_an_id_that_results_accept(name: str, expected: str) -> None:
    sha256 = "0123456789abcdef" * 4
    assert custom_id(name, sha256) == f"{expected}-01234567"
    BenchmarkRef(id=custom_id(name, sha256), title="", source="")


def test_files_of_one_name_and_different_content_have_different_ids(tmp_path: Path) -> None:
    ids = []
    for folder, text in (("one", "a"), ("two", "b"), ("copy", "a")):
        (tmp_path / folder).mkdir()
        path = write_jsonl(tmp_path / folder / "test.jsonl", [{"prompt": "Q", "chosen": text, "rejected": "c"}] * 3)
        ids.append(load_benchmark(str(path)).spec.id)
        assert load_benchmark(str(path), limit=1).spec.id == ids[-1]  # that of the whole file
    assert ids[0] == ids[2] != ids[1]
