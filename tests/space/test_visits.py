"""Twelve visits: what a visitor comes for, with a budget of clicks and seconds, on a laptop and on a phone.

A click is a click, a choice in a list or a key that sends a form; typing is free. Seconds are of processor time in the
browser, which do not depend on what else runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.space.conftest import OpenPage

SCREENS = {1440: 900, 390: 844}
FIRST, SECOND = "infly/INF-ORM-Llama3.1-70B", "nicolinho/QRM-Gemma-2-27B"


class Visit:
    """A visitor with a page, who counts clicks and knows what is on the screen."""

    def __init__(self, page: Page) -> None:
        self.page, self.clicks = page, 0
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self._start = self._seconds()

    def _seconds(self) -> float:
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))

    def click(self, target: Locator) -> None:
        self.clicks += 1
        target.click()

    def open_tab(self, name: str) -> None:
        self.click(self.page.get_by_role("tab", name=name, exact=True))

    def select(self, label: str, value: str) -> None:
        self.clicks += 1
        self.page.get_by_label(label, exact=True).filter(visible=True).select_option(value)

    def press(self, keys: str) -> None:
        self.clicks += 1
        self.page.keyboard.press(keys)

    def sees(self, target: Locator) -> None:
        """Assert that the element is on the screen without scrolling."""
        expect(target.first).to_be_in_viewport()

    def within(self, clicks: int, seconds: float) -> None:
        """Assert that the visit cost no more than this so far."""
        assert self.clicks <= clicks
        assert self._seconds() - self._start <= seconds


@pytest.fixture(params=SCREENS, ids=lambda width: f"{width}px")
def visit(request: pytest.FixtureRequest, open_page: OpenPage) -> Callable[..., Visit]:
    """Open the page as a visitor with this screen."""

    def start(query: str = "") -> Visit:
        page = open_page(query, width=request.param)
        page.set_viewport_size({"width": request.param, "height": SCREENS[request.param]})
        return Visit(page)

    return start


def test_a_first_visit(visit: Callable[..., Visit]) -> None:
    """A definition of reward models, three links onwards, and the first rows are in view without a click."""
    visitor = visit()
    page = visitor.page
    visitor.sees(page.get_by_text(re.compile("A reward model gives each answer")))
    visitor.sees(page.get_by_role("img", name=re.compile("reward model", re.IGNORECASE)))
    for name in ("Find a model", "Try a pair", "Add a model"):
        visitor.sees(page.get_by_role("link", name=re.compile(name)))
    visitor.sees(page.locator(".rb-rest tr").nth(1))
    visitor.within(clicks=0, seconds=5)


def test_a_model_below_ten_billion_for_chat_and_safety(visit: Callable[..., Visit]) -> None:
    """The rows that are left are ranked among themselves, and their own score has an interval."""
    visitor = visit()
    page, filters = visitor.page, visitor.page.get_by_role("group", name="Filters")
    if (fold := page.get_by_role("button", name=re.compile("^Filters"))).is_visible():
        visitor.click(fold)
    visitor.click(filters.get_by_role("button", name=re.compile("^Size")))
    page.get_by_role("spinbutton", name="to").fill("10")
    visitor.click(filters.get_by_role("button", name=re.compile("^Weights")))
    for section in ("Chat Hard", "Reasoning"):
        page.get_by_label(f"Weight of {section}", exact=True).fill("0")
    visitor.press("Escape")
    if fold.is_visible():
        visitor.click(fold)
    row = page.locator(".rb-rest tr").filter(has=page.locator(".rb-headline")).first
    visitor.sees(row)
    expect(row.locator(".rb-headline")).to_contain_text("95% interval")
    expect(page.get_by_role("status").filter(has_text="ranked among themselves")).to_be_visible()
    visitor.within(clicks=5, seconds=5)


def test_two_models_are_compared_from_their_rows(visit: Callable[..., Visit]) -> None:
    visitor = visit()
    page = visitor.page
    for name in (FIRST, SECOND):
        visitor.click(page.get_by_role("button", name=f"Pin {name}"))
    visitor.click(page.get_by_role("link", name=re.compile("Compare")).filter(visible=True).first)
    visitor.sees(page.get_by_text(re.compile("No clear difference.*within noise")))
    assert "tab=compare" in page.url
    visitor.within(clicks=3, seconds=5)


def test_a_pair_of_the_visitors_own(visit: Callable[..., Visit]) -> None:
    """The score is on the screen, with words that say what it means."""
    visitor = visit()
    page = visitor.page
    visitor.open_tab("Try a pair")
    page.get_by_label("Prompt", exact=True).fill("What is the capital of France?")
    page.get_by_label("Completion 1", exact=True).fill("The capital of France is Paris.")
    page.get_by_label("Completion 2", exact=True).fill("gfhjk")
    visitor.press("Control+Enter")
    visitor.sees(page.get_by_text(re.compile(r"Larger than \d+% of this model")))
    visitor.within(clicks=2, seconds=5)


def test_a_model_is_added(visit: Callable[..., Visit]) -> None:
    """Commands for the visitor's own model; this page follows no results repository, and says so."""
    visitor = visit()
    page = visitor.page
    visitor.click(page.get_by_role("link", name="Add a model", exact=True))
    page.get_by_label("Model", exact=True).filter(visible=True).fill("me/my-model")
    commands = page.get_by_label("Commands that add a model")
    expect(commands).to_contain_text("--model me/my-model")
    assert "ORG/NAME" not in commands.inner_text()
    expect(page.get_by_text("RB_RESULTS_REPO is not set")).to_be_visible()
    visitor.sees(page.get_by_text(re.compile(r"About [\d.]+ GB")))
    visitor.within(clicks=1, seconds=5)


def test_the_data_are_taken_away(visit: Callable[..., Visit]) -> None:
    """A file by a click, and the same board by a plain address."""
    visitor = visit()
    page = visitor.page
    with page.expect_download() as download:
        visitor.click(page.get_by_role("button", name=re.compile("CSV")))
    assert download.value.path().read_text(encoding="utf-8").count("\n") > 200
    board = httpx.get(page.url.partition("?")[0].rstrip("/") + "/leaderboard.json?benchmark=rewardbench")
    assert board.headers["etag"]
    assert FIRST in board.text
    visitor.within(clicks=1, seconds=5)


def test_what_a_subset_tests_and_what_models_get_wrong(visit: Callable[..., Visit]) -> None:
    visitor = visit()
    page = visitor.page
    visitor.open_tab("Examples")
    visitor.select("Part", "hep-go")
    visitor.sees(page.locator(".rb-examples").get_by_text(re.compile("Go")))
    visitor.select("Show", "wrong")
    page.get_by_label("Model A", exact=True).fill(FIRST)
    visitor.press("Enter")
    expect(page.get_by_role("status").filter(has_text="items")).to_be_visible()
    visitor.within(clicks=4, seconds=5)


def test_whether_a_model_favours_length(visit: Callable[..., Visit]) -> None:
    visitor = visit()
    page = visitor.page
    visitor.open_tab("Questions")
    visitor.click(page.get_by_role("link", name=re.compile("longer answer")))
    visitor.sees(page.get_by_text(re.compile(r"16\.3 points")).filter(visible=True))
    visitor.within(clicks=2, seconds=5)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Which kinds", "DPO"),
        ("better policy", r"r = 0\.72"),
        ("refuse too much", "133 models"),
    ],
)
def test_a_question_is_answered(visit: Callable[..., Visit], question: str, answer: str) -> None:
    """An answer in words and a figure are on the screen."""
    visitor = visit()
    page = visitor.page
    visitor.open_tab("Questions")
    visitor.click(page.get_by_role("link", name=re.compile(question)).filter(visible=True).first)
    visitor.sees(page.locator(".rb-question-body").get_by_text(re.compile(answer)))
    visitor.within(clicks=2, seconds=5)


def test_links_back_and_search(visit: Callable[..., Visit]) -> None:
    """A search finds words in any order; a model opens from its row; Back returns to the same search."""
    visitor = visit()
    page = visitor.page
    page.get_by_role("searchbox").first.fill("llama 70b")
    rows = page.locator(".rb-rest tr").filter(has=page.locator(".rb-headline"))
    expect(rows.first).to_contain_text("70B")
    visitor.click(rows.first.get_by_role("link").first)
    expect(page.get_by_role("tabpanel", name="Models")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("searchbox").first).to_have_value("llama 70b")
    visitor.sees(rows)
    visitor.within(clicks=1, seconds=5)
