"""A judge behind a server: what is sent, what comes back, and what happens when it does not."""

from __future__ import annotations

from rb_core.scorers.judge.exchange import Decoding, Reply, Request
from rb_core.scorers.judge.served import ServedGenerator
from tests.judge_server import JudgeServer, Scripted


def ask(text: object, max_tokens: int = 64, **more: object) -> Request:
    return Request(({"role": "user", "content": f"Question {text}"},), max_tokens, **more)  # type: ignore[arg-type]


def served(server: JudgeServer, **more: object) -> ServedGenerator:
    return ServedGenerator("org/judge", Decoding(), **{"base_url": server.url, **more})  # type: ignore[arg-type]


def test_every_request_has_the_reply_to_it() -> None:
    """Replies come in any order, each with the place of its request."""

    def answer(body: dict) -> Scripted:  # type: ignore[type-arg]
        asked = body["messages"][0]["content"]
        return Scripted(asked.replace("Question", "Answer"), latency=0.05 if asked.endswith("0") else 0.0)

    with JudgeServer(answer) as server:
        replies: dict[int, Reply] = dict(served(server).generate(ask(place) for place in range(20)))
    assert {place: reply.text for place, reply in replies.items()} == {n: f"Answer {n}" for n in range(20)}
    assert all(reply.problem == "" and reply.tries == 1 and reply.finish == "stop" for reply in replies.values())
