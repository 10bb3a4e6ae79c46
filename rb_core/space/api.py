"""The page's named endpoints, which are also tools for agents if gradio's extra `mcp` is installed.

Gradio takes descriptions from the functions' docstrings: the text is the tool's, its last line an example of a call.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import json
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec

import gradio as gr
from gradio.events import api

from rb_core.errors import RewardBenchError, quoted
from rb_core.leaderboard.board import Board
from rb_core.leaderboard.comparison import MAX_MODELS, MIN_MODELS
from rb_core.leaderboard.model_report import model_report
from rb_core.results.schema import KIND_LABELS, REFERENCE_FREE_SUFFIX, to_json
from rb_core.space.results_source import ResultsSource, page_board_json

P = ParamSpec("P")

# Descriptions for people, in the About tab. Those that are not published below are published by their tabs.
ENDPOINTS: Mapping[str, str] = {
    "benchmarks": "The benchmarks with their sections and subsets, and the values that other endpoints take.",
    "rank": "Models of a kind, size or licence, ranked among themselves by a score or a section, and what is noise.",
    "leaderboard": "A benchmark's board: columns with their roles, and a row for each model.",
    "compare": f"Differences of {MIN_MODELS} to {MAX_MODELS} models on a benchmark, with intervals and significance.",
    "result": "The whole result file of a model on a benchmark.",
    "model": "A model on all benchmarks: scores, ranks, weak spots, settings, and commands that reproduce them.",
    "examples": "A benchmark's items: texts, which models are wrong on each, and how hard every part is.",
    "choose": "Models for a use: the group that cannot be told apart from the best, with reasons and code.",
    "score": "Scores of completions of a prompt, computed on request.",
}
TOOLS = "/gradio_api/mcp"  # the path at which gradio serves agents
# Gradio's page renders error messages as HTML, programs read them as text: quotes stay as they are.
MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class RequestError(RewardBenchError):
    """A request with an unknown name or a wrong type; the message says what is allowed."""


def mcp_installed() -> bool:
    """Return True if gradio's extra `mcp` is installed, with which a page offers its endpoints to agents."""
    return importlib.util.find_spec("mcp") is not None


def publish_endpoints(source: ResultsSource) -> None:
    """Publish `benchmarks`, `leaderboard`, `result` and `model`, inside of the page's context."""
    for endpoint in (*_board_endpoints(source), *_model_endpoints(source)):
        api(endpoint, api_name=endpoint.__name__, queue=False)


def _board_endpoints(source: ResultsSource) -> tuple[Callable[..., dict[str, Any]], ...]:
    @as_endpoint
    def benchmarks() -> dict[str, Any]:
        """List the benchmarks with their sections and subsets: start here.

        Returns an object with `benchmarks`, each with its `id` (which the other tools take), `title`, `description`,
        number of `models`, `newest` result, `chance` (score of random choice), `detectable` (difference of two scores
        that it can tell, 80% power), `outcomes` (true if it is known which model is right on which item; `compare` then
        tests models on the same items, and `examples` filters by model), and `sections`, each with its `description`,
        number of `items`, `required` (false for a section that not every score includes) and `subsets`; and with
        `kinds`, the kinds of models. Scores are fractions from 0 to 1 everywhere; null is unknown.

        Example: {}
        """
        return {
            "benchmarks": [benchmark_json(board) for board in source.boards().values()],
            "kinds": model_kinds(source),
        }

    @as_endpoint
    def leaderboard(benchmark: str) -> dict[str, Any]:
        """Return a benchmark's whole board, for programs: columns with their roles, rows of cells in the same order.

        The answer is large (up to 300 kB); `rank` answers with the rows and facts that you ask for. Columns with the
        role `tier`, `best` and `worst` say where a model may stand: models of one tier cannot be told apart from its
        first. `floor` and `ceiling` are the score with every unscored example failed, and passed. `detectable` is the
        difference of two scores that the benchmark can tell. Scores are fractions from 0 to 1.

        Example: {"benchmark": "rewardbench-2"}

        Parameters:
            benchmark: the benchmark's id, for example rewardbench or rewardbench-2; `benchmarks` lists them
        """
        board = find_board(source.boards(), benchmark)
        return page_board_json(board, source.traits(board.id), source.registry())

    return benchmarks, leaderboard


def _model_endpoints(source: ResultsSource) -> tuple[Callable[..., dict[str, Any]], ...]:
    @as_endpoint
    def result(benchmark: str, model: str) -> dict[str, Any]:
        """Return the result file of one model on one benchmark, in result schema version 1.

        Returns an object with `headline`, `sections` and `subsets` (each an estimate: value, stderr, low and high of
        the 95% interval, the method of the interval, numbers of scored, unscored and tied examples), `absent` (which
        sections have no score, and why), `benchmark` and `model` (revisions, hashes and settings), and `run` (command,
        versions, hardware) or `published` (source and date). Values are fractions from 0 to 1. Unknown fields are left
        out. The only difference from the file: `scores.path` is called `scores.file`. `rank` finds names of models.

        Example: {"benchmark": "rewardbench", "model": "infly/INF-ORM-Llama3.1-70B"}

        Parameters:
            benchmark: the benchmark's id, for example rewardbench or rewardbench-2; `benchmarks` lists them
            model: the model's name as the leaderboard spells it, mostly ORG/NAME
        """
        check_model(source, benchmark, model)
        recorded = source.results(benchmark).get(model)
        if recorded is None:
            raise RequestError(f"The result of {model} on {benchmark} is not available now; try again in some minutes.")
        content: dict[str, Any] = json.loads(to_json(recorded))
        return content

    @as_endpoint
    def model(model: str) -> dict[str, Any]:
        """Return one reward model's results on all benchmarks: scores, weak spots, settings, commands to repeat them.

        Returns an object with the model's `organisation`, `kind`, number of `parameters`, page on the `hub`, `facts`
        (such as base model, licence and other names, with their sources), and `results`, one a benchmark: `score` with
        its 95% interval, `rank`, `tier` and `range` (best and worst rank that the data allow), `parts` (sections and
        subsets with the model's rank in each), `weak_spots` and `strengths` (parts in which it ranks lower and higher
        than overall), `settings`, `counts` and `commands`. Values are fractions from 0 to 1; null is unknown. `rank`
        finds names of models.

        Example: {"model": "infly/INF-ORM-Llama3.1-70B"}

        Parameters:
            model: the model's name as the leaderboard spells it, mostly ORG/NAME, or another of its names
        """
        return model_report(source, _text("model", model)).to_json()

    return result, model


def as_endpoint(function: Callable[P, dict[str, Any]]) -> Callable[P, dict[str, Any]]:
    """Wrap a function so that its RewardBenchErrors reach the caller as messages and its answer as plain JSON."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = with_file_keys(function(*args, **kwargs))
            return answer
        except RewardBenchError as error:
            raise gr.Error(str(error).translate(MARKUP), print_exception=False) from error

    wrapped.__doc__ = with_lines_joined(inspect.getdoc(function) or "")
    return wrapped


def with_lines_joined(docstring: str) -> str:
    """Return a docstring with a line for each parameter: gradio forgets the lines on which a description goes on."""
    text, heading, parameters = docstring.partition("\nParameters:\n")
    return text + heading + re.sub(r"\n {5,}", " ", parameters)


def model_kinds(source: ResultsSource) -> list[str]:
    """Return the kinds of the models on any board, in the order of KIND_LABELS."""
    present = {row.kind for board in source.boards().values() for row in board.rows}
    kinds = (label + suffix for label in KIND_LABELS.values() for suffix in ("", REFERENCE_FREE_SUFFIX))
    return [kind for kind in kinds if kind in present]


def benchmark_json(board: Board) -> dict[str, Any]:
    """Return what an agent needs to know of a benchmark before it asks for more."""
    subsets: dict[str | None, list[str]] = {}
    for subset in board.subsets:
        subsets.setdefault(subset.section, []).append(subset.name)
    return {
        "id": board.id,
        "title": board.title,
        "description": board.description,
        "models": len(board.rows),
        "newest": board.newest,
        "chance": board.chance.headline,
        "detectable": board.detectable,
        "outcomes": any(row.rank_interval and row.rank_interval.method == "items" for row in board.rows),
        "sections": [
            {
                "name": section.name,
                "description": section.description,
                "items": section.num_examples,
                "required": section.required,
                "subsets": subsets.get(section.name, []),
            }
            for section in board.sections
        ],
    }


def asked_by_agent(request: Any) -> bool:
    """Return True for a call of a tool, which reaches an endpoint directly or through gradio's own client."""
    if request is None:
        return False
    return str(request.url.path).startswith(TOOLS) or bool(request.headers.get("x-gradio-user") == "mcp")


def with_file_keys(value: Any) -> Any:
    """Return the JSON with the key `file` for `path`: gradio's client downloads every object that has a `path`."""
    if isinstance(value, list):
        return [with_file_keys(item) for item in value]
    if isinstance(value, dict):
        return {("file" if key == "path" else key): with_file_keys(item) for key, item in value.items()}
    return value


# Checks: an endpoint can be called with any JSON


def find_board(boards: Mapping[str, Board], benchmark: object) -> Board:
    """Return the board of that id. Raises RequestError, naming the ids that exist."""
    board_id = _text("benchmark", benchmark)
    if board_id not in boards:
        raise RequestError(f"There is no benchmark {quoted(board_id)}; known are: {', '.join(boards) or 'none yet'}.")
    return boards[board_id]


def check_model(source: ResultsSource, benchmark: object, model: object, field: str = "model") -> None:
    """Raise RequestError, naming models with similar names, if the model is not on the board."""
    board, name = find_board(source.boards(), benchmark), _text(field, model)
    if board.row(name) is not None:
        return
    names = {row.model.lower(): row.model for row in board.rows}
    similar = [names[match] for match in difflib.get_close_matches(name.lower()[:200], names, n=3)]
    hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
    raise RequestError(f"There is no result of {quoted(name)} on {board.id}.{hint}")


def _text(field: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise RequestError(f"{field} is {type_in_words(value)}; give its name as text.")
    return value


def type_in_words(value: object) -> str:
    """Return the type of a JSON value for a message, such as "a number"."""
    if value is None:
        return "missing"
    if value == "":
        return "empty"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object")
