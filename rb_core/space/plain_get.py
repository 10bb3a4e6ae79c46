"""Plain addresses of the page's data, for programs, spreadsheets and model cards.

    /leaderboard.json?benchmark=ID   a board as JSON, as the endpoint `leaderboard` gives it; the first without an id
    /results/ID/MODEL.json           a result file
    /scores/ID/MODEL.parquet         the score table of a run
    /badge/ID/MODEL.svg              a picture with the model's score and rank interval
    /views/NAME.js                   the scripts of a part of the page

Names are looked up among the shown results and never joined to a path. Every answer has an ETag.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import NamedTuple
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from rb_core.leaderboard.board import BoardRow
from rb_core.results.schema import to_json
from rb_core.space.component import view_module
from rb_core.space.html import percent_text, ranks_text, render
from rb_core.space.results_source import ResultsSource, page_board_json

BOARD = "/leaderboard.json"
VIEW = re.compile(r"/views/(\w{1,100})\.js")
FILES = re.compile(
    r"/(?P<kind>results(?=.*\.json$)|scores(?=.*\.parquet$)|badge(?=.*\.svg$))"
    r"/(?P<board>[^/]{1,100})/(?P<model>.{1,200})\.\w+"
)
EXTENSIONS = {"results": "json", "scores": "parquet", "badge": "svg"}
CACHE = "public, max-age=300"
LABEL_WIDTH = 7  # pixels of a character of the badge


class Content(NamedTuple):
    """The content of an address; redirect: another address that has it."""

    body: bytes = b""
    media_type: str = "application/json"
    redirect: str | None = None


def is_plain_get(method: str, path: str) -> bool:
    """Return True for the addresses above."""
    return method in ("GET", "HEAD") and (path == BOARD or any(form.fullmatch(path) for form in (VIEW, FILES)))


def file_address(kind: str, board: str, model: str) -> str:
    """Return the address of a model's result, scores or badge, relative to the page's root. kind: of EXTENSIONS."""
    return quote(f"{kind}/{board}/{model}.{EXTENSIONS[kind]}")


class PlainGet:
    """Middleware that answers the plain addresses from the results of the page that is being served."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_plain_get(scope["method"], scope["path"]):
            await self.app(scope, receive, send)
            return
        source = getattr(scope["app"].get_blocks(), "results", None)
        request = Request(scope)
        benchmark = request.query_params.get("benchmark", "")
        content = await run_in_threadpool(find_content, source, scope["path"], benchmark)
        await _response(content, request)(scope, receive, send)


def _response(content: Content | None, request: Request) -> Response:
    if content is None:
        return JSONResponse({"error": "There is no such result."}, 404)
    if content.redirect is not None:
        return RedirectResponse(content.redirect, 302)
    etag = f'"{hashlib.sha256(content.body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": CACHE, "Access-Control-Allow-Origin": "*"}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(content.body, media_type=content.media_type, headers=headers)


def find_content(source: ResultsSource | None, path: str, benchmark: str = "") -> Content | None:
    """Return what one of the addresses holds; None if the shown results do not have it."""
    if view := VIEW.fullmatch(path):
        module = view_module(view[1])
        return None if module is None else Content(module.encode(), "text/javascript")
    if source is None:
        return None
    boards = source.boards()
    if path == BOARD:
        board = boards.get(benchmark or next(iter(boards), ""))
        if board is None:
            return None
        value = page_board_json(board, source.traits(board.id), source.registry())
        return Content(json.dumps(value, ensure_ascii=False).encode())
    match = FILES.fullmatch(path)
    kind, board_id, model = match.group("kind", "board", "model") if match else ("", "", "")
    if board_id not in boards or (row := boards[board_id].row(model)) is None:
        return None
    if kind == "badge":
        return Content(badge_svg(boards[board_id].title, row).encode(), "image/svg+xml")
    result = source.results(board_id).get(model)
    if result is None:
        return None
    if kind == "results":
        return Content(to_json(result))
    if (place := source.on_hub()) is not None and result.scores is not None:
        return Content(redirect=f"{place.address.replace('/blob/', '/resolve/')}/{result.scores.path}")
    scores = source.score_file(board_id, model)
    return None if scores is None else Content(scores.read_bytes(), "application/vnd.apache.parquet")


def badge_svg(title: str, row: BoardRow) -> str:
    """Return a picture of a board's title, and a model's score with its rank interval."""
    value = "no score" if row.headline.value is None else percent_text(row.headline.value)
    ranks = f" · rank {ranks_text(row.rank_interval)}" if row.rank_interval else ""
    left, right = (LABEL_WIDTH * len(text) + 12 for text in (title, value + ranks))
    return render("badge.svg", title=title, value=value + ranks, left=left, right=right)
