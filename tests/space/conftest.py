"""One page in this process and one browser for all tests of the page."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from rb_core.space.page import build, launch_options
from rb_core.space.results_source import ResultsFolder
from tests.paths import ROOT

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OWN_HOSTS = {"127.0.0.1", "localhost"}

OpenPage = Callable[..., Page]
Serve = Callable[[gr.Blocks], str]


@pytest.fixture(scope="session")
def results_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled results with their scores and outcomes, and a file that is no result."""
    root = tmp_path_factory.mktemp("leaderboard")
    shutil.copytree(ROOT / "leaderboard_data", root, dirs_exist_ok=True)
    (root / "results" / "starter" / "broken.json").write_text("{", encoding="utf-8")
    return root


def compact(html: str) -> str:
    """Return HTML without the white space between its tags."""
    return re.sub(r">\s+<", "><", html)


@contextmanager
def launched(demo: gr.Blocks) -> Iterator[str]:
    """The address of a page that runs in this process, on a free port, for the time of the block."""
    options = launch_options() | {"server_name": "127.0.0.1", "quiet": True}
    _, url, _ = demo.launch(prevent_thread_lock=True, **options)
    try:
        yield url
    finally:
        demo.close(verbose=False)


@pytest.fixture(scope="session")
def url(results_root: Path) -> Iterator[str]:
    """The address of the page, which lets one visitor ask as often as the tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RB_LIVE_PER_MINUTE", "100000")
        page = build(ResultsFolder(results_root))
    with launched(page) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    # The same browser without a window of its own takes a fifth less time.
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        if os.environ.get("RB_REQUIRE_BROWSER"):
            pytest.fail("RB_REQUIRE_BROWSER is set, and there is no program named chromium")
        pytest.skip("there is no program named chromium, or chromium-headless-shell, to show the page in")
    expect.set_options(timeout=10_000)
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield instance
        instance.close()


@pytest.fixture(scope="session")
def context(browser: Browser) -> BrowserContext:
    """One for all tests, so that gradio's own files are fetched once."""
    return browser.new_context(reduced_motion="reduce")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Launches a page and gives its address. `open_page` asks for it too, so that its pages are closed before it."""
    with ExitStack() as stack:
        yield lambda demo: stack.enter_context(launched(demo))


@pytest.fixture
def open_page(context: BrowserContext, url: str, serve: Serve) -> Iterator[OpenPage]:
    """Opens a page that is ready to use. An error in it, or a request to another host, fails the test at its end."""
    pages: list[Page] = []
    wrong: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(f"console: {message.text}")

    def on_request(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.hostname not in OWN_HOSTS:
            wrong.append(f"request: {request.url}")

    def open_one(query: str = "", *, at: str = url, width: int = 1440, theme: str = "light", tab: str = "") -> Page:
        page = context.new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme)
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: wrong.append(f"page: {error}"))
        page.on("console", on_console)
        page.on("request", on_request)
        page.goto(at + query)
        page.locator(".rb-board h2").wait_for(state="attached")
        if tab:
            page.get_by_role("tab", name=tab).click()
            page.get_by_role("heading", name=tab, exact=True).wait_for()
        return page

    yield open_one
    for page in pages:
        page.close()
    assert wrong == []
