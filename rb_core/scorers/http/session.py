"""HTTP requests to a server of models: its address and credentials, and a session that posts JSON.

A credential is sent only to the server that it is for, and appears in no message and no log.
"""

from __future__ import annotations

import base64
import functools
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

import httpx

from rb_core.errors import ModelError, redacted
from rb_core.results.failures import TOO_LARGE
from rb_core.scorers.http.refusals import MAX_MESSAGE
from rb_core.scorers.http.replies import UnusableAnswerError

AZURE_VERSION = "api-version"  # query parameter of every address of Azure OpenAI
ROUTER = "https://router.huggingface.co/v1"  # OpenAI-compatible; takes "model:provider" as the model's name
CONNECTIONS_PER_CLIENT = 8  # httpx looks at every connection of a client several times per request
CONNECT_TIMEOUT = 10.0  # seconds; an attempt has no other limit than the deadline of its request
KEEP_IDLE = 2.0  # seconds; servers close connections that are idle for 5, and lose a request sent just then

_tls_context = functools.cache(httpx.create_ssl_context)  # reading the certificates takes long


@dataclass(frozen=True)
class Endpoint:
    """The address that requests are posted to, and the credentials to send there."""

    url: str
    shown: str  # name in messages, without secrets
    headers: Mapping[str, str] = field(repr=False)
    advice: str  # what to do if the credentials are refused
    secrets: tuple[str, ...] = field(default=(), repr=False)  # longest first: one can be part of another

    @classmethod
    def of_server(cls, base_url: str, path_below: Callable[[str], str], key_variable: str) -> Self:
        """Return the endpoint below a base URL as its documentation gives it, such as http://127.0.0.1:8000/v1.

        path_below: returns the path to post to, given the base URL's without a slash at its end. The key is the value
        of `key_variable` in the environment, or the name and password in the address. It is sent as a bearer token, to
        Azure (which the query's api-version shows) as "api-key". The hub's token is never sent.
        Raises ModelError for an invalid address, and for a key that cannot be sent.
        """
        try:
            parts = urlsplit(base_url.strip())
            port = parts.port
        except ValueError:
            raise ModelError("the base URL is invalid; it has to look like http://127.0.0.1:8000/v1") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or " " in parts.netloc + parts.path:
            raise ModelError("the base URL has to begin with http:// or https:// and a host, without spaces")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        netloc = host if port is None else f"{host}:{port}"
        shown = urlunsplit(SplitResult(parts.scheme, netloc, parts.path, "", ""))
        url = urlunsplit(SplitResult(parts.scheme, netloc, path_below(parts.path.rstrip("/")), parts.query, ""))
        query = parse_qsl(parts.query)
        is_azure = any(name == AZURE_VERSION for name, _ in query)
        secrets = {value for name, value in query if name != AZURE_VERSION}
        secrets |= {parts.query} if secrets else set()
        key = os.environ.get(key_variable, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ModelError(f"{key_variable} has a character that cannot be sent; copy the key again")
        headers = {} if not key else {"api-key": key} if is_azure else {"authorization": f"Bearer {key}"}
        advice = f"correct {key_variable}" if key else f"set {key_variable}"
        if parts.username or parts.password:
            name, password = unquote(parts.username or ""), unquote(parts.password or "")
            login = base64.b64encode(f"{name}:{password}".encode()).decode()
            headers = {"authorization": f"Basic {login}"}
            secrets |= {password or name, parts.password or "", login}
            advice = "correct the name and password in the base URL"
        return cls(url, shown, headers, advice, _longest_first(secrets | {key}))

    @classmethod
    def of_provider(cls, provider: str) -> Self:
        """Return the endpoint of an inference provider, behind the hub's router, with the login of the hub's client.

        Raises ModelError without a login, for a token that cannot be sent, and in the offline mode of the hub's client.
        """
        from huggingface_hub import constants, get_token

        advice = "log in with `hf auth login` or set HF_TOKEN"
        if constants.HF_HUB_OFFLINE:
            raise ModelError("the hub's client is offline; unset HF_HUB_OFFLINE to use a provider")
        token = get_token()
        if token is None:
            raise ModelError(f"provider {provider}: no login; {advice}")
        if not (token.isascii() and token.isprintable()):
            raise ModelError("the hub's token has a character that cannot be sent; correct HF_TOKEN")
        headers = {"authorization": f"Bearer {token}"}
        return cls(f"{ROUTER}/chat/completions", f"provider {provider}", headers, advice, (token,))

    @property
    def path(self) -> str:
        """Path on the server."""
        return urlsplit(self.url).path

    def hide_secrets(self, line: str) -> str:
        """Return a line for people, without credentials."""
        return functools.reduce(redacted, self.secrets, redacted(line))


def _longest_first(secrets: set[str]) -> tuple[str, ...]:
    return tuple(sorted(secrets - {""}, key=len, reverse=True))


class Answer(NamedTuple):
    """An HTTP response whose body was read."""

    status: int
    content: bytes
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")


class HttpSession:
    """Connections to an endpoint, for at most `concurrency` requests at a time. It belongs to one event loop."""

    def __init__(self, endpoint: Endpoint, concurrency: int) -> None:
        self.endpoint = endpoint
        limits = httpx.Limits(max_connections=CONNECTIONS_PER_CLIENT, keepalive_expiry=KEEP_IDLE)
        headers = {"accept-encoding": "identity", **endpoint.headers}
        timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT)  # whoever posts bounds the whole attempt
        self._clients = [
            httpx.AsyncClient(verify=_tls_context(), limits=limits, timeout=timeout, headers=headers)
            for _ in range(math.ceil(concurrency / CONNECTIONS_PER_CLIENT))
        ]
        self._free = deque(self._clients * CONNECTIONS_PER_CLIENT)  # one entry per connection
        self._log_filter = _HideSecrets(endpoint)

    async def post(self, body: Mapping[str, Any], max_bytes: int) -> Answer:
        """Post a JSON body. The answer is read up to `max_bytes`, so that no server can fill the memory.

        Raises httpx's errors, UnusableAnswerError for an answer that is compressed or too long, and ModelError for a
        redirect: messages and keys go nowhere but to the address that was given.
        """
        client = self._free.popleft()
        try:
            async with client.stream("POST", self.endpoint.url, json=body) as response:
                return await self._read(response, max_bytes)
        finally:
            self._free.append(client)

    async def _read(self, response: httpx.Response, max_bytes: int) -> Answer:
        if 300 <= response.status_code < 400:
            target = "".join(c for c in response.headers.get("location", "") if c.isprintable())
            raise ModelError(
                f"{self.endpoint.shown} redirects requests (HTTP {response.status_code}: "
                f"{self.endpoint.hide_secrets(target[:MAX_MESSAGE])}); give the base URL of the server that answers"
            )
        if response.headers.get("content-encoding", "identity") != "identity":
            raise UnusableAnswerError(TOO_LARGE)
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > max_bytes:
                raise UnusableAnswerError(TOO_LARGE)
        return Answer(response.status_code, bytes(content), response.headers)

    async def __aenter__(self) -> Self:
        logging.getLogger("httpx").addFilter(self._log_filter)
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.aclose()
        logging.getLogger("httpx").removeFilter(self._log_filter)


class _HideSecrets(logging.Filter):
    """Takes an endpoint's secrets out of log records, which have the address of every request."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.endpoint = endpoint

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            hide = self.endpoint.hide_secrets
            record.args = tuple(arg if isinstance(arg, int | float) else hide(str(arg)) for arg in record.args)
        return True
