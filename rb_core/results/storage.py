"""Read and write result files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rb_core.benchmarks.custom import DEFAULT_CARD
from rb_core.errors import ResultError
from rb_core.files import write_atomically
from rb_core.results.schema import MAX_RESULT_BYTES, Result, Segment, parse_result, to_json


def check_model_name(name: str) -> str:
    """Return the name; raises ResultError unless it makes a safe path."""
    if not re.fullmatch(rf"{Segment}(/{Segment})?", name) or len(name) > 200:
        raise ResultError(
            f"model name {name!r}: expected ORG/NAME in letters, digits, '.', '_', '-' and '+'; choose one with --name"
        )
    return name


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise ResultError when a result exists at path and overwrite is False."""
    if path.exists() and not overwrite:
        raise ResultError(f"{path}: this result exists already; replace it with --overwrite")


def has_failures(path: Path) -> bool:
    """Return True for a result some of whose requests to a server failed, which the same command sends again."""
    try:
        return read_result(path).failed_requests > 0
    except ResultError:
        return False


def reason_not_to_replace(new: Result, old: Result) -> str | None:
    """Return why `new` must not replace `old` without a request to do so; None when it may.

    It must not when it is published and the old one a run, when it has fewer examples or scored fewer, when only it is
    of other data than the published, when its card states other data or rules, when it is of a modified checkout and
    the old one of a clean one, and when it is older.
    """
    if new.status == "published" and old.status == "run":
        return "published elsewhere, and the existing one is a run"
    if new.benchmark.limit is not None and old.benchmark.limit is None:
        return f"limited to {new.benchmark.limit} examples, and the existing one is not limited"
    if (differing := new.differing_subsets()) and not old.differing_subsets():
        return f"run on other data than the published ({', '.join(differing)}), and the existing one is not"
    if (new.benchmark.card or DEFAULT_CARD).rules != (old.benchmark.card or DEFAULT_CARD).rules:
        return "of a benchmark of the same id with other data or rules"
    if new.counts and old.counts and new.counts.scored < old.counts.scored:
        return f"scored {new.counts.scored} examples, and the existing one {old.counts.scored}"
    if new.run and new.run.git_dirty and not (old.run and old.run.git_dirty):
        return "run from a modified checkout"
    if (new_date := _date(new)) and (old_date := _date(old)) and new_date < old_date:
        return f"of {new_date}, and the existing one of {old_date}"
    return None


def keep_together(kept: Mapping[str, str], results: Mapping[str, Result]) -> dict[str, str]:
    """Return the results that are kept, with the reason, and with them all whose scores are in one file with theirs.

    kept: reason by path; results: those that are to replace others, by path.
    """
    files = {results[path].scores_path() for path in kept if results[path].shares_scores}
    reason = "of a score file with a result that is kept"
    return {p: reason for p, r in results.items() if r.shares_scores and r.scores_path() in files} | dict(kept)


def _date(result: Result) -> str | None:
    """Return when a result was run, else when it was retrieved, as text that sorts by time."""
    return result.run.started if result.run else result.published.retrieved if result.published else None


def write_result(root: Path, result: Result, *, overwrite: bool = False) -> Path:
    """Write a result to its path below root. Raises ResultError when one exists there and overwrite is False."""
    path = root / result.path()
    check_free(path, overwrite=overwrite)
    write_atomically(path, to_json(result))
    return path


def read_result(path: Path) -> Result:
    """Return the result in a file. Raises ResultError, naming file and field, when it is not of this schema."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_RESULT_BYTES + 1)
    except FileNotFoundError:
        raise ResultError(f"{path}: no such result file") from None
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error}") from error
    return parse_result(content, str(path))


def read_results(root: Path) -> tuple[list[Result], list[str]]:
    """Return all results below a root, sorted by path, and a message for each file that is refused."""
    results, refused = [], []
    for path in sorted((root / "results").rglob("*.json")):
        try:
            result = read_result(path)
            if path != root / result.path():
                raise ResultError(f"{path}: its content belongs at {result.path()}")
            results.append(result)
        except ResultError as error:
            refused.append(str(error))
    return results, refused
