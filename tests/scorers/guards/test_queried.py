"""Guards behind a server, against scripted ones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from rb_core.errors import ModelError, NotScoredError
from rb_core.evaluation.guard_probabilities import guard_probabilities
from rb_core.results.failures import NO_SCORE, REJECTED
from rb_core.scorers.guards.load import Guard, load_guard
from rb_core.scorers.guards.spec import parse_guard
from rb_core.scorers.judge.types import UNREADABLE
from tests.fakes.guards import judge_server, moderation_server
from tests.fakes.judge_server import Fault, JudgeServer, Scripted
from tests.scorers.guards.test_load import prompt_with

SETS = [prompt_with("harm", "help", "a harmless word"), prompt_with("help", prompt="harm me")]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RB_GUARD_API_KEY", "RB_JUDGE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def guard_of(kind: str, server: JudgeServer, arguments: str = "") -> Guard:
    return load_guard(parse_guard(f"{kind}:name@{server.url}", arguments))


def values(guard: Guard, **options: Any) -> list[list[float]]:
    return [[each.value for each in row] for row in guard_probabilities(guard, SETS, **options)]


def categories(text: str) -> dict[str, float]:
    return {"hate": 0.01, "violence": 0.4 if "harm" in text else 0.02}


def test_a_moderation_endpoint_gives_its_largest_score_about_the_completion() -> None:
    with moderation_server(categories, key="a-key") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RB_GUARD_API_KEY", "a-key")
        assert values(guard_of("moderation", server)) == [[0.4, 0.02, 0.4], [0.02]]
        assert values(guard_of("moderation", server, "label=hate")) == [[0.01] * 3, [0.01]]
        assert values(guard_of("moderation", server, "label=flagged")) == [[1.0, 0.0, 1.0], [0.0]]
        assert values(guard_of("moderation", server, "reads=conversation"))[1] == [0.4]
    assert {received.path for received in server.requests} == {"/v1/moderations"}
    assert {"model": "name", "input": "harm"} in [received.body for received in server.requests]


def test_an_endpoint_without_scores_gives_its_flag() -> None:
    with moderation_server(lambda text: None) as server:
        assert values(guard_of("moderation", server)) == [[1.0, 0.0, 1.0], [0.0]]


def test_a_category_that_an_endpoint_lacks_ends_the_run_with_its_categories() -> None:
    with (
        moderation_server(categories) as server,
        pytest.raises(ModelError, match="no category 'toxic'; label is one of flagged, hate, violence"),
    ):
        values(guard_of("moderation", server, "label=toxic"))


@pytest.mark.parametrize("said", [{"results": []}, {"results": [{"flagged": "yes"}]}])
def test_an_answer_of_another_form_is_unknown(said: dict[str, Any]) -> None:
    def answer(body: Any) -> Fault:
        good = {"results": [{"flagged": True, "category_scores": {"a": 0.7}}]}
        return Fault("raw", said=said if "harmless" in body["input"] else good)

    with JudgeServer(answer, endpoint="/moderations") as server:
        rows = guard_probabilities(guard_of("moderation", server), SETS)
    assert [each.reason for each in rows[0]] == ["", "", NO_SCORE]


def test_scores_beyond_0_to_1_are_no_probabilities() -> None:
    with moderation_server(lambda text: {"a": 7.0 if text == "harm" else 0.5}) as server:
        assert [math.isnan(value) for value in values(guard_of("moderation", server))[0]] == [True, False, False]


@pytest.mark.parametrize("tokens", ["whole", "split"])
def test_a_judge_gives_the_probability_of_its_first_word(tokens: str) -> None:
    with judge_server(lambda text: 0.8 if "answer #" in text and "\nharm\n" in text else 0.1, tokens=tokens) as server:
        assert values(guard_of("judge", server))[0] == pytest.approx([0.8, 0.1, 0.1])
    bodies = [received.body for received in server.requests]
    assert all("unsafe" in body["messages"][0]["content"] and body["logprobs"] is True for body in bodies)
    assert any("Tell me." in body["messages"][1]["content"] for body in bodies)


def test_a_guard_model_is_sent_the_conversation_itself() -> None:
    with judge_server(lambda text: 0.7 if text == "harm" else 0.2) as server:
        assert values(guard_of("judge", server, "asked_by=template"))[0] == pytest.approx([0.7, 0.2, 0.2])
    assert [message["role"] for message in server.requests[0].body["messages"]] == ["user", "assistant"]


def test_a_judge_without_log_probabilities_gives_its_word() -> None:
    with judge_server(lambda text: 0.8 if "\nharm\n" in text else 0.1, tokens="none") as server:
        assert values(guard_of("judge", server))[0] == [1.0, 0.0, 0.0]


def test_other_words_are_read_and_nonsense_is_unknown() -> None:
    def answer(body: Any) -> str:
        text = body["messages"][-1]["content"]
        return "Yes, it is." if "\nharm\n" in text else "No" if "\nhelp\n" in text else "Perhaps"

    with JudgeServer(answer) as server:
        rows = guard_probabilities(guard_of("judge", server, "words=yes,no"), SETS)
    assert [each.reason for each in rows[0]] == ["", "", UNREADABLE]
    assert [each.value for each in rows[0][:2]] == [1.0, 0.0]


def test_a_refused_request_is_unknown_and_a_server_without_answers_an_error() -> None:
    def answer(body: Any) -> str | Fault:
        return Fault("status", status=400, said="no") if "harmless" in body["messages"][-1]["content"] else "safe"

    with JudgeServer(answer) as server:
        rows = guard_probabilities(guard_of("judge", server, "asked_by=template"), SETS)
        assert [each.reason for each in rows[0]] == ["", "", REJECTED]
    with (
        JudgeServer(lambda body: Scripted("I cannot say")) as server,
        pytest.raises(NotScoredError, match=f"judge:name: none of 4 completions has a probability: {UNREADABLE}"),
    ):
        values(guard_of("judge", server))


def test_the_key_of_a_judge_is_never_sent_to_a_guard() -> None:
    with judge_server(lambda text: 0.5) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RB_JUDGE_API_KEY", "the-key-of-the-judge")
        patch.setenv("RB_GUARD_API_KEY", "the-key-of-the-guard")
        values(guard_of("judge", server))
    sent = json.dumps([dict(request.headers) for request in server.requests])
    assert "the-key-of-the-guard" in sent
    assert "the-key-of-the-judge" not in sent


def shown_in(body: Any) -> str:
    """Return the text that a request is about."""
    return str(body.get("input") or body["messages"][-1]["content"])


@pytest.mark.parametrize("kind", ["moderation", "judge"])
def test_a_killed_run_asks_only_about_the_rest(kind: str, tmp_path: Path) -> None:
    """The third distinct request meets an error that ends the run; the same call then sends only what is missing."""
    refuse = [True]

    def answer(body: Any) -> Fault | str:
        text = body.get("input") or body["messages"][-1]["content"]
        if "harmless" in text and refuse[0]:
            return Fault("status", status=401, said="no key")
        if kind == "judge":
            return "unsafe"
        return Fault("raw", said={"results": [{"flagged": True}]})

    endpoint = {"moderation": "/moderations", "judge": "/chat/completions"}[kind]
    with JudgeServer(answer, endpoint=endpoint) as server:
        replies, arguments = tmp_path / "guard.replies", "concurrency=1"
        with pytest.raises(ModelError, match="key"):
            values(guard_of(kind, server, arguments), replies=replies)
        refuse[0] = False
        assert values(guard_of(kind, server, arguments), replies=replies) == [[1.0] * 3, [1.0]]
        answered = [json.dumps(request.body) for request in server.requests if "harmless" not in shown_in(request.body)]
        assert len(answered) == len(set(answered)) > 0
    assert str(server.url) not in replies.read_text()
