"""A scripted language model behind an OpenAI-compatible server, on loopback, for the unmodified client.

    with JudgeServer(lambda body: "[[A]]", latency=0.1) as server:
        ...                       # server.url ends in /v1, or in another `path`
    server.requests               # everything that came, with headers and body, also what was refused
    server.answered               # how often each distinct body was answered in full

`answer` is called with the JSON body of each request and gives the text, a `Scripted` reply, or a `Fault` to meet this
request with. `server.fail(Fault("status", status=503), ...)` plans faults for the next requests, one each, whatever
they ask. One event loop in one thread serves all connections, so that waiting costs nothing: hundreds can be in flight.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, Self

__all__ = ["Fault", "JudgeServer", "Received", "Scripted"]


@dataclass(frozen=True)
class Scripted:
    """A reply. logprobs: of the text's tokens, each with those of its alternatives; usage: tokens of the prompt and of
    the completion, or the field as it is, None for a server that does not count, by default the numbers of words;
    latency: seconds, instead of the server's; more: fields of the message as they are."""

    text: str | None = ""
    finish: Any = "stop"
    reasoning: str | None = None
    refusal: str | None = None
    logprobs: Sequence[tuple[str, float, Mapping[str, float]]] | None = None
    usage: tuple[int, int] | Mapping[str, Any] | Literal["words"] | None = "words"
    latency: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request.

    status: an answer with this status, `said` as its message (or, a mapping, as its body), retry_after as that header
    hang: no answer for `seconds`, then the connection is closed
    cut: half an answer, then the connection is closed;  cut-head: not a byte of one
    raw: status 200 with `said` as its body, of type `kind_of_content`
    drip: the answer a byte every `seconds`
    endless: a body that does not end, as fast as it is read
    wire: the bytes of `wire` as they are, in pieces with `seconds` before each, then the connection is closed
    """

    kind: Literal["status", "hang", "cut", "cut-head", "raw", "drip", "endless", "wire"]
    status: int = 500
    said: str | Mapping[str, Any] = "made to fail"
    retry_after: str = ""
    seconds: float = 30.0
    kind_of_content: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    wire: Sequence[bytes] = ()


@dataclass(frozen=True)
class Received:
    """A request as it arrived. Names of headers are in lower case; at: time.monotonic() when it was read."""

    path: str
    headers: Mapping[str, str]
    body: Any
    at: float


Answer = Callable[[Any], str | Scripted | Fault]


class JudgeServer:
    """A context manager; everything it recorded can be read during and after.

    latency: seconds from a request to its answer; models: the names it has, None for any; key: what has to stand in
    the header, None for anything; rejects: fields it answers with a 422; path, endpoint: of its base URL, and below it.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        latency: float = 0.0,
        models: Collection[str] | None = None,
        key: str | None = None,
        rejects: Collection[str] = (),
        path: str = "/v1",
        endpoint: str = "/chat/completions",
    ) -> None:
        self.path, self.endpoint = path, endpoint
        self.answer, self.latency, self.models, self.key, self.rejects = answer, latency, models, key, rejects
        self.requests: list[Received] = []
        self.answered: Counter[str] = Counter()
        self.connections = 0
        self.at_once = 0  # most requests in flight at any time
        self.busy = 0.0  # seconds in which requests were in flight, added up over them
        self._in_flight = 0
        self._plan: deque[Fault] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._port = 0

    @property
    def url(self) -> str:
        """Base URL for clients."""
        return f"http://127.0.0.1:{self._port}{self.path}"

    def fail(self, *faults: Fault) -> None:
        """Answer the next requests with these faults, one each."""
        self._plan.extend(faults)

    def go_away(self, seconds: float) -> None:
        """Close all connections and refuse new ones for a while; from any thread, also from `answer`."""
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._pause(seconds)))

    async def _pause(self, seconds: float) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.sleep(seconds)
        await self._start()

    @staticmethod
    def key_of(body: Any) -> str:
        """Return the key under which a body is counted in `answered`."""
        return json.dumps(body, sort_keys=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port, backlog=512)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A task that is being cancelled leaves the sending of its last bytes to the loop.
        await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone, or the server is closing
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read a request and answer it. Return True if the connection stays open."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        received = Received(first.split()[1], headers, json.loads(content or b"null"), time.monotonic())
        self.requests.append(received)
        self._in_flight += 1
        self.at_once = max(self.at_once, self._in_flight)
        try:
            return await self._respond(received, writer)
        finally:
            self._in_flight -= 1
            self.busy += time.monotonic() - received.at

    async def _respond(self, received: Received, writer: asyncio.StreamWriter) -> bool:
        body = received.body
        said: str | Scripted | Fault | None = self._plan.popleft() if self._plan else self._refusal(received)
        if said is None:
            said = self.answer(body)
        if isinstance(said, Fault):
            if said.kind in ("status", "raw"):
                await self._send(writer, *_refused(said))
                return True
            await self._break(said, writer)
            return False
        reply = Scripted(said) if isinstance(said, str) else said
        await asyncio.sleep(self.latency if reply.latency is None else reply.latency)
        await self._send(writer, 200, {"content-type": "application/json"}, json.dumps(completion(reply, body)))
        self.answered[self.key_of(body)] += 1
        return True

    def _refusal(self, received: Received) -> Fault | None:
        """Return how a working server refuses a request, if it does."""
        if received.path.split("?")[0] != f"{self.path}{self.endpoint}":
            return Fault("status", status=404, said={"detail": "Not Found"})
        if self.key is not None and received.headers.get("authorization") != f"Bearer {self.key}":
            return Fault("status", status=401, said="Incorrect API key provided")
        if self.models is not None and received.body.get("model") not in self.models:
            return Fault("status", status=404, said=f"The model `{received.body['model']}` does not exist.")
        if unexpected := sorted(set(received.body) & set(self.rejects)):
            return Fault("status", status=422, said={"detail": f"Unexpected fields in the request: {unexpected}"})
        return None

    @staticmethod
    async def _send(writer: asyncio.StreamWriter, status: int, headers: Mapping[str, str], text: str) -> None:
        content = text.encode()
        head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"content-length: {len(content)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*head, "", ""]).encode() + content)
        await writer.drain()

    @staticmethod
    async def _break(fault: Fault, writer: asyncio.StreamWriter) -> None:
        """Leave the client without a complete answer."""
        content = json.dumps(completion(Scripted("an answer that does not arrive"), {"model": "m"})).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        if fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
        elif fault.kind == "cut":
            writer.write(head + b"content-length: %d\r\n\r\n" % len(content) + content[: len(content) // 2])
            await writer.drain()
        elif fault.kind == "drip":
            writer.write(head + b"content-length: %d\r\n\r\n" % len(content))
            for place in range(len(content)):
                writer.write(content[place : place + 1])
                await writer.drain()
                await asyncio.sleep(fault.seconds)
        elif fault.kind == "wire":
            for piece in fault.wire:
                await asyncio.sleep(fault.seconds)
                writer.write(piece)
                await writer.drain()
        elif fault.kind == "endless":
            writer.write(head + b"transfer-encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                await writer.drain()


def _refused(fault: Fault) -> tuple[int, dict[str, str], str]:
    headers = {"content-type": fault.kind_of_content, **fault.headers}
    if fault.retry_after:
        headers["retry-after"] = fault.retry_after
    if fault.kind == "raw":
        return 200, headers, fault.said if isinstance(fault.said, str) else json.dumps(fault.said)
    body = {"error": {"message": fault.said, "code": fault.status}} if isinstance(fault.said, str) else fault.said
    return fault.status, headers, json.dumps(body)


def completion(reply: Scripted, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of an answer, in the form of OpenAI's API."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    if reply.reasoning is not None:
        message["reasoning_content"] = reply.reasoning
    if reply.refusal is not None:
        message["refusal"] = reply.refusal
    choice: dict[str, Any] = {"index": 0, "message": message | dict(reply.more), "finish_reason": reply.finish}
    if reply.logprobs is not None:
        choice["logprobs"] = {"content": [_token(*token) for token in reply.logprobs]}
    made = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model"),
        "choices": [choice],
    }
    usage = reply.usage
    if usage == "words":
        asked = sum(len(str(message["content"]).split()) for message in body.get("messages", ()))
        usage = (asked, len((reply.text or "").split()))
    if isinstance(usage, Mapping):
        made["usage"] = dict(usage)
    elif usage is not None:
        made["usage"] = dict(
            zip(("prompt_tokens", "completion_tokens", "total_tokens"), (*usage, sum(usage)), strict=True)
        )
    return made


def _token(text: str, logprob: float, top: Mapping[str, float]) -> dict[str, Any]:
    alternatives = [{"token": token, "logprob": value, "bytes": None} for token, value in top.items()]
    return {"token": text, "logprob": logprob, "bytes": None, "top_logprobs": alternatives}
