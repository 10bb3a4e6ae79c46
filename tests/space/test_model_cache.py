"""Which models the page offers, and which of them it keeps in memory."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from rb_core.errors import RewardBenchError
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.resolve import resolve
from rb_core.space.limits import InputError, Limits
from rb_core.space.try_a_pair import available_models, model_cache
from rb_core.space.try_a_pair.available_models import ALWAYS, DEFAULTS, Offer, offer_from_environment
from rb_core.space.try_a_pair.model_cache import LoadedModels, expected_bytes, weight_bytes
from rb_core.space.try_a_pair.question import Question
from rb_core.space.try_a_pair.scoring import Live
from rb_core.space.try_a_pair.what_if import BY_ID, all_texts, moved

TinyModel = Callable[[str], Path]
PROMPT, ANSWERS = "What is the capital of France?", ("Paris.", "I do not know the answer.")


def question(*models: str) -> Question:
    return Question(models, PROMPT, ANSWERS)


def nowhere(name: str) -> bool:
    return False


@pytest.fixture
def offered(tiny_model: TinyModel) -> Offer:
    """Three small models in folders beside what is always there."""
    return Offer(tuple(str(tiny_model(name)) for name in ("llama", "qwen3", "gemma2")), nowhere)


LLAMA, QWEN, GEMMA = "local/llama", "local/qwen3", "local/gemma2"


def size_of(offer: Offer, *names: str) -> int:
    """Bytes that are enough for these and for no other beside them: their weights, and the headers of their files."""
    live = Live(offer, Limits())
    for _ in live.bring(names):
        pass
    return int(1.1 * live.loaded.size)


def test_the_longest_unused_model_goes_first(offered: Offer) -> None:
    """A budget for two models keeps the two that were used last, and what went is loaded again with the same scores."""
    budget = max(size_of(offered, *pair) for pair in ((LLAMA, QWEN), (LLAMA, GEMMA), (QWEN, GEMMA)))
    live = Live(offered, Limits(memory=budget))
    first = live.score(question(LLAMA))[0]
    live.score(question(QWEN))
    assert live.loaded.names == [LLAMA, QWEN]
    live.score(question(LLAMA))
    live.score(question(GEMMA))
    assert live.loaded.names == [LLAMA, GEMMA]
    assert live.loaded.size <= budget
    live.score(question(QWEN))
    assert live.loaded.names == [GEMMA, QWEN]
    assert live.score(question(LLAMA))[0] == first


def test_what_makes_room_is_freed(offered: Offer) -> None:
    """A model that has gone is not held by anything: its weights are collected."""
    live = Live(offered, Limits(memory=max(size_of(offered, LLAMA), size_of(offered, QWEN))))
    live.score(question(LLAMA))
    model = weakref.ref(live.loaded.get(LLAMA).scorer.model)  # type: ignore[attr-defined]
    live.score(question(QWEN))
    gc.collect()
    assert live.loaded.names == [QWEN]
    assert model() is None


def test_a_model_beyond_the_budget_is_refused_with_both_sizes(offered: Offer) -> None:
    """It is refused by the size of its files, before it is loaded, and what is loaded stays."""
    live = Live(offered, Limits(memory=size_of(offered, LLAMA) // 2))
    with pytest.raises(InputError, match=r"local/llama takes 0\.0 GiB, and this page keeps to 0\.0 GiB"):
        live.score(question(LLAMA))
    live.score(question("baseline/longest"))
    assert live.loaded.names == ["baseline/longest"]


def test_the_expected_size_is_that_of_the_weights(offered: Offer, tiny_model: TinyModel) -> None:
    """The files' sizes say what a model will take, but for their headers."""
    expected = expected_bytes(resolve(str(tiny_model("llama"))))
    scorer = Live(offered, Limits()).loaded.get(LLAMA).scorer
    assert weight_bytes(scorer) == pytest.approx(expected, rel=0.1)
    assert expected_bytes(resolve("baseline/longest")) == 0


def test_many_visitors_load_a_model_once(monkeypatch: pytest.MonkeyPatch, tiny_model: TinyModel) -> None:
    """Those who ask for the same model at once wait for one loading, and are told how long it has taken so far."""
    monkeypatch.setattr(model_cache, "BEAT", 0.02)
    began: list[str] = []
    spec = resolve("baseline/longest")

    def load(spec: object) -> object:
        began.append("once")
        time.sleep(0.2)
        return object()

    models = LoadedModels(1, lambda name: spec, load)  # type: ignore[arg-type]
    words: list[list[str]] = []
    threads = [threading.Thread(target=lambda: words.append(list(models.bring("some/model")))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert began == ["once"]
    assert all(any("Loading some/model: 0 s so far" in word for word in each) for each in words)
    assert list(models.bring("some/model")) == []


def test_a_failure_is_not_tried_again_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """A model that cannot be loaded is refused from memory for a while: nobody's wait is for nothing twice."""
    tries: list[str] = []

    def fail(name: str) -> object:
        tries.append(name)
        raise RewardBenchError("/secret/place is missing")

    models = LoadedModels(1, fail, lambda spec: spec)  # type: ignore[arg-type, return-value]
    for _ in range(3):
        with pytest.raises(InputError, match=r"^org/x cannot be loaded on this machine\. Choose another model\.$"):
            models.get("org/x")
    assert tries == ["org/x"]
    assert "/secret/place" in caplog.text


@pytest.mark.parametrize("error", [TimeoutError("no answer"), RuntimeError("out of memory"), KeyError("rope_type")])
def test_what_a_library_raises_is_a_refusal_too(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A visitor reads that the model cannot be had, whatever it was; the log has where it came from."""

    def fail(spec: object) -> NoReturn:
        raise error

    models = LoadedModels(1, lambda name: resolve("baseline/longest"), fail)
    with pytest.raises(InputError, match="cannot be loaded on this machine"):
        list(models.bring("org/x"))
    assert "Traceback" in caplog.text


def test_an_allowlist_offers_what_it_lists(monkeypatch: pytest.MonkeyPatch, tiny_model: TinyModel) -> None:
    """RB_LIVE_MODELS adds hub ids and folders, a folder by its last name only; nothing else can be asked for."""
    monkeypatch.setenv("RB_LIVE_MODELS", f"org/name, {tiny_model('llama')}")
    offer = offer_from_environment()
    assert offer.names == (*ALWAYS, "org/name", LLAMA)
    live = Live(offer, Limits())
    outcome = live.score(question(LLAMA))[0]
    scorer = live.loaded.get(LLAMA).scorer
    from rb_core.benchmarks.example import CompletionSet

    expected = score_completion_sets(scorer, [CompletionSet(question(LLAMA).conversation, ANSWERS)])[0]
    assert [c.value for c in outcome.completions] == [score.value for score in expected]
    with pytest.raises(KeyError):
        offer.place(str(tiny_model("qwen3")))


def test_an_empty_allowlist_offers_no_more_than_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set and empty, it takes the defaults away."""
    monkeypatch.setenv("RB_LIVE_MODELS", "")
    assert offer_from_environment().names == ALWAYS


@pytest.mark.parametrize("entry", ["no-organisation", "/no/such/folder", "../up", "a/b/c"])
def test_an_allowlist_with_a_mistake_ends_the_start(monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    """What is neither a folder nor a hub id is named when the page starts."""
    monkeypatch.setenv("RB_LIVE_MODELS", f"org/name {entry}")
    with pytest.raises(RewardBenchError, match="RB_LIVE_MODELS lists"):
        offer_from_environment()


def test_two_folders_of_one_name_end_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither stands in for the other."""
    for place in ("one", "two"):
        (tmp_path / place / "rm").mkdir(parents=True)
    monkeypatch.setenv("RB_LIVE_MODELS", f"{tmp_path}/one/rm, {tmp_path}/two/rm")
    with pytest.raises(RewardBenchError, match="two folders that visitors would read as 'local/rm'"):
        offer_from_environment()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it did not happen within five seconds"
        time.sleep(0.01)


def test_the_defaults_are_offered_once_the_hub_answers() -> None:
    """They appear when they are found, in a thread of its own; a hub that is away is asked again."""
    there = threading.Event()
    asked: list[str] = []

    def on_hub(name: str) -> bool:
        asked.append(name)
        return there.is_set() and name != DEFAULTS[1]

    offer = Offer(None, on_hub, period=0.02).start()
    wait_for(lambda: len(asked) > 2)
    assert offer.names == ALWAYS
    assert set(asked) == {DEFAULTS[0]}
    there.set()
    wait_for(lambda: len(offer.names) > len(ALWAYS))
    assert offer.names == (*ALWAYS, DEFAULTS[0], DEFAULTS[2])
    offer.stop()


def test_nobody_waits_for_a_hub_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that never answers delays neither the start nor what is offered."""
    never = threading.Event()
    monkeypatch.delenv("RB_LIVE_MODELS", raising=False)
    monkeypatch.setattr(available_models, "on_hub", lambda name: never.wait())
    begin = time.monotonic()
    assert offer_from_environment().names == ALWAYS
    assert time.monotonic() - begin < 0.5
    never.set()


def test_a_model_of_another_kind_shows_its_tokens_too(tiny_model: TinyModel) -> None:
    """The rewards along a completion end in its score, for a classifier that is read at its last token."""
    live = Live(Offer((str(tiny_model("llama")),), nowhere), Limits())
    outcome = live.score(question(LLAMA), along=True)[0]
    for completion in outcome.completions:
        assert completion.along[-1].reward == pytest.approx(completion.value, abs=1e-4)


def test_a_model_without_a_reward_by_token_says_so(tiny_model: TinyModel) -> None:
    """Where a model does not read its score at one token, its scores stand and the reason is given."""
    live = Live(Offer((str(tiny_model("llama")),), nowhere), Limits())
    live.loaded.get(LLAMA).scorer.reads_a_token = False  # type: ignore[attr-defined]
    outcome = live.score(question(LLAMA), along=True)[0]
    assert None not in [completion.value for completion in outcome.completions]
    assert "no reward per token" in outcome.no_along


def test_rewards_by_token_keep_to_the_bound(offered: Offer) -> None:
    """A long prompt goes through the model once for its scores, but once a completion for the rewards by token: where
    that is too much, the scores stand without them."""
    long = replace(question(LLAMA), prompt="word " * 60, completions=tuple(f"answer {n}" for n in range(8)))
    everything = Live(offered, Limits()).score(long, along=True)[0]
    assert all(completion.along for completion in everything.completions)
    most = 2 * max(completion.score.num_tokens for completion in everything.completions)
    bounded = Live(offered, Limits(tokens=most)).score(long, along=True)[0]
    assert [c.value for c in bounded.completions] == [c.value for c in everything.completions]
    assert not any(completion.along for completion in bounded.completions)
    assert f"at most {most:,} are read here at once" in bounded.no_along


def test_a_change_is_scored_like_a_text_that_is_typed(offered: Offer) -> None:
    """What a change is said to do to a score is what typing the changed text does."""
    live = Live(offered, Limits())
    changes = (BY_ID["polite"], BY_ID["refusal"])
    asked = question(LLAMA, "baseline/longest")
    found = moved(asked.models, changes, 2, live.values(asked, all_texts(ANSWERS, changes)))
    assert [(move.model, move.change.id) for move in found] == [
        (model, change.id) for model in asked.models for change in changes
    ]
    for move in found:
        typed = Question((move.model,), PROMPT, tuple(map(move.change.apply, ANSWERS)))
        after = [completion.value for completion in live.score(typed)[0].completions]
        before = [completion.value for completion in live.score(question(move.model))[0].completions]
        assert [shift.after for shift in move.shifts] == pytest.approx(after, abs=1e-5)
        assert [shift.before for shift in move.shifts] == pytest.approx(before, abs=1e-5)


def test_too_many_tokens_are_refused_with_both_numbers(offered: Offer) -> None:
    """The bound on tokens is the model's own count, and the message says what to do."""
    live = Live(offered, Limits(tokens=20))
    with pytest.raises(InputError, match=r"To local/llama this is \d+ tokens; at most 20 .* Shorten"):
        live.score(question(LLAMA))
