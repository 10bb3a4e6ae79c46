"""The endpoint `rank`."""

from __future__ import annotations

from typing import Any

import pytest

from rb_core.leaderboard.custom_scores import custom_board
from rb_core.space.api import model_kinds
from rb_core.space.choose.ranking import rank_endpoint
from rb_core.space.choose.recommend import Recommender
from rb_core.space.results_source import ResultsFolder

BENCHMARK = "rewardbench-2"


@pytest.fixture(scope="module")
def rank(results: ResultsFolder) -> Any:
    return rank_endpoint(Recommender(results), results)


def test_a_section_ranks_the_models_that_fit_among_themselves(rank: Any, results: ResultsFolder) -> None:
    answer = rank(BENCHMARK, section="Safety", max_size=10, limit=7)
    board = results.boards()[BENCHMARK]
    names = [row.model for row in board.ranked() if row.parameters and row.parameters <= 10e9]
    ranked = custom_board(board, results.results(BENCHMARK), {}, {"Safety": 1.0}, names).ranked()
    assert [row["model"] for row in answer["rows"]] == [row.model for row in ranked[:7]]
    for entry, row in zip(answer["rows"], ranked, strict=False):
        safety = results.results(BENCHMARK)[row.model].sections["Safety"]
        assert entry["score"] == safety.value
        assert entry["range"] == list(row.rank_interval[:2])
        assert entry["board_rank"] == board.row(row.model).rank
    assert answer["candidates"] == len(names)
    assert answer["candidates"] + sum(answer["left_out"].values()) == len(board.ranked())
    first, second = answer["rows"][:2]
    noise = "within noise" if second["range"][0] == 1 else "more than noise"
    lead = 100 * (first["score"] - second["score"])
    assert answer["lead"].startswith(f"{first['model']} leads {second['model']} by {lead:.1f} points: {noise}")


@pytest.mark.parametrize(
    ("conditions", "field", "value"),
    [
        ({"kind": "Generative"}, "kind", "Generative"),
        ({"organisation": "Skywork"}, "organisation", "Skywork"),
        ({"organisation": "skywork"}, "organisation", "Skywork"),
        ({"licence": "permissive", "max_size": 10}, "licence", "apache-2.0"),
    ],
)
def test_every_condition_keeps_the_models_that_fit_and_no_others(
    rank: Any, results: ResultsFolder, conditions: dict[str, Any], field: str, value: str
) -> None:
    answer, everything = rank(BENCHMARK, limit=100, **conditions), rank(BENCHMARK, limit=100)
    assert answer["rows"]
    assert {row[field] for row in answer["rows"]} <= {value, "mit"}
    assert sum(answer["left_out"].values()) == everything["candidates"] - answer["candidates"]


def test_every_kind_that_is_listed_is_accepted(rank: Any, results: ResultsFolder) -> None:
    for kind in model_kinds(results):
        assert {row["kind"] for row in rank("rewardbench", kind=kind, limit=100)["rows"]} <= {kind}


def test_words_find_models_by_name(rank: Any) -> None:
    names = [row["model"].lower() for row in rank(BENCHMARK, search="8B llama", limit=100)["rows"]]
    assert names
    assert all("8b" in name and "llama" in name for name in names)
    assert rank(BENCHMARK, search="no such model")["rows"] == []
    assert rank(BENCHMARK, search="no such model")["lead"] is None
