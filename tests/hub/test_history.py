"""The versions of a result on the hub."""

from __future__ import annotations

import pytest

from rb_core.errors import HubError
from rb_core.hub.history import MAX_VERSIONS, result_history
from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard.result_changes import result_changes
from rb_core.results.schema import to_json
from rb_core.results.storage import read_result
from tests.fakes.hub_faults import Fault
from tests.fakes.hub_server import Server
from tests.fakes.result_sets import KEY, published
from tests.paths import BUNDLED

PATH = "results/rewardbench/a/one.json"


def test_a_replaced_result_can_be_read_at_its_former_version(server: Server, repo: ResultsRepo) -> None:
    server.add_repo(KEY, {PATH: to_json(published("a/one", 0.8))})
    server.commit(KEY, {"results/rewardbench/b/two.json": to_json(published("b/two"))}, "Another result")
    server.commit(KEY, {PATH: to_json(published("a/one", 0.9, "2026-02-01"))}, "Corrected")
    newest, first = result_history(repo, "rewardbench", "a/one")
    assert (newest.title, newest.score, newest.changes) == ("Corrected", 0.9, ("another source", "score 80.0 → 90.0"))
    assert (first.title, first.score, first.changes) == ("initial commit", 0.8, ())
    assert first.address == f"{server.url}/datasets/{repo.name}/blob/{first.commit}/{PATH}"
    assert repo.fetch(repo.entry(PATH, first.commit), first.commit) == to_json(published("a/one", 0.8))


def test_a_file_that_is_no_result_is_a_version_too(server: Server, repo: ResultsRepo) -> None:
    server.add_repo(KEY, {PATH: b"{"})
    server.commit(KEY, {PATH: to_json(published("a/one"))})
    newest, first = result_history(repo, "rewardbench", "a/one")
    assert newest.changes == ("not comparable",)
    assert first.result is None


def test_a_result_that_went_away_and_one_that_never_was(server: Server, repo: ResultsRepo) -> None:
    server.add_repo(KEY, {PATH: to_json(published("a/one")), "x": b""})
    server.commit(KEY, {PATH: None})
    assert result_history(repo, "rewardbench", "a/one") == []
    server.commit(KEY, {PATH: to_json(published("a/one", 0.9))})
    assert [version.score for version in result_history(repo, "rewardbench", "a/one")] == [0.9]
    assert result_history(repo, "rewardbench", "a/none") == []


def test_a_long_history_is_cut(server: Server, repo: ResultsRepo) -> None:
    server.add_repo(KEY, {PATH: to_json(published("a/one", 0))})
    for i in range(1, MAX_VERSIONS + 5):
        server.commit(KEY, {PATH: to_json(published("a/one", i / 100))})
    scores = [version.score for version in result_history(repo, "rewardbench", "a/one")]
    assert scores == [i / 100 for i in range(MAX_VERSIONS + 4, 4, -1)]


def test_a_fault_is_met_again_or_told(server: Server, repo: ResultsRepo) -> None:
    server.add_repo(KEY, {PATH: to_json(published("a/one"))})
    server.fail(Fault("503", match="paths-info"), Fault("cut-down", match="/commits/"))
    assert len(result_history(repo, "rewardbench", "a/one")) == 1
    server.fail(Fault("403", match="paths-info"))
    with pytest.raises(HubError, match="reading the history"):
        result_history(repo, "rewardbench", "a/one")


def test_each_change_of_a_run_is_named() -> None:
    run = read_result(BUNDLED / "results/starter/builtin/tiny-rm.json")
    assert run.run is not None
    versions = {**run.run.versions, "torch": "9.9"}
    new = run.model_copy(
        update={
            "model": run.model.model_copy(update={"revision": "f" * 40, "dtype": "float16"}),
            "benchmark": run.benchmark.model_copy(update={"limit": 5}),
            "run": run.run.model_copy(update={"versions": versions}),
        }
    )
    changes = result_changes(run, new)
    assert [change.rpartition(" → ")[0].split(" ")[:2] for change in changes] == [
        ["data", "limit"],
        ["model", "revision"],
        ["model", "dtype"],
        ["versions", "torch"],
    ]
    assert result_changes(run, run) == ["no number"]
    assert result_changes(published("builtin/tiny-rm"), run)[0] == "as published, then evaluated here"
