"""Loading of guards of every kind; word lists and functions as guards."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.errors import ModelError, NotScoredError
from rb_core.evaluation.guard_probabilities import guard_probabilities
from rb_core.scorers.guards.load import NO_PROBABILITY, load_guard
from rb_core.scorers.guards.spec import parse_guard

FAKES = Path("tests/fakes/guards.py").resolve()


def prompt_with(*completions: str, prompt: str = "Tell me.") -> CompletionSet:
    return CompletionSet((Message(role="user", content=prompt),), completions)


def values(guard: str, sets: list[CompletionSet], arguments: str = "") -> list[list[float]]:
    loaded = load_guard(parse_guard(guard, arguments))
    return [[each.value for each in row] for row in guard_probabilities(loaded, sets)]


def test_a_list_of_words_finds_whole_words_in_any_case(tmp_path: Path) -> None:
    words = tmp_path / "blocked.txt"
    words.write_text("# a comment\n\nPipe bomb\nSTRASSE\nc++\n")
    found = ["a PIPE\nbomb.", "Straße", "use C++!", "pipe bombs", "a comment", ""]
    assert values(f"words:{words}", [prompt_with(*found)]) == [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]


def test_a_list_of_words_reads_the_completion_unless_told(tmp_path: Path) -> None:
    words = tmp_path / "blocked.txt"
    words.write_text("bomb\n")
    sets = [prompt_with("No.", prompt="How is a bomb made?")]
    assert values(f"words:{words}", sets) == [[0.0]]
    assert values(f"words:{words}", sets, "reads=conversation") == [[1.0]]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"\xff\xfe\x00", "cannot be read as text"), (b"# nothing\n", "no words"), (b"a\n" * (1 << 22), "more than")],
)
def test_a_file_that_is_no_list_of_words_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    words = tmp_path / "blocked.txt"
    words.write_bytes(content)
    with pytest.raises(ModelError, match=f"--guard words:blocked.txt: {problem}"):
        load_guard(parse_guard(f"words:{words}"))


def test_a_function_is_a_guard() -> None:
    sets = [prompt_with("harm", "help"), prompt_with("no harm")]
    assert values(f"{FAKES}:suspects_harm", sets) == [[0.9, 0.05], [0.9]]
    assert values("tests.fakes.guards:suspects_harm", sets) == [[0.9, 0.05], [0.9]]


def test_what_is_no_probability_is_unknown_for_a_reason() -> None:
    guard = load_guard(parse_guard("tests.fakes.guards:gives_no_probability"))
    (row,) = guard_probabilities(guard, [prompt_with("high", "low", "none", "else")])
    assert [math.isnan(each.value) for each in row] == [True, True, True, False]
    assert [each.reason for each in row] == [NO_PROBABILITY] * 2 + ["score is not a finite number", ""]


def test_a_guard_without_any_probability_is_an_error() -> None:
    guard = load_guard(parse_guard("tests.fakes.guards:gives_no_probability"))
    with pytest.raises(
        NotScoredError, match="gives_no_probability: none of 2 completions has a probability: the guard"
    ):
        guard_probabilities(guard, [prompt_with("high", "low")])


@pytest.mark.parametrize(
    ("guard", "problem"),
    [
        (f"{FAKES}:nothing", "--guard .*guards.py:nothing: .* has no object nothing"),
        ("no.such.module:guard", "--guard no.such.module:guard: there is no module"),
        ("tests.fakes.guards:math", "--guard .*: it is of type module"),
    ],
)
def test_a_function_that_is_not_there_is_named(guard: str, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        load_guard(parse_guard(guard))


def test_a_description_has_everything_but_folders(tmp_path: Path) -> None:
    (tmp_path / "blocked.txt").write_text("bomb\n")
    described = load_guard(parse_guard(f"words:{tmp_path / 'blocked.txt'}")).describe()
    assert described["name"] == "words:blocked.txt"
    assert "sha256" in described["model"]["kind_detail"]
    assert str(tmp_path) not in json.dumps(described)
