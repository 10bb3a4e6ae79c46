"""The leaderboard table and its pointers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.evaluation import evaluate
from rb_core.leaderboard.board import Board, ColumnRole, board, boards
from rb_core.results.estimate import Estimate
from rb_core.results.judge_records import Judging
from rb_core.results.storage import write_result
from rb_core.scorers.baseline import BaselineScorer
from tests.paths import BUNDLED
from tests.results.test_results import published


@pytest.fixture(scope="module")
def real() -> dict[str, Board]:
    found, refused = boards(BUNDLED)
    assert refused == []
    return found


def column(table: Board, key: str) -> list[object]:
    index = [c.key for c in table.columns].index(key)
    return [row[index] for row in table.rows]


def test_known_benchmarks_come_first_and_the_best_model_leads(real: dict[str, Board]) -> None:
    """RewardBench, then RewardBench 2; rows in descending order of the headline, missing ones last."""
    assert list(real)[:2] == ["rewardbench", "rewardbench-2"]
    for table in real.values():
        scores = column(table, "score")
        known = [s for s in scores if s is not None]
        assert scores[: len(known)] == sorted(known, reverse=True)
    assert column(real["rewardbench"], "model")[0] == "infly/INF-ORM-Llama3.1-70B"


def test_columns_point_to_their_roles_and_parents(real: dict[str, Board]) -> None:
    """Each subset's column names its section; a section that is one subset is not repeated as one."""
    columns = {c.key: c for c in real["rewardbench"].columns}
    assert columns["subset:math-prm"].parent == "Reasoning"
    assert columns["subset:math-prm"].count == 447
    assert columns["subset:mtbench_gpt4"].parent is None
    assert columns["section:Prior Sets"].role == "section"
    assert not [c for c in real["rewardbench-2"].columns if c.role == "subset"]
    assert real["rewardbench"].columns[real["rewardbench"].index("headline")].key == "score"


def test_equal_scores_share_a_rank_and_missing_ones_have_none() -> None:
    """Ranks are 1, 2, 2, 4; a model without a headline, or scored in part only, has none."""
    values = {"a": 0.9, "b": 0.8, "c": 0.8, "d": 0.7, "e": None}
    found = [published(f"o/{name}", headline=Estimate(value=value)) for name, value in values.items()]
    table = board(found)
    assert column(table, "rank") == [1, 2, 2, 4, None]


def test_a_partial_run_is_marked_and_not_ranked(tmp_path: Path) -> None:
    """A run with a limit stands at the end without a rank, and says that it is partial."""
    whole, part = load_benchmark("starter"), load_benchmark("starter", limit=60)
    evaluate.evaluate_scorer(BaselineScorer("random"), "baseline/random", whole, out=tmp_path)
    evaluate.evaluate_scorer(BaselineScorer("longest"), "baseline/longest", part, out=tmp_path)
    table = boards(tmp_path)[0]["starter"]
    assert column(table, "rank") == [1, None]
    assert column(table, "status") == ["run", "partial run"]
    assert column(table, "coverage") == [1.0, 1.0]


def test_a_bad_file_does_not_take_the_board_down(tmp_path: Path) -> None:
    """A refused file is reported; the others are shown."""
    path = write_result(tmp_path, published())
    (path.parent / "x.json").write_text("nonsense", encoding="utf-8")
    found, refused = boards(tmp_path)
    assert len(found["starter"].rows) == 1
    assert len(refused) == 1


def test_no_results_is_no_error(tmp_path: Path) -> None:
    """An empty folder, or none, gives no boards."""
    assert boards(tmp_path / "nothing") == ({}, [])


def test_the_payload_is_small_plain_json(real: dict[str, Board]) -> None:
    """What the page reads is JSON without NaN, about 50 kB a benchmark."""
    for table in real.values():
        text = json.dumps(table.payload(), allow_nan=False)
        assert len(text) < 120_000


@pytest.mark.parametrize(
    ("role", "cell"), [("rank", "<img src=x>"), ("headline", "0.9"), ("section", "high"), ("model", 3), ("kind", None)]
)
def test_a_cell_of_another_kind_is_refused(real: dict[str, Board], role: ColumnRole, cell: object) -> None:
    """A board that others wrote has text where names stand and numbers where the page counts with them."""
    table = real["starter"]
    payload = table.payload()
    assert Board.from_payload(payload).rows == Board.from_payload(json.loads(json.dumps(payload))).rows
    payload["rows"][0][table.index(role)] = cell
    with pytest.raises(ValueError, match="has a cell of another kind"):
        Board.from_payload(payload)


def test_a_board_links_only_to_the_web(real: dict[str, Board]) -> None:
    """A dataset's address that would run as a script is refused."""
    with pytest.raises(ValueError, match="no address of the web"):
        Board.from_payload(real["starter"].payload() | {"url": "javascript:alert(1)"})


def test_judges_bring_a_column_for_their_consistency() -> None:
    """It is there where a result has one, empty for the others and for a panel, and it survives the way to the page."""
    kept = Judging(requests=2, position_consistency=Estimate(value=0.75), flips=1)
    panel = Judging(requests=4, members={"o/one": kept})
    found = [
        published("o/judge", judging=kept, headline=Estimate(value=0.9)),
        published("o/panel", judging=panel, headline=Estimate(value=0.8)),
        published("o/other", headline=Estimate(value=0.7)),
    ]
    table = board(found)
    assert column(table, "consistency") == [0.75, None, None]
    assert Board.from_payload(json.loads(json.dumps(table.payload()))) == table
    for none in (found[1:], found[2:]):
        assert "consistency" not in [each.key for each in board(none).columns]
