"""How a served judge is reached: address and key, one HTTP session, and the hub's client for a request.

A key goes to the server that it is for, and is shown to nobody.
"""

from __future__ import annotations

import base64
import functools
import importlib
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from rb_core.errors import ModelError, redacted
from rb_core.scorers.judge import chat_completions
from rb_core.scorers.judge.types import Decoding, Request

KEY_VARIABLE = "RB_JUDGE_API_KEY"


# Sent where no key is set: without one the client sends the hub's token, to whoever is asked.
NO_KEY = "no-key"


# A session looks at every connection that it has, several times a request.
CONNECTIONS_PER_SESSION = 8


# Servers close connections that are idle for 5 seconds; a request that is sent just then is lost.
KEEP_IDLE = 2.0


_most_bytes: ContextVar[int] = ContextVar("most_bytes", default=chat_completions.BYTES_OF_ANSWER)


class Server:
    """An OpenAI-compatible server by its base address, as http://127.0.0.1:8000/v1.

    address: as the client is given it; shown: without what may be secret. The key is the environment's, or the name and
    password in the address. Raises ModelError for what is no address, and for a key that cannot be sent.
    """

    def __init__(self, base_url: str) -> None:
        try:
            parts = urlsplit(base_url.strip())
            port = parts.port
        except ValueError:
            raise ModelError("the base URL is no address; it has to look like http://127.0.0.1:8000/v1") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or " " in parts.netloc + parts.path:
            raise ModelError("the base URL has to begin with http:// or https:// and a host, without spaces")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        place = host if port is None else f"{host}:{port}"
        self.address = urlunsplit(SplitResult(parts.scheme, place, parts.path, parts.query, ""))
        self.shown = urlunsplit(SplitResult(parts.scheme, place, parts.path, "", ""))
        self.secrets = {parts.query, *(value for _, value in parse_qsl(parts.query))}
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ModelError(f"{KEY_VARIABLE} has a character that cannot be sent; copy the key again")
        self.key = key or NO_KEY
        self.headers: dict[str, str] = {}
        self.advice = f"correct {KEY_VARIABLE}" if key else f"set {KEY_VARIABLE}"
        if parts.username or parts.password:
            # Taken out of the address, which the client's library and its errors write out.
            name, password = unquote(parts.username or ""), unquote(parts.password or "")
            login = base64.b64encode(f"{name}:{password}".encode()).decode()
            self.headers["authorization"] = f"Basic {login}"
            self.secrets |= {password or name, parts.password or "", login}
            self.key, self.advice = NO_KEY, "correct the name and password in the base URL"
        self.secrets = (self.secrets | {self.key}) - {"", NO_KEY}


class Connection:
    """As many connections as requests are on their way, a few to an HTTP session, and the hub's client on top of them.

    http: the HTTP library of the hub's client, httpx or httpx2 by its version. Everything but `hidden` belongs to one
    event loop, where `post` runs at most `concurrency` times at once.
    """

    def __init__(
        self, model: str, decoding: Decoding, to: Server | str, *, concurrency: int, request_timeout: float
    ) -> None:
        self.model, self.decoding, self.to, self.request_timeout = model, decoding, to, request_timeout
        self.where = to.shown if isinstance(to, Server) else f"provider {to}"
        self.advice = to.advice if isinstance(to, Server) else "log in with `hf auth login` or set HF_TOKEN"
        self._secrets = _secrets(to)
        self.http = _http()
        self._sessions = self._opened(math.ceil(concurrency / CONNECTIONS_PER_SESSION))
        # A place in one of the sessions for every request on its way, neighbours in different sessions.
        self._free = deque(self._sessions * CONNECTIONS_PER_SESSION)
        self._call = self._client()

    def hidden(self, line: str) -> str:
        """A line for people, without keys."""
        return functools.reduce(redacted, self._secrets, redacted(line))

    async def post(self, request: Request) -> bytes:
        """Send a request; the body of the answer. Raises what the client raises, UnusableError, and ModelError."""
        asked = chat_completions.fields(request, self.decoding)
        _most_bytes.set(chat_completions.most_bytes(request))
        session = self._free.popleft()
        try:
            call = self._call(session, asked.parameters.get("response_format"))
            await call.chat_completion(asked.messages, model=self.model, **asked.parameters)
        finally:
            self._free.append(session)
        body: bytes = call.body
        return body

    async def aclose(self) -> None:
        """Close every connection."""
        for session in self._sessions:
            await session.aclose()

    def _opened(self, number: int) -> list[Any]:
        """The sessions. The client's own would keep 20 connections open and have 100 at most.

        For providers they have the client's own hooks, which know the offline mode; a server with an address of its own
        is asked in that mode too.
        """
        from huggingface_hub import get_async_session

        is_provider = isinstance(self.to, str)
        hooks = get_async_session().event_hooks if is_provider else {}
        limits = self.http.Limits(
            max_connections=CONNECTIONS_PER_SESSION,
            max_keepalive_connections=CONNECTIONS_PER_SESSION,
            keepalive_expiry=KEEP_IDLE,
        )
        settings = {
            "verify": self.http.create_ssl_context(),  # reading the certificates takes longest
            "limits": limits,
            "follow_redirects": is_provider,
            "timeout": None,
            "event_hooks": {
                "request": list(hooks.get("request", ())),
                "response": [self._looked_at(), *hooks.get("response", ())],
            },
        }
        return [self.http.AsyncClient(**settings) for _ in range(number)]

    def _looked_at(self) -> Callable[[Any], Coroutine[Any, Any, None]]:
        """A hook that has no more of an answer read than it can have; a compressed one could be of any length."""

        class Bounded(self.http.AsyncByteStream):  # type: ignore[misc,name-defined]  # the library is known when this runs
            def __init__(self, stream: Any, most: int) -> None:
                self.stream, self.most = stream, most

            async def __aiter__(self) -> Any:
                size = 0
                async for chunk in self.stream:
                    size += len(chunk)
                    if size > self.most:
                        raise chat_completions.UnusableError(f"an answer of more than {self.most:,} bytes")
                    yield chunk

            async def aclose(self) -> None:
                await self.stream.aclose()

        async def hook(response: Any) -> None:
            if isinstance(self.to, Server) and 300 <= response.status_code < 400:
                to = "".join(c for c in response.headers.get("location", "") if c.isprintable())[
                    : chat_completions.MAX_WORDS
                ]
                raise ModelError(
                    f"{self.where} sends requests elsewhere (HTTP {response.status_code}: {self.hidden(to)}); "
                    "give the base URL of the server that answers"
                )
            if response.headers.get("content-encoding", "identity") != "identity":
                raise chat_completions.UnusableError("an answer that is compressed, though none was asked for")
            response.stream = Bounded(response.stream, _most_bytes.get())

        return hook

    def _client(self) -> Callable[[Any, Mapping[str, Any] | None], Any]:
        """Makes the hub's client for one request, of a session and a response format."""
        from huggingface_hub import AsyncInferenceClient

        to = self.to
        is_server = isinstance(to, Server)

        class Call(AsyncInferenceClient):
            """One request: the session is ours, and the answer's body is kept as it came."""

            def __init__(self, session: Any, schema: Mapping[str, Any] | None, **settings: Any) -> None:
                super().__init__(**settings)
                self.session, self.schema, self.body = session, schema, b""

            async def _get_async_client(self) -> Any:
                return self.session

            async def _inner_post(self, request_parameters: Any, *, stream: bool = False) -> Any:
                # To an address the client sends a schema as only TGI reads it; other servers ignore that in silence.
                if is_server and self.schema is not None:
                    request_parameters.json["response_format"] = self.schema
                self.body = await super()._inner_post(request_parameters)
                # The client's reading copies log-probabilities at every level, which takes longer than all else.
                return b"{}"

        where: dict[str, Any] = (
            {"base_url": to.address, "api_key": to.key} if isinstance(to, Server) else {"provider": to}
        )
        headers = {"accept-encoding": "identity"} | (to.headers if isinstance(to, Server) else {})
        return functools.partial(Call, **where, headers=headers, timeout=self.request_timeout)


class Hidden(logging.Filter):
    """While it is in place, what the HTTP library logs in one thread (the address of every request) has no keys."""

    def __init__(self, connection: Connection, thread: threading.Thread) -> None:
        super().__init__()
        self.connection, self.thread = connection, thread
        self.logger = logging.getLogger(connection.http.__name__)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, with its words changed."""
        if record.thread == self.thread.ident and isinstance(record.args, tuple):
            hidden = self.connection.hidden
            record.args = tuple(a if isinstance(a, int | float) else hidden(str(a)) for a in record.args)
        return True


def _secrets(to: Server | str) -> list[str]:
    """What must not be shown, longest first: one can be a part of another."""
    from huggingface_hub import get_token

    known = to.secrets if isinstance(to, Server) else {get_token() or ""}
    return sorted(known - {""}, key=len, reverse=True)


def _http() -> Any:
    from huggingface_hub.errors import HfHubHTTPError

    base = next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
    return importlib.import_module(base.__module__.partition(".")[0])
