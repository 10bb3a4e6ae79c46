"""Scorers of the user's own: what can be named, what is recorded of them, and one line for each fault."""

from __future__ import annotations

import hashlib
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.errors import ModelError, ScoreTableError
from rb_core.evaluation import evaluate
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results.score_table import Score
from rb_core.results.storage import read_result
from rb_core.scorers.base import Scorer
from rb_core.scorers.load import load_model
from tests.cli.command_line import rb
from tests.fakes import user_scorers

MODULE = user_scorers.__name__
FILE = Path(user_scorers.__file__)
SETS = [CompletionSet((Message(role="user", content="Hi"),), ("a" * 150, "b" * 20, ""))]


def load(name: str, **scorer_args: Any) -> Scorer:
    return load_model("", ModelOptions(scorer=name, scorer_args=scorer_args or None))


def scores(name: str, **scorer_args: Any) -> list[Score]:
    return score_completion_sets(load(name, **scorer_args), SETS)[0]


@pytest.mark.parametrize("place", [MODULE, str(FILE)])
@pytest.mark.parametrize(
    ("target", "scorer_args", "expected"),
    [
        ("brief", {}, [-50, -180, -200]),
        ("Length", {}, [-50, -80, -100]),
        ("Length", {"target": 20}, [-130, 0, -20]),
        ("Whole", {}, [150, 20, 0]),
        ("instance", {}, [150, 20, 0]),
        ("instance.__class__", {}, [150, 20, 0]),
    ],
)
def test_functions_classes_and_instances_are_scorers(
    place: str, target: str, scorer_args: dict[str, int], expected: list[float]
) -> None:
    assert [score.value for score in scores(f"{place}:{target}", **scorer_args)] == expected


def test_the_code_is_recorded_without_its_folder() -> None:
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    described = load(f"{FILE}:Length", target=7).describe()
    assert described["kind_detail"] == f"{FILE.name}:Length(target=7), sha256 {digest}"
    assert load(f"{MODULE}:brief").describe()["kind_detail"] == f"{MODULE}:brief, sha256 {digest}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:f", "there is no module no_such_module in the current folder"),
        ("tests.no_such_module:f", r"there is no module tests\.no_such_module in"),
        ("no_such_file.py:f", "there is no such file"),
        (f"{MODULE}:nothing", f"{MODULE} has no object nothing"),
        (f"{MODULE}:text", "it is of type str; expected a function, a Scorer, or a class of one"),
        (f"{MODULE}:of_one", r"it cannot be called with \(prompt, completion\)"),
        (f"{MODULE}:Unloadable", r"constructing it raises RuntimeError: no weights \(user_scorers.py, line \d+\)"),
        (f"{MODULE}:OfAnotherKind", "describe returned a wrong kind"),
    ],
)
def test_what_cannot_be_a_scorer_is_one_line(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=f"^--scorer {name}: {message}") as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_arguments_are_for_classes_that_have_them() -> None:
    with pytest.raises(ModelError, match="--scorer-args applies only to a class"):
        load(f"{MODULE}:brief", target=1)
    with pytest.raises(ModelError, match=r"constructing it raises TypeError: .*'size'"):
        load(f"{MODULE}:Length", size=1)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_package", r"importing it raises ModuleNotFoundError: .*no_such_package.* \(mine.py, line 1\)"),
        ("\nx = 1 / 0", r"importing it raises ZeroDivisionError: division by zero \(mine.py, line 2\)"),
        ("def f(:", r"importing it raises SyntaxError: .* \(mine.py, line 1\)"),
        ("raise SystemExit(3)", r"importing it raises SystemExit: 3 \(mine.py, line 1\)"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line_with_its_line(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(ModelError, match=message):
        load(f"{tmp_path / 'mine.py'}:f")


def test_a_module_of_the_current_folder_with_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("FACTOR = 3\n")
    code = "from neighbour_of_mine import FACTOR\ndef f(prompt, completion): return FACTOR * len(completion)\n"
    (tmp_path / "scorer_of_mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert scores("scorer_of_mine:f")[1].value == scores("scorer_of_mine.py:f")[1].value == 60


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("TooFew", "it returned 2 scores for a batch of 3 completions"),
        ("Numbers", "it returned a float for a completion; expected a Score"),
        ("Crashing", r"scoring raises OSError: disk on fire \(user_scorers.py, line \d+\)"),
        ("Ending", "stream ended without the scores of all batches"),
        ("Forgetful", "its plan does not have each completion exactly once"),
        ("Chatty", "plan returned a wrong mood"),
    ],
)
def test_a_broken_contract_is_one_line(target: str, message: str) -> None:
    with pytest.raises(ModelError, match=f"^--scorer {MODULE}:{target}: {message}"):
        scores(f"{MODULE}:{target}")


def test_a_failure_is_never_a_number() -> None:
    for name, reasons in (
        ("NotFinite", ["odd", "score is not a finite number", "score is not a finite number"]),
        ("infinite", ["score is not a finite number"] * 3),
        ("raising", ["the scorer raised KeyError"] * 3),
    ):
        unscored = scores(f"{MODULE}:{name}")
        assert [score.reason for score in unscored] == reasons
        assert all(math.isnan(score.value) for score in unscored)


def test_a_run_goes_on_after_an_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["evaluate", "--benchmark", "starter", "--out", str(tmp_path), "--scorer"]
    assert rb([*arguments, f"{MODULE}:refuses_long"], monkeypatch) == 0
    assert rb([*arguments, f"{MODULE}:raising", "--name", "me/raising"], monkeypatch) == 1
    assert rb([*arguments, f"{MODULE}:nothing"], monkeypatch) == 2
    for name, error, scores_any in (("custom/refuses_long", "ValueError", True), ("me/raising", "KeyError", False)):
        counts = read_result(tmp_path / "results/starter" / f"{name}.json").counts
        assert counts is not None
        assert list(counts.reasons) == [f"the scorer raised {error}"]
        assert (counts.scored > 0) == scores_any


def test_an_unfinished_run_of_other_code_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.py"
    shutil.copy(FILE, file)
    options = ModelOptions(scorer=f"{file}:brief")

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "write_scores", stop)
        with pytest.raises(KeyboardInterrupt):
            evaluate.evaluate("", "starter", options=options, out=tmp_path)
    file.write_text(file.read_text() + "\n# another version\n")
    with pytest.raises(ScoreTableError, match="different model"):
        evaluate.evaluate("", "starter", options=options, out=tmp_path)
    shutil.copy(FILE, file)
    written = evaluate.evaluate("", "starter", options=options, out=tmp_path)
    assert written.result.model.name == "custom/brief"
    assert written.result.counts is not None
    assert written.result.counts.unscored == 0


def test_names_of_models_never_import_code(tmp_path: Path) -> None:
    """The page resolves names without options."""
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')")
    for name in (f"{tmp_path}/mine.py:f", "tests.fakes.user_scorers:brief", "custom/brief"):
        with pytest.raises(ModelError):
            resolve(name)
