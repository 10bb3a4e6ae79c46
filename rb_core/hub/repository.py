"""The results repository as the hub's client shows it: its state at one commit, and checked files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rb_core.errors import HubError, ResultError
from rb_core.hub.client import bound_waiting, retrying, timeout
from rb_core.leaderboard.derived_files import git_oid, is_derived, results_in_table, table_path
from rb_core.results.schema import MAX_RESULT_BYTES, Segment

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

MAX_SCORES_BYTES = 200_000_000


MAX_DERIVED_BYTES = 100_000_000


MAX_FILES = 200_000


THREADS = 8


_RESULT = re.compile(rf"results/{Segment}/{Segment}(/{Segment})?\.json")


_SCORES = re.compile(rf"scores/{Segment}/{Segment}(/{Segment})?\.parquet")


@dataclass(frozen=True)
class Entry:
    """A file at a commit: its size in bytes, git's object id, and the SHA-256 where the hub stores it apart."""

    path: str
    size: int
    oid: str
    sha256: str | None = None

    def holds(self, content: bytes) -> bool:
        """Whether this is the file's content."""
        if self.sha256 is not None:
            return hashlib.sha256(content).hexdigest() == self.sha256
        return git_oid(content) == self.oid


@dataclass(frozen=True)
class State:
    """The repository at one commit ("" when there is no repository yet).

    files: by path, those of its layout that can be taken; refused: a message for each that cannot.
    """

    commit: str
    date: datetime | None
    files: dict[str, Entry]
    refused: tuple[str, ...] = ()

    def results(self) -> list[str]:
        """The paths of the result files."""
        return [path for path in self.files if path.startswith("results/")]


class ResultsRepo:
    """A dataset repository that holds results. Its methods raise what the client raises; see `rb_core.hub.client`."""

    def __init__(self, name: str, api: HfApi | None = None) -> None:
        if not re.fullmatch(rf"{Segment}/{Segment}", name):
            raise HubError(f"--repo {name!r}: expected ORG/NAME, a dataset repository on the hub")
        from huggingface_hub import HfApi

        self.name = name
        self.api = api or HfApi()

    def head(self, revision: str | None = None) -> tuple[str, datetime | None]:
        """The commit a revision stands for, and its date."""
        bound_waiting()
        info = self.api.repo_info(self.name, repo_type="dataset", revision=revision, timeout=timeout())
        if info.sha is None:
            raise HubError(f"{self.name}: the hub names no commit for {revision or 'main'}")
        return info.sha, info.last_modified

    def state(self, revision: str | None = None) -> State:
        """What lies there, by one listing at one commit."""
        from huggingface_hub.hf_api import RepoFile

        commit, date = self.head(revision)
        files: dict[str, Entry] = {}
        refused: list[str] = []
        for item in self.api.list_repo_tree(self.name, recursive=True, revision=commit, repo_type="dataset"):
            if len(files) + len(refused) > MAX_FILES:
                raise HubError(f"{self.name}: more than {MAX_FILES} files; this is no repository of results")
            if not isinstance(item, RepoFile):
                continue
            entry = _entry(item)
            if problem := _problem(entry):
                refused.append(f"{entry.path!r}: {problem}")
            elif _limit(entry.path) is not None:
                files[entry.path] = entry
        return State(commit, date, files, tuple(refused))

    def entry(self, path: str, commit: str) -> Entry:
        """A file of the layout at a commit. Raises HubError when it is not there or cannot be taken."""
        from huggingface_hub.hf_api import RepoFile

        found = self.api.get_paths_info(self.name, [path], revision=commit, repo_type="dataset")
        for item in found:
            if isinstance(item, RepoFile) and item.path == path:
                entry = _entry(item)
                if problem := _problem(entry):
                    raise HubError(f"{self.name}: {path} {problem}")
                return entry
        raise HubError(f"{self.name}: has no {path}; push results to it first")

    def fetch(self, entry: Entry, commit: str) -> bytes:
        """A file's content. Raises HubError when it is not what the listing said, after asking twice."""
        content = self._download(entry, commit)
        if not entry.holds(content):
            content = self._download(entry, commit)
        if not entry.holds(content):
            raise HubError(f"{entry.path!r}: its content is not what the hub's listing says (another hash or size)")
        return content

    def read(
        self, state: State, paths: Iterable[str], here: Callable[[str], bytes | None]
    ) -> tuple[dict[str, bytes], list[str]]:
        """The content of these files of a state by path, and a message for each that cannot be had.

        What `here` gives for a path is taken where it is the file's content. The tables hold the text of every result,
        so that a few requests bring all of them; a text is taken only if its hash is the listed one.
        """
        entries = [state.files[path] for path in paths]
        found = {e.path: content for e in entries if (content := here(e.path)) is not None and e.holds(content)}
        missing = [e for e in entries if e.path not in found]
        benchmarks = sorted({e.path.split("/")[1] for e in missing if e.path.startswith("results/")})
        tables = [state.files[path] for path in map(table_path, benchmarks) if path in state.files]
        texts: dict[str, bytes] = {}
        for table, fetched in self.fetch_all(tables, state.commit):
            if isinstance(fetched, bytes):
                found[table.path] = fetched
                texts |= {git_oid(text): text for text in _texts(fetched, table.path)}
        found |= {e.path: texts[e.oid] for e in missing if e.oid in texts}
        refused = []
        for entry, fetched in self.fetch_all([e for e in missing if e.path not in found], state.commit):
            if isinstance(fetched, bytes):
                found[entry.path] = fetched
            else:
                refused.append(str(fetched))
        return {e.path: found[e.path] for e in entries if e.path in found}, refused

    def fetch_all(self, entries: Sequence[Entry], commit: str) -> Iterator[tuple[Entry, bytes | HubError]]:
        """Several files at once, in order; in place of one that cannot be had the reason."""

        def one(entry: Entry) -> tuple[Entry, bytes | HubError]:
            try:
                return entry, retrying(lambda: self.fetch(entry, commit), f"fetching {entry.path} from {self.name}")
            except HubError as error:
                return entry, error

        with ThreadPoolExecutor(THREADS) as pool:
            yield from pool.map(one, entries)

    def _download(self, entry: Entry, commit: str) -> bytes:
        """Up to one byte more than the file's size, whatever the server sends."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, but not marked so for type checkers
            build_hf_headers,
            hf_raise_for_status,
            http_stream_backoff,
        )

        url = hf_hub_url(self.name, entry.path, repo_type="dataset", revision=commit, endpoint=self.api.endpoint)
        headers = build_hf_headers(token=self.api.token) | {"Accept-Encoding": "identity"}
        content = bytearray()
        with http_stream_backoff("GET", url, headers=headers, timeout=timeout()) as response:
            hf_raise_for_status(response)
            for chunk in response.iter_bytes(1 << 16):
                content += chunk
                if len(content) > entry.size:
                    break
        return bytes(content)


def _entry(item: RepoFile) -> Entry:
    return Entry(item.path, item.size, item.blob_id, item.lfs.sha256 if item.lfs else None)


def _texts(content: bytes, path: str) -> list[bytes]:
    """The results a table holds; nothing where it is no table: they are then fetched one by one."""
    try:
        return results_in_table(content, path)
    except ResultError:
        return []


def _limit(path: str) -> int | None:
    """The most bytes a file of this name may have; None for a name that is not of the layout."""
    if _RESULT.fullmatch(path):
        return MAX_RESULT_BYTES
    if _SCORES.fullmatch(path):
        return MAX_SCORES_BYTES
    return MAX_DERIVED_BYTES if is_derived(path) else None


def _problem(entry: Entry) -> str | None:
    """Why a file is refused; None for one that can be taken, and for one that nobody would take."""
    limit = _limit(entry.path)
    if limit is not None:
        return None if 0 <= entry.size <= limit else f"has {entry.size} bytes; at most {limit} are taken"
    if entry.path.startswith(("results/", "scores/", "tables/", "/")) or ".." in entry.path or "\\" in entry.path:
        return "no name of the layout: results/<benchmark>/<org>/<model>.json, scores/..., tables/<benchmark>.parquet"
    return None
