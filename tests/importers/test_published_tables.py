"""The importer of published tables, on small ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from rb_core.errors import DataError, ResultError
from rb_core.evaluation import evaluate
from rb_core.importers import published_tables
from rb_core.results.storage import read_result
from rb_core.scorers.baseline import BaselineScorer
from rb_core.stats.outcome_files import read_items
from tests.cli.command_line import rb
from tests.fakes.benchmarks import few_examples

V1 = """model,model_type,score,chat,chat_hard,safety,reasoning,prior_sets,retrieved_timestamp,source
a/full,Seq. Classifier,0.6333,0.9,0.5,0.7,0.6,0.3,1766412838.1,src1
a/no-prior,DPO,0.675,0.9,0.5,0.7,0.6,,1766412838.1,src2
allenai/X-RM-RB2,Custom Classifier,0.675,0.9,0.5,0.7,0.6,0.0,1766412838.1,src3
a/no-reasoning.json,Generative,0.7,0.9,0.5,0.7,,,1766412838.1,src4
"""
SUBSETS = "model,alpacaeval-easy,Chat,Chat Hard,Safety,Reasoning,n_missing,source\na/full,0.95,0.9,0.5,0.7,0.6,0,src5\n"
PRIOR = "model,shp,source\na/full,64.3,src6\n"
V2 = """model,model_type,score,factuality,precise_if,math,safety,focus,ties,retrieved_timestamp,source
b/model,Generative RM,0.5,0.5,0.5,0.5,0.5,0.5,0.5,,src7
"""


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "tables"
    folder.mkdir()
    for name, text in {
        "rewardbench_v1_leaderboard": V1,
        "rewardbench_v1_subset_scores_from_instances": SUBSETS,
        "rewardbench_v1_paper_prior_sets": PRIOR,
        "rewardbench_v2_leaderboard": V2,
    }.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def test_rows_become_results(tables: Path, tmp_path: Path) -> None:
    """Sections, subsets, kinds and sources arrive; a zero that means absent does not; a file suffix is no name."""
    assert published_tables.import_tables(tables, tmp_path) == {"rewardbench": 4, "rewardbench-2": 1}
    full = read_result(tmp_path / "results/rewardbench/a/full.json")
    assert full.model.kind == "classifier"
    assert full.sections["Prior Sets"].value == 0.3
    assert full.subsets["shp"].value == pytest.approx(0.643)
    assert full.published is not None
    assert full.published.source == "src1; subsets: src5; prior sets: src6"
    assert full.published.retrieved == "2025-12-22"
    assert "Prior Sets" in read_result(tmp_path / "results/rewardbench/allenai/X-RM-RB2.json").absent
    bare = read_result(tmp_path / "results/rewardbench/a/no-reasoning.json")
    assert bare.headline is None
    assert "listed as 'a/no-reasoning.json'" in ((bare.published.note or "") if bare.published else "")


def test_published_intervals_come_from_the_numbers_of_examples(tables: Path) -> None:
    full = next(r for r in published_tables.v1_results(tables) if r.model.name == "a/full")
    assert full.subsets["alpacaeval-easy"].method == "binomial"
    chat = full.sections["Chat"]
    assert chat.method == "binomial"
    assert chat.low is not None
    assert chat.high is not None
    # 358 pairs at 0.9: the textbook's half width is 1.96 x 0.0159
    assert (chat.high - chat.low) / 2 == pytest.approx(0.0311, rel=0.03)


def test_results_are_not_replaced_unasked_and_runs_never(tables: Path, tmp_path: Path) -> None:
    """A second import needs overwrite; a run's result is not replaced by a published one at all."""
    published_tables.import_tables(tables, tmp_path)
    with pytest.raises(ResultError, match="--overwrite"):
        published_tables.import_tables(tables, tmp_path)
    published_tables.import_tables(tables, tmp_path, overwrite=True)
    data = tmp_path / "d.jsonl"
    data.write_text('{"id":1,"subset":"shp","prompt":"q","chosen":"aa","rejected":"b"}\n', encoding="utf-8")
    benchmark = few_examples("rewardbench", data)
    evaluate.evaluate_scorer(BaselineScorer("longest"), "a/full", benchmark, out=tmp_path, overwrite=True)
    with pytest.raises(ResultError, match="is the result of a run"):
        published_tables.import_tables(tables, tmp_path, overwrite=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.9,0.5,0.7,0.6,0.3", "90,0.5,0.7,0.6,0.3", "chat is '90'; expected a fraction"),
        ("0.9,0.5,0.7,0.6,0.3", "x,0.5,0.7,0.6,0.3", "chat is 'x'; expected a fraction"),
        ("Seq. Classifier", "Magic", "unknown model_type 'Magic'"),
        ("chat_hard", "chat_soft", "lacks the columns chat_hard"),
    ],
)
def test_a_malformed_table_is_named(tables: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    """A value out of range, an unknown kind and a missing column are clear errors, and nothing is written."""
    (tables / "rewardbench_v1_leaderboard.csv").write_text(V1.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        published_tables.import_tables(tables, tmp_path)
    assert not (tmp_path / "results").exists()


def test_a_missing_table_is_named(tables: Path, tmp_path: Path) -> None:
    """A folder without one of the tables is an error with its name."""
    (tables / "rewardbench_v2_leaderboard.csv").unlink()
    with pytest.raises(DataError, match="rewardbench_v2_leaderboard"):
        published_tables.import_tables(tables, tmp_path)


# ---- outcomes example by example

V1_ITEMS = "item_id,subset\n0,alpacaeval-easy\n1,alpacaeval-easy\n2,math-prm\n"
OUTCOMES = "model,0,2,1\na/full,1.0,0.0,1.0\nmy_model/,0,1,0\nsome/checkpoint/,1,,0\n"


@pytest.fixture
def with_items(tables: Path) -> Path:
    """The tables, with two models that have an outcome for every item and one that lacks one."""
    (tables / "rewardbench_v1_items.csv").write_text(V1_ITEMS, encoding="utf-8")
    (tables / "rewardbench_v1_item_correctness.csv.gz").write_bytes(gzip.compress(OUTCOMES.encode()))
    return tables


def test_item_outcomes_are_imported_and_rebuilt_byte_for_byte(
    with_items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command writes the models that have every item, by the names of their results, and again the same bytes."""
    path = tmp_path / "out" / "items" / "rewardbench.parquet"
    command = ["import", "published-tables", str(with_items), "--out", str(tmp_path / "out")]
    assert rb(command, monkeypatch) == 0
    first = path.read_bytes()
    found = read_items(path)
    assert {name: each.credits.tolist() for name, each in found.items()} == {
        "a/full": [1.0, 1.0, 0.0],
        "unknown/my_model": [0.0, 0.0, 1.0],
    }
    assert found["a/full"].example_ids.tolist() == ["0", "1", "2"]
    assert found["a/full"].subsets.tolist() == ["alpacaeval-easy", "alpacaeval-easy", "math-prm"]
    assert rb(command, monkeypatch) == 2
    assert rb([*command, "--overwrite"], monkeypatch) == 0
    assert path.read_bytes() == first


def test_tables_without_item_outcomes_leave_those_that_are_there(tables: Path, tmp_path: Path) -> None:
    """The tables of outcomes may be missing: the results are imported, and no file of outcomes is touched."""
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "rewardbench.parquet").write_bytes(b"kept")
    published_tables.import_tables(tables, tmp_path)
    assert (tmp_path / "items" / "rewardbench.parquet").read_bytes() == b"kept"


@pytest.mark.parametrize(
    ("items", "outcomes", "message"),
    [
        (V1_ITEMS.replace("math-prm", "magic"), OUTCOMES, "has no subset magic"),
        (V1_ITEMS, OUTCOMES.replace("1.0,0.0", "1.0,0.5"), "'0.5'; expected 1, 0 or nothing"),
        (V1_ITEMS, OUTCOMES.replace(",2,", ",3,"), "lacks the columns 2"),
        (V1_ITEMS, OUTCOMES.replace("my_model/", "a/full"), "is listed twice"),
        (V1_ITEMS, None, "not readable as CSV"),
    ],
)
def test_malformed_item_outcomes_are_named(
    with_items: Path, tmp_path: Path, items: str, outcomes: str | None, message: str
) -> None:
    """An unknown subset, a value between, a missing item, a model twice and a broken file are errors; nothing is
    written."""
    content = b"no gzip" if outcomes is None else gzip.compress(outcomes.encode())
    (with_items / "rewardbench_v1_items.csv").write_text(items, encoding="utf-8")
    (with_items / "rewardbench_v1_item_correctness.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        published_tables.import_tables(with_items, tmp_path / "out")
    assert not (tmp_path / "out").exists()
