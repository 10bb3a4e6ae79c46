"""The page's endpoints, called by a program."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from gradio.utils import get_function_description
from gradio_client import Client
from gradio_client.exceptions import AppError

from rb_core.leaderboard.comparison import compare_models
from rb_core.leaderboard.model_report import model_report
from rb_core.results.schema import json_schema
from rb_core.results.storage import read_result
from rb_core.space.api import ENDPOINTS, mcp_installed, with_file_keys
from rb_core.space.page import build, launch_options
from rb_core.space.results_source import ResultsFolder
from rb_core.space.server import NO_TOOLS
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
def test_the_description_of_an_endpoint_ends_with_an_example_that_works(
    client: Client, described: dict[str, Any], name: str
) -> None:
    text, _, example = described[f"/{name}"]["description"].rpartition(" Example: ")
    assert len(text) > 200
    assert client.predict(**json.loads(example), api_name=f"/{name}")


def test_every_parameter_is_described_with_its_default(tmp_path: Path) -> None:
    """Gradio shows agents neither the second line of a description nor a default that is empty, false or none."""
    functions = [each.fn for each in build(ResultsFolder(tmp_path)).fns.values() if each.api_visibility == "public"]
    assert {function.__name__ for function in functions} == set(ENDPOINTS)
    for function in functions:
        _, descriptions, _ = get_function_description(function)
        lines = inspect.getdoc(function).partition("Parameters:\n")[2].splitlines()
        parameters = [p for p in inspect.signature(function).parameters.values() if p.annotation != "gr.Request"]
        assert [line.split(":")[0].strip() for line in lines] == [parameter.name for parameter in parameters]
        for parameter in parameters:
            text = descriptions[parameter.name]
            assert len(text) > 15
            if parameter.default is not inspect.Parameter.empty and parameter.default is not None:
                assert "default" in text, f"{function.__name__}: {parameter.name}"


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
    ("/rank", ("nope",), "There is no benchmark 'nope'; known are: rewardbench"),
    ("/rank", (BENCHMARK, "Nope"), "starter has no section 'Nope'; it has Chat"),
    ("/rank", (BENCHMARK, 3), "section is a number; give text."),
    ("/rank", (BENCHMARK, "", "8"), "min_size is not a number of billions"),
    ("/rank", (BENCHMARK, "", None, None, "robot"), "There is no kind 'robot'; known are Sequence classifier"),
    ("/rank", (BENCHMARK, "", None, None, "", "", "free"), "licence is 'free'; choose one of permissive, known."),
    ("/rank", (BENCHMARK, "", None, None, "", "", "", "", "", 0), "limit is '0'; give a whole number from 1 to 100."),
    ("/examples", (BENCHMARK, "", "all", "", "", 1, "nope"), "There is no item 'nope' here."),
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
    address = serve(page)
    client = Client(address, verbose=False)
    assert not page.mcp_server
    answer = httpx.post(f"{address}gradio_api/mcp/", json={})
    assert (answer.status_code, answer.json()) == (404, {"error": NO_TOOLS})
    board = client.predict(BENCHMARK, api_name="/leaderboard")
    assert board["id"] == BENCHMARK
    assert [column["role"] for column in board["columns"]][:2] == ["rank", "model"]
    assert board["rows"]
    with pytest.raises(AppError, match="not available now; try again"):
        client.predict(BENCHMARK, TINY, api_name="/result")
