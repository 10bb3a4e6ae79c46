"""The server behind the page: open routes, missing arguments, a log without text, and memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.routes import App

from rb_core.space import server
from rb_core.space.api import ENDPOINTS
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from rb_core.space.server import MAX_BODY, NO_ANSWER, is_open
from tests.space.conftest import launched
from tests.space.page_process import page_process, resident_bytes
from tests.space.try_a_pair.conftest import TINY, uploaded
from tests.waiting import wait_until

BENCHMARK = "starter"
LONGEST = "baseline/longest"
CANARY = "Canary4711"


@pytest.fixture(scope="module")
def page(results: ResultsFolder) -> Iterator[gr.Blocks]:
    """A page that remembers few sessions, at its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RB_LIVE_PER_MINUTE", "100000")
        patch.setattr(server, "MAX_SESSIONS", 10)
        patch.setattr(server, "MAX_WAITING", 20)
        yield build(results)


@pytest.fixture(scope="module")
def http(page: gr.Blocks) -> Iterator[httpx.Client]:
    with launched(page) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


def call(http: httpx.Client, name: str, data: Any) -> tuple[str, Any]:
    """Call an endpoint without a session; return the kind of the last event, and its data."""
    event = http.post(f"gradio_api/call/{name}", json={"data": data}).json()["event_id"]
    lines = http.get(f"gradio_api/call/{name}/{event}").text.splitlines()
    kinds, values = ([line.partition(": ")[2] for line in lines if line.startswith(key)] for key in ("event", "data"))
    return kinds[-1], json.loads(values[-1])


# ---- routes

OPEN = """
GET /  HEAD /
GET /config  GET /theme.css  GET /robots.txt  GET /favicon.ico  GET /manifest.json  GET /pwa_icon  GET /pwa_icon/{size}
GET /assets/{path}  GET /static/{path}
GET /gradio_api/info  GET /gradio_api/openapi.json  GET /gradio_api/startup-events  GET /gradio_api/theme.css
GET /gradio_api/heartbeat/{session_hash}  GET /gradio_api/queue/data  POST /gradio_api/queue/join
POST /gradio_api/call/{api_name}  GET /gradio_api/call/{api_name}/{event_id}
POST /gradio_api/call/v2/{api_name}  GET /gradio_api/call/v2/{api_name}/{event_id}
POST /gradio_api/run/{api_name}  POST /gradio_api/api/{api_name}
POST /gradio_api/component_server  POST /gradio_api/cancel  POST /gradio_api/reset
"""


def test_only_these_routes_of_gradio_are_open(page: gr.Blocks) -> None:
    """A route that a later version of gradio adds is closed."""
    opened = set()
    for included in App.create_app(page).routes:
        for route in included.original_router.routes if hasattr(included, "original_router") else [included]:
            path = (route.path.rstrip("/") or "/").replace("{path:path}", "{path}")
            address = path.replace("{size}", "192").replace("{", "").replace("}", "")
            opened |= {f"{method} {path}" for method in route.methods if is_open(method, address)}
    assert opened == set(re.findall(r"[A-Z]+ \S+", OPEN))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "gradio_api/upload"),
        ("GET", "gradio_api/upload_progress?upload_id=1"),
        ("GET", "monitoring"),
        ("GET", "monitoring/summary"),
        ("GET", "gradio_api/deep_link?session_hash=1"),
        ("GET", "gradio_api/dev/reload"),
        ("GET", "gradio_api/file=app.py"),
        ("GET", "gradio_api/file/app.py"),
        ("GET", "gradio_api/proxy=http://127.0.0.1/"),
        ("POST", "gradio_api/stream/1"),
        ("POST", "gradio_api/process_recording"),
        ("POST", "gradio_api/vibe-edit"),
        ("POST", "login"),
        ("GET", "openapi.json"),
        ("GET", "docs"),
        ("DELETE", ""),
        ("GET", f"{CANARY}"),
    ],
)
def test_what_the_page_does_not_use_is_closed(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)
    assert answer.status_code == 404
    assert answer.json() == {"error": "There is no such address."}


def test_a_large_request_is_refused(http: httpx.Client) -> None:
    answer = http.post("gradio_api/call/model", json={"data": ["x" * MAX_BODY]})
    assert answer.status_code == 413


# ---- arguments

MISSING = [
    ("leaderboard", [], "benchmark is missing; give its name as text."),
    ("compare", [], "benchmark is missing"),
    ("compare", [BENCHMARK], "models is missing; give a list of 2 to 4 names."),
    ("result", [], "benchmark is missing"),
    ("result", [BENCHMARK], "model is missing; give its name as text."),
    ("model", [], "model is missing"),
    ("score", [], "Give the model by its name."),
    ("score", [LONGEST], "prompt"),
    ("score", [LONGEST, "Hi"], "Completions must be a list of texts."),
    ("model", [TINY, TINY], "2 arguments are too many: model takes 1."),
]


@pytest.mark.parametrize(("name", "data", "message"), MISSING)
def test_a_missing_argument_is_named(http: httpx.Client, name: str, data: list[Any], message: str) -> None:
    kind, answer = call(http, name, data)
    assert kind == "error"
    assert message in answer["error"]
    direct = http.post(f"gradio_api/run/{name}", json={"data": data})
    assert message in direct.json()["error"]


def test_arguments_with_a_default_may_be_left_out(http: httpx.Client) -> None:
    kind, (answer,) = call(http, "score", [LONGEST, "Hi", ["a", "bb"]])
    assert kind == "complete"
    assert answer["ranks"] == [2, 1]


def test_an_unknown_endpoint_or_argument_has_an_answer(http: httpx.Client) -> None:
    for path, body in (
        ("call/nothing", {"data": []}),
        ("run/nothing", {"data": []}),
        ("call/v2/model", {"models": TINY}),
        ("call/v2/model", {}),
    ):
        answer = http.post(f"gradio_api/{path}", json=body)
        assert (answer.status_code, answer.json()) == (500, {"error": NO_ANSWER})


# ---- the log


def shapes(count: int) -> list[Any]:
    """Return arguments for a handler of so many inputs, well-formed and malformed, that hold the canary everywhere."""
    return [
        [CANARY] * max(count - 1, 0),
        [CANARY] * count,
        [{"path": CANARY, "meta": {"_type": "gradio.FileData"}}] * count,
        [[CANARY]] * count,
        [CANARY] * (count + 1),
        [{CANARY: CANARY}] * count,
        [{"__type__": "update", "value": CANARY}] * count,
        CANARY,
        {CANARY: CANARY},
    ]


@pytest.mark.parametrize("shape_count", [2, pytest.param(9, marks=pytest.mark.soak)])
def test_no_line_of_the_log_has_a_visitors_text(shape_count: int) -> None:
    """Every handler, named or not, through each way to call one, and every open route."""
    with page_process({"RB_LIVE_PER_MINUTE": "100000"}) as page, httpx.Client(base_url=page.url, timeout=60) as http:
        config = http.get("config").json()
        assert len(config["dependencies"]) > 30
        for handler in config["dependencies"]:
            for data in shapes(len(handler["inputs"]))[:shape_count]:
                event = {"data": data, "fn_index": handler["id"], "event_data": CANARY, "trigger_id": 1}
                http.post(f"gradio_api/run/{handler['api_name']}", json=event)
                http.post("gradio_api/queue/join", json=event | {"session_hash": CANARY})
                http.post(f"gradio_api/call/{handler['api_name']}", json={"data": data})
        for name in (*ENDPOINTS, CANARY):
            http.post(f"gradio_api/call/v2/{name}", json={CANARY: CANARY})
            http.post(f"gradio_api/call/{name}", content=f'{{"data": ["{CANARY}"')
            http.get(f"gradio_api/call/{name}/{CANARY}")
        for component in config["components"]:
            for function in component["props"].get("server_fns", ()):
                body = {"data": {"board": CANARY}, "component_id": component["id"], "fn_name": function}
                http.post("gradio_api/component_server", json=body | {"session_hash": CANARY})
        for text in (f'{{"prompt": "{CANARY}", "answer": "{CANARY}"}}', f'{{"{CANARY}": "{CANARY}"}}', CANARY):
            event = {"data": [TINY, "", uploaded(f"{CANARY}.jsonl", text)]}
            http.post("gradio_api/run/score_file_of_page", json=event)
            number = next(each["id"] for each in config["dependencies"] if each["api_name"] == "score_file_of_page")
            http.post("gradio_api/queue/join", json=event | {"fn_index": number, "session_hash": CANARY})
        for query in ("__theme", "pair", "scorer", "tab", "__sign", CANARY):
            http.get("", params={query: CANARY})
        assert call(http, "model", [TINY])[0] == "complete"  # and all that came before has been answered
        written = page.log.read_text(encoding="utf-8")
        assert CANARY not in written
        assert "a request failed: ValueError at " in written
        assert "Traceback" not in written


# ---- memory


def test_calls_without_a_session_leave_nothing_behind(page: gr.Blocks, http: httpx.Client) -> None:
    queue, states = page._queue, page.app.state_holder
    for number in range(20):
        call(http, "model", [TINY] if number % 2 else [])
    remembered = (queue.pending_messages_per_session, queue.pending_event_ids_session, states.session_data)
    wait_until(lambda: not any(remembered))


def test_a_session_keeps_nothing_of_a_visitors_file_and_its_scores(page: gr.Blocks, http: httpx.Client) -> None:
    handlers = http.get("config").json()["dependencies"]
    (number,) = (each["id"] for each in handlers if each["api_name"] == "score_file_of_page")
    upload = uploaded("a.jsonl", f'{{"prompt": "{CANARY}", "answer": "{CANARY}"}}')
    event = {"data": [LONGEST, CANARY, upload], "fn_index": number, "session_hash": "visitor"}
    for columns in ("", CANARY):
        event["data"][1] = columns
        http.post("gradio_api/queue/join", json=event)
        answer = http.get("gradio_api/queue/data", params={"session_hash": "visitor"}).text
        assert ("1 completion scored by" in answer) == (not columns)
    kept = str(page.app.state_holder.session_data["visitor"].config_values)
    assert "Score the file" in kept
    assert CANARY not in kept
    assert upload["content"] not in kept


def test_answers_that_nobody_fetches_are_limited_and_the_queue_goes_on(page: gr.Blocks, http: httpx.Client) -> None:
    """Gradio's own queue stops for good when it has an answer for a session that it has dropped."""
    calls = [http.post("gradio_api/call/leaderboard", json={"data": [BENCHMARK]}) for _ in range(60)]
    assert {answer.status_code for answer in calls} <= {200, 503}
    wait_until(lambda: not page._queue.event_ids_to_events)
    assert call(http, "model", [TINY])[0] == "complete"
    assert len(page._queue.pending_messages_per_session) <= server.MAX_SESSIONS
    assert len(page._queue.pending_event_ids_session) <= server.MAX_SESSIONS


@pytest.mark.soak
@pytest.mark.parametrize("fetch", [True, False])
def test_memory_stays_over_ten_thousand_calls_without_a_session(fetch: bool) -> None:
    with page_process({"RB_LIVE_PER_MINUTE": "100000"}) as page, httpx.Client(base_url=page.url, timeout=60) as http:
        calls = [
            ("model", [TINY]),
            ("leaderboard", ["rewardbench"]),
            ("score", [LONGEST, "Hi", ["a", "bb"]]),
            ("result", []),
        ]
        sizes = {}
        for number in range(1, 10_001):
            name, data = calls[number % len(calls)]
            if fetch:
                call(http, name, data)
            else:
                http.post(f"gradio_api/call/{name}", json={"data": data})
            if number in (500, 10_000):
                sizes[number] = resident_bytes(page.process)
        print({number: f"{size / 2**20:.0f} MiB" for number, size in sizes.items()})
        assert sizes[10_000] < 1.2 * sizes[500]
