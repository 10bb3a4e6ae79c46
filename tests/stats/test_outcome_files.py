"""Item outcomes of score files, and files of published outcomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import spec_to_json
from rb_core.errors import DataError, ScoreTableError
from rb_core.results.schema import Result
from rb_core.results.score_table import read_scores, write_scores
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.outcome_files import outcomes_of_scores, read_items, write_items
from tests.fakes.outcomes import PAIRS, pairs, score_table
from tests.paths import BUNDLED

ITEMS = BUNDLED / "items" / "rewardbench.parquet"
SCORES = BUNDLED / "scores" / "starter" / "builtin" / "tiny-rm.parquet"
V1 = BENCHMARKS["rewardbench"]


# ---- score files


def test_unscored_examples_and_unknown_lengths(tmp_path: Path) -> None:
    frame, metadata = read_scores(SCORES)
    frame.loc[0, "score"] = float("nan")
    frame.loc[0, "reason"] = "too long"
    frame["num_tokens"] = 0
    write_scores(tmp_path / "t.parquet", frame, metadata)
    outcomes = outcomes_of_scores(tmp_path / "t.parquet")
    assert outcomes.margins is not None
    assert np.isnan(outcomes.credits[0])
    assert np.isnan(outcomes.margins[0])
    assert outcomes.scored[1:].all()
    assert outcomes.lengths is None


def test_a_table_without_a_rejected_completion_is_refused(tmp_path: Path) -> None:
    frame, metadata = read_scores(SCORES)
    kept = (frame["example_id"] != frame["example_id"][0]) | frame["is_chosen"]
    write_scores(tmp_path / "t.parquet", frame[kept], metadata)
    with pytest.raises(ScoreTableError, match="has no rejected completion"):
        outcomes_of_scores(tmp_path / "t.parquet")


def test_a_table_of_another_benchmark_brings_its_record(tmp_path: Path) -> None:
    """The record in the metadata stands in for a registered benchmark; without it the table is refused."""
    frame = score_table(pairs("a", [1, 0.5]) + pairs("b", [0])).assign(num_completion_tokens=1)
    metadata = {"benchmark": {"id": PAIRS.id}, "model": {"name": "m"}}
    write_scores(tmp_path / "t.parquet", frame, metadata | {"record": spec_to_json(PAIRS)})
    outcomes = outcomes_of_scores(tmp_path / "t.parquet")
    assert (outcomes.model, outcomes.benchmark, outcomes.source) == ("m", PAIRS.id, "scores of a run")
    assert outcomes.credits.tolist() == [1.0, 0.5, 0.0]
    write_scores(tmp_path / "u.parquet", frame, metadata)
    with pytest.raises(ScoreTableError, match="benchmark custom-pairs is unknown"):
        outcomes_of_scores(tmp_path / "u.parquet")
    write_scores(tmp_path / "v.parquet", frame, {})
    with pytest.raises(ScoreTableError, match="the metadata of the run is incomplete: 'benchmark'"):
        outcomes_of_scores(tmp_path / "v.parquet")


# ---- published outcomes


def test_bundled_outcomes_give_every_models_published_subsets(
    items: dict[str, ItemOutcomes], results: dict[tuple[str, str], Result]
) -> None:
    """All 133 models are on the board, and every subset's mean is the published accuracy to 5e-4."""
    assert len(items) == 133
    for name, outcomes in items.items():
        subsets, codes = np.unique(outcomes.subsets, return_inverse=True)
        means = np.bincount(codes, weights=outcomes.credits) / np.bincount(codes)
        published = results["rewardbench", name].subsets
        assert len(subsets) == 23
        expected = [published[subset].value for subset in subsets.tolist()]
        assert means.tolist() == pytest.approx(expected, abs=5e-4), name


def test_bundled_outcomes_are_of_the_benchmarks_examples(items: dict[str, ItemOutcomes]) -> None:
    """The ids are whole numbers from 0 as text, and each subset has as many as the record says."""
    outcomes = next(iter(items.values()))
    assert outcomes.example_ids.tolist() == [str(n) for n in range(2985)]
    sizes = {s.name: s.count for s in V1.subsets}
    names, counts = np.unique(outcomes.subsets, return_counts=True)
    assert [sizes[name] for name in names.tolist()] == counts.tolist()
    assert outcomes.source.startswith("aims-foundations/torch_measure@a2ef142eb")
    assert not outcomes.prompts_known
    assert outcomes.margins is None
    assert ITEMS.stat().st_size < 200_000


def test_outcomes_read_back_as_written(tmp_path: Path) -> None:
    """Right, wrong, unscored, a fraction, and groups come back; the same content gives the same bytes."""
    models = {"b/two": np.array([1.0, np.nan, 0.0]), "a/one": np.array([0.25, 1.0, np.nan])}
    ids, subsets, groups = ["x", "y", "z"], ["s", "s", "t"], ["g", "g", "h"]
    for name in ("one", "two"):
        write_items(tmp_path / name, "mine", ids, subsets, models, "somewhere", groups)
        models = dict(reversed(models.items()))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    outcomes = read_items(tmp_path / "one")
    assert list(outcomes) == ["a/one", "b/two"]
    for name, written in models.items():
        np.testing.assert_array_equal(outcomes[name].credits, written)
    two = outcomes["b/two"]
    assert (two.model, two.benchmark, two.source) == ("b/two", "mine", "somewhere")
    assert [two.example_ids.tolist(), two.subsets.tolist(), two.groups.tolist()] == [ids, subsets, groups]
    assert read_items(tmp_path / "none") == {}


METADATA = {"rewardbench": '{"benchmark": "b", "source": "s"}'}
NOT_OUTCOMES = {
    "no metadata": ({"example_id": ["x"], "subset": ["s"]}, None),
    "numbers for ids": ({"example_id": [1], "subset": ["s"]}, METADATA),
    "a missing subset": ({"example_id": ["x"], "subset": [None]}, METADATA),
    "above 1": ({"example_id": ["x"], "subset": ["s"], "m": [1.5]}, METADATA),
    "text for an outcome": ({"example_id": ["x"], "subset": ["s"], "m": ["yes"]}, METADATA),
    "no ids": ({"m": [1.0]}, METADATA),
}


@pytest.mark.parametrize(("columns", "metadata"), NOT_OUTCOMES.values(), ids=NOT_OUTCOMES)
def test_another_parquet_file_is_refused(
    tmp_path: Path, columns: dict[str, list[object]], metadata: dict[str, str] | None
) -> None:
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"bad\.parquet: not a file of item outcomes"):
        read_items(tmp_path / "bad.parquet")


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_text("nonsense")
    with pytest.raises(DataError, match=r"bad\.parquet: not a file of item outcomes"):
        read_items(tmp_path / "bad.parquet")
