"""The bundled results are complete, and every number follows from the others."""

from __future__ import annotations

import json

import jsonschema
import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.evaluation.aggregate import aggregate_scores
from rb_core.importers.published_tables import REF_FREE
from rb_core.results.schema import SCHEMA_FILE, Result
from rb_core.results.storage import read_results
from tests.paths import BUNDLED

PRIOR_AVERAGED = ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")


@pytest.fixture(scope="module")
def bundled() -> list[Result]:
    results, refused = read_results(BUNDLED)
    assert refused == []
    return results


@pytest.fixture(scope="module")
def v1(bundled: list[Result]) -> list[Result]:
    return [r for r in bundled if r.benchmark.id == "rewardbench" and r.status == "published"]


@pytest.fixture(scope="module")
def v2(bundled: list[Result]) -> list[Result]:
    return [r for r in bundled if r.benchmark.id == "rewardbench-2" and r.status == "published"]


def test_every_bundled_file_validates_against_the_published_schema(bundled: list[Result]) -> None:
    """A reader with nothing but the JSON Schema accepts every bundled result, and refuses a broken one."""
    validator = jsonschema.Draft202012Validator(json.loads((BUNDLED / SCHEMA_FILE).read_text(encoding="utf-8")))
    for result in bundled:
        validator.validate(json.loads((BUNDLED / result.path()).read_text(encoding="utf-8")))
    assert not validator.is_valid({"schema_version": 1})


def test_every_published_model_is_there(v1: list[Result], v2: list[Result]) -> None:
    """178 models of the RewardBench leaderboard, 34 more with published item outcomes, 197 of RewardBench 2."""
    outcomes_only = [r for r in v1 if r.published and "not on the leaderboard" in (r.published.note or "")]
    assert (len(v1), len(outcomes_only), len(v2)) == (178 + 34, 34, 197)
    assert all(r.published and r.published.source for r in v1)


def test_every_complete_v1_headline_follows_from_its_sections(v1: list[Result]) -> None:
    """(Chat + Chat Hard + Safety + Reasoning + 0.5 Prior) / 4.5, or the mean of four, to the published digits."""
    complete = [r for r in v1 if r.headline is not None]
    assert len(complete) == 172 + 34
    for result in complete:
        values = {name: e.value for name, e in result.sections.items()}
        four = sum(values[name] for name in ("Chat", "Chat Hard", "Safety", "Reasoning"))
        prior = values.get("Prior Sets")
        expected = four / 4 if prior is None else (four + 0.5 * prior) / 4.5
        assert result.headline is not None
        assert result.headline.value == pytest.approx(expected, abs=1.1e-4), result.model.name


def test_incomplete_v1_models_have_no_headline(v1: list[Result]) -> None:
    """Without a published Reasoning there is no headline, and the source's own number is only noted."""
    incomplete = [r for r in v1 if r.headline is None]
    assert len(incomplete) == 6
    for result in incomplete:
        assert result.absent["Reasoning"] == "not published"
        assert result.published is not None
        assert "the source gives" in (result.published.note or "")


def test_every_v2_headline_is_the_mean_of_its_domains(v2: list[Result]) -> None:
    for result in v2:
        assert len(result.sections) == 6
        assert result.headline is not None
        mean = sum(e.value or 0 for e in result.sections.values()) / 6
        assert result.headline.value == pytest.approx(mean, abs=1.1e-4), result.model.name


def test_sections_of_133_models_follow_from_their_subsets(v1: list[Result]) -> None:
    sections = [s for s in BENCHMARKS["rewardbench"].sections if s.required]
    with_subsets = [r for r in v1 if all(name in r.subsets for s in sections for name in s.weights)]
    assert len(with_subsets) == 133
    for result in with_subsets:
        for section in sections:
            weights = section.weights
            value = sum(w * (result.subsets[n].value or 0) for n, w in weights.items()) / sum(weights.values())
            assert result.sections[section.name].value == pytest.approx(value, abs=7e-4), result.model.name


def test_prior_sets_that_were_never_evaluated_are_absent(v1: list[Result]) -> None:
    """The seven RM-RB2 rows that give 0.0 have no Prior Sets; no model has a zero there."""
    seven = [r for r in v1 if r.model.name.endswith("-RM-RB2")]
    assert len(seven) == 7
    assert all(r.absent.get("Prior Sets") == "not published" for r in seven)
    assert all(r.sections["Prior Sets"].value for r in v1 if "Prior Sets" in r.sections)


def test_prior_sections_follow_from_their_sets(v1: list[Result]) -> None:
    """With scores of the four averaged prior sets, their mean is the published section."""
    with_sets = [r for r in v1 if "Prior Sets" in r.sections and all(name in r.subsets for name in PRIOR_AVERAGED)]
    assert len(with_sets) == 38
    for result in with_sets:
        mean = sum(result.subsets[name].value or 0 for name in PRIOR_AVERAGED) / 4
        assert result.sections["Prior Sets"].value == pytest.approx(mean, abs=6e-4)


def test_every_model_has_a_kind(bundled: list[Result]) -> None:
    """Reference-free variants are implicit."""
    unknown = {r.model.name for r in bundled if r.model.kind == "unknown"}
    assert unknown == {"steerlm-70b", "SteerLM-RM-70B"}  # tables list it without saying which model it is
    reference_free = [r for r in bundled if r.model.name.endswith(REF_FREE)]
    assert len(reference_free) == 33
    assert {r.model.kind for r in reference_free} == {"implicit"}


def test_bundled_runs_can_be_repeated(bundled: list[Result]) -> None:
    """They were made from a clean checkout by a public command, and follow from their score files bit for bit."""
    runs = [r for r in bundled if r.status == "run"]
    assert {"builtin/tiny-rm", "baseline/longest", "baseline/random"} <= {r.model.name for r in runs}
    for result in runs:
        assert result.run is not None
        assert result.run.git_dirty is False
        assert result.run.command.startswith("python -m rb_core evaluate --model ")
        assert aggregate_scores(BUNDLED / (result.scores.path if result.scores else "")) == result
