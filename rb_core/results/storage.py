"""Read and write result files."""

from __future__ import annotations

import re
from pathlib import Path

from rb_core.errors import ResultError
from rb_core.files import write_atomically
from rb_core.results.schema import MAX_RESULT_BYTES, Result, Segment, parse_result, to_json


def check_model_name(name: str) -> str:
    """Raises ResultError for a name that would not make a safe path."""
    if not re.fullmatch(rf"{Segment}(/{Segment})?", name) or len(name) > 200:
        raise ResultError(
            f"model name {name!r}: expected ORG/NAME in letters, digits, '.', '_', '-' and '+'; choose one with --name"
        )
    return name


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raises ResultError when a result stands at path and overwrite is False."""
    if path.exists() and not overwrite:
        raise ResultError(f"{path}: a result stands here already; replace it with --overwrite")


def why_not_replace(new: Result, old: Result) -> str | None:
    """What makes `new` older or lesser than `old`, so that it shall not take its place unasked; None where it may.

    Lesser is: published elsewhere beside run with this package, a part of the examples beside all of them, fewer scored
    examples, a changed checkout beside a clean one.
    """
    if new.status == "published" and old.status == "run":
        return "published elsewhere, and the one there is a run"
    if new.benchmark.limit is not None and old.benchmark.limit is None:
        return f"limited to {new.benchmark.limit} examples, and the one there is not"
    if new.counts and old.counts and new.counts.scored < old.counts.scored:
        return f"scored {new.counts.scored} examples, and the one there {old.counts.scored}"
    if new.run and new.run.git_dirty and not (old.run and old.run.git_dirty):
        return "run from a changed checkout"
    if (made := _made(new)) and (before := _made(old)) and made < before:
        return f"of {made}, and the one there of {before}"
    return None


def _made(result: Result) -> str | None:
    """When a result was run, else when it was retrieved; as text that sorts by time."""
    return result.run.started if result.run else result.published.retrieved if result.published else None


def write_result(root: Path, result: Result, *, overwrite: bool = False) -> Path:
    """Write a result to its place below root. Raises ResultError when one stands there and overwrite is False."""
    path = root / result.path()
    check_free(path, overwrite=overwrite)
    write_atomically(path, to_json(result))
    return path


def read_result(path: Path) -> Result:
    """Raises ResultError, naming file and field, for whatever is not a result of this schema."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_RESULT_BYTES + 1)
    except FileNotFoundError:
        raise ResultError(f"{path}: no such result file") from None
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error}") from error
    return parse_result(content, str(path))


def read_results(root: Path) -> tuple[list[Result], list[str]]:
    """All results below a root, sorted by path, and a message for each file that is refused."""
    found, refused = [], []
    for path in sorted((root / "results").rglob("*.json")):
        try:
            result = read_result(path)
            if path != root / result.path():
                raise ResultError(f"{path}: says it is {result.path()}")
            found.append(result)
        except ResultError as error:
            refused.append(str(error))
    return found, refused
