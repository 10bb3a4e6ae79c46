"""The models and judges that the host lists, and the default models."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rb_core.errors import RewardBenchError
from rb_core.space.try_a_pair import available_models
from rb_core.space.try_a_pair.available_models import (
    ALWAYS_AVAILABLE,
    DEFAULT_MODELS,
    AvailableModels,
    ListedJudge,
    judges_from_environment,
    models_from_environment,
)
from tests.space.try_a_pair.conftest import TINY
from tests.waiting import PATIENCE, wait_until

TinyModel = Callable[[str], Path]


def test_the_list_adds_hub_ids_and_folders_by_their_last_part(
    monkeypatch: pytest.MonkeyPatch, tiny_model: TinyModel
) -> None:
    monkeypatch.setenv("RB_LIVE_MODELS", f"org/name, {tiny_model('llama')}")
    models = models_from_environment()
    assert models.names == (*ALWAYS_AVAILABLE, "org/name", "local/llama")
    assert models.location("local/llama") == str(tiny_model("llama"))
    with pytest.raises(KeyError):
        models.location(str(tiny_model("qwen3")))


def test_an_empty_list_removes_the_default_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RB_LIVE_MODELS", "")
    assert models_from_environment().names == ALWAYS_AVAILABLE


@pytest.mark.parametrize("entry", ["no-organisation", "/no/such/folder", "../up", "a/b/c"])
def test_an_entry_that_is_no_folder_and_no_hub_id_stops_the_start(monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    monkeypatch.setenv("RB_LIVE_MODELS", f"org/name {entry}")
    with pytest.raises(RewardBenchError, match="RB_LIVE_MODELS lists"):
        models_from_environment()


def test_two_folders_of_one_name_stop_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for parent in ("one", "two"):
        (tmp_path / parent / "rm").mkdir(parents=True)
    monkeypatch.setenv("RB_LIVE_MODELS", f"{tmp_path}/one/rm, {tmp_path}/two/rm")
    with pytest.raises(RewardBenchError, match="two folders with the visible name 'local/rm'"):
        models_from_environment()


def test_default_models_are_available_once_the_hub_answers() -> None:
    hub_answers = threading.Event()
    asked: list[str] = []

    def is_on_hub(name: str) -> bool:
        asked.append(name)
        return hub_answers.is_set() and name != DEFAULT_MODELS[1]

    models = AvailableModels(None, is_on_hub, period=0.02).start()
    wait_until(lambda: len(asked) > 2)
    assert models.names == ALWAYS_AVAILABLE
    assert set(asked) == {DEFAULT_MODELS[0]}
    hub_answers.set()
    wait_until(lambda: len(models.names) > len(ALWAYS_AVAILABLE))
    assert models.names == (*ALWAYS_AVAILABLE, DEFAULT_MODELS[0], DEFAULT_MODELS[2])
    models.stop()


def test_a_hub_that_hangs_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    ended: list[str] = []

    def is_on_hub(name: str) -> bool:
        never.wait(PATIENCE)
        ended.append(name)
        return False

    monkeypatch.delenv("RB_LIVE_MODELS", raising=False)
    monkeypatch.setattr(available_models, "is_on_hub", is_on_hub)
    assert models_from_environment().names == ALWAYS_AVAILABLE
    assert ended == []
    never.set()


def test_the_list_of_judges_has_servers_folders_and_hub_ids(
    monkeypatch: pytest.MonkeyPatch, tiny_model: TinyModel
) -> None:
    folder = tiny_model("llama-lm")
    monkeypatch.setenv("RB_LIVE_MODELS", "")
    monkeypatch.setenv("RB_LIVE_JUDGES", f"org/a@https://host.example/v1, {folder} org/b")
    monkeypatch.setenv("RB_LIVE_JUDGE_MODE", "ratings")
    models = models_from_environment()
    assert models.names == (*ALWAYS_AVAILABLE, "org/a", "local/llama-lm", "org/b")
    assert models.judges["org/a"] == ListedJudge("org/a", "org/a", "https://host.example/v1", "ratings")
    assert models.judges["local/llama-lm"].location == str(folder)
    monkeypatch.delenv("RB_LIVE_JUDGES")
    assert judges_from_environment() == ()


@pytest.mark.parametrize(
    ("judges", "message"),
    [
        ("@http://host.example/v1", "without a valid name"),
        ("nope", "'nope', which is neither NAME@BASE_URL"),
        ("/etc/passwd", "neither NAME@BASE_URL"),
        ("a/b@http://", "a/b: the base URL"),
        ("a/b@http://one.example a/b@http://two.example", "two judges with the visible name 'a/b'"),
        (f"{TINY}@http://one.example", "the name of a reward model"),
    ],
)
def test_a_wrong_list_of_judges_stops_the_start(judges: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RB_LIVE_MODELS", "")
    monkeypatch.setenv("RB_LIVE_JUDGES", judges)
    with pytest.raises(RewardBenchError, match=message):
        models_from_environment()


def test_an_unknown_mode_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RB_LIVE_JUDGE_MODE", "debate")
    with pytest.raises(RewardBenchError, match="RB_LIVE_JUDGE_MODE is 'debate'; choose one of ratings, pairwise"):
        judges_from_environment()
