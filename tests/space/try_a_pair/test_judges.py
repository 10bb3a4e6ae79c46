"""Judges within limits: what is asked, what is refused, what happens without an answer, and that nothing is kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.scorers.judge.scorer import JudgeScorer
from rb_core.space.limits import InputError, Limits
from rb_core.space.try_a_pair import judges
from rb_core.space.try_a_pair.available_models import AvailableModels, ListedJudge
from rb_core.space.try_a_pair.judges import LimitedJudges, shorten
from rb_core.space.try_a_pair.model_cache import expected_bytes
from rb_core.space.try_a_pair.question import Question
from rb_core.space.try_a_pair.result import PairResult
from rb_core.space.try_a_pair.result_json import download_json
from rb_core.space.try_a_pair.scoring import PairScorer
from tests.fakes.judge_server import Fault, JudgeServer, Scripted
from tests.fakes.judges import judge, read
from tests.space.try_a_pair.conftest import PROMPT

JUDGE = "test/judge"
ANSWERS = ("Put it into boiling water for eight minutes.", "No.", "Ask somebody who can cook.")
by_length = judge(lambda prompt, answer: len(answer) / 1000)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RB_JUDGE_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer(by_length) as judge_server:
        yield judge_server


def scorer_of(server: JudgeServer, mode: str = "pairwise", **limits: Any) -> PairScorer:
    """A scorer with one judge, whose server gets a second."""
    listed = ListedJudge(JUDGE, JUDGE, server.url, mode)  # type: ignore[arg-type]
    models = AvailableModels((), lambda name: False, judges=(listed,))
    return PairScorer(models, Limits(**{"judge_seconds": 1} | limits))


def question(*completions: str, model: str = JUDGE) -> Question:
    return Question((model,), PROMPT, completions or ANSWERS)


def ask_judge(scorer: PairScorer, *completions: str) -> PairResult:
    return scorer.score(question(*completions))[0]


@pytest.mark.parametrize(
    ("mode", "requests", "scores"),
    [("pairwise", 6, [1.0, 0.0, 0.5]), ("listwise", 3, [1.0, 0.0, 0.0]), ("ratings", 3, [1.0, 1.0, 1.0])],
)
def test_the_hosts_mode_decides_the_requests_and_the_scores(
    server: JudgeServer, mode: str, requests: int, scores: list[float]
) -> None:
    result = ask_judge(scorer_of(server, mode))
    assert [completion.value for completion in result.completions] == scores
    assert result.judge is not None
    assert len(result.judge.records) == requests == len(server.requests)


def test_the_download_has_question_and_records_as_strict_json(server: JudgeServer) -> None:
    content = download_json(question(), scorer_of(server).score(question()), [None])
    assert len(json.loads(json.dumps(content, allow_nan=False))["results"][0]["judge"]["exchanges"]) == 6
    assert content["completions"] == list(ANSWERS)


def test_too_many_requests_are_refused_with_the_number_of_completions_that_would_do(server: JudgeServer) -> None:
    with pytest.raises(InputError, match=r"needs 20 requests for 5 .* at most 16 .* Give at most 4 completions"):
        ask_judge(scorer_of(server), *"abcde")
    with pytest.raises(InputError, match=r"at most 1 are sent .* Choose another model"):
        ask_judge(scorer_of(server, judge_requests=1), *"ab")
    assert server.requests == []
    ask_judge(scorer_of(server, judge_requests=20), *"abcde")


def test_long_texts_are_refused_before_they_are_sent(server: JudgeServer) -> None:
    """The server's tokenizer is not available here, so bytes are counted, over all requests of the question."""
    with pytest.raises(InputError, match=r"may be [\d,]+ tokens in 6 requests, if each byte is one"):
        ask_judge(scorer_of(server), "é" * 10_000, "b", "c")
    assert server.requests == []


@pytest.mark.parametrize("fault", [Fault("status", status=503), Fault("hang"), Fault("cut")], ids=lambda f: f.kind)
def test_a_server_without_an_answer_is_not_asked_again_at_once(
    server: JudgeServer, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = lambda body: fault
    scorer, now = scorer_of(server), [100.0]
    scorer.judges = LimitedJudges(scorer.limits, clock=lambda: now[0])
    with pytest.raises(InputError, match="does not answer"):
        ask_judge(scorer, "One", "Two")
    sent = len(server.requests)
    with pytest.raises(InputError, match="does not answer"):
        ask_judge(scorer, "One", "Two")
    assert len(server.requests) == sent
    server.answer = by_length
    now[0] += judges.RETRY_PERIOD
    assert ask_judge(scorer, "One", "Four").margin == 1.0
    assert f"{JUDGE} did not answer within 1 s" in caplog.text
    assert PROMPT not in caplog.text


def test_without_some_answers_their_completions_are_unscored_with_the_reason(server: JudgeServer) -> None:
    def fail_on_the_third(body: Any) -> Scripted | Fault:
        return Fault("status", status=503) if ANSWERS[2] in read(body)[1] else by_length(body)

    server.answer = fail_on_the_third
    result = ask_judge(scorer_of(server))
    assert result.judge is not None
    assert result.judge.agreement == (1, 1)
    assert [completion.value for completion in result.completions] == [None, None, None]
    assert "no answer from the server" in result.completions[2].score.reason


def test_a_refused_key_is_reported_to_the_host_only(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says what to do, without the key and without the server's message, which may repeat the question."""
    monkeypatch.setenv("RB_JUDGE_API_KEY", "sk-wrong-key")
    with JudgeServer(by_length, key="sk-right") as server:
        server.fail(Fault("status", status=401, said=f"wrong key sk-wrong-key for {PROMPT}"))
        with pytest.raises(InputError) as refusal:
            ask_judge(scorer_of(server), "One", "Two")
    assert str(refusal.value).startswith(f"{JUDGE} could not be asked; the reason is in this page's log.")
    assert "refuses the key (HTTP 401); correct RB_JUDGE_API_KEY" in caplog.text
    assert "sk-wrong-key" not in caplog.text
    assert PROMPT not in caplog.text


def test_a_judge_is_not_asked_beyond_its_token_budget(server: JudgeServer) -> None:
    scorer = scorer_of(server, judge_total=6_000)
    ask_judge(scorer, "One", "Two")
    budget = scorer.cache.get(JUDGE).scorer.budget  # type: ignore[attr-defined]
    assert 0 < budget.prompt_tokens < 6_000
    budget.prompt_tokens = 5_000
    with pytest.raises(InputError, match="has used up its token budget"):
        ask_judge(scorer, "Three", "Four")


def test_no_transcript_is_kept_and_the_same_question_is_asked_again(server: JudgeServer) -> None:
    scorer = scorer_of(server)
    judge_scorer = scorer.cache.get(JUDGE).scorer
    assert isinstance(judge_scorer, JudgeScorer)
    ask_judge(scorer, "One", "Two")
    assert judge_scorer.transcript.replies == {}
    ask_judge(scorer, "One", "Two")
    assert len(server.requests) == 4
    server.fail(Fault("status", status=401, said="no"))
    with pytest.raises(InputError):
        ask_judge(scorer, "One", "Two")
    assert judge_scorer.transcript.replies == {}


def test_concurrent_questions_get_their_own_replies_and_delay_no_other_model() -> None:
    results: dict[int, PairResult] = {}
    with JudgeServer(by_length, latency=0.2) as server:
        scorer = scorer_of(server, judge_seconds=20)

        def ask(number: int) -> None:
            results[number] = ask_judge(scorer, f"One {number} " * (number % 2 + 1), f"Two {number} long")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        assert scorer.score(question(model="baseline/longest"))[0].margin is not None
        assert results == {}
        for thread in threads:
            thread.join()
    for number, result in results.items():
        assert result.judge is not None
        assert all(f"One {number} " in str(record.messages) for record in result.judge.records)
        assert [completion.rank for completion in result.completions] == ([1, 2] if number % 2 else [2, 1])


def test_a_local_judge_counts_towards_the_memory_of_all_models(tiny_model: Callable[[str], Path]) -> None:
    folder = tiny_model("llama-lm")
    listed = ListedJudge("local/llama-lm", str(folder), None, "logprob")
    scorer = PairScorer(AvailableModels((), lambda name: False, judges=(listed,)), Limits(judge_reply=8))
    result = scorer.score(question(model="local/llama-lm"))[0]
    assert result.judge is not None
    assert len(result.judge.records) == 6
    expected = expected_bytes(resolve(str(folder), ModelOptions(kind="generative")))
    assert scorer.cache.size == pytest.approx(expected, rel=0.1)
    with pytest.raises(InputError, match="the limit of this page is"):
        PairScorer(scorer.models, Limits(memory=1000)).score(question(model="local/llama-lm"))


def test_only_long_texts_are_shortened_in_the_middle() -> None:
    assert shorten("x" * 10, 10) == "x" * 10
    assert shorten("a" * 60 + "b" * 60, 20) == f"{'a' * 10}\n[… 100 characters left out …]\n{'b' * 10}"
