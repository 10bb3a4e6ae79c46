"""Earlier states of a results repository: the versions of a result, and the boards at an earlier time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

from rb_core.errors import ResultError
from rb_core.hub.client import retrying
from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard.board import Board
from rb_core.leaderboard.derived_files import LEADERBOARD, read_leaderboard
from rb_core.leaderboard.result_changes import result_changes
from rb_core.results.paths import result_path
from rb_core.results.schema import Result, parse_result

MAX_VERSIONS = 20


@dataclass(frozen=True)
class ResultVersion:
    """A result as a commit wrote it.

    title: of the commit; result: None for a file that this version of the package cannot read; address: of the file
    at that commit; changes: what differs from the version before it, empty for the first one.
    """

    commit: str
    date: datetime
    title: str
    result: Result | None
    address: str
    changes: tuple[str, ...] = ()

    @property
    def score(self) -> float | None:
        """Headline score as a fraction."""
        return self.result.headline.value if self.result and self.result.headline else None


def result_history(repo: ResultsRepo, benchmark: str, model: str, revision: str | None = None) -> list[ResultVersion]:
    """Return the versions of a result, newest first, at most MAX_VERSIONS; empty without a result. Raises HubError."""
    path = result_path(benchmark, model).as_posix()
    return retrying(lambda: _versions(repo, path, revision), f"reading the history of {path} in {repo.name}")


def boards_at(repo: ResultsRepo, commit: str, time: datetime) -> Mapping[str, Board]:
    """Return the boards of the newest commit up to `time`, among `commit` and those before it; empty without one.

    Raises ResultError for invalid boards, HubError if there are none, and the client's errors.
    """
    commits = repo.api.list_repo_commits(repo.name, repo_type="dataset", revision=commit)
    earlier = next((each.commit_id for each in commits if each.created_at <= time), None)
    if earlier is None:
        return {}
    return read_leaderboard(repo.fetch(repo.entry(LEADERBOARD, earlier), earlier))[0]


def _versions(repo: ResultsRepo, path: str, revision: str | None) -> list[ResultVersion]:
    head, _ = repo.head(revision)
    commits = [each.commit_id for each in repo.api.list_repo_commits(repo.name, repo_type="dataset", revision=head)]
    parents = dict(pairwise(commits))
    versions: list[ResultVersion] = []
    at: str | None = head
    while at is not None and len(versions) < MAX_VERSIONS and (version := _version_at(repo, path, at)) is not None:
        if versions:
            versions[-1] = _compared(versions[-1], version)
        versions.append(version)
        at = parents.get(version.commit)
    return versions


def _version_at(repo: ResultsRepo, path: str, commit: str) -> ResultVersion | None:
    """Return the file at a commit, with the commit that wrote it; None if there is no such file."""
    listed = repo.api.get_paths_info(repo.name, [path], revision=commit, repo_type="dataset", expand=True)
    written = next((item.last_commit for item in listed if item.path == path), None)
    if written is None:
        return None
    content = repo.fetch(repo.entry(path, commit), commit)
    try:
        result = parse_result(content, path)
    except ResultError:
        result = None
    address = f"{repo.api.endpoint}/datasets/{repo.name}/blob/{written.oid}/{path}"
    return ResultVersion(written.oid, written.date, written.title, result, address)


def _compared(version: ResultVersion, before: ResultVersion) -> ResultVersion:
    changes = ["not comparable"]
    if version.result is not None and before.result is not None:
        changes = result_changes(before.result, version.result)
    return replace(version, changes=tuple(changes))
