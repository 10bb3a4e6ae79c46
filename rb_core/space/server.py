"""The server behind the page: the routes that it answers, the size of requests, and a log without visitors' text.

Gradio's server has more routes than this page uses, prints the traceback of every failed request, and quotes in it what
the request held.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import LRUCache
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rb_core.space.api import TOOLS, asked_by_agent
from rb_core.space.html import render
from rb_core.space.plain_get import BOARD, VIEW, is_plain_get
from rb_core.space.results_source import ResultsSource
from rb_core.space.share_card import ShareCard

log = logging.getLogger(__name__)

MAX_BODY = 4 * 2**20  # bytes of a request; the longest text that a field takes is shorter
MAX_SESSIONS = 300  # whose undelivered answers the server remembers, up to 3 MB each
MAX_WAITING = 200  # calls; more are refused
NO_TOOLS = "This page offers no tools over MCP: its host has not installed gradio's extra, gradio[mcp]."
NO_ANSWER = "The page cannot answer this request; see /?view=api for the names and arguments of its endpoints."

_PREVIEW = re.compile(rb'\s*<meta\s+(property|name)="(og|twitter):[^>]*>')  # gradio's own
_CHARSET = b'<meta charset="utf-8" />'
_API = "/gradio_api"
_ROUTES = {
    "GET": re.compile(
        r"/|/(assets|static)/.+|/(config|theme\.css|robots\.txt|favicon\.ico|manifest\.json|pwa_icon(/\d+)?)/?|"
        rf"{_API}/((info|openapi\.json|startup-events|theme\.css|queue/data|heartbeat/\w+)/?|call/(v2/)?\w+/\w+)"
    ),
    "POST": re.compile(rf"{_API}/(queue/join|component_server|cancel|reset|(call|call/v2|run|api)/\w+)/?"),
}
_OAUTH = re.compile(r"/(login/huggingface|login/callback|logout)")
_MCP = re.compile(rf"{TOOLS}(/.*)?")
_ANSWER = re.compile(rf"{_API}/call/(?:v2/)?\w+/(\w+)")


class RecentSessions(LRUCache[str, Any]):
    """Records that gradio's queue keeps for each session, of the `MAX_SESSIONS` that were used last.

    An older session gets an empty value, which is not kept: the queue would stop for good if it missed one.
    """

    def __init__(self, empty: Callable[[], Any]) -> None:
        super().__init__(MAX_SESSIONS)
        self._empty = empty

    def __getitem__(self, session: str) -> Any:
        if session not in self:
            return self._empty()
        self.move_to_end(session)
        return super().__getitem__(session)


class Page(gr.Blocks):
    """Gradio's blocks, with the default for each missing argument of an endpoint, and without text in the log.

    results: what the page shows, for the middleware. first_views: functions that draw the first view of an address from
    its parameters, by the tab's id.
    """

    def __init__(self, results: ResultsSource, **options: Any) -> None:
        super().__init__(**options)
        self.results = results
        self.first_views: dict[str, Callable[[Mapping[str, str]], Any]] = {}

    def queue(self, *args: Any, **kwargs: Any) -> Page:
        """Set up gradio's queue, with limits on the calls that wait and on the answers that nobody fetches."""
        super().queue(*args, **{"max_size": MAX_WAITING, **kwargs})
        self._queue.pending_messages_per_session = RecentSessions(asyncio.Queue)
        self._queue.pending_event_ids_session = RecentSessions(set)
        return self

    async def process_api(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run a handler as gradio does; an error reaches the visitor as a message, and the log without its message."""
        function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        try:
            inputs = _with_defaults(function, inputs)
            answer: dict[str, Any] = await super().process_api(function, inputs, *args, **kwargs)
            if asked_by_agent(kwargs.get("request")):  # gradio would print the value as Python does
                answer["data"] = [json.dumps(value, ensure_ascii=False) for value in answer["data"]]
            return answer
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:
            _log_without_text(error)
            raise gr.Error(NO_ANSWER, print_exception=False) from error
        finally:
            _forget_values(function, kwargs.get("state"))


def _forget_values(function: Any, state: Any) -> None:
    """Drop what gradio keeps of a handler's inputs and outputs for deep links, which are closed.

    The visitor's browser has the fields; a file and its scores would stay in memory until the session is forgotten.
    """
    for component in (*function.inputs, *function.outputs):
        config = state.config_values.get(component._id) if state is not None else None
        if config is not None:
            config.get("props", {}).pop("value", None)


def _with_defaults(function: Any, inputs: list[Any]) -> list[Any]:
    """Return the arguments of an endpoint, None for those that are missing and have no default."""
    if function.api_visibility != "public" or len(inputs) == len(function.inputs):
        return inputs
    if len(inputs) > len(function.inputs):
        raise gr.Error(f"{len(inputs)} arguments are too many: {function.api_name} takes {len(function.inputs)}.")
    parameters = list(inspect.signature(function.fn).parameters.values())[-len(function.inputs) :]
    defaults = [None if each.default is inspect.Parameter.empty else each.default for each in parameters]
    return [*inputs, *defaults[len(inputs) :]]


class Gate:
    """Middleware that closes the routes which the page does not use, limits the size of requests, and forgets calls.

    Gradio gives a call without a session one of its own, named as the event, and never ends it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if not is_open(scope["method"], scope["path"]) and not _is_sign_in(scope):
            await JSONResponse({"error": "There is no such address."}, 404)(scope, receive, send)
            return
        if _MCP.fullmatch(scope["path"]) and not scope["app"].get_blocks().mcp_server:
            await JSONResponse({"error": NO_TOOLS}, 404)(scope, receive, send)
            return
        sent: Message = {"type": ""}

        async def noting_send(message: Message) -> None:
            nonlocal sent
            sent = message
            await send(message)

        try:
            await self.app(scope, _limited(receive), noting_send)
        except Exception as error:  # noqa: BLE001 - of whatever kind, only its type may be logged
            _log_without_text(error)
            if not sent["type"]:
                await JSONResponse({"error": NO_ANSWER}, 500)(scope, receive, send)
            elif sent["type"] == "http.response.start" or sent.get("more_body"):
                await send({"type": "http.response.body", "body": b""})
        finally:
            if answered := _ANSWER.fullmatch(scope["path"]):
                _forget(scope["app"], answered[1])


def is_open(method: str, path: str) -> bool:
    """Return True for the routes that the page, its endpoints and agents use."""
    routes = _ROUTES.get("GET" if method == "HEAD" else method)
    return bool((routes and routes.fullmatch(path)) or _MCP.fullmatch(path) or is_plain_get(method, path))


def _is_sign_in(scope: Scope) -> bool:
    """Return True for a step of the sign-in with Hugging Face, on a page that has it."""
    return bool(_OAUTH.fullmatch(scope["path"])) and scope["app"].get_blocks().expects_oauth


def _forget(app: Any, session: str) -> None:
    queue, states = app.get_blocks()._queue, app.state_holder
    for sessions in (
        queue.pending_messages_per_session,
        queue.pending_event_ids_session,
        states.session_data,
        states.time_last_used,
    ):
        sessions.pop(session, None)


def _limited(receive: Receive) -> Receive:
    """Return `receive` with an end: HTTPException 413 after more than `MAX_BODY` bytes."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY:
            raise HTTPException(413, f"A request has at most {MAX_BODY} bytes.")
        return message

    return limited


def _log_without_text(error: BaseException) -> None:
    """Log the type of an error and the line that raised it; its message may quote a visitor."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    log.error("a request failed: %s at %s:%s", type(error).__name__, Path(frame.filename).name, frame.lineno)


class PageCompression(GZipMiddleware):
    """Middleware that compresses the page itself, the boards and the views' scripts; gradio compresses only files."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"] in ("/", BOARD) or VIEW.fullmatch(scope["path"])):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class Document:
    """Middleware that completes the document that gradio sends.

    head: goes to every document's head, so that the browser has style and scripts before gradio's own have run.
    card: returns a view's title and description for the page's results and the query of the address; they take the
    place of gradio's, for those who preview a link. start: returns the HTML that comes before gradio's own.
    """

    def __init__(
        self,
        app: ASGIApp,
        head: str,
        card: Callable[[ResultsSource, str], ShareCard],
        start: Callable[[Page, str], str],
    ) -> None:
        self.app = app
        self._head, self._card, self._start = head, card, start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("GET", "/"):
            await self.app(scope, receive, send)
            return
        start: Message = {}
        received = b""

        async def rewriting_send(message: Message) -> None:
            nonlocal start, received
            if message["type"] == "http.response.start":
                start = message
                return
            received += message.get("body", b"")
            if not message.get("more_body"):
                query = scope["query_string"].decode("latin-1")
                content = await run_in_threadpool(self._completed, received, scope["app"].get_blocks(), query)
                MutableHeaders(raw=start["headers"])["content-length"] = str(len(content))
                await send(start)
                await send({"type": "http.response.body", "body": content})

        await self.app(scope, receive, rewriting_send)

    def _completed(self, html: bytes, page: gr.Blocks, query: str) -> bytes:
        html = html.replace(b"</head>", self._head.encode() + b"</head>", 1)
        if not isinstance(page, Page):
            return html
        card = self._card(page.results, query)
        preview = render("link_preview.html", title=card.title, description=card.description).encode()
        html = _PREVIEW.sub(b"", html).replace(_CHARSET, _CHARSET + b"\n" + preview, 1)
        return html.replace(b"<gradio-app", self._start(page, query).encode() + b"<gradio-app", 1)
