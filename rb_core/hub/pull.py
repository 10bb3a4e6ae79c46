"""Pull results of one commit, check them, and exchange the local folder as a whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

from filelock import FileLock, Timeout

from rb_core.errors import HubError, ResultError, ScoreTableError
from rb_core.files import write_atomically
from rb_core.hub.client import retrying
from rb_core.hub.companions import valid_companions
from rb_core.hub.folders import exchange
from rb_core.hub.repository import RepositoryState, ResultsRepo
from rb_core.leaderboard import derived_files
from rb_core.leaderboard.model_registry import REGISTRY_FILE
from rb_core.results.paths import joint_scores_path
from rb_core.results.schema import parse_result
from rb_core.results.score_table import check_score_file
from rb_core.results.storage import keep_together, read_results, reason_not_to_replace


@dataclass(frozen=True)
class Pulled:
    """A finished pull.

    results: number of results in the commit; written: number of new or changed files; refused: a message for each
    invalid file; kept: local results that were not replaced, with the reason.
    """

    commit: str
    date: datetime | None
    results: int
    written: int
    refused: tuple[str, ...]
    kept: Mapping[str, str]


@dataclass(frozen=True)
class RepositorySnapshot:
    """The valid files of a commit by path, and a message for each invalid one. companions: see `hub.companions`."""

    state: RepositoryState
    results: Mapping[str, bytes]
    scores: Mapping[str, bytes]
    derived: Mapping[str, bytes]
    companions: Mapping[str, bytes]
    refused: tuple[str, ...]


def pull(
    name: str, root: Path, *, revision: str | None = None, overwrite: bool = False, repo: ResultsRepo | None = None
) -> Pulled:
    """Pull the results of a dataset repository, with their scores and derived files, into the folder `root`.

    Everything comes from one commit and is checked before anything is written. Then the folder is exchanged as a whole,
    so that it holds either the old set or the new one. Local files that the repository does not have stay. A local
    result that is newer or has more examples stays unless `overwrite` is set. An invalid file in the repository is
    refused by name and the others are pulled.

    Raises HubError when the repository cannot be read, ResultError when the folder cannot be written.
    """
    repo = repo or ResultsRepo(name)
    root = root.resolve()
    root.parent.mkdir(parents=True, exist_ok=True)
    with _pull_lock(root):
        _remove_leftovers(root)
        snapshot = read_snapshot(repo, root, revision)
        results = {path: parse_result(content, path) for path, content in snapshot.results.items()}
        kept = {} if overwrite else keep_together(_kept(snapshot, root), results) | _kept_companions(snapshot, root)
        left_out = {*kept, *(results[path].scores_path().as_posix() for path in kept if path in results)}
        offered = {**snapshot.results, **snapshot.scores, **snapshot.companions}
        files = {path: content for path, content in offered.items() if path not in left_out}
        files |= _derived_files(repo, snapshot, {**_local_results(root), **files})
        written = {path: content for path, content in files.items() if _content(root / path) != content}
        if written:
            try:
                _swap_in(root, written)
            except OSError as error:
                raise ResultError(f"{root}: cannot be replaced by the new set: {error}") from error
    state = snapshot.state
    return Pulled(state.commit, state.date, len(snapshot.results), len(written), snapshot.refused, kept)


def check_out(repo: ResultsRepo, folder: Path, revision: str | None = None) -> RepositorySnapshot:
    """Write the valid files of a commit, derived files unchanged, into an empty folder. Raises as `pull`."""
    snapshot = read_snapshot(repo, revision=revision)
    everything = snapshot.results, snapshot.scores, snapshot.derived, snapshot.companions
    for path, content in chain.from_iterable(files.items() for files in everything):
        write_atomically(folder / path, content)
    return snapshot


def read_snapshot(repo: ResultsRepo, root: Path | None = None, revision: str | None = None) -> RepositorySnapshot:
    """Fetch a commit and check each of its files. Files that are unchanged below `root` are not fetched again."""
    state = retrying(lambda: repo.state(revision), f"reading {repo.name}")
    contents, unread = repo.read(state, state.files, lambda path: _content(root / path) if root else None)
    refused = [*state.refused, *unread]
    results: dict[str, bytes] = {}
    scores: dict[str, bytes] = {}
    for path in sorted(path for path in contents if path.startswith("results/")):
        try:
            scores_path = _check(path, contents)
        except (ResultError, ScoreTableError) as error:
            refused.append(str(error))
            continue
        results[path] = contents[path]
        if scores_path is not None:
            scores[scores_path] = contents[scores_path]
    refused += [f"{path!r}: no result was derived from it" for path in _orphans(contents)]
    derived = {path: content for path, content in contents.items() if derived_files.is_derived(path)}
    companions, invalid = valid_companions(contents)
    return RepositorySnapshot(state, results, scores, derived, companions, (*refused, *invalid))


def _check(path: str, contents: Mapping[str, bytes]) -> str | None:
    """Return the path of a result's score file, None if it has none. Raises for an invalid result or score file."""
    result = parse_result(contents[path], repr(path))
    if result.path().as_posix() != path:
        raise ResultError(f"{path!r}: its content belongs to {result.path()}")
    if result.scores is None:
        return None
    scores = result.scores_path().as_posix()
    if scores not in contents:
        raise ScoreTableError(f"{path!r}: its score file {scores} is missing or was refused")
    if hashlib.sha256(contents[scores]).hexdigest() != result.scores.sha256:
        raise ScoreTableError(f"{path!r}: was derived from another score file than the one at {scores}")
    check_score_file(contents[scores], repr(scores))
    return scores


def _orphans(contents: Mapping[str, bytes]) -> list[str]:
    """Return the score files without a result file. Score files of a refused result are reported with that result."""
    paths = [path for path in contents if path.startswith("results/")]
    with_result = {*map(_scores_path, paths), *(joint_scores_path(path.split("/")[1]).as_posix() for path in paths)}
    return sorted(path for path in contents if path.startswith("scores/") and path not in with_result)


def _derived_files(repo: ResultsRepo, snapshot: RepositorySnapshot, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return the derived files of a set of results: the repository's if they come from exactly these, else new ones."""
    results = {path: content for path, content in files.items() if path.startswith("results/")}
    inputs = results | {path: content for path, content in files.items() if path == REGISTRY_FILE}
    try:
        boards, derived_from = derived_files.read_leaderboard(snapshot.derived.get(derived_files.LEADERBOARD, b""))
    except ResultError:
        boards, derived_from = {}, ""
    complete = {derived_files.CARD, *map(derived_files.table_path, boards)} <= snapshot.derived.keys()
    if complete and derived_from == derived_files.results_digest(inputs):
        # A benchmark's card is read again by `evaluate`: it is never taken from the repository.
        derived = {path: c for path, c in snapshot.derived.items() if not derived_files.is_benchmark_card(path)}
        return derived | derived_files.benchmark_cards(parse_result(c, path) for path, c in results.items())
    return derived_files.derive(inputs, repo.name) if results else {}


def _local_results(root: Path) -> dict[str, bytes]:
    """Return the content of the valid result files below a root, and of its registry of models, by path."""
    results, _ = read_results(root)
    paths = [result.path() for result in results] + [Path(REGISTRY_FILE)] * (root / REGISTRY_FILE).is_file()
    return {path.as_posix(): (root / path).read_bytes() for path in paths}


def _kept(snapshot: RepositorySnapshot, root: Path) -> dict[str, str]:
    """Return the local results that are not replaced, with the reason."""
    kept: dict[str, str] = {}
    for path, content in snapshot.results.items():
        local = _content(root / path)
        if local is None or local == content:
            continue
        if reason := _reason_to_keep_local(content, local, path):
            kept[path] = reason
    return kept


def _kept_companions(snapshot: RepositorySnapshot, root: Path) -> dict[str, str]:
    """Return the local companion files that differ from those on the hub, with the reason why they stay."""
    local = {path: _content(root / path) for path in snapshot.companions}
    return {
        path: "it differs from the one on the hub"
        for path, content in snapshot.companions.items()
        if local[path] not in (None, content)
    }


def _reason_to_keep_local(content: bytes, local: bytes, path: str) -> str | None:
    try:
        mine = parse_result(local, path)
    except ResultError:
        return None  # an unreadable file is replaced
    reason = reason_not_to_replace(parse_result(content, path), mine)
    return f"the one on the hub is {reason}" if reason else None


def _scores_path(path: str) -> str:
    return "scores/" + path.removeprefix("results/").removesuffix(".json") + ".parquet"


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


# --------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _pull_lock(root: Path) -> Iterator[None]:
    """Refuse a second pull into the same folder."""
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
    """Remove what a killed pull left beside the folder: an incomplete set, or the set that it had replaced."""
    for path in root.parent.glob(f"{_prefix(root)}*"):
        shutil.rmtree(path)


def _swap_in(root: Path, files: Mapping[str, bytes]) -> None:
    """Build the new set beside the folder, from links to unchanged files and from new files, and exchange the two."""
    staging = Path(tempfile.mkdtemp(dir=root.parent, prefix=_prefix(root)))
    try:
        staging.chmod(0o755)
        if root.is_dir():
            shutil.copytree(root, staging, copy_function=_link, dirs_exist_ok=True, symlinks=True)
        for path, content in files.items():
            place = staging / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)  # it may be a hard link to the old set's file
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
