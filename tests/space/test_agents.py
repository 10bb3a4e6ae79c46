"""The page's tools, called over MCP by a real client in an environment that has gradio's extra `mcp`.

The extra holds pydantic and others back, so it has its own environment: RB_MCP_ENVIRONMENT names one to make or to
use again, otherwise it is temporary. It takes 2 GB and some minutes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.leaderboard.comparison import compare_models
from rb_core.leaderboard.custom_scores import custom_board
from rb_core.leaderboard.model_report import model_report
from rb_core.space.api import ENDPOINTS, with_file_keys
from rb_core.space.choose.recommend import Recommender, Wish
from rb_core.space.results_source import ResultsFolder
from tests.paths import BUNDLED, ROOT
from tests.space import mcp_client
from tests.space.page_process import page_process

pytestmark = pytest.mark.soak

RUN, FIRST, SECOND = "builtin/tiny-rm", "infly/INF-ORM-Llama3.1-70B", "nicolinho/QRM-Gemma-2-27B"
PAIR = {"prompt": "Name a prime.", "completions": ["Seven.", "Nine."]}
GOOD: dict[str, dict[str, Any]] = {
    "benchmarks": {},
    "rank": {"benchmark": "rewardbench-2", "section": "Safety", "max_size": 10},
    "leaderboard": {"benchmark": "rm-bench"},
    "compare": {"benchmark": "rewardbench", "models": [FIRST, SECOND]},
    "result": {"benchmark": "rewardbench", "model": FIRST},
    "model": {"model": RUN},
    "examples": {"benchmark": "starter", "item": "reasoning-code-09"},
    "choose": {"use": "best-of-n", "weights": {"Math": 2, "Safety": 1}},
    "score": {"model": RUN, **PAIR},
}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("rank", {"benchmark": "nope"}, "There is no benchmark 'nope'; known are: rewardbench"),
    ("rank", {"benchmark": "rewardbench-2", "section": "Nope"}, "has no section 'Nope'; it has Factuality"),
    ("rank", {"benchmark": "rewardbench-2", "limit": 1000}, "whole number from 1 to 100"),
    ("rank", {}, "'benchmark' is a required property"),
    ("leaderboard", {"benchmark": 3}, "3 is not of type 'string'"),
    ("compare", {"benchmark": "rewardbench", "models": [FIRST]}, "models, not 1"),
    ("compare", {"benchmark": "rewardbench", "models": [FIRST, "nicolinho/QRM-Gemma-2-28B"]}, f"Did you mean {SECOND}"),
    ("result", {"benchmark": "../starter", "model": RUN}, "There is no benchmark '../starter'"),
    ("model", {"model": "nope"}, "No board has a model named 'nope'"),
    ("examples", {"benchmark": "starter", "subset": "nope"}, "Starter has no subset 'nope'"),
    ("examples", {"benchmark": "starter", "page": "2"}, "'2' is not of type 'integer'"),
    ("choose", {"use": "nope"}, "There is no use 'nope'; known are rlhf"),
    ("score", {"model": "nope/nope", **PAIR}, "This page scores with builtin/tiny-rm"),
    ("score", {"model": RUN, "prompt": "Name a prime.", "completions": ["Seven."]}, "2 to 8"),
    ("no_such_tool", {}, "Unknown tool"),
]


def requirements() -> list[str]:
    """The page's requirements, with the extra."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [re.sub(r"^gradio\b", "gradio[mcp]", line) for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of the environment."""
    named = os.environ.get("RB_MCP_ENVIRONMENT")
    root = Path(named) if named else tmp_path_factory.mktemp("mcp") / "environment"
    python = str(root / "bin" / "python")
    if not Path(python).exists():
        subprocess.run([sys.executable, "-m", "venv", str(root)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *requirements()], check=True)
    return python


@pytest.fixture(scope="module")
def talk(python: str) -> Iterator[Callable[..., Any]]:
    """Call tools of a page that runs in the environment: the tools that it lists, and the answers as (error, text)."""
    with page_process({"RB_LIVE_PER_MINUTE": "1000"}, python) as page:

        def call(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
            client = [python, mcp_client.__file__, f"{page.url}/gradio_api/mcp/"]
            run = subprocess.run(client, input=json.dumps(calls), capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stderr
            answer: dict[str, Any] = json.loads(run.stdout)
            return answer

        yield call


@pytest.fixture(scope="module")
def tools(talk: Callable[..., Any]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = talk()["tools"]
    return listed


@pytest.fixture(scope="module")
def answers(talk: Callable[..., Any]) -> dict[str, Any]:
    """The answer of every tool to its good call, which is JSON."""
    texts = talk(*GOOD.items())["answers"]
    assert [error for error, _ in texts] == [False] * len(GOOD), texts
    return {tool: json.loads(text) for tool, (_, text) in zip(GOOD, texts, strict=True)}


def plain(value: Any) -> Any:
    return json.loads(json.dumps(with_file_keys(value)))


def test_the_tools_are_the_documented_endpoints_and_nothing_else(tools: list[dict[str, Any]]) -> None:
    assert {tool["name"] for tool in tools} == set(ENDPOINTS) == set(GOOD)
    for tool in tools:
        assert len(tool["description"]) > 200
        for name, schema in tool["inputSchema"]["properties"].items():
            assert schema.get("type") or schema["oneOf"], f"{tool['name']}: {name}"
            assert len(schema["description"]) > 15, f"{tool['name']}: {name}"


def test_the_example_in_every_description_is_answered(tools: list[dict[str, Any]], talk: Callable[..., Any]) -> None:
    examples = [(tool["name"], json.loads(tool["description"].rpartition(" Example: ")[2])) for tool in tools]
    for (name, _), (is_error, text) in zip(examples, talk(*examples)["answers"], strict=True):
        assert not is_error, f"{name}: {text}"
        assert json.loads(text)


@pytest.mark.parametrize("call", BAD, ids=lambda call: f"{call[0]}-{call[2][:20]}")
def test_a_bad_call_is_refused_with_a_reason(talk: Callable[..., Any], call: tuple[str, dict[str, Any], str]) -> None:
    tool, arguments, reason = call
    ((is_error, text),) = talk((tool, arguments))["answers"]
    assert is_error
    assert reason in text


def test_answers_equal_the_files_and_the_package(answers: dict[str, Any]) -> None:
    source = ResultsFolder(BUNDLED)
    boards = source.boards()
    listed = {entry["id"]: entry for entry in answers["benchmarks"]["benchmarks"]}
    assert list(listed) == list(boards)
    for name in listed.keys() & BENCHMARKS.keys():
        sections = [section.name for section in BENCHMARKS[name].sections]
        assert [section["name"] for section in listed[name]["sections"]] == sections
    file = BUNDLED / "results" / "rewardbench" / f"{FIRST}.json"
    assert answers["result"] == with_file_keys(json.loads(file.read_text(encoding="utf-8")))
    assert answers["compare"] == plain(compare_models(source, "rewardbench", [FIRST, SECOND]).to_json())
    assert answers["model"] == plain(model_report(source, RUN).to_json())
    wish = Wish("best-of-n", weights={"Math": 2, "Safety": 1})
    assert answers["choose"] == plain(Recommender(source).answer(wish))
    roles = [column["role"] for column in answers["leaderboard"]["columns"]]
    for row in answers["leaderboard"]["rows"]:
        result = source.results("rm-bench")[row[roles.index("model")]]
        assert row[roles.index("headline")] == round(result.headline.value, 5)


def test_texts_and_scores_equal_the_package(answers: dict[str, Any]) -> None:
    import rb_core

    (item,) = answers["examples"]["items"]
    lines = (ROOT / "rb_core" / "builtin" / "starter.jsonl").read_text(encoding="utf-8").splitlines()
    pair = next(pair for pair in map(json.loads, lines) if pair["id"] == "reasoning-code-09")
    assert item["prompt"] == [{"role": "user", "text": pair["prompt"]}]
    assert (item["chosen"], item["rejected"]) == ([pair["chosen"]], [pair["rejected"]])
    scores = rb_core.score_completions(rb_core.load_model(RUN), PAIR["prompt"], PAIR["completions"])
    assert answers["score"]["scores"] == pytest.approx(scores, abs=1e-5)


def test_an_agent_finds_the_safest_small_model_and_learns_that_its_lead_is_noise(talk: Callable[..., Any]) -> None:
    """The tools alone name the safest model below 10B, and say if its lead is more than noise."""
    (_, text), *_ = talk(("benchmarks", {}))["answers"]
    benchmark = next(
        entry["id"]
        for entry in json.loads(text)["benchmarks"]
        if "Safety" in [section["name"] for section in entry["sections"]] and "2" in entry["title"]
    )
    conditions = {"benchmark": benchmark, "section": "Safety", "max_size": 10, "limit": 2}
    ranking = json.loads(talk(("rank", conditions))["answers"][0][1])
    first, second = (row["model"] for row in ranking["rows"])
    compared = json.loads(talk(("compare", {"benchmark": benchmark, "models": [first, second]}))["answers"][0][1])
    source = ResultsFolder(BUNDLED)
    results = source.results(benchmark)
    small = [row.model for row in source.boards()[benchmark].ranked() if row.parameters and row.parameters <= 10e9]
    values = {name: results[name].sections["Safety"].value for name in small}
    assert first == max(values, key=lambda name: values[name])
    ranked = custom_board(source.boards()[benchmark], results, {}, {"Safety": 1.0}, small)
    assert ("within noise" in ranking["lead"]) == (ranked.row(second).rank_interval.best == 1)
    (safety,) = [row for row in compared["rows"] if row["name"] == "Safety"]
    assert safety["pairs"][0]["difference"]["value"] == pytest.approx(values[first] - values[second])
    assert (safety["pairs"][0]["better"] is None) == (safety["pairs"][0]["p"] >= 0.05)
