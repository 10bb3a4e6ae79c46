"""The states of a request, and files that are none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from rb_core.errors import DataError, ModelError
from rb_core.evaluation_queue.request import (
    FINAL,
    EvaluationRequest,
    State,
    TransitionError,
    new_request,
    parse_evaluation_request,
)
from rb_core.models.options import ModelOptions
from tests.fakes.requests import NOW, make_request

LEASE = timedelta(minutes=30)
RUNNING = make_request().taken("one", NOW, LEASE)


def test_a_request_survives_its_file() -> None:
    options = ModelOptions(kind="token", tokens=("Yes", "No"), template_vars={"a": [1, None]})
    for request in (RUNNING, new_request("org/m", "a" * 40, "rm-bench", options, "me", parameters=5, gpu_hours=0.5)):
        assert parse_evaluation_request(request.to_json(), request.path) == request
    assert request.model_options() == ModelOptions(
        kind="token", tokens=("Yes", "No"), template_vars={"a": [1, None]}, revision="a" * 40
    )


def test_the_same_evaluation_has_one_id_and_others_have_others() -> None:
    ids = {make_request(number).id for number in range(50)}
    ids |= {make_request(benchmark="rm-bench").id, make_request(options={"dtype": "float32"}).id}
    assert len(ids) == 52
    assert make_request(votes=("other",), changed=NOW + LEASE).id == make_request().id


STATES: dict[State, EvaluationRequest] = {
    "waiting": make_request(),
    "running": RUNNING,
    **{state: RUNNING.settled(RUNNING, state, NOW, "why") for state in FINAL},
}
ACTIONS: dict[str, Callable[[EvaluationRequest], EvaluationRequest]] = {
    "take": lambda request: request.taken("two", NOW, LEASE),
    "take own": lambda request: request.taken("one", NOW, LEASE),
    "take over": lambda request: request.taken("two", NOW + LEASE * 2, LEASE),
    "renew": lambda request: request.renewed(RUNNING, NOW, LEASE),
    "give back": lambda request: request.settled(RUNNING, "waiting", NOW),
    "end": lambda request: request.settled(RUNNING, "done", NOW),
    "vote": lambda request: request.voted("two"),
}
ALLOWED = {
    "waiting": {"take", "take own", "take over", "vote"},
    "running": {"take own", "take over", "renew", "give back", "end"},
    **{state: set[str]() for state in FINAL},
}


@pytest.mark.parametrize("state", sorted(STATES))
def test_each_state_allows_its_changes_only(state: State) -> None:
    allowed = set()
    for name, action in ACTIONS.items():
        try:
            changed = action(STATES[state])
        except TransitionError:
            continue
        assert parse_evaluation_request(changed.to_json(), changed.path) == changed
        allowed.add(name)
    assert allowed == ALLOWED[state]


def test_who_lost_the_lease_changes_nothing() -> None:
    """Not even with the same name: the number of the attempt tells a worker from what it was before."""
    for worker in ("one", "two"):
        later = RUNNING.taken(worker, NOW + LEASE * 2, LEASE)
        with pytest.raises(TransitionError, match="no longer holds it"):
            later.settled(RUNNING, "done", NOW)
        assert later.settled(later, "done", NOW).state == "done"


@pytest.mark.parametrize(
    "options",
    [
        ModelOptions(device="cpu"),
        ModelOptions(url="http://127.0.0.1", api="tei"),
        ModelOptions(scorer="os:system"),
        ModelOptions(chat_template="{{ x }}"),
        ModelOptions(name="org/other"),
    ],
)
def test_options_of_the_host_are_refused_by_name(options: ModelOptions) -> None:
    with pytest.raises(ModelError, match=r"^--[a-z-]+: a request cannot have it"):
        new_request("org/m", "a" * 40, "starter", options, "me")


def test_a_judge_is_refused() -> None:
    with pytest.raises(DataError, match="kind: a request is for one of classifier"):
        new_request("org/m", "a" * 40, "starter", ModelOptions(kind="generative"), "me")
