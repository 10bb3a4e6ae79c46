"""Result files: the schema as published, what is refused, and the bundled results."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.errors import ResultError
from rb_core.evaluation import aggregate, evaluate, provenance
from rb_core.importers.published_tables import REF_FREE
from rb_core.results import schema, storage
from rb_core.results.estimate import Estimate
from rb_core.results.schema import BenchmarkRef, ModelRef, Published, Result
from rb_core.results.storage import read_result, read_results
from rb_core.scorers.baseline import BaselineScorer
from tests.paths import BUNDLED


def published(name: str = "org/model", **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "status": "published",
        "benchmark": BenchmarkRef(id="starter", title="Starter", source="somewhere"),
        "model": ModelRef(name=name, kind="classifier"),
        "headline": Estimate(value=0.5),
        "published": Published(source="a paper"),
    }
    return Result(**fields | changes)


@pytest.fixture(scope="module")
def bundled() -> list[Result]:
    found, refused = read_results(BUNDLED)
    assert refused == []
    return found


# ---- the schema


def test_the_published_schema_is_the_models_own() -> None:
    """leaderboard_data holds the JSON Schema that the code produces."""
    assert (BUNDLED / schema.SCHEMA_FILE).read_bytes() == schema.json_schema()


def test_every_bundled_file_validates_against_the_published_schema(bundled: list[Result]) -> None:
    """A reader with nothing but the JSON Schema accepts every bundled result, and refuses a broken one."""
    validator = jsonschema.Draft202012Validator(json.loads((BUNDLED / schema.SCHEMA_FILE).read_text(encoding="utf-8")))
    for result in bundled:
        validator.validate(json.loads((BUNDLED / result.path()).read_text(encoding="utf-8")))
    assert not validator.is_valid({"schema_version": 1})


def test_writing_and_reading_is_lossless(tmp_path: Path) -> None:
    """A result read back equals the one written, and is written in the same bytes."""
    result = evaluate.evaluate_scorer(
        BaselineScorer("random"), "baseline/random", load_benchmark("starter"), out=tmp_path
    ).result
    path = tmp_path / result.path()
    assert read_result(path) == result
    assert schema.to_json(result) == path.read_bytes()


def test_a_part_of_which_nothing_was_scored_is_read_back() -> None:
    """Its value is not in the file, and None when the file is read; what bounds it stays."""
    nothing = Estimate(value=None, scored=0, unscored=3, floor=0.0, ceiling=1.0)
    result = published(subsets={"one": nothing}, headline=Estimate(value=0.5))
    assert schema.parse_result(schema.to_json(result), "it") == result


def test_writing_asks_before_it_replaces(tmp_path: Path) -> None:
    """A second write needs overwrite; no temporary file is left."""
    storage.write_result(tmp_path, published())
    with pytest.raises(ResultError, match="--overwrite"):
        storage.write_result(tmp_path, published())
    path = storage.write_result(tmp_path, published(headline=Estimate(value=0.6)), overwrite=True)
    assert [p.name for p in path.parent.iterdir()] == ["model.json"]


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
def test_a_broken_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    """Whatever is not a result of this schema is one clear error with the file's name."""
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ResultError, match=message) as error:
        read_result(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("headline", "value"), float("nan"), "headline.value"),
        (("headline", "value"), "0.5", "headline.value"),
        (("model", "name"), "../../etc/passwd", "model.name"),
        (("model", "name"), "/abs/path", "model.name"),
        (("model", "name"), "a/b/c", "model.name"),
        (("benchmark", "id"), "..", "benchmark.id"),
        (("model", "kind"), "magic", "model.kind"),
        (("status",), "run", "needs 'run'"),
        (("published",), None, "needs 'published'"),
        (("surprise",), 1, "surprise"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, where: tuple[str, ...], value: object, message: str) -> None:
    """A field that is wrong, unsafe as a path, or unknown is named in the error."""
    content = json.loads(schema.to_json(published()))
    place = content
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ResultError, match=message):
        read_result(path)


def test_reading_a_folder_keeps_the_good_and_names_the_bad(tmp_path: Path) -> None:
    """One bad file does not take the others with it; one in the wrong place is bad."""
    good = storage.write_result(tmp_path, published("org/good"))
    (good.parent / "bad.json").write_text("{", encoding="utf-8")
    (good.parent / "moved.json").write_bytes(good.read_bytes())
    found, refused = read_results(tmp_path)
    assert [r.model.name for r in found] == ["org/good"]
    assert len(refused) == 2
    assert "its content belongs at results/starter/org/good.json" in "".join(refused)


@pytest.mark.parametrize("name", ["", "a/b/c", "a b", "../x", "/x", "x/", "a" * 201, "ä/b", ".hidden", "-flag"])
def test_unsafe_model_names_are_refused(name: str) -> None:
    """A name that makes no safe path is refused with what to do."""
    with pytest.raises(ResultError, match="--name"):
        storage.check_model_name(name)


# ---- the bundled results


def of(bundled: list[Result], benchmark: str) -> list[Result]:
    return [r for r in bundled if r.benchmark.id == benchmark and r.status == "published"]


def test_every_published_model_is_there(bundled: list[Result]) -> None:
    """178 models of the RewardBench leaderboard, 34 more with published item outcomes, 197 of RewardBench 2."""
    v1 = of(bundled, "rewardbench")
    outcomes_only = [r for r in v1 if r.published and "not on the leaderboard" in (r.published.note or "")]
    assert (len(v1), len(outcomes_only)) == (178 + 34, 34)
    assert len(of(bundled, "rewardbench-2")) == 197
    assert all(r.published and r.published.source for r in v1)


def test_every_complete_v1_headline_follows_from_its_sections(bundled: list[Result]) -> None:
    """(Chat + Chat Hard + Safety + Reasoning + 0.5 Prior) / 4.5, or the mean of four, to the published digits."""
    complete = [r for r in of(bundled, "rewardbench") if r.headline is not None]
    assert len(complete) == 172 + 34
    for result in complete:
        values = {name: e.value for name, e in result.sections.items()}
        four = sum(values[name] for name in ("Chat", "Chat Hard", "Safety", "Reasoning"))
        prior = values.get("Prior Sets")
        expected = four / 4 if prior is None else (four + 0.5 * prior) / 4.5
        assert result.headline is not None
        assert result.headline.value == pytest.approx(expected, abs=1.1e-4), result.model.name


def test_incomplete_v1_models_have_no_headline(bundled: list[Result]) -> None:
    """Where Reasoning was never published there is no headline, and the source's own number is only noted."""
    incomplete = [r for r in of(bundled, "rewardbench") if r.headline is None]
    assert len(incomplete) == 6
    for result in incomplete:
        assert result.absent["Reasoning"] == "not published"
        assert result.published is not None
        assert "the source gives" in (result.published.note or "")


def test_every_v2_headline_is_the_mean_of_its_domains(bundled: list[Result]) -> None:
    """All 197 RewardBench 2 headlines follow from their six domains."""
    for result in of(bundled, "rewardbench-2"):
        assert len(result.sections) == 6
        assert result.headline is not None
        mean = sum(e.value or 0 for e in result.sections.values()) / 6
        assert result.headline.value == pytest.approx(mean, abs=1.1e-4), result.model.name


def test_sections_of_133_models_follow_from_their_subsets(bundled: list[Result]) -> None:
    """The section scores of the 133 public models with subset scores follow from them by the record's weights."""
    from rb_core.benchmarks.registry import BENCHMARKS

    spec = BENCHMARKS["rewardbench"]
    checked = 0
    for result in of(bundled, "rewardbench"):
        core = [s for s in spec.sections if s.required]
        if not all(name in result.subsets for s in core for name in s.weights):
            continue
        checked += 1
        for section in core:
            weights = section.weights
            value = sum(w * (result.subsets[n].value or 0) for n, w in weights.items()) / sum(weights.values())
            assert result.sections[section.name].value == pytest.approx(value, abs=7e-4), result.model.name
    assert checked == 133


def test_prior_sets_that_were_never_evaluated_are_absent(bundled: list[Result]) -> None:
    """The seven RM-RB2 rows that give 0.0 have no Prior Sets; no model has a zero there."""
    v1 = {r.model.name: r for r in of(bundled, "rewardbench")}
    seven = [r for name, r in v1.items() if name.endswith("-RM-RB2")]
    assert len(seven) == 7
    assert all(r.absent.get("Prior Sets") == "not published" for r in seven)
    assert all(r.sections["Prior Sets"].value for r in v1.values() if "Prior Sets" in r.sections)


def test_prior_sections_follow_from_their_sets(bundled: list[Result]) -> None:
    """Where the four averaged prior sets are known, their mean is the published section."""
    checked = 0
    for result in of(bundled, "rewardbench"):
        names = ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")
        if "Prior Sets" in result.sections and all(name in result.subsets for name in names):
            checked += 1
            mean = sum(result.subsets[name].value or 0 for name in names) / 4
            assert result.sections["Prior Sets"].value == pytest.approx(mean, abs=6e-4)
    assert checked == 38


def test_kinds_are_known(bundled: list[Result]) -> None:
    """Every published model has a kind; reference-free variants are implicit."""
    assert all(r.model.kind != "unknown" for r in bundled)
    free = [r for r in bundled if r.model.name.endswith(REF_FREE)]
    assert len(free) == 33
    assert {r.model.kind for r in free} == {"implicit"}


def test_bundled_runs_derive_from_nothing_private(bundled: list[Result]) -> None:
    """Bundled runs were made from a clean checkout by a command anyone can run, and carry their score file's hash."""
    runs = [r for r in bundled if r.status == "run"]
    assert {"builtin/tiny-rm", "baseline/longest", "baseline/random"} <= {r.model.name for r in runs}
    for result in runs:
        assert result.run is not None
        assert result.run.git_dirty is False
        assert result.run.command.startswith("python -m rb_core evaluate --model ")
        assert aggregate.aggregate_scores(BUNDLED / (result.scores.path if result.scores else "")) == result


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("https://me:secret@host.example/v1?key=secret#secret", "https://host.example/v1"),
        ("a@http://me:secret@h:1/v1,b@https://h/v1?k=secret,c", "a@http://h:1/v1,b@https://h/v1,c"),
        ("https://secret@h", "https://h"),
        ("ORG/NAME@main", "ORG/NAME@main"),
    ],
)
def test_a_recorded_command_keeps_no_secret_of_an_address(
    typed: str, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """User, password and query of an address are left out, everything else stays as it was typed."""
    monkeypatch.setattr(sys, "argv", ["rb", "evaluate", "--base-url", typed])
    assert provenance.command_line() == f"rb evaluate --base-url {kept}"
