"""Outcomes example by example: from score tables, and as published without scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import DataError, ScoreTableError
from rb_core.evaluation import evaluate
from rb_core.results.schema import Result
from rb_core.results.score_table import read_scores, write_scores
from rb_core.results.storage import read_results
from rb_core.scorers.baseline import BaselineScorer
from rb_core.stats.composition import section_scores
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.outcome_files import outcomes_of_scores, read_items, write_items
from tests.paths import BUNDLED

ITEMS = BUNDLED / "items" / "rewardbench.parquet"
SCORES = sorted((BUNDLED / "scores" / "starter").rglob("*.parquet"))
V1 = BENCHMARKS["rewardbench"]


@pytest.fixture(scope="module")
def items() -> dict[str, ItemOutcomes]:
    return read_items(ITEMS)


@pytest.fixture(scope="module")
def results() -> dict[tuple[str, str], Result]:
    return {(r.benchmark.id, r.model.name): r for r in read_results(BUNDLED)[0]}


@pytest.mark.parametrize("path", SCORES, ids=lambda path: path.stem)
def test_a_score_table_gives_its_results_sections(path: Path, results: dict[tuple[str, str], Result]) -> None:
    """The outcomes of every bundled run give each section of its result again, the Ties composite included."""
    found = outcomes_of_scores(path)
    result = results["starter", found.model]
    given = section_scores(found, BENCHMARKS["starter"])
    assert given.keys() == result.sections.keys()
    for name, value in given.items():
        assert value == pytest.approx(result.sections[name].value, abs=1e-12)


def test_unscored_examples_and_unknown_lengths(tmp_path: Path) -> None:
    """An unscored completion leaves its example without credit and margin; a table without lengths says nothing of
    them."""
    frame, about = read_scores(SCORES[0])
    frame.loc[0, "score"] = float("nan")
    frame.loc[0, "reason"] = "too long"
    frame["num_tokens"] = 0
    write_scores(tmp_path / "t.parquet", frame, about)
    found = outcomes_of_scores(tmp_path / "t.parquet")
    assert found.margins is not None
    assert np.isnan(found.credits[0])
    assert np.isnan(found.margins[0])
    assert not np.isnan(found.credits[1:]).any()
    assert found.longer is None


def test_a_table_that_lacks_a_completion_is_refused(tmp_path: Path) -> None:
    """A score table whose first example has no rejected completion is no source of outcomes."""
    frame, about = read_scores(SCORES[0])
    keep = ~((frame["example_id"] == frame["example_id"][0]) & ~frame["is_chosen"])
    write_scores(tmp_path / "t.parquet", frame[keep], about)
    with pytest.raises(ScoreTableError, match="has no rejected completion"):
        outcomes_of_scores(tmp_path / "t.parquet")


def test_a_benchmark_of_ones_own_brings_its_record(tmp_path: Path) -> None:
    """The outcomes of a run on a file of somebody's own come from the record in its score table."""
    data = tmp_path / "mine.jsonl"
    data.write_text('{"prompt":"q","chosen":"aa","rejected":"b"}\n{"prompt":"q","chosen":"a","rejected":"bb"}\n')
    done = evaluate.evaluate_scorer(
        BaselineScorer("longest"), "baseline/longest", load_benchmark(str(data)), out=tmp_path
    )
    found = outcomes_of_scores(tmp_path / done.result.scores_path())
    assert found.credits.tolist() == [1.0, 0.0]
    assert len(set(found.groups.tolist())) == 1
    assert found.prompts_known


# ---- as published


def test_bundled_outcomes_give_every_models_published_subsets(
    items: dict[str, ItemOutcomes], results: dict[tuple[str, str], Result]
) -> None:
    """All 133 models are on the board, and every subset's mean is the published accuracy to 5e-4."""
    assert len(items) == 133
    for name, found in items.items():
        stated = results["rewardbench", name].subsets
        subsets = sorted(set(found.subsets.tolist()))
        assert len(subsets) == 23
        for subset in subsets:
            mean = found.credits[found.subsets == subset].mean()
            assert mean == pytest.approx(stated[subset].value, abs=5e-4), (name, subset)


def test_bundled_outcomes_are_of_the_benchmarks_examples(items: dict[str, ItemOutcomes]) -> None:
    """The ids are whole numbers from 0 as text, and each subset has as many as the record says."""
    found = next(iter(items.values()))
    assert found.example_ids.tolist() == [str(n) for n in range(2985)]
    sizes = {s.name: s.count for s in V1.subsets}
    names, counts = np.unique(found.subsets, return_counts=True)
    assert all(sizes[name] == count for name, count in zip(names.tolist(), counts.tolist(), strict=True))
    assert found.source.startswith("aims-foundations/torch_measure@a2ef142eb")
    assert not found.prompts_known
    assert found.margins is None


def test_bundled_outcomes_are_small() -> None:
    """The file of 133 models by 2,985 examples is below 200 kB."""
    assert ITEMS.stat().st_size < 200_000


def test_outcomes_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Right, wrong, unscored, a share, and groups come back; the same content gives the same bytes."""
    models = {"b/two": np.array([1.0, np.nan, 0.0]), "a/one": np.array([0.25, 1.0, np.nan])}
    ids, subsets, groups = ["x", "y", "z"], ["s", "s", "t"], ["g", "g", "h"]
    for name in ("one", "two"):
        write_items(tmp_path / name, "mine", ids, subsets, models, "somewhere", groups)
        models = dict(reversed(models.items()))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found = read_items(tmp_path / "one")
    assert list(found) == ["a/one", "b/two"]
    np.testing.assert_array_equal(found["a/one"].credits, models["a/one"])
    np.testing.assert_array_equal(found["b/two"].credits, models["b/two"])
    two = found["b/two"]
    assert (two.model, two.benchmark, two.source) == ("b/two", "mine", "somewhere")
    assert [two.example_ids.tolist(), two.subsets.tolist(), two.groups.tolist()] == [ids, subsets, groups]
    assert read_items(tmp_path / "none") == {}


@pytest.mark.parametrize(
    "columns",
    [
        {"example_id": ["x"], "subset": ["s"]},  # says nothing of itself
        {"example_id": [1], "subset": ["s"]},
        {"example_id": ["x"], "subset": [None]},
        {"example_id": ["x"], "subset": ["s"], "m": [1.5]},
        {"example_id": ["x"], "subset": ["s"], "m": ["yes"]},
        {"m": [1.0]},
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, columns: dict[str, list[object]]) -> None:
    """Whatever is not a file of outcomes is an error with its name."""
    table = pa.table(columns)
    if len(columns) > 2 or columns.get("example_id") != ["x"] or columns["subset"] == [None]:
        table = table.replace_schema_metadata({"rewardbench": '{"benchmark": "b", "source": "s"}'})
    pq.write_table(table, tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"bad\.parquet: not a file of item outcomes"):
        read_items(tmp_path / "bad.parquet")


def test_text_is_no_file_of_outcomes(tmp_path: Path) -> None:
    """A file that is no parquet is the same error."""
    (tmp_path / "bad.parquet").write_text("nonsense")
    with pytest.raises(DataError, match="not a file of item outcomes"):
        read_items(tmp_path / "bad.parquet")
