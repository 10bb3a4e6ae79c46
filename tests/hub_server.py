"""A local HTTP server that answers the hub's reading calls as the unmodified clients make them.

It serves folders as repositories at one commit each: info, tree, paths-info, and files with ETag and range. Writing
calls are not here. A repository that is not there, and a revision that is not its commit or main, is a 404 with the
hub's error code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", COMMIT)


class Handler(BaseHTTPRequestHandler):
    """One request. `repos` maps datasets/ORG/NAME or models/ORG/NAME to a folder."""

    protocol_version = "HTTP/1.1"
    repos: Mapping[str, Path] = {}

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep the tests' output clean."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        repo, folder, rest = self.find(path.removeprefix("/api/"))
        if folder is None or not rest.startswith("paths-info/"):
            self.missing(repo)
            return
        wanted = json.loads(body)["paths"]
        self.send_json([self.entry(folder, folder / name) for name in wanted if (folder / name).exists()])

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/"):
            self.answer_api(path.removeprefix("/api/"))
            return
        plain = path.removeprefix("/")
        repo, folder, rest = self.find(plain if plain.startswith("datasets/") else f"models/{plain}")
        parts = rest.split("/", 2)
        if folder is None or parts[0] != "resolve" or parts[1] not in REVISIONS:
            self.missing(repo)
        else:
            self.send_file(folder / parts[2])

    def answer_api(self, path: str) -> None:
        repo, folder, rest = self.find(path)
        if folder is None:
            self.missing(repo)
            return
        kind, _, revision = rest.partition("/")
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        if kind == "tree":
            below = folder / revision.partition("/")[2]
            deep = "recursive=true" in urlsplit(self.path).query.lower()
            self.send_json([self.entry(folder, p) for p in sorted(below.rglob("*") if deep else below.glob("*"))])
        elif kind in ("", "revision") and (revision or "main") in REVISIONS:
            name = repo.split("/", 1)[1]
            siblings = [{"rfilename": p.relative_to(folder).as_posix()} for p in files]
            info = {"_id": "1", "id": name, "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}
            self.send_json(info | {"modelId": name, "downloads": 0, "likes": 0})
        else:
            self.missing(repo, "RevisionNotFound")

    def find(self, path: str) -> tuple[str, Path | None, str]:
        """The repository a path begins with, its folder, and the rest of the path."""
        for repo, folder in self.repos.items():
            if path == repo or path.startswith(f"{repo}/"):
                return repo, folder, path[len(repo) + 1 :]
        return path, None, ""

    def entry(self, folder: Path, path: Path) -> dict[str, Any]:
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            return {"type": "directory", "path": name, "oid": COMMIT}
        return {"type": "file", "path": name, "size": path.stat().st_size, "oid": etag(path)}

    def missing(self, repo: str, code: str = "RepoNotFound") -> None:
        self.respond(404, json.dumps({"error": f"{repo} not found"}).encode(), {"X-Error-Code": code})

    def send_json(self, content: Any) -> None:
        self.respond(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def send_file(self, path: Path) -> None:
        if not path.is_file():
            self.respond(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        content = path.read_bytes()
        headers = {"ETag": f'"{etag(path)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        span = self.headers.get("Range")
        if span is None:
            self.respond(200, content, headers)
            return
        first, _, last = span.removeprefix("bytes=").partition("-")
        begin, end = int(first), int(last) if last else len(content) - 1
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(content)}"
        self.respond(206, content[begin : end + 1], headers)

    def respond(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


@contextmanager
def hub(repos: Mapping[str, Path]) -> Iterator[str]:
    """Serve the repositories on loopback; gives the endpoint to put into HF_ENDPOINT."""
    handler = type("Repos", (Handler,), {"repos": repos})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
