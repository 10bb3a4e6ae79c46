"""The result schema: files read back as written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from rb_core.errors import ResultError
from rb_core.results import schema
from rb_core.results.estimate import Estimate
from tests.fakes.results import published
from tests.paths import BUNDLED


def test_the_published_schema_is_the_codes_own() -> None:
    assert (BUNDLED / schema.SCHEMA_FILE).read_bytes() == schema.json_schema()


def test_a_result_of_a_run_reads_back_as_written() -> None:
    content = (BUNDLED / "results" / "starter" / "builtin" / "tiny-rm.json").read_bytes()
    result = schema.parse_result(content, "tiny-rm")
    assert schema.to_json(result) == content
    assert result.path() == Path("results/starter/builtin/tiny-rm.json")
    assert result.scores is not None
    assert result.scores_path() == Path(result.scores.path)


def test_a_subset_without_a_scored_example_reads_back() -> None:
    """A value of None is not in the file; the bounds are."""
    nothing = Estimate(value=None, scored=0, unscored=3, floor=0.0, ceiling=1.0)
    result = published(subsets={"one": nothing})
    assert schema.parse_result(schema.to_json(result), "it") == result


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not readable JSON"),
        (b"{", "not readable JSON"),
        (b"[]", "schema version None"),
        (b'{"schema_version": 2}', "schema version 2; this package reads version 1"),
        (b'{"schema_version": 1}', "Field required"),
        (b"\xff\xfe", "not readable JSON"),
        (b"[" * 100_000, "not readable JSON"),
        (b" " * (schema.MAX_RESULT_BYTES + 1), "a result has at most"),
    ],
)
def test_a_broken_file_is_refused_by_name(content: bytes, message: str) -> None:
    with pytest.raises(ResultError, match=rf"^bad\.json: .*{message}"):
        schema.parse_result(content, "bad.json")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("headline.value", float("nan"), "headline.value"),
        ("headline.value", "0.5", "headline.value"),
        ("model.name", "../../etc/passwd", "model.name"),
        ("model.name", "/abs/path", "model.name"),
        ("model.name", "a/b/c", "model.name"),
        ("benchmark.id", "..", "benchmark.id"),
        ("benchmark.subsets", {"a": 10**400}, "benchmark.subsets.a"),
        ("benchmark.subsets", {"a": -1}, "benchmark.subsets.a"),
        ("model.kind", "magic", "model.kind"),
        ("status", "run", "needs 'run'"),
        ("published", None, "needs 'published'"),
        ("surprise", 1, "surprise"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object, message: str) -> None:
    """A field that is wrong, unsafe as a path, or unknown is named in the error."""
    content = json.loads(schema.to_json(published()))
    *parents, last = field.split(".")
    part = content
    for key in parents:
        part = part[key]
    part[last] = value
    with pytest.raises(ResultError, match=message):
        schema.parse_result(json.dumps(content).encode(), "bad.json")


def test_every_kind_has_a_label() -> None:
    assert set(schema.KIND_LABELS) == set(get_args(schema.ModelKind))


def test_settings_of_a_score_leave_out_what_changes_it_by_rounding_only() -> None:
    def ensemble(probe: float, combine: str = "mean") -> dict[str, Any]:
        model = {"name": "a/b", "kind": "classifier", "probe": probe}
        return {"members": [{"model": model, "mean": 0.0, "sd": 1.0}], "combine": combine}

    def settings(**changes: Any) -> dict[str, Any]:
        fields = {"name": "e/x", "kind": "ensemble", "kind_detail": "x", "ensemble": ensemble(0.1)}
        return schema.from_json(schema.ModelRef, fields | changes).score_settings()

    assert settings() == settings(probe=1.0, kind_detail="y", name="e/y") == settings(ensemble=ensemble(0.2))
    assert settings() != settings(ensemble=ensemble(0.1, "min"))
    assert settings(kind="function") != settings(kind="function", kind_detail="other code")
