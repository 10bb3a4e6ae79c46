from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.spec import Benchmark
from rb_core.evaluation import evaluate
from rb_core.leaderboard.board import Board, build_board, load_boards
from rb_core.leaderboard.derived_files import derive_from_folder, read_leaderboard
from rb_core.leaderboard.verify import verify
from rb_core.results.estimate import Estimate
from rb_core.results.judge_records import Judging
from rb_core.results.schema import Published
from rb_core.results.storage import read_result, reason_not_to_replace, write_result
from rb_core.scorers.baseline import BaselineScorer
from tests.benchmarks.preference_files import write_jsonl
from tests.fakes.results import published


def test_registered_benchmarks_come_first_and_the_best_model_leads(bundled_boards: dict[str, Board]) -> None:
    assert list(bundled_boards)[:2] == ["rewardbench", "rewardbench-2"]
    for board in bundled_boards.values():
        scores = [row.headline.ranked_by for row in board.rows if row.can_rank]
        known = [score for score in scores if score is not None]
        assert scores[: len(known)] == sorted(known, reverse=True)
    assert bundled_boards["rewardbench"].rows[0].model == "infly/INF-ORM-Llama3.1-70B"


def test_a_subset_names_its_section_unless_it_is_the_whole_section(
    bundled_boards: dict[str, Board],
) -> None:
    board = bundled_boards["rewardbench"]
    subsets = {subset.name: subset for subset in board.subsets}
    assert (subsets["math-prm"].section, subsets["math-prm"].num_examples) == ("Reasoning", 447)
    assert subsets["mtbench_gpt4"].section is None
    assert "Prior Sets" in [section.name for section in board.sections]
    assert bundled_boards["rewardbench-2"].subsets == ()


def test_equal_scores_share_a_rank_and_missing_ones_have_none() -> None:
    values = {"a": 0.9, "b": 0.8, "c": 0.8, "d": 0.7, "e": None}
    board = build_board([published(f"o/{name}", headline=Estimate(value=value)) for name, value in values.items()])
    assert [row.rank for row in board.rows] == [1, 2, 2, 4, None]


def test_a_partial_run_is_marked_and_not_ranked(tmp_path: Path) -> None:
    evaluate.evaluate_scorer(
        BaselineScorer("longest"), "baseline/longest", load_benchmark("starter", limit=60), out=tmp_path
    )
    (row,) = load_boards(tmp_path)[0]["starter"].rows
    assert (row.rank, row.status, row.coverage) == (None, "partial run", 1.0)


def test_a_refused_file_is_reported_and_the_others_are_shown(tmp_path: Path) -> None:
    path = write_result(tmp_path, published())
    (path.parent / "x.json").write_text("nonsense", encoding="utf-8")
    boards, refused = load_boards(tmp_path)
    assert len(boards["starter"].rows) == 1
    assert len(refused) == 1


def test_a_folder_without_results_gives_no_boards(tmp_path: Path) -> None:
    assert load_boards(tmp_path / "nothing") == ({}, [])


def test_consistency_is_that_of_a_single_judge() -> None:
    judging = Judging(requests=2, position_consistency=Estimate(value=0.75), flips=1)
    results = [
        published("o/judge", judging=judging, headline=Estimate(value=0.9)),
        published("o/panel", judging=Judging(requests=4, members={"o/one": judging}), headline=Estimate(value=0.8)),
        published("o/other", headline=Estimate(value=0.7)),
    ]
    assert [row.consistency for row in build_board(results).rows] == [0.75, None, None]


def test_a_result_on_other_data_under_the_registered_id_is_marked_and_not_ranked(tmp_path: Path) -> None:
    """Results of earlier versions have the registered id. A run on the published numbers of examples is ranked."""
    starter = load_benchmark("starter")
    shorter = Benchmark(starter.spec, starter.examples[1:], "other.jsonl", None)
    evaluate.evaluate_scorer(BaselineScorer("longest"), "baseline/longest", shorter, out=tmp_path)
    evaluate.evaluate_scorer(BaselineScorer("shortest"), "baseline/shortest", starter, out=tmp_path)
    rows = load_boards(tmp_path)[0]["starter"].rows
    assert [(row.model, row.rank, row.status) for row in rows] == [
        ("baseline/shortest", 1, "run"),
        ("baseline/longest", None, "other data"),
    ]
    other, same = (read_result(tmp_path / f"results/starter/{row.model}.json") for row in reversed(rows))
    assert other.differing_subsets() == [starter.examples[0].subset]
    assert "other data" in (reason_not_to_replace(other, same) or "")
    found = Published(source="elsewhere")
    imported = other.model_copy(update={"status": "published", "published": found, "run": None})
    assert [(row.rank, row.status) for row in build_board([imported]).rows] == [(None, "other data")]


def judgebench_rows(sizes: Mapping[str, int], longer: int) -> list[dict[str, str]]:
    """Return pairs of these sources; in the first `longer` of each, the better answer is the longer one."""
    return [
        {"pair_id": f"{source}/{number}", "source": source, "question": f"q{number} of {source}"}
        | {"response_A": "long" if number < longer else "l", "response_B": "mid", "label": "A>B"}
        for source, size in sizes.items()
        for number in range(size)
    ]


def test_other_data_are_a_board_of_their_own_that_pools_the_pairs_there(tmp_path: Path) -> None:
    """The other half of JudgeBench, for example; here it has no mathematics."""
    published_sizes = {"mmlu-pro-law": 154, "livebench-reasoning": 98, "livebench-math": 56, "livecodebench": 42}
    other_sizes = {"mmlu-pro-law": 4, "livebench-reasoning": 1, "livecodebench": 2}
    full = write_jsonl(tmp_path / "full.jsonl", judgebench_rows(published_sizes, 50))
    other = write_jsonl(tmp_path / "other.jsonl", judgebench_rows(other_sizes, 3))
    evaluate.evaluate("baseline/longest", "judgebench", data=full, out=tmp_path)
    published_result = (tmp_path / "results/judgebench/baseline/longest.json").read_bytes()
    for model in ("baseline/shortest", "baseline/longest", "baseline/longest"):
        written = evaluate.evaluate(model, "judgebench", data=other, out=tmp_path, overwrite=True).result
    assert (tmp_path / "results/judgebench/baseline/longest.json").read_bytes() == published_result
    benchmark = written.benchmark
    assert benchmark.id == f"judgebench-{benchmark.sha256[:8] if benchmark.sha256 else None}"
    assert benchmark.title == f"JudgeBench, other data ({benchmark.id[-8:]})"
    assert load_benchmark("judgebench", data=full, limit=5).spec.id == "judgebench"
    assert load_benchmark("judgebench", data=other, limit=5).spec.id == benchmark.id

    boards, _ = load_boards(tmp_path)
    assert list(boards) == ["judgebench", benchmark.id]
    assert [(row.rank, row.status) for row in boards["judgebench"].rows] == [(1, "run")]
    rows = boards[benchmark.id].rows
    assert [(row.rank, row.model, row.status) for row in rows] == [
        (1, "baseline/longest", "run"),
        (2, "baseline/shortest", "run"),
    ]
    assert [row.headline.value for row in rows] == [pytest.approx((3 + 1 + 2) / 7), pytest.approx(1 / 7)]
    assert {s.name: (s.num_examples, s.weight) for s in boards[benchmark.id].sections} == {
        "Knowledge": (4, 4.0),
        "Reasoning": (1, 1.0),
        "Coding": (2, 2.0),
    }
    derived = derive_from_folder(tmp_path)
    assert f"tables/{benchmark.id}.parquet" in derived
    assert read_leaderboard(derived["leaderboard.json"])[0][benchmark.id].rows[0].rank == 1
    assert verify(tmp_path).differences == ()
