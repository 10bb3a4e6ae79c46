"""What comes to the local hub and what it says: requests, answers, and the JSON in which the hub tells of things."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.hub_store import Commit, Discussion, File, Refusal, Repo, pointer

ROLES = ("read", "contribute", "write")


@dataclass(frozen=True)
class Token:
    """A user and what the token may do: read, contribute (only by discussions and pull requests), or write."""

    role: str
    user: str = "tester"

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"no such role: {self.role}")


@dataclass
class Request:
    """One request; `path` is as sent, with its escapes and without its query."""

    method: str
    path: str
    query: dict[str, list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    token: Token | None = None
    damage: bool = False  # what is stored of an upload is to be damaged on its way

    def option(self, name: str) -> str | None:
        """The first value of a query's parameter."""
        return self.query[name][0] if name in self.query else None

    def flag(self, name: str) -> bool:
        """Whether a query's parameter is set."""
        return (self.option(name) or "").lower() in ("1", "true")

    def json(self) -> Any:
        """The body as JSON."""
        try:
            return json.loads(self.body or b"{}")
        except ValueError as error:
            raise Refusal(400, "The body is not JSON") from error

    @property
    def author(self) -> str:
        """Who asks."""
        return self.token.user if self.token else "anonymous"


@dataclass
class Answer:
    """One answer. `length` is the Content-Length when it is not the body's; `is_content` marks a file's bytes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    is_content: bool = False


def as_json(content: Any, status: int = 200, **headers: str) -> Answer:
    """An answer of JSON; underscores in the headers' names stand for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json; charset=utf-8"} | named)


def refused(refusal: Refusal) -> Answer:
    """The hub's error answer: words in the body and in a header, and a code where it has one."""
    code = {"X_Error_Code": refusal.code} if refusal.code else {}
    message = refusal.message.encode("ascii", "replace").decode().replace("\n", " ")
    return as_json({"error": refusal.message}, refusal.status, X_Error_Message=message, **code)


def ranged(request: Request, file: File, headers: dict[str, str]) -> Answer:
    """A file's content or the part that is asked for. A forged size is announced and not sent."""
    headers = headers | {"Content-Type": "application/octet-stream"}
    span = request.headers.get("range", "")
    content, size = file.content, file.size
    if not span.startswith("bytes="):
        return Answer(200, content, headers, size, is_content=True)
    first, _, last = span.removeprefix("bytes=").partition("-")
    begin = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if begin >= size:
        return Answer(416, b"", headers | {"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {begin}-{end}/{size}"
    return Answer(206, content[begin : end + 1], headers, end + 1 - begin, is_content=True)


def sibling(path: str, file: File, blobs: bool) -> dict[str, Any]:
    """A file as a repository's info names it."""
    if not blobs:
        return {"rfilename": path}
    lfs = {"lfs": {"sha256": file.etag, "size": file.size, "pointerSize": pointer_size(file)}} if file.lfs else {}
    return {"rfilename": path, "size": file.size, "blobId": file.oid} | lfs


def pointer_size(file: File) -> int:
    return len(pointer(file.etag, file.size))


def listing(repo: Repo, commit: Commit, below: str, deep: bool, expand: bool) -> list[dict[str, Any]]:
    """The entries of a folder as the tree call names them, folders before the files in them."""
    prefix = f"{below}/" if below else ""
    entries: dict[str, dict[str, Any]] = {}
    touched = last_commits(repo, commit) if expand else {}
    for path, file in sorted(commit.tree.items()):
        if not path.startswith(prefix):
            continue
        inner = path[len(prefix) :].split("/")
        folders = [prefix + "/".join(inner[:i]) for i in range(1, len(inner))]
        for folder in folders if deep else folders[:1]:
            oid = hashlib.sha1(folder.encode(), usedforsecurity=False).hexdigest()
            entries.setdefault(folder, {"type": "directory", "oid": oid, "size": 0, "path": folder})
        if deep or not folders:
            entries[path] = described(path, file)
        if expand:
            last = touched[path]
            for name in [*folders, path]:
                if name in entries:
                    entries[name]["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.date}
    return list(entries.values())


def described(path: str, file: File) -> dict[str, Any]:
    """A file as the tree call names it."""
    told: dict[str, Any] = {"type": "file", "oid": file.oid, "size": file.size, "path": path}
    if file.lfs:
        told["lfs"] = {"oid": file.etag, "size": file.size, "pointerSize": pointer_size(file)}
    return told | ({"mode": file.mode} if file.mode != "100644" else {})


def last_commits(repo: Repo, commit: Commit) -> dict[str, Commit]:
    """For each file the commit that made it what it is."""
    found = dict.fromkeys(commit.tree, commit)
    open_paths = set(commit.tree)
    for older in repo.history(commit.oid)[1:]:
        open_paths = {path for path in open_paths if older.tree.get(path) == commit.tree[path]}
        found |= dict.fromkeys(open_paths, older)
    return found


def summary(repo: Repo, discussion: Discussion) -> dict[str, Any]:
    """A discussion as the list names it."""
    return {
        "num": discussion.num,
        "title": discussion.title,
        "author": {"name": discussion.author},
        "createdAt": discussion.date,
        "status": discussion.status,
        "isPullRequest": discussion.base is not None,
        "repo": {"name": repo.name, "type": repo.kind[:-1]},
        "numComments": sum(event["type"] == "comment" for event in discussion.events),
    }


def details(repo: Repo, discussion: Discussion) -> dict[str, Any]:
    """A discussion with what happened in it."""
    told = summary(repo, discussion) | {"events": discussion.events}
    if discussion.base is not None:
        told |= {"changes": {"base": f"refs/heads/{discussion.base}"}, "filesWithConflicts": [], "diff": ""}
        told["changes"] |= {"mergeCommitId": discussion.merged} if discussion.merged else {}
    return told
