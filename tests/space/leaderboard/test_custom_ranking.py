"""Rankings by custom scores, as the browser asks for them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rb_core.results.schema import Result
from rb_core.space.leaderboard.custom_ranking import NOT_AVAILABLE, CustomRankings
from rb_core.space.results_source import ResultsFolder

REQUEST = {"board": "starter", "weights": {"Chat": 1, "Ties": 2.0}}


def test_a_ranking_has_errors_and_ranks_and_is_computed_once(results: ResultsFolder) -> None:
    rankings = CustomRankings(results)
    answer = rankings.ranking(REQUEST)
    assert answer["rows"]["baseline/random"]["rank"] == 1
    assert answer["rows"]["baseline/random"]["low"] < answer["rows"]["baseline/random"]["headline"]
    assert answer["ranges"]["baseline/random"][2] == "items"
    assert rankings.ranking(REQUEST) is answer


def test_models_are_ranked_among_themselves(results: ResultsFolder) -> None:
    names = ["baseline/longest", "baseline/random"]
    answer = CustomRankings(results).ranking({"board": "starter", "models": names})
    assert {name: row["rank"] for name, row in answer["rows"].items() if row["rank"]} == dict(
        zip(names, (1, 2), strict=True)
    )
    assert answer["rows"]["builtin/tiny-rm"]["headline"] is not None
    assert set(answer["ranges"]) == set(names)


@pytest.mark.parametrize(
    ("request_json", "message"),
    [
        (None, "benchmark is missing"),
        ({"board": "starter", "weights": []}, "weights are numbers by section"),
        ({"board": "starter", "weights": {"Chat": "1"}}, "weights are numbers by section"),
        ({"board": "starter", "weights": {"Chat": True}}, "weights are numbers by section"),
        ({"board": "starter", "models": "a"}, "models are at most"),
        ({"board": "starter", "models": [1]}, "models are at most"),
        ({"board": "starter", "weights": {"Chat": float("nan")}}, "weight of Chat is not a number"),
        ({"board": "starter", "weights": {"<b>": 1}}, "has no section"),
        ({"board": "nothing", "weights": {"Chat": 1}}, "There is no benchmark"),
        ({"weights": {"Chat": 1}}, "benchmark is missing"),
    ],
)
def test_any_json_is_answered_with_a_message(results: ResultsFolder, request_json: object, message: str) -> None:
    assert message in CustomRankings(results).ranking(request_json)["message"]


def test_results_that_cannot_be_read_are_named(results: ResultsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub does not answer; the next request tries again."""
    rankings = CustomRankings(results)
    with monkeypatch.context() as patch:
        none: Mapping[str, Result] = {}
        patch.setattr(results, "results", lambda benchmark: none)
        assert rankings.ranking(REQUEST) == {"message": NOT_AVAILABLE}
    assert "rows" in rankings.ranking(REQUEST)
