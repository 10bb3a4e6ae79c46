"""Loading, keeping and removing models."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from rb_core.errors import RewardBenchError
from rb_core.models.resolve import resolve
from rb_core.space.limits import InputError, Limits
from rb_core.space.try_a_pair import model_cache
from rb_core.space.try_a_pair.available_models import AvailableModels
from rb_core.space.try_a_pair.model_cache import ModelCache, expected_bytes, weight_bytes
from rb_core.space.try_a_pair.question import Question
from rb_core.space.try_a_pair.scoring import PairScorer
from tests.space.try_a_pair.conftest import ANSWERS, PROMPT

LLAMA, QWEN, GEMMA = "local/llama", "local/qwen3", "local/gemma2"


@pytest.fixture(scope="module")
def models(tiny_model: Callable[[str], Path]) -> AvailableModels:
    """Three small models in folders."""
    return AvailableModels(tuple(str(tiny_model(name)) for name in ("llama", "qwen3", "gemma2")), lambda name: False)


@pytest.fixture(scope="module")
def sizes(models: AvailableModels) -> dict[str, int]:
    """Bytes that each model needs: its weights, and the headers of their files."""
    cache = PairScorer(models, Limits()).cache
    return {name: int(1.1 * cache.get(name).size) for name in (LLAMA, QWEN, GEMMA)}


def cache_of(models: AvailableModels, memory: int) -> ModelCache:
    return PairScorer(models, Limits(memory=memory)).cache


def test_the_least_recently_used_model_is_removed_and_can_be_loaded_again(
    models: AvailableModels, sizes: dict[str, int]
) -> None:
    total = sum(sizes.values())
    scorer = PairScorer(models, Limits(memory=total - min(sizes.values())))
    cache, question = scorer.cache, Question((LLAMA,), PROMPT, ANSWERS)
    result = scorer.score(question)
    first = weakref.ref(cache.get(LLAMA).scorer.model)  # type: ignore[attr-defined]
    cache.get(QWEN)
    assert cache.names == [LLAMA, QWEN]
    cache.get(LLAMA)
    cache.get(GEMMA)
    assert cache.names == [LLAMA, GEMMA]
    assert cache.size <= total - min(sizes.values())
    cache.get(QWEN)
    gc.collect()
    assert cache.names == [GEMMA, QWEN]
    assert first() is None, "the removed model's weights are still in memory"
    assert scorer.score(question) == result
    assert cache.names == [QWEN, LLAMA]


def test_a_model_above_the_limit_is_refused_before_it_is_loaded(models: AvailableModels, sizes: dict[str, int]) -> None:
    cache = cache_of(models, sizes[LLAMA] // 2)
    with pytest.raises(InputError, match=r"local/llama needs 0\.0 GiB of memory; the limit of this page is 0\.0 GiB"):
        cache.get(LLAMA)
    cache.get("baseline/longest")
    assert cache.names == ["baseline/longest"]


def test_the_expected_size_is_that_of_the_weights(models: AvailableModels, sizes: dict[str, int]) -> None:
    assert sizes[LLAMA] / 1.1 == pytest.approx(expected_bytes(resolve(models.location(LLAMA))), rel=0.1)
    assert expected_bytes(resolve("baseline/longest")) == 0
    assert weight_bytes(cache_of(models, 1).get("baseline/longest").scorer) == 0


def test_many_visitors_load_a_model_once_and_see_the_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cache, "PROGRESS_PERIOD", 0.02)
    loads: list[object] = []

    def load(spec: object) -> object:
        loads.append(spec)
        time.sleep(0.1)
        return object()

    cache = ModelCache(1, lambda name: resolve("baseline/longest"), load)  # type: ignore[arg-type]
    messages: list[list[str]] = []
    threads = [threading.Thread(target=lambda: messages.append(list(cache.load("some/model")))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert all("Loading some/model (0 s)" in visitor[0] for visitor in messages)
    assert list(cache.load("some/model")) == []


def test_a_failure_is_not_tried_again_at_once(caplog: pytest.LogCaptureFixture) -> None:
    attempts: list[str] = []

    def fail(name: str) -> NoReturn:
        attempts.append(name)
        raise RewardBenchError("/secret/place is missing")

    cache = ModelCache(1, fail, lambda spec: spec)  # type: ignore[arg-type, return-value]
    for _ in range(3):
        with pytest.raises(InputError, match=r"^org/x cannot be loaded on this machine\. Choose another model\.$"):
            cache.get("org/x")
    assert attempts == ["org/x"]
    assert "/secret/place" in caplog.text


@pytest.mark.parametrize("error", [TimeoutError("no answer"), RuntimeError("out of memory"), KeyError("rope_type")])
def test_any_error_of_a_library_is_a_refusal_with_a_traceback_in_the_log(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(spec: object) -> NoReturn:
        raise error

    cache = ModelCache(1, lambda name: resolve("baseline/longest"), fail)
    with pytest.raises(InputError, match="cannot be loaded on this machine"):
        list(cache.load("org/x"))
    assert "Traceback" in caplog.text
