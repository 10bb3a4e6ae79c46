"""One page in this process and one browser for all tests of the page."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, expect, sync_playwright

from rb_core.results.paths import result_path
from rb_core.results.storage import read_result, write_result
from rb_core.space.page import build, launch_options
from rb_core.space.results_source import ResultsFolder
from tests.fakes.judged_runs import BENCHMARK as JUDGED
from tests.fakes.judged_runs import JUDGE, judged_runs
from tests.paths import BUNDLED
from tests.waiting import PATIENCE

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OWN_HOSTS = {"127.0.0.1", "localhost"}

# The table of the leaderboard or the title of another view, after what the server drew has gone.
READY = "body:not(:has(> #rb-first)) :is(.rb-scroll thead th, h2.rb-title)"

OpenPage = Callable[..., Page]
Serve = Callable[[gr.Blocks], str]


@pytest.fixture(scope="session")
def results_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled results with their scores and outcomes, and an invalid result file."""
    root = tmp_path_factory.mktemp("leaderboard")
    shutil.copytree(BUNDLED, root, dirs_exist_ok=True)
    (root / "results" / "starter" / "broken.json").write_text("{", encoding="utf-8")
    return root


def compact(html: str) -> str:
    """Return HTML without the white space between its tags."""
    return re.sub(r">\s+<", "><", html)


@contextmanager
def launched(demo: gr.Blocks) -> Iterator[str]:
    """Run a page in this process, on a free port, for the time of the block; its address."""
    options = launch_options() | {"server_name": "127.0.0.1", "quiet": True}
    _, url, _ = demo.launch(prevent_thread_lock=True, **options)
    try:
        yield url
    finally:
        demo.close(verbose=False)


@pytest.fixture(scope="session")
def results(results_root: Path) -> ResultsFolder:
    """These results, read once."""
    return ResultsFolder(results_root)


@pytest.fixture(scope="session")
def url(results: ResultsFolder) -> Iterator[str]:
    """The address of the page, which lets one visitor ask as often as the tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RB_LIVE_PER_MINUTE", "100000")
        page = build(results)
    with launched(page) as address:
        yield address


@pytest.fixture(scope="session")
def judged_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of judges, and a large board on which one model's result is changed to that of a judge's run."""
    root = tmp_path_factory.mktemp("judged")
    judged_runs(root)
    run, fields = read_result(root / result_path(JUDGED, JUDGE)), ("status", "judging", "run", "scores", "counts")
    for source in (BUNDLED / "results" / "rewardbench-2").rglob("*.json"):
        result = read_result(source)
        if result.model.name == "anthropic/claude-3-7-sonnet-20250219":
            result = result.model_copy(update={name: getattr(run, name) for name in fields} | {"published": None})
        write_result(root, result)
    return root


@pytest.fixture(scope="session")
def judged_url(judged_root: Path) -> Iterator[str]:
    with launched(build(ResultsFolder(judged_root))) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    # The same browser without a window takes a fifth less time.
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        if os.environ.get("RB_REQUIRE_BROWSER"):
            pytest.fail("RB_REQUIRE_BROWSER is set, and there is no program named chromium")
        pytest.skip("there is no program named chromium, or chromium-headless-shell, to show the page in")
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield instance
        instance.close()


class BrowserPages:
    """Browser pages that tests reuse: a load in a used page costs a third less processor time than in a new one."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self._free: list[Page] = []

    def take(self) -> Page:
        page = self._free.pop() if self._free else self._context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        return page

    def give_back(self, page: Page) -> None:
        leave(page)
        self._free.append(page)


def leave(page: Page) -> None:
    """Show nothing, keep nothing, and free the connection to the server; a page that was left before is left alone."""
    if page.url != "about:blank":
        page.evaluate("sessionStorage.clear()")
        page.goto("about:blank")


@pytest.fixture(scope="session")
def browser_pages(browser: Browser) -> BrowserPages:
    """Pages of one context, so that gradio's own files are fetched once."""
    return BrowserPages(browser.new_context(reduced_motion="reduce"))


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Launch a page and return its address. `open_page` requests this fixture, so that its pages are left first."""
    with ExitStack() as stack:
        yield lambda demo: stack.enter_context(launched(demo))


@pytest.fixture
def open_page(browser_pages: BrowserPages, url: str, serve: Serve) -> Iterator[OpenPage]:
    """Open a page, ready to use. An error in it, or a request to another host, fails the test at its end."""
    opened: list[Page] = []
    errors: list[str] = []

    def on_page_error(error: Error) -> None:
        errors.append(f"page: {error}")

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(f"console: {message.text}")

    def on_request(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.hostname not in OWN_HOSTS:
            errors.append(f"request: {request.url}")

    listeners = {"pageerror": on_page_error, "console": on_console, "request": on_request}

    def open_one(query: str = "", *, at: str = url, width: int = 1440, theme: str = "light", tab: str = "") -> Page:
        page = browser_pages.take()
        opened.append(page)
        for event, listener in listeners.items():
            page.on(event, listener)
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme)
        if tab:
            query = f"{query}{'&' if query else '?'}tab={'try' if tab == 'Try a pair' else tab.lower()}"
        page.goto(at + query)
        page.locator(READY).first.wait_for(state="attached")
        if tab:
            page.get_by_role("heading", name=tab, exact=True).wait_for()
        return page

    yield open_one
    for page in opened:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        browser_pages.give_back(page)
    assert errors == []


Looks = Sequence[tuple[str, int]]
# (theme, width in pixels)
TWO_LOOKS: Looks = (("light", 1440), ("dark", 390))
ALL_LOOKS: Looks = tuple((theme, width) for theme in ("light", "dark") for width in (1440, 1920, 768, 390))
in_each_look = pytest.mark.parametrize(
    "looks",
    [pytest.param(TWO_LOOKS, id="two-looks"), pytest.param(ALL_LOOKS, id="all-looks", marks=pytest.mark.soak)],
)


KEEP_ROWS = """(count) => document.querySelectorAll('tbody').forEach(
    (body) => [...body.rows].slice(count).forEach((row) => row.remove()))"""


def assert_accessible(page: Page, looks: Looks, context: str | None = None, rows: int | None = None) -> None:
    """Assert that axe-core finds no violation, and that the page does not scroll sideways, in each of these looks.

    rows: that are kept of each table; None for all.
    """
    for theme, width in looks:
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", theme == "dark")
        if rows is not None:
            page.evaluate(KEEP_ROWS, rows)
        results = Axe().run(page, context=context, options={"resultTypes": ["violations"]})  # in half the time
        assert results.violations_count == 0, f"{theme}, {width} px: {results.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
