"""Read a dataset repository on the hub: its files at one commit, each checked against its listed hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from rb_core.benchmarks.card import MAX_CARD_BYTES
from rb_core.errors import HubError, ResultError
from rb_core.hub.client import retrying, set_request_timeout, timeout
from rb_core.hub.companions import companion_limit
from rb_core.leaderboard.derived_files import git_oid, is_benchmark_card, is_derived, results_in_table, table_path
from rb_core.results.schema import MAX_RESULT_BYTES, Segment

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

MAX_SCORES_BYTES = 200_000_000
MAX_DERIVED_BYTES = 100_000_000
MAX_FILES = 200_000
THREADS = 8

_RESULT = re.compile(rf"results/{Segment}/{Segment}(/{Segment})?\.json")
_SCORES = re.compile(rf"scores/{Segment}(/{Segment}){{0,2}}\.parquet")


@dataclass(frozen=True)
class FileEntry:
    """A file at a commit: its size in bytes, git's object id, and its SHA-256 if the hub stores it in LFS."""

    path: str
    size: int
    oid: str
    sha256: str | None = None

    def holds(self, content: bytes) -> bool:
        if self.sha256 is not None:
            return hashlib.sha256(content).hexdigest() == self.sha256
        return git_oid(content) == self.oid


@dataclass(frozen=True)
class RepositoryState:
    """The repository at one commit ("" if the repository does not exist yet).

    files: valid files of the layout by path; refused: a message for each invalid one.
    """

    commit: str
    date: datetime | None
    files: dict[str, FileEntry]
    refused: tuple[str, ...] = ()

    def results(self) -> list[str]:
        return [path for path in self.files if path.startswith("results/")]


class DatasetRepo:
    """A dataset repository with a layout. Its methods raise the client's errors; see `rb_core.hub.client`.

    option: that names it on the command line; folders: those with files of the layout only; layout: for messages.
    """

    option: ClassVar[str] = "--repo"
    folders: ClassVar[tuple[str, ...]]
    layout: ClassVar[str]

    def __init__(self, name: str, api: HfApi | None = None) -> None:
        if not re.fullmatch(rf"{Segment}/{Segment}", name):
            raise HubError(f"{self.option} {name!r}: expected ORG/NAME, a dataset repository on the hub")
        from huggingface_hub import HfApi

        self.name = name
        self.api = api or HfApi()

    def limit(self, path: str) -> int | None:
        """Return the most bytes a file of this name may have; None for a name that is not part of the layout."""
        raise NotImplementedError

    def head(self, revision: str | None = None) -> tuple[str, datetime | None]:
        """Return the commit of a revision, and its date."""
        set_request_timeout()
        info = self.api.repo_info(self.name, repo_type="dataset", revision=revision, timeout=timeout())
        if info.sha is None:
            raise HubError(f"{self.name}: the hub names no commit for {revision or 'main'}")
        return info.sha, info.last_modified

    def state(self, revision: str | None = None) -> RepositoryState:
        """List the repository at one commit."""
        from huggingface_hub.hf_api import RepoFile

        commit, date = self.head(revision)
        files: dict[str, FileEntry] = {}
        refused: list[str] = []
        for item in self.api.list_repo_tree(self.name, recursive=True, revision=commit, repo_type="dataset"):
            if len(files) + len(refused) > MAX_FILES:
                raise HubError(f"{self.name}: more than {MAX_FILES} files; this is another repository")
            if not isinstance(item, RepoFile):
                continue
            entry = _entry(item)
            if problem := self._problem(entry):
                refused.append(f"{entry.path!r}: {problem}")
            elif self.limit(entry.path) is not None:
                files[entry.path] = entry
        return RepositoryState(commit, date, files, tuple(refused))

    def entry(self, path: str, commit: str) -> FileEntry:
        """Return a file of the layout at a commit. Raises HubError when it is missing or invalid."""
        from huggingface_hub.hf_api import RepoFile

        for item in self.api.get_paths_info(self.name, [path], revision=commit, repo_type="dataset"):
            if isinstance(item, RepoFile) and item.path == path:
                entry = _entry(item)
                if problem := self._problem(entry):
                    raise HubError(f"{self.name}: {path} {problem}")
                return entry
        raise HubError(f"{self.name}: there is no {path}; push results to it first")

    def fetch(self, entry: FileEntry, commit: str) -> bytes:
        """Return a file's content. Raises HubError if it does not match the listing twice in a row."""
        content = self._download(entry, commit)
        if not entry.holds(content):
            content = self._download(entry, commit)
        if not entry.holds(content):
            raise HubError(f"{entry.path!r}: its content does not match the hub's listing (another hash or size)")
        return content

    def fetch_all(self, entries: Sequence[FileEntry], commit: str) -> Iterator[tuple[FileEntry, bytes | HubError]]:
        """Fetch several files in parallel and yield them in order, with the error in place of one that failed."""

        def fetch_one(entry: FileEntry) -> tuple[FileEntry, bytes | HubError]:
            try:
                return entry, retrying(lambda: self.fetch(entry, commit), f"fetching {entry.path} from {self.name}")
            except HubError as error:
                return entry, error

        with ThreadPoolExecutor(THREADS) as pool:
            yield from pool.map(fetch_one, entries)

    def commit_url(self, commit: str) -> str:
        return f"{self.api.endpoint}/datasets/{self.name}/commit/{commit}"

    def _download(self, entry: FileEntry, commit: str) -> bytes:
        """Return at most the listed number of bytes and one chunk, whatever the server sends."""
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

    def _problem(self, entry: FileEntry) -> str | None:
        """Return why a file is refused; None for a valid file and for a file that is ignored."""
        limit = self.limit(entry.path)
        if limit is not None:
            return None if 0 <= entry.size <= limit else f"has {entry.size} bytes; the limit is {limit}"
        if entry.path.startswith((*self.folders, "/")) or ".." in entry.path or "\\" in entry.path:
            return f"not a name of the layout: {self.layout}"
        return None


class ResultsRepo(DatasetRepo):
    """A dataset repository that holds results."""

    folders = ("results/", "scores/", "tables/")
    layout = "results/<benchmark>/<org>/<model>.json, scores/..., tables/<benchmark>.parquet"

    def limit(self, path: str) -> int | None:
        if _RESULT.fullmatch(path):
            return MAX_RESULT_BYTES
        if _SCORES.fullmatch(path):
            return MAX_SCORES_BYTES
        if is_benchmark_card(path):
            return MAX_CARD_BYTES
        return MAX_DERIVED_BYTES if is_derived(path) else companion_limit(path)

    def read(
        self, state: RepositoryState, paths: Iterable[str], local: Callable[[str], bytes | None]
    ) -> tuple[dict[str, bytes], list[str]]:
        """Return the content of these files by path, and a message for each that cannot be read.

        `local` gives the content of a local copy, which is used if its hash is the listed one. The tables hold the
        text of every result, so a few requests bring all of them; a text is used only if its hash is the listed one.
        """
        entries = [state.files[path] for path in paths]
        contents = {e.path: content for e in entries if (content := local(e.path)) is not None and e.holds(content)}
        missing = [e for e in entries if e.path not in contents]
        benchmarks = sorted({e.path.split("/")[1] for e in missing if e.path.startswith("results/")})
        tables = [state.files[path] for path in map(table_path, benchmarks) if path in state.files]
        texts: dict[str, bytes] = {}
        for table, fetched in self.fetch_all(tables, state.commit):
            if isinstance(fetched, bytes):
                contents[table.path] = fetched
                texts |= {git_oid(text): text for text in _texts(fetched, table.path)}
        contents |= {e.path: texts[e.oid] for e in missing if e.oid in texts}
        refused = []
        for entry, fetched in self.fetch_all([e for e in missing if e.path not in contents], state.commit):
            if isinstance(fetched, bytes):
                contents[entry.path] = fetched
            else:
                refused.append(str(fetched))
        return {e.path: contents[e.path] for e in entries if e.path in contents}, refused


def _entry(item: RepoFile) -> FileEntry:
    return FileEntry(item.path, item.size, item.blob_id, item.lfs.sha256 if item.lfs else None)


def _texts(content: bytes, path: str) -> list[bytes]:
    """Return the texts of the results in a table; none for a damaged table, whose results are fetched one by one."""
    try:
        return list(results_in_table(content, path).values())
    except ResultError:
        return []
