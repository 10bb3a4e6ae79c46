"""The page's named endpoints, which are tools for agents as well where gradio's extra `mcp` is installed.

Gradio makes descriptions of the functions' docstrings, in which a parameter has one line.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from html import escape
from typing import Any, ParamSpec

import gradio as gr
from gradio.events import api

from rb_core.errors import RewardBenchError, quoted
from rb_core.leaderboard.comparison import LEAST, MOST
from rb_core.leaderboard.model_report import model_page
from rb_core.results.schema import to_json
from rb_core.space.results_source import ResultsSource

P = ParamSpec("P")

# name: what it gives, for people. `compare` and `score` are published by their tabs.
ENDPOINTS: Mapping[str, str] = {
    "leaderboard": "A benchmark's whole board: columns with their roles, and a row for each model.",
    "compare": f"{LEAST} to {MOST} models on a benchmark: differences with intervals, and whether they are noise.",
    "result": "All that is recorded of one model on one benchmark, as in its result file.",
    "model": "One model on all benchmarks: scores, ranks, weak spots, settings, and commands to get them again.",
    "score": "Scores of completions of a prompt, computed now.",
}


class RequestError(RewardBenchError):
    """A request that names or holds what it may not; the message says what it may."""


def mcp_installed() -> bool:
    """Whether gradio's extra `mcp` is there, with which a page offers its endpoints to agents."""
    return importlib.util.find_spec("mcp") is not None


def publish_endpoints(source: ResultsSource) -> None:
    """Publish `leaderboard`, `result` and `model`, inside of the page's context."""
    api(_leaderboard(source), api_name="leaderboard", queue=False)
    api(_result(source), api_name="result", queue=False)
    api(_model(source), api_name="model", queue=False)


def answering(function: Callable[P, dict[str, Any]]) -> Callable[P, dict[str, Any]]:
    """The function, whose errors of ours reach the caller as messages, and whose answer a client takes as it is."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = with_files(function(*args, **kwargs))
            return answer
        except RewardBenchError as error:
            # The page renders such messages as HTML.
            raise gr.Error(escape(str(error), quote=False), print_exception=False) from error

    return wrapped


def with_files(value: Any) -> Any:
    """The JSON with `file` for `path`: gradio's client takes an object with a `path` for a file and downloads it."""
    if isinstance(value, list):
        return [with_files(each) for each in value]
    if isinstance(value, dict):
        return {("file" if key == "path" else key): with_files(each) for key, each in value.items()}
    return value


def _leaderboard(source: ResultsSource) -> Callable[..., dict[str, Any]]:
    @answering
    def leaderboard(benchmark: str) -> dict[str, Any]:
        """A benchmark's whole table as JSON: columns with their roles, and rows of cells in the same order.

        Parameters:
            benchmark: the benchmark's id, for example rewardbench or rewardbench-2
        """
        return dict(known_board(source, benchmark))

    return leaderboard


def _result(source: ResultsSource) -> Callable[..., dict[str, Any]]:
    @answering
    def result(benchmark: str, model: str) -> dict[str, Any]:
        """Everything recorded of one model on one benchmark: its result file, in result schema version 1.

        Returns an object with `headline`, `sections` and `subsets` (each an estimate: value, stderr, low and high of
        the 95% interval, the method of the interval, numbers of scored, unscored and tied examples), `absent` (which
        sections have no score, and why), `benchmark` and `model` (revisions, hashes and settings), and `run` (command,
        versions, hardware) or `published` (source and date). Values are fractions from 0 to 1. A field that is not
        known is left out. The only difference from the file: `scores.path` is called `scores.file`.

        Parameters:
            benchmark: the benchmark's id, for example rewardbench or rewardbench-2
            model: the model's name as the leaderboard spells it, mostly ORG/NAME
        """
        known_model(source, benchmark, model)
        found = source.results(benchmark).get(model)
        if found is None:
            raise RequestError(f"The result of {model} on {benchmark} cannot be had now; try again in some minutes.")
        content: dict[str, Any] = json.loads(to_json(found))
        return content

    return result


def _model(source: ResultsSource) -> Callable[..., dict[str, Any]]:
    @answering
    def model(model: str) -> dict[str, Any]:
        """One reward model on all benchmarks: how good it is, what it is bad at, and how to get its numbers again.

        Returns an object with the model's `organisation`, `kind`, number of `parameters`, page on the `hub`, and
        `results`, one a benchmark: `score` with its 95% interval, `rank` and `range` (best and worst rank that the
        data leave open), `parts` (sections and subsets with the model's rank in each), `weak_spots` (parts in which it
        ranks lower than overall), `settings`, `counts` and `commands`. Values are fractions from 0 to 1, and null is
        not known.

        Parameters:
            model: the model's name as the leaderboard spells it, mostly ORG/NAME
        """
        return model_page(source, _text("model", model))

    return model


# --------------------------------------------------------------------------------------------------------------------
# Checks: an endpoint can be called with any JSON


def known_board(source: ResultsSource, benchmark: object) -> Mapping[str, Any]:
    """The board of that id. Raises RequestError, naming the ids there are."""
    name = _text("benchmark", benchmark)
    found = {board["id"]: board for board in source.payload()["boards"]}
    if name not in found:
        raise RequestError(f"There is no benchmark {quoted(name)} here; known are: {', '.join(found) or 'none yet'}.")
    board: Mapping[str, Any] = found[name]
    return board


def known_model(source: ResultsSource, benchmark: object, model: object, field: str = "model") -> None:
    """Raises RequestError, naming those spelt alike, for a model that is not on the board."""
    board, name = known_board(source, benchmark), _text(field, model)
    place = next(i for i, column in enumerate(board["columns"]) if column["role"] == "model")
    names = [row[place] for row in board["rows"]]
    if name not in names:
        raise RequestError(f"There is no result of {quoted(name)} on {board['id']}.{_did_you_mean(name, names)}")


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    by_lower = {each.lower(): each for each in names}
    found = difflib.get_close_matches(name.lower()[:200], by_lower, n=3)
    return f" Did you mean {' or '.join(by_lower[each] for each in found)}?" if found else ""


def _text(field: str, value: object) -> str:
    """The value, if it is text. Raises RequestError."""
    if not isinstance(value, str) or not value:
        raise RequestError(f"{field} is {kind_of(value)}; give its name as text.")
    return value


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "missing"
    if value == "":
        return "empty"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object")
