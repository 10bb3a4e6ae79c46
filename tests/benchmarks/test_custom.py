"""Benchmarks that are a user's own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from rb_core.benchmarks.custom import custom_spec, spec_from_json
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.spec import spec_to_json
from rb_core.errors import DataError
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
