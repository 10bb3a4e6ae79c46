"""The page as a whole: size, accessibility, keyboard, tabs and addresses."""

from __future__ import annotations

import re
import statistics
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect

from rb_core.space.page import PageTab, page_tabs
from tests.perf.first_view import ROUNDS, FirstView, first_view
from tests.space.conftest import Looks, OpenPage, assert_accessible, in_each_look

FIRST_TABLE_BYTES = 355_000
FIRST_TABLE_REQUESTS = 66


def test_the_first_table_costs_few_bytes_and_requests(browser: Browser, url: str) -> None:
    """Everything that is transferred to a new visitor until the table is drawn; the page follows the dark scheme."""
    page = browser.new_page(color_scheme="dark")
    sizes: list[int] = []

    def add(request: Request) -> None:
        transferred = request.sizes()
        sizes.append(transferred["responseBodySize"] + transferred["responseHeadersSize"])

    page.on("requestfinished", add)
    page.goto(url)
    expect(page.locator(".rb-scroll tbody tr").first).to_be_visible()
    page.wait_for_timeout(500)  # the page keeps a stream open, so its network never falls silent
    assert page.evaluate("document.body.classList.contains('dark')")
    page.close()
    assert 0 < sum(sizes) <= FIRST_TABLE_BYTES
    assert len(sizes) <= FIRST_TABLE_REQUESTS


@pytest.mark.soak
def test_the_first_view_and_a_comparison_appear_soon(browser: Browser, url: str) -> None:
    """Medians of five loads in fresh contexts."""
    loads = [first_view(browser, url) for _ in range(ROUNDS)]
    medians = FirstView(*(statistics.median(values) for values in zip(*loads, strict=True)))
    assert medians.row_seconds < medians.table_seconds
    assert medians.shift < 0.05
    assert medians.verdict_seconds < 2


# Axe reads the contrast of every cell, also of hidden tabs: a search keeps a few rows of each kind in the leaderboard.
SEARCH = "?q=skywork,tulu-2-7b"
# Parameters that make a tab show all of its parts, and what it shows once its data has come. Other tabs' own tests run
# axe on all of their parts.
VIEWS = {"leaderboard": "&view=subsets", "about": "&tab=about"}


def panel(page: Page, tab: PageTab) -> Locator:
    """The tab's content, when it is there."""
    content = page.get_by_role("tabpanel", name=tab.label, exact=True)
    expect(content.get_by_role("heading").first).to_be_attached()
    return content


@in_each_look
@pytest.mark.parametrize("tab", [tab for tab in page_tabs() if tab.id in VIEWS], ids=lambda tab: tab.id)
def test_axe_finds_no_violation(open_page: OpenPage, tab: PageTab, looks: Looks) -> None:
    """The address opens the tab; with all details open it passes axe-core and is no wider than the window."""
    page = open_page(SEARCH + VIEWS[tab.id])
    expect(panel(page, tab)).to_be_visible()
    for details in panel(page, tab).locator("summary").all():
        details.click()
    assert_accessible(page, looks)


@in_each_look
def test_axe_finds_no_violation_in_scores_and_a_message(open_page: OpenPage, looks: Looks) -> None:
    """The tab for pairs before and after scoring, and with a message in place of scores."""
    page = open_page(f"{SEARCH}&tab=try")
    expect(panel(page, next(tab for tab in page_tabs() if tab.id == "try"))).to_be_visible()
    assert_accessible(page, looks[:1])
    page.get_by_role("button", name="Four answers").click()
    expect(page.get_by_label("Completion 4", exact=True)).to_be_visible()
    page.get_by_role("button", name="Score", exact=True).click()
    page.get_by_text("The text the model read").click()
    assert_accessible(page, looks)
    page.get_by_label("Completion 4", exact=True).fill("")
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="Completion 4 is empty")).to_be_visible()
    assert_accessible(page, looks[-1:])


def test_the_keyboard_moves_along_the_tabs(open_page: OpenPage) -> None:
    """Tab reaches the bar after the link that skips it, arrows go round it, Enter opens a tab; on a narrow screen the
    focused tab is in the window."""
    page = open_page(width=390)
    tabs = page_tabs()
    bar = page.get_by_role("tablist").get_by_role("tab")
    expect(bar).to_have_text([tab.label for tab in tabs])
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
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
    skip.press("Enter")
    expect(page.get_by_role("tabpanel", name=tabs[-1].label, exact=True)).to_be_focused()


def test_the_address_follows_the_tab_and_keeps_the_rest(open_page: OpenPage) -> None:
    page = open_page("?q=grm&board=rewardbench-2&other=1")
    assert "tab=" not in page.url
    entries = page.evaluate("history.length")
    for tab in (*page_tabs()[1:], page_tabs()[0]):
        page.get_by_role("tab", name=tab.label, exact=True).click()
        page.wait_for_url(f"**tab={tab.id}**")
        query = parse_qs(urlsplit(page.url).query)
        assert query.items() >= {"q": ["grm"], "board": ["rewardbench-2"], "other": ["1"]}.items()
    assert page.evaluate("history.length") >= entries + len(page_tabs())
    last = page_tabs()[-1]
    page.get_by_role("tab", name=last.label, exact=True).click()
    page.wait_for_url(f"**tab={last.id}**")
    page.reload()
    expect(panel(page, last)).to_be_visible()
    page.get_by_role("tab", name="Leaderboard").click()
    expect(page.get_by_role("searchbox", name="Search models; a comma means or")).to_have_value("grm")


def test_links_open_views_without_a_load_and_back_and_forward_restore_them(open_page: OpenPage) -> None:
    """Typing makes no entry in the history; a click on a link, a choice and a tab make one each."""
    page = open_page("?board=rewardbench-2")
    page.evaluate("window.sameDocument = true")
    page.get_by_role("searchbox", name="Search models; a comma means or").press_sequentially("skywork")
    page.wait_for_url("**q=skywork**")
    link = page.locator('.rb-scroll a[href*="tab=model"]').first
    model = parse_qs(urlsplit(link.get_attribute("href")).query)["model"][0]
    link.click()
    expect(page.get_by_role("heading", name=model, exact=True).first).to_be_visible()
    expect(page).to_have_title(f"{model} · Models · RewardBench")
    page.get_by_role("tab", name="About").click()
    expect(page.get_by_role("heading", name="About", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name=model, exact=True).first).to_be_visible()
    page.go_back()
    expect(page.get_by_role("tab", selected=True)).to_have_text("Leaderboard")
    expect(page.get_by_role("searchbox", name="Search models; a comma means or")).to_have_value("skywork")
    shown = {"tab": ["leaderboard"]} | parse_qs(urlsplit(page.url).query)  # which may be named or not
    assert shown == {"tab": ["leaderboard"], "board": ["rewardbench-2"], "q": ["skywork"]}
    page.go_forward()
    expect(page).to_have_title(f"{model} · Models · RewardBench")
    expect(page.get_by_role("heading", name=model, exact=True).first).to_be_visible()
    assert page.evaluate("window.sameDocument")


def test_ids_and_labels_of_tabs_are_unique() -> None:
    tabs = page_tabs()
    assert len({tab.id for tab in tabs}) == len({tab.label for tab in tabs}) == len(tabs)


@pytest.mark.parametrize(
    ("query", "title", "description"),
    [
        ("", "RewardBench", "An open leaderboard"),
        ("?board=rewardbench-2", "RewardBench 2 · RewardBench", "first is "),
        ("?tab=compare", "Compare · RewardBench", "which is better"),
        ("?tab=compare&models=builtin/tiny-rm,no/one", "builtin/tiny-rm · Compare · RewardBench", "which is better"),
        ("?tab=model&model=builtin/tiny-rm", "builtin/tiny-rm · Models · RewardBench", "Starter: "),
        ("?tab=model&model=<b>", "Models · RewardBench", "One reward model"),
        ("?tab=<b>&board=<b>", "RewardBench", "An open leaderboard"),
    ],
)
def test_a_preview_of_a_link_has_the_views_own_title_and_description(
    url: str, query: str, title: str, description: str
) -> None:
    html = httpx.get(url + query).text
    previews = re.findall(r'<meta (?:property|name)="(?:og|twitter):(\w+)" content="([^"]*)"', html)
    assert dict(previews).keys() == {"type", "site_name", "title", "description", "card"}
    assert ("title", title) in previews
    assert description in dict(previews)["description"]
    assert f"<title>{title}</title>" in html
    assert html.index("charset") < html.index("<title>")
    assert "Gradio" not in html[: html.index("</title>")]


def test_every_view_has_a_title(open_page: OpenPage) -> None:
    page = open_page("?tab=model&model=builtin/tiny-rm")
    expect(page).to_have_title("builtin/tiny-rm · Models · RewardBench")
    for tab in page_tabs()[-2:]:
        page.get_by_role("tab", name=tab.label, exact=True).click()
        expect(page).to_have_title(f"{tab.label} · RewardBench")
    page.goto(f"{page.url.partition('?')[0]}?tab=compare&models=a/b,c/d")
    expect(page).to_have_title("a/b, c/d · Compare · RewardBench")


def test_links_keep_the_theme_and_never_the_hubs_token(open_page: OpenPage) -> None:
    """The hub puts a visitor's token for a private Space into the address of the page."""
    page = open_page(f"?__theme=dark&__sign=secret&{SEARCH[1:]}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    assert "__sign" not in download.value.path().read_text(encoding="utf-8")
    for tab in page_tabs()[1:]:
        page.get_by_role("tab", name=tab.label, exact=True).click()
        page.wait_for_url(f"**tab={tab.id}**")
        expect(panel(page, tab)).to_be_visible()
        assert "__sign" not in page.url
        assert "__theme=dark" in page.url
    links = page.locator('a[href^="?"]')
    expect(links.and_(page.locator('[href*="tab=model"]')).first).to_be_attached()
    expect(links.and_(page.locator(':not([href*="__theme=dark"])'))).to_have_count(0)
    assert "secret" not in page.evaluate("[...document.links].map((link) => link.href).join(' ')")
