from __future__ import annotations

from pathlib import Path

import pytest

from rb_core.errors import DataError
from rb_core.leaderboard.board import Board, build_board, load_boards
from rb_core.leaderboard.model_registry import (
    REGISTRY_FILE,
    ModelRegistry,
    RegisteredModel,
    openness,
    parse_registry,
    read_registry,
    renamed,
)
from rb_core.leaderboard.store import ResultsStore
from rb_core.leaderboard.verify import verify
from rb_core.results.schema import Result
from rb_core.results.storage import write_result
from tests.paths import ROOT


@pytest.fixture(scope="module")
def bundled() -> ModelRegistry:
    return read_registry(ROOT / "leaderboard_data")


def registry_of(*entries: str) -> ModelRegistry:
    return parse_registry("".join(f"- {entry}\n" for entry in entries).encode())


# ---- the bundled registry


def test_every_bundled_result_of_a_model_is_registered(
    bundled: ModelRegistry, bundled_boards: dict[str, Board]
) -> None:
    names = {row.model for board in bundled_boards.values() for row in board.rows}
    own = {name for name in names if name.startswith(("baseline/", "builtin/"))}
    assert {name for name in names - own if bundled.get(name) is None} == set()


def test_no_organisation_and_no_model_is_there_twice_by_spelling(bundled_boards: dict[str, Board]) -> None:
    for board in bundled_boards.values():
        organisations = {row.organisation for row in board.rows if row.organisation}
        assert len({name.casefold() for name in organisations}) == len(organisations)
        models = [row.model.casefold() for row in board.rows]
        assert len(set(models)) == len(models)
    rows = [row for board in bundled_boards.values() for row in board.rows]
    claude = {row.model for row in rows if "claude-3-opus-20240229" in row.model}
    assert claude == {"anthropic/claude-3-opus-20240229"}
    assert {row.organisation for row in rows if row.model.startswith(("ai2/", "allenai/"))} == {"Ai2"}


def test_development_checkpoints_are_shown_without_a_rank(bundled_boards: dict[str, Board]) -> None:
    rows = bundled_boards["rewardbench-2"].rows
    development = [row for row in rows if "open_instruct_dev" in row.model]
    assert len(development) == 124
    assert all(row.sweep and row.rank is None and row.rank_interval is None for row in development)
    released = [row for row in rows if row.sweep is None]
    assert [row.rank for row in released] == sorted(row.rank or 0 for row in released)
    assert min(row.rank or 0 for row in released) == 1
    scores = [row.headline.value or 0.0 for row in development]
    assert scores == sorted(scores, reverse=True)


def test_boards_have_sizes_of_published_models_and_of_runs(bundled_boards: dict[str, Board], tiny_rm: Result) -> None:
    parameters = {(board.id, row.model): row.parameters for board in bundled_boards.values() for row in board.rows}
    assert parameters["rewardbench", "nvidia/Nemotron-4-340B-Reward"] == 340_000_000_000
    assert parameters["rewardbench", "mistralai/Mixtral-8x7B-Instruct-v0.1"] == 46_700_000_000
    assert parameters["rewardbench", "openai/gpt-4o-2024-05-13"] is None
    assert parameters["starter", "builtin/tiny-rm"] == tiny_rm.model.parameters
    assert parameters["starter", "baseline/longest"] is None


def test_the_count_of_a_run_comes_before_the_registered_size(
    bundled: ModelRegistry, bundled_store: ResultsStore
) -> None:
    result = bundled_store.results("rewardbench")["Skywork/Skywork-Reward-Gemma-2-27B"]
    model = result.model.model_copy(update={"parameters": 27_227_128_320})
    (row,) = build_board([result.model_copy(update={"model": model})], bundled).rows
    assert row.parameters == 27_227_128_320


# ---- aliases


@pytest.fixture
def root_with_alias(tmp_path: Path, tiny_rm: Result) -> Path:
    """A root with one result of a model under its alias, with its scores."""
    for folder in ("results", "scores"):
        suffix = "json" if folder == "results" else "parquet"
        source = ROOT / "leaderboard_data" / folder / "starter" / "builtin" / f"tiny-rm.{suffix}"
        target = tmp_path / source.relative_to(ROOT / "leaderboard_data")
        target.parent.mkdir(parents=True)
        target.write_bytes(source.read_bytes())
    (tmp_path / REGISTRY_FILE).write_text(
        "- {name: org/Tiny, aliases: [builtin/tiny-rm], organisation: Tiny Makers}\n", encoding="utf-8"
    )
    return tmp_path


def test_a_result_under_an_alias_is_the_models_row_with_its_outcomes(root_with_alias: Path) -> None:
    store = ResultsStore(root_with_alias)
    assert store.refresh()
    (row,) = store.boards()["starter"].rows
    assert (row.model, row.organisation) == ("org/Tiny", "Tiny Makers")
    assert store.outcomes("starter", "org/Tiny") is not None
    assert store.results("starter").keys() == {"org/Tiny"}
    assert verify(root_with_alias).differences == ()


def test_of_two_results_of_one_model_a_run_is_kept_before_a_published_number(
    root_with_alias: Path, bundled_store: ResultsStore, tiny_rm: Result
) -> None:
    published = next(iter(bundled_store.results("rewardbench").values()))
    other = tiny_rm.model_copy(
        update={"status": "published", "run": None, "scores": None, "published": published.published}
    )
    write_result(root_with_alias, renamed(other, "org/Tiny"))
    (row,) = load_boards(root_with_alias)[0]["starter"].rows
    assert (row.model, row.status) == ("org/Tiny", "run")


def test_a_changed_registry_is_read_again(root_with_alias: Path) -> None:
    store = ResultsStore(root_with_alias)
    store.refresh()
    (root_with_alias / REGISTRY_FILE).write_text("- {name: builtin/tiny-rm, sweep: tests}\n", encoding="utf-8")
    assert store.refresh()
    (row,) = store.boards()["starter"].rows
    assert (row.model, row.sweep, row.rank) == ("builtin/tiny-rm", "tests", None)


def test_an_unreadable_registry_is_reported_and_the_results_are_shown(root_with_alias: Path) -> None:
    (root_with_alias / REGISTRY_FILE).write_text("- {name: a/b, colour: red}\n", encoding="utf-8")
    store = ResultsStore(root_with_alias)
    store.refresh()
    assert [row.model for row in store.boards()["starter"].rows] == ["builtin/tiny-rm"]
    assert len(store.refused) == 1
    (mismatch,) = verify(root_with_alias).differences
    assert mismatch.path == REGISTRY_FILE


# ---- what is refused


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["{name: a/b}", "{name: c/d, aliases: [a/b]}"], "the name a/b stands for two models"),
        (["{name: a/b, organisation: Open AI}", "{name: c/d, organisation: OpenAI}"], "Open AI, OpenAI"),
        (["{name: a/b, parameters: 7}"], "a/b: .*parameters_source"),
        (["{name: a/b, licence: MIT}"], "a/b: .*sources"),
        (["{name: ../b}"], r"\.\./b: name"),
        (["{name: a/b, colour: red}"], "a/b: colour"),
        (["7"], "entry 1"),
        (["{name: [}"], "not readable YAML"),
        (["&a [*a]"], "entry 1|YAML"),
        (["!!python/object/apply:os.system [ls]"], "not readable YAML"),
    ],
)
def test_what_is_not_a_registry_is_refused_by_name(entries: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        registry_of(*entries)


def test_a_file_that_is_no_list_is_refused() -> None:
    with pytest.raises(DataError, match="expected a list"):
        parse_registry(b"name: a/b\n")


def test_unknown_models_work_without_a_registry() -> None:
    registry = ModelRegistry([RegisteredModel(name="a/b", organisation="A")])
    assert (registry.canonical_name("x/y"), registry.organisation_of("x/y")) == ("x/y", "x")
    assert (registry.organisation_of("a/b"), registry.organisation_of("alone")) == ("A", None)


def test_openness_follows_from_access_weights_and_declared_data() -> None:
    api = RegisteredModel(name="a/b", access="api", sources=("https://a.example",))
    data = RegisteredModel(name="a/c", training_data=("Data",), sources=("https://a.example",))
    assert openness(api, has_weights=True) == "API only"
    assert openness(data, has_weights=True) == "Weights and training data"
    assert openness(None, has_weights=True) == "Weights"
    assert openness(data) is None
