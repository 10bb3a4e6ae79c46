"""Pulling results: one commit, checked, and swapped in as a whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from rb_core.errors import HubError, ResultError, ScoreTableError
from rb_core.files import write_atomically
from rb_core.hub.client import retrying
from rb_core.hub.folders import exchange
from rb_core.hub.repository import ResultsRepo, State
from rb_core.leaderboard import derived_files
from rb_core.results.schema import parse_result
from rb_core.results.score_table import check_score_file
from rb_core.results.storage import read_results, why_not_replace


@dataclass(frozen=True)
class Pulled:
    """What came with a pull. refused: a message for each file that was not taken; kept: results here that stay, each
    with the reason; results: how many the commit has; written: how many files are new or other than before."""

    commit: str
    date: datetime | None
    results: int
    written: int
    refused: tuple[str, ...]
    kept: Mapping[str, str]


@dataclass(frozen=True)
class Snapshot:
    """The files of a commit that are what they have to be, by path, and a message for each that is not."""

    state: State
    results: Mapping[str, bytes]
    scores: Mapping[str, bytes]
    derived: Mapping[str, bytes]
    refused: tuple[str, ...]


def pull(
    name: str, root: Path, *, revision: str | None = None, overwrite: bool = False, repo: ResultsRepo | None = None
) -> Pulled:
    """Bring the results of a dataset repository, with their scores and derived files, into the folder `root`.

    Everything comes from one commit and is checked before anything is written; then the folder is exchanged as a whole,
    so that it holds either the old set or the new one. Files here that the repository does not have stay, and so does a
    result that is newer or has more than the one there, unless `overwrite` says otherwise. Raises HubError when the
    repository cannot be read, ResultError when the folder cannot be written; a bad file in the repository is refused by
    name and the rest stands.
    """
    repo = repo or ResultsRepo(name)
    root = root.resolve()
    root.parent.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        _remove_leftovers(root)
        snapshot = read_snapshot(repo, root, revision)
        kept = {} if overwrite else _kept(snapshot, root)
        left_out = {*kept, *map(_scores_of, kept)}
        files = {path: c for path, c in {**snapshot.results, **snapshot.scores}.items() if path not in left_out}
        files |= _derived(repo, snapshot, {**_results_here(root), **files})
        written = {path: content for path, content in files.items() if _content(root / path) != content}
        if written:
            try:
                _swap_in(root, written)
            except OSError as error:
                raise ResultError(f"{root}: cannot be exchanged for the new set: {error}") from error
    state = snapshot.state
    return Pulled(state.commit, state.date, len(snapshot.results), len(written), snapshot.refused, kept)


def check_out(repo: ResultsRepo, folder: Path, revision: str | None = None) -> Snapshot:
    """Put what a commit has, its derived files as they are, into an empty folder. Raises and refuses as `pull`."""
    snapshot = read_snapshot(repo, revision=revision)
    for path, content in {**snapshot.results, **snapshot.scores, **snapshot.derived}.items():
        write_atomically(folder / path, content)
    return snapshot


def read_snapshot(repo: ResultsRepo, here: Path | None = None, revision: str | None = None) -> Snapshot:
    """Fetch a commit and check every file of it. What lies unchanged below `here` is not fetched again."""
    state = retrying(lambda: repo.state(revision), f"reading {repo.name}")
    contents, unread = repo.read(state, state.files, lambda path: _content(here / path) if here else None)
    refused = [*state.refused, *unread]
    results: dict[str, bytes] = {}
    scores: dict[str, bytes] = {}
    for path in sorted(path for path in contents if path.startswith("results/")):
        try:
            of_result = _check(path, contents)
        except (ResultError, ScoreTableError) as error:
            refused.append(str(error))
            continue
        results[path] = contents[path]
        if of_result is not None:
            scores[of_result] = contents[of_result]
    refused += [f"{path!r}: no result was derived from it" for path in _orphans(contents)]
    theirs = {path: content for path, content in contents.items() if derived_files.is_derived(path)}
    return Snapshot(state, results, scores, theirs, tuple(refused))


def _check(path: str, contents: Mapping[str, bytes]) -> str | None:
    """The path of a result's score file, None where it has none. Raises for a result that is not to be relied on."""
    result = parse_result(contents[path], repr(path))
    if result.path().as_posix() != path:
        raise ResultError(f"{path!r}: says it is {result.path()}")
    if result.scores is None:
        return None
    scores = result.scores_path().as_posix()
    if scores not in contents:
        raise ScoreTableError(f"{path!r}: its score file {scores} is not there or was refused")
    if hashlib.sha256(contents[scores]).hexdigest() != result.scores.sha256:
        raise ScoreTableError(f"{path!r}: was derived from another score file than the one at {scores}")
    check_score_file(contents[scores], repr(scores))
    return scores


def _orphans(contents: Mapping[str, bytes]) -> list[str]:
    """Score files without a result file; those whose result was refused are named with it."""
    of_results = {_scores_of(path) for path in contents if path.startswith("results/")}
    return sorted(path for path in contents if path.startswith("scores/") and path not in of_results)


def _derived(repo: ResultsRepo, snapshot: Snapshot, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """The derived files for a set of result files: the repository's own where they come from just these, else ours."""
    results = {path: content for path, content in files.items() if path.startswith("results/")}
    theirs = snapshot.derived
    try:
        boards, there = derived_files.read_leaderboard(theirs.get(derived_files.LEADERBOARD, b""))
    except ResultError:
        boards, there = {}, ""
    complete = {derived_files.CARD, *map(derived_files.table_path, boards)} <= theirs.keys()
    digest = derived_files.digest({path: derived_files.git_oid(content) for path, content in results.items()})
    if complete and there == digest:
        return theirs
    return derived_files.derive(results, repo.name) if results else {}


def _results_here(root: Path) -> dict[str, bytes]:
    """The content of the result files below a root, by path, but for those that are no results."""
    found, _ = read_results(root)
    return {result.path().as_posix(): (root / result.path()).read_bytes() for result in found}


def _kept(snapshot: Snapshot, root: Path) -> dict[str, str]:
    """The results below the root that are not replaced, each with the reason."""
    kept: dict[str, str] = {}
    for path, content in snapshot.results.items():
        here = _content(root / path)
        if here is None or here == content:
            continue
        if reason := _reason(content, here, path):
            kept[path] = reason
    return kept


def _reason(content: bytes, here: bytes, path: str) -> str | None:
    try:
        mine = parse_result(here, path)
    except ResultError:
        return None  # what is no result is not worth keeping
    reason = why_not_replace(parse_result(content, path), mine)
    return f"the one on the hub is {reason}" if reason else None


def _scores_of(path: str) -> str:
    return "scores/" + path.removeprefix("results/").removesuffix(".json") + ".parquet"


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


# --------------------------------------------------------------------------------------------------------------------
# The folder


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keep a second pull into the same folder out."""
    lock = FileLock(root.with_name(f".{root.name}.pull.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise HubError(f"{root}: another pull is writing here; wait for it to end") from None
    try:
        yield
    finally:
        lock.release()


def _prefix(root: Path) -> str:
    return f".{root.name}.pull-"


def _remove_leftovers(root: Path) -> None:
    """What a killed pull left beside the folder: a set that was not complete, or the one it had replaced."""
    for path in root.parent.glob(f"{_prefix(root)}*"):
        shutil.rmtree(path)


def _swap_in(root: Path, files: Mapping[str, bytes]) -> None:
    """Build the new set beside the folder, from links to what stays and the new files, and exchange the two."""
    staging = Path(tempfile.mkdtemp(dir=root.parent, prefix=_prefix(root)))
    try:
        staging.chmod(0o755)
        if root.is_dir():
            shutil.copytree(root, staging, copy_function=_link, dirs_exist_ok=True, symlinks=True)
        for path, content in files.items():
            place = staging / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)  # not written through: it may be linked to the old set's file
            with place.open("wb") as file:
                file.write(content)
                os.fsync(file.fileno())
        exchange(staging, root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
