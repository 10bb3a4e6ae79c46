"""The page as a whole: what it loads, and whether everybody can use it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Request, expect

from rb_core.space.page import PageTab, page_tabs
from tests.paths import ROOT
from tests.space.conftest import OpenPage

FIRST_TABLE_BYTES = 500_000


def test_app_imports_without_torch() -> None:
    """The page opens without loading what only scoring needs."""
    code = "import sys, app; print(sorted({'torch', 'transformers', 'datasets'} & sys.modules.keys()), app.demo.title)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] RewardBench"


def test_the_first_table_costs_less_than_half_a_megabyte(browser: Browser, url: str) -> None:
    """Everything that is transferred to a new visitor until the table stands stays within the budget."""
    page = browser.new_page()
    sizes: list[int] = []

    def add(request: Request) -> None:
        found = request.sizes()
        sizes.append(found["responseBodySize"] + found["responseHeadersSize"])

    page.on("requestfinished", add)
    page.goto(url)
    expect(page.locator(".rb-scroll tbody tr").first).to_be_visible()
    page.wait_for_timeout(500)  # the page keeps a stream open, so that its network never falls silent
    page.close()
    assert 0 < sum(sizes) < FIRST_TABLE_BYTES


# What makes a tab show all that it has. Axe reads the contrast of every single cell, and passes through those of the
# tabs that are hidden: a search keeps rows of each kind in the leaderboard.
SEARCH = "?q=skywork,tulu-2-7b"
VIEWS = {
    "leaderboard": "&view=subsets",
    "compare": "&tab=compare&board=starter&models=builtin/tiny-rm,baseline/longest",
    "model": "&tab=model&model=builtin/tiny-rm",
}
# What a tab shows once its data has come.
SHOWN = {"compare": "table", "model": "table", "plot": "svg"}


def panel(page: Page, tab: PageTab) -> Locator:
    """The tab's content, once it is there."""
    found = page.get_by_role("tabpanel", name=tab.label, exact=True)
    expect(found.get_by_role("heading").first).to_be_attached()
    return found


def assert_no_violation(page: Page) -> None:
    """At both widths and in both themes, on the page as it stands."""
    for theme, width in itertools.product(("light", "dark"), (1440, 390)):
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", theme == "dark")
        found = Axe().run(page)
        assert found.violations_count == 0, f"{theme}, {width} px: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_takes_the_visitors_theme(open_page: OpenPage, theme: str) -> None:
    """Dark is a class of the body, set where the visitor's system asks for it."""
    page = open_page(theme=theme)
    assert page.evaluate("document.body.classList.contains('dark')") is (theme == "dark")


@pytest.mark.parametrize("tab", page_tabs(), ids=lambda tab: tab.id)
def test_axe_finds_no_violation(open_page: OpenPage, tab: PageTab) -> None:
    """Every tab opens from the address, passes axe-core in both themes, and is no wider than the window."""
    page = open_page(SEARCH + VIEWS.get(tab.id, f"&tab={tab.id}"))
    expect(panel(page, tab)).to_be_visible()
    expect(panel(page, tab).locator(SHOWN.get(tab.id, "h2")).first).to_be_visible()
    for details in panel(page, tab).locator("summary").all():
        details.click()
    assert_no_violation(page)


def test_axe_finds_no_violation_in_an_outcome_and_a_message(open_page: OpenPage) -> None:
    """The tab for pairs passes axe-core after scoring, and with a message in place of scores."""
    page = open_page(f"{SEARCH}&tab=try")
    page.get_by_role("button", name="Four answers").click()
    expect(page.get_by_label("Completion 4", exact=True)).to_be_visible()
    page.get_by_role("button", name="Score", exact=True).click()
    page.get_by_text("The text the model read").click(timeout=60_000)
    assert_no_violation(page)
    page.get_by_label("Completion 4", exact=True).fill("")
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="Completion 4 is empty")).to_be_visible()
    assert_no_violation(page)


@pytest.mark.parametrize("width", [1440, 390])
def test_the_keyboard_walks_the_tabs(open_page: OpenPage, width: int) -> None:
    """Tab reaches the bar, arrows go round it, Enter opens the tab in focus, and every tab is within the window."""
    page = open_page(width=width)
    tabs = page_tabs()
    bar = page.get_by_role("tablist").get_by_role("tab")
    expect(bar).to_have_text([tab.label for tab in tabs])
    page.keyboard.press("Tab")
    for number, tab in enumerate(tabs):
        expect(bar.nth(number)).to_be_focused()
        expect(bar.nth(number)).to_be_in_viewport(ratio=1)
        page.keyboard.press("Enter")
        expect(bar.nth(number)).to_have_attribute("aria-selected", "true")
        expect(panel(page, tab)).to_be_visible()
        expect(page.get_by_role("tabpanel").filter(visible=True)).to_have_count(1)
        page.keyboard.press("ArrowRight")
    expect(bar.first).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(bar.last).to_be_focused()
    page.keyboard.press("Home")
    expect(bar.first).to_be_focused()
    page.keyboard.press("End")
    expect(bar.last).to_be_focused()


def test_the_address_follows_the_tab_and_keeps_the_rest(open_page: OpenPage) -> None:
    """Selecting a tab writes it into the address beside what stands there; reloading opens it again."""
    page = open_page("?q=grm&board=rewardbench-2&other=1")
    assert "tab=" not in page.url
    for tab in (*page_tabs()[1:], page_tabs()[0]):
        page.get_by_role("tab", name=tab.label, exact=True).click()
        page.wait_for_url(f"**tab={tab.id}**")
        asked = parse_qs(urlsplit(page.url).query)
        assert asked.items() >= {"q": ["grm"], "board": ["rewardbench-2"], "other": ["1"]}.items()
    assert page.evaluate("history.length") <= 2
    last = page_tabs()[-1]
    page.get_by_role("tab", name=last.label, exact=True).click()
    page.wait_for_url(f"**tab={last.id}**")
    page.reload()
    expect(panel(page, last)).to_be_visible()
    page.get_by_role("tab", name="Leaderboard").click()
    expect(page.get_by_role("searchbox", name="Search models; a comma means or")).to_have_value("grm")


@pytest.mark.parametrize("query", ["", "?tab=", "?tab=nope", "?tab=toString", "?tab=leaderboard"])
def test_an_address_that_names_no_tab_opens_the_leaderboard(open_page: OpenPage, query: str) -> None:
    """Without a tab in the address, or with one that does not exist, the first tab is open, and the address stays."""
    page = open_page(query)
    expect(panel(page, page_tabs()[0])).to_be_visible()
    expect(page.get_by_role("tab", selected=True)).to_have_text("Leaderboard")


def test_no_two_tabs_share_a_name() -> None:
    """A tab's name in the address, and its label, mean one tab."""
    tabs = page_tabs()
    assert len({tab.id for tab in tabs}) == len({tab.label for tab in tabs}) == len(tabs)
