"""A local stand-in for the hub, over HTTP on loopback, for the unmodified clients.

`with serve(tokens={"hf_write": "write"}) as server` starts one; `server.url` is the endpoint. It keeps every commit,
takes uploads the LFS way, can be told to fail (`server.fail(Fault("503"))`), and logs each request. Rules and
repositories are in hub_store, the calls in hub_api, their forms in hub_messages, the faults in hub_faults.

Clients 2.x send large files by Xet whenever that package is installed and do not ask the server, so a client that
uploads must be started with HF_HUB_DISABLE_XET=1: `server.environment(...)` has it. Clients 1.x take the repository's
name out of a commit's address only when HF_ENDPOINT is set, so they are to be run in a process of their own too.

What the real hub does otherwise: its storage is on other hosts and behind Xet; it sends small files by a further
redirect and compressed; it reads a card's whole metadata; it knows rights by person and repository, not only by token;
and here a repository that is hidden from somebody without a token is a 401 with the code RepoNotFound, because clients
tell that case by an https address.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fakes.hub_api import Hub
from tests.fakes.hub_faults import Fault, Faults, break_connection, damaged, damaged_etag, wait_while_connected
from tests.fakes.hub_messages import Answer, Request, Token, refused
from tests.fakes.hub_store import Commit, Discussion, File, Refusal, Repo, read_folder

__all__ = [
    "COMMIT",
    "Commit",
    "Discussion",
    "Fault",
    "File",
    "Repo",
    "Request",
    "Server",
    "Token",
    "hub",
    "serve",
    "use_hub",
]


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Logged:
    """A request as it came: `path` has its escapes and no query; `status` is None when no answer was sent."""

    method: str
    path: str
    query: str
    token: str | None
    size: int
    status: int | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Server:
    """A running hub. `url` is the endpoint; `requests` has every request in the order of arrival."""

    def __init__(self, tokens: Mapping[str, str | Token], page: int) -> None:
        self.hub = Hub({t: Token(r) if isinstance(r, str) else r for t, r in tokens.items()}, page)
        self.faults = Faults()
        self.requests: list[Logged] = []
        self.on_request: Callable[[Logged], None] | None = None  # called with each request before it is carried out
        self.lock = Lock()
        self.closing = Event()

    @property
    def url(self) -> str:
        """The endpoint."""
        return self.hub.url

    @property
    def before_commit(self) -> Callable[[str], None] | None:
        """Called with the repository's key for each commit of a client, read but not yet looked at or carried out."""
        return self.hub.before_commit

    @before_commit.setter
    def before_commit(self, hook: Callable[[str], None] | None) -> None:
        self.hub.before_commit = hook

    def repo(self, key: str) -> Repo:
        """A repository by its key, as `datasets/org/name`: its commits, head, files(revision), forge(...)."""
        return self.hub.repos[key]

    def add_repo(
        self,
        key: str,
        files: Mapping[str, bytes] | Path | None = None,
        *,
        private: bool = False,
        commit: str | None = None,
    ) -> Repo:
        """A repository with one commit of these files (a folder, or content by path); `commit` chooses its oid."""
        kind, name = key.split("/", 1)
        repo = Repo(kind, name, private)
        content = read_folder(files) if isinstance(files, Path) else files or {}
        repo.commit(repo.changes(content), "initial commit", oid=commit)
        self.hub.repos[key] = repo
        return repo

    def commit(self, key: str, changes: Mapping[str, bytes | None], title: str = "Somebody else's push") -> Commit:
        """Somebody else's push to main: content by path, None for a file that goes away."""
        repo = self.repo(key)
        return repo.commit(repo.changes(changes), title)

    def fail(self, *faults: Fault) -> None:
        """Plan faults. Each meets the requests that fit it, counted from now."""
        for fault in faults:
            self.faults.add(fault)

    def count(self, match: str) -> int:
        """How many requests so far had this text in "METHOD path"."""
        return sum(match in str(logged) for logged in self.requests)

    def environment(self, home: Path, token: str | None = None, **more: str) -> dict[str, str]:
        """The environment for a client process that talks to this hub, with a cache of its own below `home`."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        kept |= {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        }
        return kept | ({"HF_TOKEN": token} if token else {}) | more


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_state: Server

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep the tests' output clean."""

    def handle_request(self) -> None:
        """Read, meet a fault or not, do, and answer."""
        state = self.server_state
        address = urlsplit(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        logged = Logged(self.command, address.path, address.query, token, size)
        if state.closing.is_set():  # a connection that was kept open does not outlive the hub
            self.hang_up(Fault("cut-up"))
            return
        with state.lock:
            state.requests.append(logged)
            fault = state.faults.take(str(logged))
        if state.on_request is not None:
            state.on_request(logged)
        if fault and fault.kind == "cut-up":
            self.rfile.read(size // 2)
            self.hang_up(fault)
            return
        body = self.read_chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(size)
        if fault and fault.kind == "stall" and not self.stay(fault.seconds):
            self.close_connection = True
            return
        if fault and fault.status:
            answer = failed(fault)
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            damage = bool(fault and fault.kind == "wrong-hash")
            request = Request(self.command, address.path, parse_qs(address.query), headers, body, damage=damage)
            answer = carried_out(state.hub, request)
        self.reply(answer, fault, logged)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request  # noqa: N815 - the names the base class calls

    def read_chunks(self) -> bytes:
        """A body without a length, as clients send a stream."""
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def stay(self, seconds: float) -> bool:
        """Wait; false when the client or the server has gone."""
        left = seconds
        while left > 0 and not self.server_state.closing.is_set():
            if not wait_while_connected(self.connection, min(left, 0.2)):
                return False
            left -= 0.2
        return not self.server_state.closing.is_set()

    def hang_up(self, fault: Fault) -> None:
        self.close_connection = True
        break_connection(self.connection, fault.reset)

    def reply(self, answer: Answer, fault: Fault | None, logged: Logged) -> None:
        """Send the answer, or what the fault leaves of it."""
        if fault and fault.kind == "lost-answer":
            self.hang_up(fault)
            return
        if fault and fault.kind == "wrong-hash":
            spoil(answer, self.command)
        body = b"" if self.command == "HEAD" else answer.body
        length = len(answer.body) if answer.length is None else answer.length
        logged.status = answer.status
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 304:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if fault and fault.kind == "cut-down":
            self.wfile.write(body[: len(body) // 2])
            self.hang_up(fault)
            return
        self.wfile.write(body)
        if self.command != "HEAD" and length != len(body):
            self.close_connection = True  # what was announced is not there to be sent


def carried_out(hub: Hub, request: Request) -> Answer:
    """The hub's answer; a mistake in a request that the hub does not look for is a 400 and not a dead thread."""
    try:
        return hub.answer(request)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        return refused(Refusal(400, f"Bad request: {error!r}"))


def failed(fault: Fault) -> Answer:
    """The answer of a fault that is a status."""
    answer = refused(Refusal(fault.status or 500, f"Made to fail with {fault.kind}"))
    if fault.kind in ("429", "503"):
        answer.headers["Retry-After"] = f"{fault.seconds:g}"
    return answer


def spoil(answer: Answer, method: str) -> None:
    """Make a file's content, or where there is none its announced hash, not fit."""
    if answer.is_content and method != "HEAD":
        answer.body = damaged(answer.body)
        return
    for name in ("ETag", "X-Linked-ETag"):
        if name in answer.headers:
            answer.headers[name] = damaged_etag(answer.headers[name])


class Listener(ThreadingHTTPServer):
    """A listening socket that does not print what a client that went away causes."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A broken connection is what many tests are about."""


@contextmanager
def serve(tokens: Mapping[str, str | Token] | None = None, *, page: int = 1000) -> Iterator[Server]:
    """Run a hub on loopback. `tokens` maps a token to its role (read, contribute, write); `page` limits the lists.

    A second port stands for the storage of LFS files, since the hub's own is another host and clients treat a
    redirect to another origin differently: they do not send the token there.
    """
    server = Server(tokens or {}, page)
    handler = type("Bound", (Handler,), {"server_state": server})
    listeners = [Listener(("127.0.0.1", 0), handler) for _ in range(2)]
    server.hub.url = f"http://127.0.0.1:{listeners[0].server_port}"
    # Another name, not only another port: by the name clients tell whether a redirect stays on the hub.
    server.hub.storage = f"http://localhost:{listeners[1].server_port}"
    threads = [Thread(target=listener.serve_forever, args=(0.05,), daemon=True) for listener in listeners]
    for thread in threads:
        thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        for listener in listeners:
            listener.shutdown()
            listener.server_close()
        for thread in threads:
            thread.join()


@contextmanager
def hub(repos: Mapping[str, Path]) -> Iterator[str]:
    """Serve folders as repositories with one commit, COMMIT, each; gives the endpoint to put into HF_ENDPOINT."""
    with serve() as server:
        for key, folder in repos.items():
            server.add_repo(key, folder, commit=COMMIT)
        yield server.url


def use_hub(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the clients in this process use another hub. They read these settings from the environment once."""
    import datasets.config
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", url)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
