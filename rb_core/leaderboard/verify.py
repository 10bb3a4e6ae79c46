"""Every published number, recomputed: results from their score files, and what is left of them without.

A result of a run is aggregated again from its score file and compared field by field. A published result has no scores
here; of it the headline is derived again from the sections, a section from its subsets where all are known, and the
intervals from the numbers of examples. Every comparison takes the other numbers of the file as they stand, so that a
wrong one is named itself and not all that could have come of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.errors import ResultError, RewardBenchError, first_line
from rb_core.evaluation.aggregate import aggregate_scores
from rb_core.leaderboard import derived_files
from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result, ScoreFile, to_json
from rb_core.results.storage import read_result
from rb_core.stats.published import headline_estimate, section_estimate, subset_estimate

# The bootstrap is seeded, so that the same versions give the same bits. Another numpy or processor may add up in
# another order, which moves the sixteenth digit; it takes more to move the tenth.
RELATIVE = 1e-9


NEAR_ZERO = 1e-12


# Published headlines and sections are compared as far as four digits, which the boards are rounded to; less far where
# none of a file's has as many.
PUBLISHED_DIGITS = 4


MOST_DIGITS = 6


COMPUTED = ("headline", "sections", "subsets", "length", "matrices", "margins", "counts")


INTERVAL = ("stderr", "low", "high")


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be.

    path: the file, below the root; field: the place in it, or empty for the file as a whole; says, gives: what stands
    there and what `source` gives, None for nothing; problem: in words, where there are no two values to compare.
    """

    path: str
    field: str = ""
    says: Any = None
    gives: Any = None
    source: str = "its scores"
    problem: str = ""

    def __str__(self) -> str:
        place = f"{self.path}: {self.field}" if self.field else self.path
        text = self.problem or f"says {_shown(self.says)}, {self.source} give {_shown(self.gives)}"
        # A file from elsewhere may have control characters in its names, which are not for the terminal to obey.
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in f"{place}: {text}")


@dataclass(frozen=True)
class Report:
    """What was verified. Numbers of: results (also unreadable ones), those with and those without a score file, and the
    numbers that were recomputed."""

    results: int
    with_scores: int
    without_scores: int
    numbers: int
    differences: tuple[Difference, ...]

    def summary(self) -> str:
        """All of it in one line."""
        return (
            f"{self.results} results, {self.with_scores} with scores and {self.without_scores} without; "
            f"{self.numbers} numbers recomputed; {len(self.differences)} differences"
        )

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Checked:
    """What came of one result: how many numbers were recomputed, and what differs."""

    numbers: int
    differences: Sequence[Difference]


def verify(root: Path, *, whole: bool = False, refused: Sequence[str] = ()) -> Report:
    """Recompute every number below a root (`results/`, `scores/`), and compare; so too the files derived from results.

    whole: the root is a whole repository, whose derived files have to come from just these results; in a folder where
    results of one's own were added they come from an earlier set. refused: a message for each file that had to be left
    out of the root; these differ as a whole. Raises ResultError where there are no results.
    """
    files = sorted((root / "results").rglob("*.json"))
    if not files:
        raise ResultError(f"{root}: no results here; expected files below {root / 'results'}")
    differences = [Difference("refused", problem=message) for message in refused]
    claimed: set[str] = set()
    contents: dict[str, bytes] = {}
    with_scores = without_scores = numbers = 0
    for file in files:
        path = file.relative_to(root).as_posix()
        # A result that cannot be read, or names another file, still has the scores that lie at its own place.
        claimed.add(PurePosixPath("scores", *PurePosixPath(path).parts[1:]).with_suffix(".parquet").as_posix())
        try:
            result = read_result(file)
        except ResultError as error:
            differences.append(Difference(path, problem=str(error).removeprefix(f"{file}: ")))
            continue
        if path == result.path().as_posix():
            contents[path] = file.read_bytes()
        else:
            differences.append(Difference(path, problem=f"says it is {result.path().as_posix()}"))
        if result.scores is None:
            without_scores += 1
            checked = _check_published(path, result)
        else:
            with_scores += 1
            claimed.add(result.scores.path)
            checked = _check_scores(root, path, result, result.scores)
        numbers += checked.numbers
        differences += checked.differences
    differences += _orphans(root, claimed)
    differences += _check_derived(root, contents, whole)
    return Report(len(files), with_scores, without_scores, numbers, tuple(differences))


# Results with scores


def _check_scores(root: Path, path: str, result: Result, scores: ScoreFile) -> _Checked:
    """Compare a result with what its score file gives."""
    place = PurePosixPath(scores.path)
    # By its parts, not by resolving links: a snapshot of a repository is a folder of links to files elsewhere.
    if place.is_absolute() or ".." in place.parts:
        return _Checked(0, [Difference(path, "scores.path", problem=f"{place} is not below the root")])
    file = root / place
    if not file.is_file():
        return _Checked(0, [Difference(path, "scores.path", problem=f"{place} is not there")])
    try:
        computed = aggregate_scores(file)
    except RewardBenchError as error:
        problem = str(error).removeprefix(f"{file}: ")
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # One table that fits no benchmark must not end the audit of all.
        problem = f"{type(error).__name__}: {first_line(error)}"
    else:
        return _compare_results(path, result, computed)
    found = [Difference(path, "scores", problem=f"{place} cannot be aggregated: {problem}")]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != scores.sha256:
        found.append(Difference(path, "scores.sha256", scores.sha256, digest))
    return _Checked(0, found)


def _compare_results(path: str, result: Result, computed: Result) -> _Checked:
    says, gives = (json.loads(to_json(each)) for each in (result, computed))
    numbers = sum(_count_numbers(gives.get(key)) for key in COMPUTED)
    return _Checked(numbers, [Difference(path, *found) for found in compare(says, gives)])


def _count_numbers(value: Any) -> int:
    if isinstance(value, dict | list):
        return sum(map(_count_numbers, value.values() if isinstance(value, dict) else value))
    return int(isinstance(value, int | float) and not isinstance(value, bool))


def _orphans(root: Path, claimed: set[str]) -> Iterator[Difference]:
    """Score files that no result is derived from."""
    for file in sorted((root / "scores").rglob("*.parquet")):
        path = file.relative_to(root).as_posix()
        if path not in claimed:
            yield Difference(path, problem="no result is derived from it")


# Results without


def _check_published(path: str, result: Result) -> _Checked:
    """Derive again what the numbers of a published result say of each other, by the benchmark's record.

    A benchmark without a record here has no weights and no numbers of examples: nothing of it can be derived.
    """
    spec = BENCHMARKS.get(result.benchmark.id)
    if spec is None:
        return _Checked(0, [])
    found = list(_check_names(path, spec, result))
    numbers = 0
    known = {n: e.value for n, e in result.subsets.items() if e.value is not None and n in spec.subset_names}
    for section in spec.sections:
        estimate = result.sections.get(section.name)
        if estimate is not None and estimate.value is not None:
            place = f"sections.{section.name}"
            numbers += _check_section_value(path, result, section, estimate.value, known, found)
            again = section_estimate(spec, section, estimate.value, known)
            numbers += _check_interval(path, place, estimate, again, found)
    for name, value in known.items():
        again = subset_estimate(spec, name, value) if 0 <= value <= 1 else Estimate(value=value)
        numbers += _check_interval(path, f"subsets.{name}", result.subsets[name], again, found)
    numbers += _check_headline(path, spec, result, found)
    return _Checked(numbers, found)


def _check_names(path: str, spec: BenchmarkSpec, result: Result) -> Iterator[Difference]:
    """Sections and subsets are the record's, and what is not there is in `absent`."""
    for kind, names in (("section", [s.name for s in spec.sections]), ("subset", [s.name for s in spec.subsets])):
        for name in getattr(result, f"{kind}s").keys() - names:
            yield Difference(path, f"{kind}s.{name}", problem=f"{spec.id} has no such {kind}")
    for section in spec.sections:
        if section.name not in result.sections and section.name not in result.absent:
            yield Difference(path, f"absent.{section.name}", problem="is missing: the section has no score")
    missing = [s.name for s in spec.sections if s.required and s.name not in result.sections]
    if result.headline is None and "headline" not in result.absent:
        yield Difference(path, "absent.headline", problem="is missing: there is no headline")
    if result.headline is not None and missing:
        yield Difference(path, "headline", problem=f"there cannot be one without {', '.join(missing)}")


def _check_section_value(
    path: str, result: Result, section: Section, value: float, known: Mapping[str, float], found: list[Difference]
) -> int:
    if not section.weights.keys() <= known.keys():
        return 0
    parts = [known[name] for name in section.weights]
    mean = sum(w * known[name] for name, w in section.weights.items()) / sum(section.weights.values())
    tolerance = _half_unit(_digits(_scores(result), PUBLISHED_DIGITS)) + _half_unit(_digits(parts, MOST_DIGITS))
    if abs(value - mean) > tolerance:
        found.append(Difference(path, f"sections.{section.name}.value", value, mean, "its subsets"))
    return 1


def _check_headline(path: str, spec: BenchmarkSpec, result: Result, found: list[Difference]) -> int:
    """The weighted mean of the sections, and its interval."""
    weights = {s.name: s.headline_weight for s in spec.sections if s.name in result.sections}
    headline = result.headline
    values = {name: result.sections[name].value for name in weights}
    if headline is None or headline.value is None or not weights or None in values.values():
        return 0
    mean = sum(w * (values[name] or 0.0) for name, w in weights.items()) / sum(weights.values())
    # Its own rounding and, at most, as much again from the sections'.
    if abs(headline.value - mean) > 2 * _half_unit(_digits(_scores(result), PUBLISHED_DIGITS)):
        found.append(Difference(path, "headline.value", headline.value, mean, "its sections"))
    again = headline_estimate(spec, headline.value, result.sections)
    return 1 + _check_interval(path, "headline", headline, again, found, "its value and its sections")


def _check_interval(
    path: str,
    place: str,
    stated: Estimate,
    again: Estimate,
    found: list[Difference],
    source: str = "its value and the numbers of examples",
) -> int:
    """Compare the interval of an estimate; returns how many numbers were compared.

    Not where it claims none, nor a bootstrap's: that takes the items.
    """
    if stated.method == "bootstrap" or stated == Estimate(value=stated.value):
        return 0
    says, gives = ({name: getattr(e, name) for name in ("method", *INTERVAL)} for e in (stated, again))
    found += [Difference(path, f"{place}.{field}", a, b, source) for field, a, b in compare(says, gives)]
    return _count_numbers(gives)


def _scores(result: Result) -> list[float]:
    """The headline and the sections' values, as far as they are known."""
    estimates = [*result.sections.values(), *([result.headline] if result.headline else [])]
    return [e.value for e in estimates if e.value is not None]


def _digits(values: Sequence[float], most: int) -> int:
    """How many digits after the point numbers were rounded to: as many as any of them has, at most `most`."""
    return max(min(most, len(f"{value:.9f}".rstrip("0").partition(".")[2])) for value in values)


def _half_unit(digits: int) -> float:
    """The largest error of rounding to so many digits, and a little for that of floats."""
    return 0.5 * 10.0**-digits + RELATIVE


# Files made from results


def _check_derived(root: Path, contents: Mapping[str, bytes], whole: bool) -> Iterator[Difference]:
    """What is derived from results says from which; those of other results are wrong in a whole repository only."""
    file = root / derived_files.LEADERBOARD
    if not file.is_file():
        return
    try:
        _, digest = derived_files.read_leaderboard(file.read_bytes())
    except ResultError as error:
        yield Difference(derived_files.LEADERBOARD, problem=str(error).removeprefix(f"{derived_files.LEADERBOARD}: "))
        return
    own = derived_files.results_digest(contents)
    if digest == own:
        files = derived_files.derive(contents)
        del files[derived_files.CARD]  # it names the repository
        yield from compare_files(root, files)
    elif whole:
        yield Difference(derived_files.LEADERBOARD, "results", digest, own, source="the results")


def compare_files(root: Path, expected: Mapping[str, bytes]) -> Iterator[Difference]:
    """What differs between the files below a root and what they have to be, JSON and parquet by their values.

    By values, not bytes: another version of the parquet library writes the same table in other bytes.
    """
    for path, content in sorted(expected.items()):
        file = root / path
        if not file.is_file():
            continue
        stands = file.read_bytes()
        if stands == content:
            continue
        try:
            says, gives = (_values(path, each) for each in (stands, content))
        except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
            yield Difference(path, problem=f"is not readable: {first_line(error)}")
            continue
        yield from (Difference(path, *found, source="the results") for found in compare(says, gives))


def _values(path: str, content: bytes) -> Any:
    if path.endswith(".parquet"):
        return pq.read_table(io.BytesIO(content), use_threads=False, pre_buffer=False).to_pylist()
    return json.loads(content) if path.endswith(".json") else content.decode()


# Values


def compare(says: Any, gives: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The places where two JSON values differ: (field, what the first says, what the second gives), None for nothing.

    Floats are equal within a relative 1e-9; what lacks a whole part differs at that part.
    """
    if isinstance(says, dict) and isinstance(gives, dict):
        for key in [*says, *(key for key in gives if key not in says)]:
            yield from compare(says.get(key), gives.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(says, list) and isinstance(gives, list) and len(says) == len(gives):
        for index, pair in enumerate(zip(says, gives, strict=True)):
            yield from compare(*pair, f"{where}[{index}]")
    elif not _equal(says, gives):
        yield where, says, gives


def _equal(says: Any, gives: Any) -> bool:
    if isinstance(says, bool) or isinstance(gives, bool):
        return says is gives
    if isinstance(says, int | float) and isinstance(gives, int | float) and float in (type(says), type(gives)):
        return math.isclose(says, gives, rel_tol=RELATIVE, abs_tol=NEAR_ZERO)
    return bool(says == gives)


def _shown(value: Any) -> str:
    """A value in a message: JSON, not all of it where it is long."""
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else f"{text[:97]}..."
