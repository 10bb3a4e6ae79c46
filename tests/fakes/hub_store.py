"""What the local hub keeps: repositories with all their commits, refs and discussions, and blobs by their hash.

Nothing here knows HTTP. A rule of the hub that a request breaks is a `Refusal`, which the server turns into a status
and the hub's error headers.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock

HEX = 40  # digits of a commit oid


BIG = 10 * 1024 * 1024  # a larger file is stored as LFS whatever its name


LFS_SUFFIXES = ("parquet", "arrow", "safetensors", "bin", "pt", "npz", "npy", "zip", "gz", "zst", "tar", "7z", "pkl")


ATTRIBUTES = "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()


class Refusal(Exception):  # noqa: N818 - it is an answer, not a failure of the server
    """What the hub says no to: the status, its error code as the clients read it, and words."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


def blob_oid(content: bytes) -> str:
    """The name git gives to a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """What git keeps in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


@dataclass(frozen=True)
class File:
    """One entry of a tree. `size`, `etag` and `oid` are what is announced; only a forged file does not keep them."""

    content: bytes = field(repr=False)
    lfs: bool
    size: int
    etag: str
    oid: str
    mode: str = "100644"


def make_file(content: bytes, lfs: bool) -> File:
    """An honest file: its announced size and hashes are those of its content."""
    if not lfs:
        oid = blob_oid(content)
        return File(content, lfs, len(content), oid, oid)
    sha256 = hashlib.sha256(content).hexdigest()
    return File(content, lfs, len(content), sha256, blob_oid(pointer(sha256, len(content))))


@dataclass(frozen=True)
class Commit:
    """One commit. It is never changed and never goes away."""

    oid: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    tree: Mapping[str, File] = field(repr=False)


@dataclass
class Discussion:
    """A discussion, or a pull request when `base` names the branch that it is for."""

    num: int
    title: str
    author: str
    date: str
    base: str | None
    status: str
    events: list[dict[str, object]] = field(default_factory=list)
    merged: str | None = None


@dataclass
class Changes:
    """What one commit does to a tree: first deletions, then files. A folder's name ends with a slash."""

    files: dict[str, File] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)


def now() -> str:
    """The time as the hub writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Repo:
    """A repository: its branches, every commit it ever had, the LFS objects sent to it, and its discussions."""

    def __init__(self, kind: str, name: str, private: bool = False) -> None:
        self.kind, self.name, self.private = kind, name, private
        self.gated: bool | str = False
        self.lock = RLock()
        self.created = now()
        self.all: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.objects: dict[str, bytes] = {}
        self.discussions: list[Discussion] = []

    @property
    def key(self) -> str:
        """Its name with its type in front, as `datasets/org/name`."""
        return f"{self.kind}/{self.name}"

    @property
    def head(self) -> str:
        """The oid of the newest commit of main."""
        return self.branches["main"]

    @property
    def commits(self) -> list[Commit]:
        """The commits of main, the oldest first."""
        return self.history("main")[::-1]

    @property
    def pull_requests(self) -> list[Discussion]:
        """The discussions that are pull requests."""
        return [d for d in self.discussions if d.base]

    def history(self, revision: str) -> list[Commit]:
        """A commit and those before it, the newest first."""
        commits = [self.at(revision)]
        while commits[-1].parent is not None:
            commits.append(self.all[commits[-1].parent])
        return commits

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """The content of every file at a revision."""
        return {path: file.content for path, file in self.at(revision).tree.items()}

    def at(self, revision: str) -> Commit:
        """The commit that a branch, a tag or an oid names."""
        with self.lock:
            oid = self.branches.get(revision) or self.tags.get(revision) or revision
            if oid not in self.all:
                raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            return self.all[oid]

    def commit(
        self,
        changes: Changes,
        title: str,
        *,
        branch: str = "main",
        parent: str | None = None,
        message: str = "",
        author: str = "somebody",
        oid: str | None = None,
    ) -> Commit:
        """Put a commit on a branch, or refuse and change nothing; `parent` is the head that the sender believes in."""
        with self.lock:
            before = self.at(branch) if self.all else None
            if before is not None and branch not in self.branches:
                raise Refusal(404, f"Invalid rev id: {branch}", "RevisionNotFound")
            if parent is not None and (before is None or not before.oid.startswith(parent)):
                raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            tree = applied(before.tree if before else {}, changes)
            made = self.keep(tree, before.oid if before else None, title, message, author, oid)
            self.branches[branch] = made.oid
            return made

    def keep(
        self, tree: Mapping[str, File], parent: str | None, title: str, message: str, author: str, oid: str | None
    ) -> Commit:
        """Store a commit under an oid made from what is in it, unless an oid is given."""
        date = now()
        text = repr((self.key, len(self.all), parent, title, message, author, date, sorted(tree.items())))
        oid = oid or hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.all[oid] = Commit(oid, parent, title, message, author, date, tree)
        self.objects.update({f.etag: f.content for f in tree.values() if f.lfs})
        return self.all[oid]

    def forge(
        self,
        path: str,
        content: bytes = b"",
        *,
        size: int | None = None,
        etag: str | None = None,
        lfs: bool = False,
        symlink: str | None = None,
        title: str = "Forged",
    ) -> Commit:
        """Commit an entry that an honest hub would not have: any path, a size or hash that is not the content's."""
        file = make_file(symlink.encode() if symlink is not None else content, lfs)
        file = replace(file, size=file.size if size is None else size, mode="120000" if symlink else file.mode)
        if etag is not None:
            file = replace(file, etag=etag, oid=file.oid if lfs else etag)
        return self.commit(Changes({path: file}), title)

    def open_discussion(
        self, title: str, author: str, text: str = "", *, base: str | None = None, draft: bool = False
    ) -> Discussion:
        """Open a discussion; with `base` it is a pull request with a branch of its own, beginning at that branch."""
        with self.lock:
            num = len(self.discussions) + 1
            made = Discussion(num, title, author, now(), base, "draft" if draft else "open")
            self.discussions.append(made)
            self.tell(made, "comment", author, comment(text, author))
            if base is not None:
                self.branches[f"refs/pr/{num}"] = self.at(base).oid
            return made

    def propose(
        self, changes: Changes, title: str, *, base: str, parent: str | None, message: str, author: str
    ) -> tuple[Commit, Discussion]:
        """A commit in a pull request of its own, or neither of them."""
        with self.lock:
            head = self.at(base)
            if parent is not None and not head.oid.startswith(parent):
                raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            applied(head.tree, changes)  # what cannot be applied must not leave an empty pull request
            opened = self.open_discussion(title, author, message, base=base)
            branch = f"refs/pr/{opened.num}"
            return self.push(changes, title, branch=branch, parent=None, message=message, author=author), opened

    def push(
        self, changes: Changes, title: str, *, branch: str, parent: str | None, message: str, author: str
    ) -> Commit:
        """A commit on a branch; when it is a pull request's, its discussion shows it."""
        with self.lock:
            made = self.commit(changes, title, branch=branch, parent=parent, message=message, author=author)
            if branch.startswith("refs/pr/"):
                opened = self.discussion(int(branch.removeprefix("refs/pr/")))
                self.tell(opened, "commit", author, {"subject": title, "oid": made.oid})
            return made

    def merge(self, num: int, author: str) -> Commit:
        """Bring a pull request's own changes to its base."""
        with self.lock:
            opened = self.discussion(num)
            if opened.base is None or opened.status not in ("open", "draft"):
                raise Refusal(400, "This is not an open pull request")
            first = next(c for c in reversed(self.history(f"refs/pr/{num}")) if c.oid in self.proposed(num))
            start = self.all[first.parent].tree if first.parent else {}
            end = self.at(f"refs/pr/{num}").tree
            changed = {path: file for path, file in end.items() if start.get(path) != file}
            changes = Changes(changed, [path for path in start if path not in end])
            made = self.commit(changes, f"{opened.title} (#{num})", branch=opened.base, author=author)
            opened.status, opened.merged = "merged", made.oid
            self.tell(opened, "status-change", author, {"status": "merged"})
            return made

    def proposed(self, num: int) -> list[str]:
        """The oids of the commits pushed to a pull request."""
        found: list[str] = []
        for event in self.discussion(num).events:
            data = event["data"]
            if event["type"] == "commit" and isinstance(data, dict):
                found.append(data["oid"])
        if not found:
            raise Refusal(400, "This pull request has no commits")
        return found

    def discussion(self, num: int) -> Discussion:
        """One discussion by its number."""
        if not 0 < num <= len(self.discussions):
            raise Refusal(404, "Discussion not found", "DiscussionNotFound")
        return self.discussions[num - 1]

    def tell(self, discussion: Discussion, kind: str, author: str, data: dict[str, object]) -> None:
        """Add an event to a discussion."""
        oid = hashlib.sha1(f"{self.key}#{discussion.num}.{len(discussion.events)}".encode(), usedforsecurity=False)
        event: dict[str, object] = {"id": oid.hexdigest(), "type": kind, "createdAt": now(), "data": data}
        discussion.events.append(event | {"author": {"name": author}})

    def stored_as_lfs(self, path: str, size: int, revision: str = "main") -> bool:
        """Whether a file with this name and size is kept as LFS: by .gitattributes, and every large one."""
        file = self.at(revision).tree.get(".gitattributes") if self.all else None
        return size > BIG or attributes_say_lfs(file.content if file else ATTRIBUTES, path)

    def changes(self, files: Mapping[str, bytes | None]) -> Changes:
        """Changes as a test writes them: content by path, and None for what goes away."""
        stored = {p: make_file(c, self.stored_as_lfs(p, len(c))) for p, c in files.items() if c is not None}
        return Changes(stored, [path for path, content in files.items() if content is None])


def comment(text: str, author: str) -> dict[str, object]:
    """The data of a comment's event."""
    latest = {"raw": text, "html": text, "updatedAt": now(), "author": {"name": author}}
    return {"edited": False, "hidden": False, "latest": latest, "history": [latest]}


def applied(tree: Mapping[str, File], changes: Changes) -> dict[str, File]:
    """A tree after changes. What is to be deleted must be there."""
    result = dict(tree)
    for path in changes.deleted:
        gone = [p for p in result if p == path or (path.endswith("/") and p.startswith(path))]
        if not gone:
            raise Refusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        for name in gone:
            del result[name]
    return result | changes.files


def attributes_say_lfs(attributes: bytes, path: str) -> bool:
    """Whether a .gitattributes file has a pattern for LFS that this path fits."""
    lines = [line.split() for line in attributes.decode().splitlines() if "filter=lfs" in line]
    return matches((line[0] for line in lines if line), path)


def matches(patterns: Iterable[str], path: str) -> bool:
    """Whether a path fits one of git's patterns: a name anywhere, or a path from the top."""
    name = path.rsplit("/", 1)[-1]
    for raw in patterns:
        pattern = raw.strip().strip("/").replace("**/", "*")
        if pattern and not pattern.startswith("#"):
            folder = path.startswith(f"{pattern}/") or f"/{pattern}/" in path
            if folder or fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(name, pattern):
                return True
    return False


def read_folder(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path there."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
