"""Recompute every published number: results from their score files, and what published results allow without scores.

The result of a run is aggregated again from its score file and compared field by field. A published result has no
scores: its headline is recomputed from its sections, a section from its subsets if all are known, and intervals from
the numbers of examples. Every check takes the other numbers of the file as they are, so that a wrong number is
reported itself and not everything that depends on it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.benchmarks.card import parse_card, read_card
from rb_core.benchmarks.custom import recorded_spec
from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.errors import DataError, ResultError, RewardBenchError, first_line
from rb_core.evaluation.aggregate import aggregate_scores
from rb_core.leaderboard import derived_files
from rb_core.leaderboard.model_registry import REGISTRY_FILE, read_registry
from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result, ScoreFile, is_unchanged, parse_result
from rb_core.results.storage import read_result
from rb_core.stats.published import headline_estimate, section_estimate, subset_estimate

# The same versions give the same bits. Another numpy or processor may sum in another order, which changes the sixteenth
# digit; only another computation changes the tenth.
RELATIVE_TOLERANCE = 1e-9
ABSOLUTE_TOLERANCE = 1e-12
# Published headlines and sections are rounded to four digits, in some files to fewer; subsets to six at most.
MAX_PUBLISHED_DIGITS = 4
MAX_SUBSET_DIGITS = 6
SCORED_FIELDS = (
    "groupings",
    "length",
    "style",
    "matrices",
    "margins",
    "chance",
    "counts",
)  # only in results with scores
COMPUTED_FIELDS = ("headline", "sections", "subsets", *SCORED_FIELDS)
ESTIMATE_FIELDS = [name for name in Estimate.model_fields if name != "value"]


@dataclass(frozen=True)
class Mismatch:
    """A wrong value, or another problem with a file.

    path: file below the root; field: place in the file, empty for the whole file; says, gives: value in the file and
    value computed from `source`, None for a missing one; problem: text for anything but a pair of values.
    """

    path: str
    field: str = ""
    says: Any = None
    gives: Any = None
    source: str = "its scores"
    problem: str = ""

    def __str__(self) -> str:
        place = f"{self.path}: {self.field}" if self.field else self.path
        text = self.problem or f"says {_value_text(self.says)}, {self.source} give {_value_text(self.gives)}"
        # A terminal must not obey control characters in a file that others wrote.
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in f"{place}: {text}")


@dataclass(frozen=True)
class VerifyReport:
    """The outcome of `verify`. Results that cannot be read count as results; numbers: recomputed numbers."""

    results: int
    with_scores: int
    without_scores: int
    numbers: int
    differences: tuple[Mismatch, ...]

    def summary(self) -> str:
        """Return the report as one line."""
        return (
            f"{self.results} results, {self.with_scores} with scores and {self.without_scores} without; "
            f"{self.numbers} numbers recomputed; {len(self.differences)} differences"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class _ResultCheck:
    """The mismatches of one result file, and how many of its numbers were recomputed."""

    path: str
    numbers: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)

    def add_problem(self, field: str, problem: str) -> None:
        self.mismatches.append(Mismatch(self.path, field, problem=problem))

    def add_value(self, field: str, says: Any, gives: Any, source: str = "its scores") -> None:
        self.mismatches.append(Mismatch(self.path, field, says, gives, source))


def verify(root: Path, *, whole: bool = False, refused: Sequence[str] = (), may_be_empty: bool = False) -> VerifyReport:
    """Recompute every number below a root (`results/`, `scores/`) and the files derived from the results.

    Args:
        whole: the root is a whole repository, whose derived files must come from exactly these results. In a folder
            with a user's own results they come from an earlier set.
        refused: a message for each file that was left out of the root; each becomes a mismatch.
        may_be_empty: the root may hold other files than results of benchmarks.

    Raises ResultError if there are no results.
    """
    files = sorted((root / "results").rglob("*.json"))
    if not files and not may_be_empty:
        raise ResultError(f"{root}: no results here; expected files below {root / 'results'}")
    mismatches = [Mismatch("refused", problem=message) for message in refused]
    score_paths: set[str] = set()  # with a result
    contents: dict[str, bytes] = {}
    with_scores = without_scores = numbers = 0
    for file in files:
        check = _ResultCheck(file.relative_to(root).as_posix())
        # A result that cannot be read, or is in the wrong place, still owns the scores that match its path.
        score_paths.add(f"scores/{check.path.removeprefix('results/').removesuffix('.json')}.parquet")
        try:
            result = read_result(file)
        except ResultError as error:
            mismatches.append(Mismatch(check.path, problem=str(error).removeprefix(f"{file}: ")))
            continue
        if check.path == result.path().as_posix():
            contents[check.path] = file.read_bytes()
        else:
            check.add_problem("", f"says it is {result.path().as_posix()}")
        if result.scores is None:
            without_scores += 1
            _check_published(check, result)
        else:
            with_scores += 1
            score_paths.add(result.scores.path)
            _check_scores(check, root, result, result.scores)
        if not check.mismatches and not is_unchanged(file.read_bytes()):
            check.add_problem("checksum", "differs: the file was changed after it was written")
        numbers += check.numbers
        mismatches += check.mismatches
    mismatches += _scores_without_result(root, score_paths)
    mismatches += _check_benchmark_cards(root, contents)
    try:
        if read_registry(root).models:
            contents[REGISTRY_FILE] = (root / REGISTRY_FILE).read_bytes()
        mismatches += _check_derived_files(root, contents, whole)
    except DataError as error:
        mismatches.append(Mismatch(REGISTRY_FILE, problem=str(error).removeprefix(f"{root / REGISTRY_FILE}: ")))
    return VerifyReport(len(files), with_scores, without_scores, numbers, tuple(mismatches))


# Results with scores


def _check_scores(check: _ResultCheck, root: Path, result: Result, scores: ScoreFile) -> None:
    """Compare a result with the one that its score file gives."""
    place = PurePosixPath(scores.path)
    # Links are not resolved: a snapshot of a repository is a folder of links to files elsewhere.
    if place.is_absolute() or ".." in place.parts:
        return check.add_problem("scores.path", f"{place} is not below the root")
    file = root / place
    if not file.is_file():
        return check.add_problem("scores.path", f"{place} does not exist")
    try:
        computed = aggregate_scores(file, scores.column)
    except RewardBenchError as error:
        problem = str(error).removeprefix(f"{file}: ")
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # One table that fits no benchmark must not end the check of all others.
        problem = f"{type(error).__name__}: {first_line(error)}"
    else:
        says, gives = (version.model_dump(mode="json", exclude_none=True) for version in (result, computed))
        check.numbers += sum(count_numbers(gives.get(key)) for key in COMPUTED_FIELDS)
        for difference in differing_values(says, gives):
            check.add_value(*difference)
        return None
    check.add_problem("scores", f"{place} cannot be aggregated: {problem}")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != scores.sha256:
        check.add_value("scores.sha256", scores.sha256, digest)
    return None


def count_numbers(value: Any) -> int:
    """Return how many numbers a JSON value holds."""
    if isinstance(value, dict | list):
        return sum(map(count_numbers, value.values() if isinstance(value, dict) else value))
    return int(isinstance(value, int | float) and not isinstance(value, bool))


def _scores_without_result(root: Path, score_paths: set[str]) -> Iterator[Mismatch]:
    for file in sorted((root / "scores").rglob("*.parquet")):
        path = file.relative_to(root).as_posix()
        if path not in score_paths:
            yield Mismatch(path, problem="no result was computed from it")


# Results without scores


def _check_published(check: _ResultCheck, result: Result) -> None:
    """Check the numbers of a published result against each other.

    Of a benchmark that is not registered only values are admitted: its weights and numbers of examples are unknown.
    """
    for name in (*SCORED_FIELDS, "judging"):
        if getattr(result, name):
            check.add_problem(name, "cannot be recomputed: the result has no score file")
    spec = recorded_spec(result.benchmark.id, result.benchmark.subsets, result.benchmark.card)
    for place, stated in _estimates(result):
        if stated.value is None:
            check.add_problem(f"{place}.value", "is missing")
        elif spec is None:
            _check_estimate(check, place, stated, Estimate(no_interval=stated.no_interval), "values alone")
    if spec is None:
        return
    _check_names(check, spec, result)
    subset_values = {n: e.value for n, e in result.subsets.items() if e.value is not None and n in spec.subset_names}
    for section in spec.sections:
        estimate = result.sections.get(section.name)
        if estimate is not None and estimate.value is not None:
            _check_section_value(check, result, section, estimate.value, subset_values)
            recomputed = section_estimate(spec, section, estimate.value, subset_values)
            _check_estimate(check, f"sections.{section.name}", estimate, recomputed)
    for name, value in subset_values.items():
        recomputed = subset_estimate(spec, name, value)
        _check_estimate(check, f"subsets.{name}", result.subsets[name], recomputed)
    _check_headline(check, spec, result)


def _estimates(result: Result) -> Iterator[tuple[str, Estimate]]:
    """Yield the estimates of a published result with their places."""
    if result.headline is not None:
        yield "headline", result.headline
    for level, estimates in (("sections", result.sections), ("subsets", result.subsets)):
        yield from ((f"{level}.{name}", estimate) for name, estimate in estimates.items())


def _check_names(check: _ResultCheck, spec: BenchmarkSpec, result: Result) -> None:
    """Check that sections and subsets are those of the benchmark, and that missing ones are listed in `absent`."""
    for name in result.sections.keys() - {section.name for section in spec.sections}:
        check.add_problem(f"sections.{name}", f"{spec.id} has no such section")
    for name in result.subsets.keys() - spec.subset_names:
        check.add_problem(f"subsets.{name}", f"{spec.id} has no such subset")
    for section in spec.sections:
        if section.name not in result.sections and section.name not in result.absent:
            check.add_problem(f"absent.{section.name}", "is missing: the section has no score")
    missing = [s.name for s in spec.sections if s.required and s.name not in result.sections]
    if result.headline is None and "headline" not in result.absent:
        check.add_problem("absent.headline", "is missing: there is no headline")
    if result.headline is not None and missing and result.sections:
        check.add_problem("headline", f"must be absent without {', '.join(missing)}")


def _check_section_value(
    check: _ResultCheck, result: Result, section: Section, value: float, subset_values: Mapping[str, float]
) -> None:
    if not section.weights.keys() <= subset_values.keys():
        return
    check.numbers += 1
    parts = [subset_values[name] for name in section.weights]
    mean = section.mean(subset_values)
    if abs(value - mean) > _rounding_error(result) + _half_unit(_num_digits(parts, MAX_SUBSET_DIGITS)):
        check.add_value(f"sections.{section.name}.value", value, mean, "its subsets")


def _check_headline(check: _ResultCheck, spec: BenchmarkSpec, result: Result) -> None:
    weights = {s.name: s.headline_weight for s in spec.sections if s.name in result.sections}
    headline = result.headline
    values = {name: result.sections[name].value for name in weights}
    if headline is None or headline.value is None or not weights or None in values.values():
        return
    check.numbers += 1
    mean = sum(w * (values[name] or 0.0) for name, w in weights.items()) / sum(weights.values())
    # The headline's own rounding, and at most as much again from that of the sections.
    if abs(headline.value - mean) > 2 * _rounding_error(result):
        check.add_value("headline.value", headline.value, mean, "its sections")
    recomputed = headline_estimate(spec, headline.value, result.sections)
    _check_estimate(check, "headline", headline, recomputed, "its value and its sections")


def _check_estimate(
    check: _ResultCheck,
    place: str,
    stated: Estimate,
    recomputed: Estimate,
    source: str = "its value and the numbers of examples",
) -> None:
    """Compare an estimate with the only one that the numbers of a published result give for its value."""
    says, gives = ({name: getattr(e, name) for name in ESTIMATE_FIELDS} for e in (stated, recomputed))
    check.numbers += count_numbers(gives)
    for name, stated_value, computed_value in differing_values(says, gives):
        check.add_value(f"{place}.{name}", stated_value, computed_value, source)


def _rounding_error(result: Result) -> float:
    """Return the largest rounding error of the headline and the sections."""
    estimates = [*result.sections.values(), *([result.headline] if result.headline else [])]
    return _half_unit(_num_digits([e.value for e in estimates if e.value is not None], MAX_PUBLISHED_DIGITS))


def _num_digits(values: Sequence[float], most: int) -> int:
    """Return the number of decimals that the values were rounded to: the most that any of them has, up to `most`."""
    return max(min(most, len(f"{value:.9f}".rstrip("0").partition(".")[2])) for value in values)


def _half_unit(digits: int) -> float:
    return 0.5 * 10.0**-digits + RELATIVE_TOLERANCE


# Derived files


def _check_derived_files(root: Path, contents: Mapping[str, bytes], whole: bool) -> Iterator[Mismatch]:
    """Compare the derived files with those of the results; files of other results are wrong in a whole repository."""
    file = root / derived_files.LEADERBOARD
    if not file.is_file():
        return
    try:
        _, digest = derived_files.read_leaderboard(file.read_bytes())
    except ResultError as error:
        yield Mismatch(derived_files.LEADERBOARD, problem=str(error).removeprefix(f"{derived_files.LEADERBOARD}: "))
        return
    expected_digest = derived_files.results_digest(contents)
    if digest == expected_digest:
        for path, content in sorted(derived_files.derive(contents).items()):
            # The dataset card names the repository; cards of benchmarks are compared also without a leaderboard.
            if path != derived_files.CARD and not derived_files.is_benchmark_card(path):
                yield from _compare_file(root, path, content)
    elif whole:
        yield Mismatch(derived_files.LEADERBOARD, "results", digest, expected_digest, source="the results")


def _check_benchmark_cards(root: Path, contents: Mapping[str, bytes]) -> Iterator[Mismatch]:
    """Compare the cards of benchmarks below the root with those that the results were scored by."""
    if not (root / "benchmarks").is_dir():
        return
    results = (parse_result(content, path) for path, content in contents.items())
    for path, recorded in derived_files.benchmark_cards(results).items():
        if not (root / path).is_file():
            continue
        try:
            says, gives = read_card(root / path), parse_card(recorded, path)
        except DataError as error:
            yield Mismatch(path, problem=str(error).removeprefix(f"{PurePosixPath(path).name}: "))
            continue
        for difference in differing_values(says.model_dump(), gives.model_dump()):
            yield Mismatch(path, *difference, source="the results")


def _compare_file(root: Path, path: str, expected: bytes) -> Iterator[Mismatch]:
    """Compare a file by its values: another version of the parquet library writes the same table in other bytes."""
    file = root / path
    content = file.read_bytes() if file.is_file() else expected
    if content == expected:
        return
    try:
        says, gives = (_values_in_file(path, version) for version in (content, expected))
    except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
        yield Mismatch(path, problem=f"is not readable: {first_line(error)}")
        return
    for difference in differing_values(says, gives):
        yield Mismatch(path, *difference, source="the results")


def _values_in_file(path: str, content: bytes) -> Any:
    if path.endswith(".parquet"):
        return pq.read_table(io.BytesIO(content), use_threads=False, pre_buffer=False).to_pylist()
    return json.loads(content)


# Values


def differing_values(says: Any, gives: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (place, value in the first, value in the second) for each difference of two JSON values, None for a gap.

    Floats are equal within a relative error of 1e-9.
    """
    if isinstance(says, dict) and isinstance(gives, dict):
        for key in [*says, *(key for key in gives if key not in says)]:
            yield from differing_values(says.get(key), gives.get(key), f"{place}.{key}" if place else str(key))
    elif isinstance(says, list) and isinstance(gives, list) and len(says) == len(gives):
        for index, pair in enumerate(zip(says, gives, strict=True)):
            yield from differing_values(*pair, f"{place}[{index}]")
    elif not _equal(says, gives):
        yield place, says, gives


def _equal(says: Any, gives: Any) -> bool:
    if isinstance(says, bool) or isinstance(gives, bool):
        return says is gives
    if isinstance(says, int | float) and isinstance(gives, int | float) and float in (type(says), type(gives)):
        return math.isclose(says, gives, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
    return bool(says == gives)


def _value_text(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else f"{text[:97]}..."
