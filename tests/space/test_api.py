"""The page's endpoints, called by a program and by an agent."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from rb_core.leaderboard.comparison import compare_models
from rb_core.leaderboard.model_report import model_report
from rb_core.results.schema import json_schema
from rb_core.results.storage import read_result
from rb_core.space.api import ENDPOINTS, mcp_installed, with_file_keys
from rb_core.space.page import build, launch_options
from rb_core.space.results_source import ResultsFolder
from tests.paths import BUNDLED
from tests.space.conftest import Serve

BENCHMARK = "starter"
LONGEST, TINY = "baseline/longest", "builtin/tiny-rm"


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


@pytest.fixture(scope="module")
def described(client: Client) -> dict[str, Any]:
    """The page's description of its endpoints."""
    return client.view_api(return_format="dict", print_info=False)["named_endpoints"]


def test_about_lists_exactly_the_named_endpoints(described: dict[str, Any]) -> None:
    assert {name.removeprefix("/") for name in described} == set(ENDPOINTS)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_every_endpoint_and_parameter_is_described(described: dict[str, Any], name: str) -> None:
    endpoint = described[f"/{name}"]
    assert len(endpoint["description"]) > 60
    assert endpoint["parameters"]
    for parameter in endpoint["parameters"]:
        assert parameter["python_type"]["type"] in ("str", "bool", "list[str]") or parameter["type"]
        assert len(parameter["python_type"]["description"] or endpoint["description"]) > 10


def test_result_is_the_whole_file(client: Client, results_root: Path) -> None:
    """It is valid in the published schema, except for the name of one field."""
    answer = client.predict(BENCHMARK, TINY, api_name="/result")
    file = results_root / "results" / BENCHMARK / f"{TINY}.json"
    answer["scores"]["path"] = answer["scores"].pop("file")
    assert answer == json.loads(file.read_text(encoding="utf-8"))
    jsonschema.validate(answer, json.loads(json_schema()))
    assert answer["headline"]["value"] == read_result(file).headline.value


def test_compare_is_what_the_package_computes(client: Client, results: ResultsFolder) -> None:
    answer = client.predict(BENCHMARK, [TINY, LONGEST], api_name="/compare")
    expected = compare_models(results, BENCHMARK, [TINY, LONGEST]).to_json()
    assert answer == json.loads(json.dumps(expected, allow_nan=False))
    assert len(answer["pairs"]) == 1


def test_model_is_what_the_page_shows(client: Client, results: ResultsFolder) -> None:
    answer = client.predict(TINY, api_name="/model")
    expected = with_file_keys(model_report(results, TINY).to_json())
    assert answer == json.loads(json.dumps(expected, allow_nan=False))
    assert [entry["benchmark"]["id"] for entry in answer["results"]] == [BENCHMARK]


REFUSED = [
    ("/result", ("nope", TINY), "There is no benchmark 'nope'; known are: rewardbench, rewardbench-2, rm-bench"),
    ("/result", (BENCHMARK, "Builtin/tiny_rm"), "Did you mean builtin/tiny-rm?"),
    ("/result", (BENCHMARK, "<b>"), "There is no result of '&lt;b&gt;' on starter."),
    ("/result", (3, TINY), "benchmark is a number; give its name as text."),
    ("/result", (BENCHMARK, ""), "model is empty; give its name as text."),
    ("/result", (BENCHMARK, {"name": TINY}), "model is an object; give its name as text."),
    ("/result", ("../starter", TINY), "There is no benchmark '../starter'"),
    ("/compare", (BENCHMARK, [TINY]), "models, not 1"),
    ("/compare", (BENCHMARK, []), "models, not 0"),
    ("/compare", (BENCHMARK, [TINY, TINY]), "each model once"),
    ("/compare", (BENCHMARK, [TINY, "nope"]), "There is no result of 'nope' on starter."),
    ("/compare", (BENCHMARK, TINY), "models is text; give a list of 2 to 4 names."),
    ("/compare", (BENCHMARK, [TINY, 3]), "model 2 is a number; give its name as text."),
    ("/compare", (BENCHMARK, None), "models is missing"),
    ("/compare", (None, [TINY, LONGEST]), "benchmark is missing"),
    ("/model", ("nope/nothing",), "No board has a model named 'nope/nothing'"),
    ("/model", ([TINY],), "model is a list; give its name as text."),
    ("/model", (True,), "model is true or false"),
    ("/model", ("x" * 10_000,), "No board has a model named '" + "x" * 100 + "…'."),
    ("/compare", (BENCHMARK, [TINY] * 1000), "models, not 1000"),
    ("/leaderboard", ("nope",), "There is no benchmark 'nope'; known are: rewardbench"),
    ("/leaderboard", ([BENCHMARK],), "benchmark is a list; give its name as text."),
    ("/leaderboard", ({"id": BENCHMARK},), "benchmark is an object; give its name as text."),
]


@pytest.mark.parametrize(("name", "arguments", "message"), REFUSED)
def test_invalid_requests_are_refused_with_a_reason(
    client: Client, name: str, arguments: tuple[Any, ...], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The message names what is allowed, and the log has no traceback."""
    with pytest.raises(AppError, match=re.escape(message)):
        client.predict(*arguments, api_name=name)
    assert "Traceback" not in caplog.text


class HubAway(ResultsFolder):
    """A source with boards, whose results cannot be fetched."""

    def results(self, benchmark: str) -> dict[str, Any]:
        return {}


def test_a_page_without_mcp_and_without_the_hub_answers(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, tmp_path: Path
) -> None:
    """Without the extra `mcp` no server for agents starts. A result that cannot be fetched is not called unknown."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "mcp" else find(name, *rest))
    assert mcp_installed() is False
    assert launch_options()["mcp_server"] is False
    shutil.copytree(BUNDLED / "results" / BENCHMARK, tmp_path / "results" / BENCHMARK)
    page = build(HubAway(tmp_path))
    client = Client(serve(page), verbose=False)
    assert not page.mcp_server
    board = client.predict(BENCHMARK, api_name="/leaderboard")
    assert board["id"] == BENCHMARK
    assert [column["role"] for column in board["columns"]][:2] == ["rank", "model"]
    assert board["rows"]
    with pytest.raises(AppError, match="not available now; try again"):
        client.predict(BENCHMARK, TINY, api_name="/result")


def as_agent(url: str, ask: Callable[[Any], Any]) -> Any:
    """The answer of `ask`, called with a session at the page's server for agents."""
    client = pytest.importorskip("mcp.client.streamable_http", reason="gradio's extra mcp is not installed")
    mcp = pytest.importorskip("mcp")

    async def talk() -> Any:
        async with (
            client.streamablehttp_client(f"{url}gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await ask(session)

    return asyncio.run(talk())


def test_an_agent_finds_the_endpoints_as_tools(url: str) -> None:
    tools = as_agent(url, lambda session: session.list_tools()).tools
    assert {tool.name for tool in tools} == set(ENDPOINTS)
    for tool in tools:
        assert len(tool.description) > 60
        for name, schema in tool.inputSchema["properties"].items():
            assert schema["type"], f"{tool.name}: {name}"
            assert schema["description"], f"{tool.name}: {name}"


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        ("result", {"benchmark": BENCHMARK, "model": TINY}, '"headline"'),
        ("compare", {"benchmark": BENCHMARK, "models": [TINY, LONGEST]}, '"pairs"'),
        ("model", {"model": TINY}, '"weak_spots"'),
        ("leaderboard", {"benchmark": BENCHMARK}, '"columns"'),
    ],
)
def test_an_agent_gets_an_answer(url: str, tool: str, arguments: dict[str, Any], text: str) -> None:
    answer = as_agent(url, lambda session: session.call_tool(tool, arguments))
    assert not answer.isError
    reply = answer.content[0].text
    assert text in reply.replace("'", '"')


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        ("result", {"benchmark": "nope", "model": TINY}, "known are: rewardbench"),
        ("compare", {"benchmark": BENCHMARK, "models": [TINY]}, "models, not 1"),
    ],
)
def test_an_agent_gets_the_reason_of_a_refusal(url: str, tool: str, arguments: dict[str, Any], text: str) -> None:
    answer = as_agent(url, lambda session: session.call_tool(tool, arguments))
    assert answer.isError
    assert text in answer.content[0].text
