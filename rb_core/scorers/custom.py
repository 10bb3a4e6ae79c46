"""Load a function or class of the user, named MODULE:OBJECT or FILE.py:OBJECT, and check what it returns.

A fault of the user's code is one line that names the exception and the line of the user's file.
"""

from __future__ import annotations

import inspect
import logging
import math
import sys
import traceback
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from pydantic import ValidationError

from rb_core.benchmarks.example import CompletionSet, Conversation
from rb_core.errors import ModelError, RewardBenchError, first_line
from rb_core.models.resolve import ModelSpec
from rb_core.results.failures import LARGEST_SCORE
from rb_core.results.schema import ModelRef, Notes
from rb_core.results.score_table import Score
from rb_core.scorers.base import Batch, Plan, RunContext, RunTranscript, Scorer, TokenReward, cells_of
from rb_core.scorers.function import NOT_FINITE, FunctionScorer

log = logging.getLogger(__name__)


class UserCode(NamedTuple):
    """The code of a scorer. name: MODULE:OBJECT as the user wrote it; file: the module's, None for a built-in one;
    option: on the command line that names it."""

    name: str
    file: Path | None
    option: str = "--scorer"

    def error_line(self, error: BaseException) -> str:
        """Return an exception in one line, with the line of the user's file that it comes from, if it does."""
        text = type(error).__name__ + (f": {first_line(error)}" if str(error).strip() else "")
        if self.file is None:
            return text
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename) == self.file]
        if isinstance(error, SyntaxError) and error.filename == str(self.file):
            return f"{type(error).__name__}: {error.msg} ({self.file.name}, line {error.lineno})"
        return f"{text} ({self.file.name}, line {lines[-1]})" if lines else text

    def fail(self, problem: str) -> NoReturn:
        raise ModelError(f"{self.option} {self.name}: {problem}")

    @contextmanager
    def explaining(self, step: str) -> Iterator[None]:
        """Turn an exception of the user's code into a ModelError that names the step, the exception and the line."""
        try:
            yield
        except RewardBenchError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelError(f"{self.option} {self.name}: {step} raises {self.error_line(error)}") from error

    def describe(self, arguments: Mapping[str, Any]) -> str:
        """Return name, arguments and the file's SHA-256, without the folder of a file, which is private."""
        location, _, target = self.name.rpartition(":")
        location = Path(location).name if location.endswith(".py") else location
        values = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        digest = "without a file" if self.file is None else f"sha256 {sha256(self.file.read_bytes()).hexdigest()}"
        return f"{location}:{target}" + (f"({values})" if values else "") + f", {digest}"


def load_custom(spec: ModelSpec, upcoming: Sequence[CompletionSet] = (), seed: int = 0) -> CustomScorer:
    """Return the scorer of a spec. Raises ModelError as `load_user_code`."""
    return load_user_code(spec.checkpoint.location, spec.options.scorer_args or {})


def load_user_code(name: str, arguments: Mapping[str, Any], option: str = "--scorer") -> CustomScorer:
    """Return what MODULE:OBJECT names as a scorer: a Scorer, a class that is constructed to one, or a function (see
    README.md). option: on the command line that names it.

    Raises ModelError for a module or an object that is not there, is of another type, or raises an exception.
    """
    module, code = _import(UserCode(name, None, option))
    target = name.rpartition(":")[2]
    try:
        user_object: Any = reduce(getattr, target.split("."), module)
    except AttributeError:
        code.fail(f"{module.__name__} has no object {target}")
    if isinstance(user_object, type):
        with code.explaining("constructing it"):
            user_object = user_object(**arguments)
    elif arguments:
        code.fail(f"{option}-args applies only to a class")
    scorer = user_object if isinstance(user_object, Scorer) else _function_scorer(user_object, code)
    return CustomScorer(scorer, code, code.describe(arguments))


def _import(code: UserCode) -> tuple[ModuleType, UserCode]:
    """Import the module of MODULE:OBJECT from the current folder or the installed packages, or run FILE.py:OBJECT.

    Returns it with the code, whose file is then known.
    """
    location = code.name.rpartition(":")[0]
    if location.endswith(".py"):
        return _run_file(code._replace(file=Path(location).absolute()))
    return _import_module(code, location)


def _run_file(code: UserCode) -> tuple[ModuleType, UserCode]:
    file = code.file
    found = spec_from_file_location(f"rb_scorer_{file.stem}", file) if file and file.is_file() else None
    if file is None or found is None or found.loader is None:
        code.fail("there is no such file")
    _import_also_from(file.parent)
    module = sys.modules[found.name] = module_from_spec(found)  # dataclasses look their module up by name
    with code.explaining("importing it"):
        found.loader.exec_module(module)
    return module, code


def _import_module(code: UserCode, location: str) -> tuple[ModuleType, UserCode]:
    _import_also_from(Path.cwd())
    with code.explaining("importing it"):
        found = _find_module(location)
    if found is None:
        code.fail(f"there is no module {location} in the current folder or among the installed packages")
    if found.has_location:
        code = code._replace(file=Path(found.origin))
    with code.explaining("importing it"):
        return import_module(location), code


def _import_also_from(folder: Path) -> None:
    """Let imports find a folder's modules first, as `python FILE.py` and `python -m MODULE` do."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _find_module(location: str) -> Any:
    """Return the import system's record of a module, None for an unknown module."""
    try:
        return find_spec(location)
    except ModuleNotFoundError as error:
        if error.name and (location + ".").startswith(error.name + "."):  # the package of the module
            return None
        raise


def _function_scorer(function: Any, code: UserCode) -> FunctionScorer:
    """Return the scorer of a function; the first exception of the function is logged, with its line."""
    if not callable(function):
        code.fail(f"it is of type {type(function).__name__}; expected a function, a Scorer, or a class of one")
    try:
        inspect.signature(function).bind((), "")
    except TypeError:
        code.fail("it cannot be called with (prompt, completion)")
    except ValueError:  # a built-in function without a signature
        pass
    logged: list[str] = []

    def reason_of(error: Exception) -> str:
        if not logged:
            logged.append(code.error_line(error))
            log.warning("%s %s: unscored, because it raises %s; more are not logged", code.option, code.name, logged[0])
        return f"the scorer raised {type(error).__name__}"

    return FunctionScorer(function, reason_of)


class CustomScorer(Scorer):
    """A user's scorer whose plan, scores and description are checked before they are used.

    origin: name and hash of the code, for the result. Raises ModelError where the contract of `Scorer` is broken.
    """

    kind = "function"

    def __init__(self, scorer: Scorer, code: UserCode, origin: str) -> None:
        self.scorer, self.code, self.origin = scorer, code, origin
        self.device, self.precision, self.threshold = scorer.device, scorer.precision, scorer.threshold
        self.describe()  # a fault of it is found before anything is scored

    @property
    def batch_tokens(self) -> int | None:
        return self.scorer.batch_tokens

    @batch_tokens.setter
    def batch_tokens(self, tokens: int | None) -> None:
        self.scorer.batch_tokens = tokens

    @property
    def measures_memory(self) -> bool:
        return self.scorer.measures_memory

    @property
    def packages(self) -> tuple[str, ...]:
        return self.scorer.packages

    def trace(self, prompt: Conversation, completion: str) -> list[TokenReward]:
        with self.code.explaining("trace"):
            return self.scorer.trace(prompt, completion)

    def open_transcript(self, run: RunContext) -> RunTranscript:
        with self.code.explaining("open_transcript"):
            return self.scorer.open_transcript(run)

    def describe(self) -> dict[str, Any]:
        with self.code.explaining("describe"):
            described = dict(self.scorer.describe())
        details = (described.get("kind_detail"), self.origin)
        described["kind_detail"] = "; ".join(filter(None, details))
        with self._checking("describe"):
            ModelRef(name="custom", **described)
        return described

    def plan(self, completion_sets: Sequence[CompletionSet]) -> Plan:
        with self.code.explaining("plan"):
            plan = self.scorer.plan(completion_sets)
        if not isinstance(plan, Plan):
            self.code.fail(f"plan returned a {type(plan).__name__}; expected a Plan")
        with self._checking("plan"):
            Notes(**plan.notes)
        planned = Counter(cell for batch in plan.batches for cell in batch.cells)
        if planned != Counter(cells_of(completion_sets)):
            self.code.fail("its plan does not have each completion exactly once")
        return plan

    def score(self, batch: Batch) -> list[Score]:
        return next(self.stream([batch]))

    def stream(self, batches: Iterable[Batch]) -> Iterator[list[Score]]:
        pending: deque[Batch] = deque()

        def taken() -> Iterator[Batch]:
            for batch in batches:
                pending.append(batch)
                yield batch

        source = taken()
        with self.code.explaining("scoring"):
            for scores in self.scorer.stream(source):
                yield self._checked(scores, len(pending.popleft().cells))
        if list(source) or pending:
            self.code.fail("stream ended without the scores of all batches")

    def _checked(self, scores: Sequence[Score], expected: int) -> list[Score]:
        if len(scores) != expected:
            self.code.fail(f"it returned {len(scores)} scores for a batch of {expected} completions")
        for score in scores:
            if not isinstance(score, Score):
                self.code.fail(f"it returned a {type(score).__name__} for a completion; expected a Score")
        return [_plain(score) for score in scores]

    @contextmanager
    def _checking(self, method: str) -> Iterator[None]:
        """Raise ModelError, naming the field, for what a result cannot record."""
        try:
            yield
        except ValidationError as error:
            first = error.errors()[0]
            self.code.fail(f"{method} returned a wrong {'.'.join(map(str, first['loc']))}: {first['msg']}")


def _plain(score: Score) -> Score:
    """Return the score in Python's own types; one that is not finite, or comes with a reason, is unscored."""
    value, num_tokens, truncated, reason, num_completion_tokens = score
    if not abs(value) <= LARGEST_SCORE:
        reason = reason or NOT_FINITE
    return Score(
        math.nan if reason else float(value), int(num_tokens), bool(truncated), reason, int(num_completion_tokens)
    )
