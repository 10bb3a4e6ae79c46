"""The repository of the requests: commits on top of others', and files that are no requests."""

from __future__ import annotations

import json
import pickle
from datetime import timedelta
from typing import Any

import pytest

from rb_core.errors import DataError, HubError
from rb_core.evaluation_queue.checks import RequestLimits, RequestRefused, add_request
from rb_core.evaluation_queue.repository import RequestsRepo
from rb_core.evaluation_queue.request import TransitionError, parse_evaluation_request, utc_now
from tests.fakes.hub_faults import Fault
from tests.fakes.hub_server import Server
from tests.fakes.requests import NOW, REQUESTS_KEY, make_request, request_files, requests_in

LIMITS = RequestLimits()
GOOD = make_request(1)
RUNNING = GOOD.taken("one", NOW, timedelta(minutes=30))


def changed(**fields: Any) -> bytes:
    """The file of a good request with other fields; None removes one."""
    content = json.loads(GOOD.to_json()) | fields
    return json.dumps({name: value for name, value in content.items() if value is not None}).encode()


def running(**fields: Any) -> bytes:
    return json.dumps(json.loads(RUNNING.to_json()) | fields).encode()


# Contents at the path of a good request.
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"model": "\xff\xfe"}',
    "a list": b"[]",
    "null": b"null",
    "a number": b"1e999",
    "nested too deep": b"[" * 50_000,
    "a pickle": pickle.dumps({"state": "waiting"}),
    "HTML": b"<html><script>alert(1)</script></html>",
    "two objects": GOOD.to_json() * 2,
    "another version": changed(schema_version=2),
    "no version": changed(schema_version="1"),
    "no model": changed(model=""),
    "path in the model": changed(model="../../etc"),
    "three parts": changed(model="a/b/c"),
    "a line in the model": changed(model="org/x\ny"),
    "a branch": changed(revision="main"),
    "an unknown benchmark": changed(benchmark="../starter"),
    "an unknown field": changed(trust_remote_code=True),
    "an unknown state": changed(state="approved"),
    "a state of another type": changed(state=["done"]),
    "refused without a reason": changed(state="refused"),
    "running without a worker": changed(state="running"),
    "a lease for ever": running(lease_until="9999-01-01T00:00:00Z"),
    "a time without a zone": changed(requested="2026-01-01T00:00:00"),
    "a word instead of a time": changed(requested="yesterday"),
    "no votes": changed(votes=[]),
    "two votes of one": changed(votes=["a", "a"]),
    "markup in a vote": changed(votes=["<b>"]),
    "votes of another type": changed(votes="visitor"),
    "a huge number": changed(parameters=10**400),
    "a negative number": changed(parameters=-1),
    "NaN": changed(gpu_hours=float("nan")),
    "infinity": changed(gpu_hours=float("inf")),
    "a long reason": changed(reason="x" * 5000),
    "options of another type": changed(options=[]),
    "an unknown option": changed(options={"trust_remote_code": True}),
    "an option of the host": changed(options={"device": "cuda"}),
    "an option of another type": changed(options={"beta": "0.1"}),
    "an option of NaN": changed(options={"beta": float("nan")}),
    "an impossible option": changed(options={"beta": -1.0}),
    "a judge": changed(options={"kind": "generative"}),
    "code as an option": changed(options={"scorer": "os:system"}),
    "another request": make_request(2).to_json(),
}
# Files at other places.
PLACES: dict[str, tuple[str, bytes]] = {
    "a copy": ("requests/0123456789abcdef.json", GOOD.to_json()),
    "a name of its own": ("requests/mine.json", GOOD.to_json()),
    "upper case": (f"requests/{GOOD.id.upper()}.json", GOOD.to_json()),
    "a folder": (f"requests/{GOOD.id}.json/x.json", GOOD.to_json()),
    "a way out": ("requests/../../x.json", GOOD.to_json()),
    "a pickle beside": ("requests/x.pkl", b"\x80\x04."),
    "a program": ("requests/run.py", b"print()"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_hostile_content_is_refused_by_name(kind: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_evaluation_request(CONTENTS[kind], GOOD.path)
    assert str(caught.value).startswith(GOOD.path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_hostile_files_are_refused_by_name_and_the_others_are_read(server: Server, repo: RequestsRepo) -> None:
    server.commit(REQUESTS_KEY, request_files(make_request(7)))
    store, paths = server.repo(REQUESTS_KEY), [make_request(100 + i).path for i in range(len(CONTENTS) + 3)]
    for path, content in [*zip(paths, CONTENTS.values(), strict=False), *PLACES.values()]:
        store.forge(path, content)
    store.forge(paths[-3], GOOD.to_json(), size=10**12)
    store.forge(paths[-2], GOOD.to_json(), etag="0" * 40)
    store.forge(paths[-1], symlink="/etc/passwd")
    queue = repo.queue()
    assert list(queue.requests) == [make_request(7).id]
    hostile = {*paths, *(path for path, _ in PLACES.values())}
    assert {message.split("'")[1] for message in queue.refused} == hostile
    assert len(queue.refused) == len(hostile) >= 40


def test_a_refused_file_is_not_overwritten(server: Server, repo: RequestsRepo) -> None:
    server.commit(REQUESTS_KEY, {GOOD.path: b"{"})
    with pytest.raises(HubError, match=GOOD.id):
        add_request(repo, GOOD, LIMITS)
    assert server.repo(REQUESTS_KEY).files()[GOOD.path] == b"{"


def test_a_change_is_decided_again_on_what_somebody_else_has_committed(server: Server, repo: RequestsRepo) -> None:
    add_request(repo, GOOD, LIMITS)
    server.before_commit = lambda key: slip_in()

    def slip_in() -> None:
        server.before_commit = None
        server.commit(REQUESTS_KEY, request_files(GOOD.voted("third"), make_request(2)))

    filed = add_request(repo, make_request(1, votes=("second",)), LIMITS)
    assert filed.votes == ("visitor", "third", "second")
    assert requests_in(server.repo(REQUESTS_KEY).files()) == {each.id: each for each in (filed, make_request(2))}


@pytest.mark.parametrize("kind", ["lost-answer", "412", "409", "500", "503", "429", "cut-up", "cut-down"])
def test_a_fault_changes_nothing_twice(server: Server, repo: RequestsRepo, kind: str) -> None:
    server.fail(Fault(kind, match="POST .*/commit/"))
    assert add_request(repo, GOOD, LIMITS) == GOOD
    assert len(server.repo(REQUESTS_KEY).commits) == 2


def test_files_are_fetched_once(server: Server, repo: RequestsRepo) -> None:
    server.commit(REQUESTS_KEY, request_files(*map(make_request, range(30))))
    assert len(repo.queue().requests) == 30
    before = server.count("/resolve/")
    assert len(repo.queue().requests) == 30
    assert server.count("/resolve/") == before


def test_the_order_is_votes_then_age(server: Server, repo: RequestsRepo) -> None:
    requests = [make_request(3), make_request(2), make_request(9, votes=("a", "b"))]
    requests += [make_request(1).taken("one", NOW, timedelta(hours=1))]
    server.commit(REQUESTS_KEY, request_files(*requests))
    assert [each.model for each in repo.queue().ordered()] == [f"org/model-{i}" for i in (1, 9, 2, 3)]


def test_a_user_and_the_queue_have_limits(repo: RequestsRepo) -> None:
    def file(number: int, user: str) -> object:
        return add_request(repo, make_request(number, requested=utc_now(), votes=(user,)), limits)

    limits = RequestLimits(per_day=2, waiting=3)
    add_request(repo, make_request(0, requested=utc_now() - timedelta(days=2), votes=("one",)), limits)
    file(1, "one")
    file(2, "one")
    with pytest.raises(RequestRefused, match="one has made 2 requests in 24 hours"):
        file(3, "one")
    file(1, "two")  # a vote is not a request
    with pytest.raises(RequestRefused, match="3 requests wait already"):
        file(4, "two")


def test_a_request_with_an_answer_gives_it(server: Server, repo: RequestsRepo) -> None:
    server.commit(REQUESTS_KEY, request_files(RUNNING.settled(RUNNING, "failed", NOW, "no chat template")))
    with pytest.raises(TransitionError, match=r"is failed\. no chat template"):
        add_request(repo, GOOD, LIMITS)


@pytest.mark.parametrize(
    ("variable", "value", "read"),
    [
        ("PER_DAY", "1", {"per_day": 1}),
        ("ORGS", "a, b", {"orgs": frozenset({"a", "b"})}),
        ("BILLIONS", "7", {"billions": 7}),
    ],
)
def test_limits_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, read: dict[str, Any]
) -> None:
    assert RequestLimits.from_environment() == LIMITS
    monkeypatch.setenv(f"RB_REQUEST_{variable}", value)
    assert RequestLimits.from_environment() == RequestLimits(**read)
