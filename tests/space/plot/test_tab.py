"""The Plot tab, used with a mouse, a keyboard and a screen reader."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Locator, Page, expect

from rb_core.results.estimate import Estimate
from rb_core.results.schema import ModelRef, Result
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from tests.fakes.result_sets import write_set
from tests.fakes.results import published
from tests.space.conftest import Looks, OpenPage, assert_accessible, in_each_look, launched

SIZES = {"a/small": (1_000_000_000, 0.7), "a/large": (70_000_000_000, 0.9), "a/middle": (7_000_000_000, 0.6)}


def sized(name: str, parameters: int | None, value: float) -> Result:
    """A published result with an interval."""
    model = ModelRef(name=name, kind="classifier", parameters=parameters)
    estimate = Estimate(value=value, low=value - 0.05, high=value + 0.05, method="binomial")
    return published(name, model=model, headline=estimate, sections={"Chat": estimate, "Ties": estimate})


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page over three models of known size and one of unknown size."""
    results = [*(sized(name, *numbers) for name, numbers in SIZES.items()), sized("a/unsized", None, 0.8)]
    with launched(build(ResultsFolder(write_set(tmp_path_factory.mktemp("sizes"), *results)))) as address:
        yield address


def points(page: Page) -> Locator:
    return page.get_by_role("group", name=re.compile("^Score against")).get_by_role("button")


def point(page: Page, model: str) -> Locator:
    return page.get_by_role("button", name=f"{model}: score")


def parameter(page: Page, name: str) -> str | None:
    value: str | None = page.evaluate("(name) => new URLSearchParams(location.search).get(name)", name)
    return value


def test_models_of_known_size_are_shown_and_the_others_named(open_page: OpenPage, small: str) -> None:
    """A model of unknown size is counted in the status, and in the table with the reason.

    Sizes are on a logarithmic axis. Hovering shows a card beside the point, with the text of the point's name.
    """
    page = open_page(at=small, tab="Plot")
    expect(points(page)).to_have_count(3)
    expect(page.get_by_text("3 of 4 models shown. 1 not shown (1 unknown size). See table.")).to_be_visible()
    page.get_by_text("As a table", exact=True).click()
    rows = page.get_by_role("region", name="Table of the plot").get_by_role("row")
    expect(rows).to_have_count(5)
    expect(rows.filter(has_text="a/unsized")).to_contain_text("no: unknown size")
    expect(rows.filter(has_text="a/large")).to_contain_text("85.0 to 95.0")
    expect(rows.filter(has_text="a/large")).to_contain_text("best of its size or smaller")
    expect(rows.filter(has_text="a/middle")).to_contain_text("yes")
    boxes = {name: box for name in SIZES if (box := point(page, name).locator(".rb-mark-shape").bounding_box())}
    x = {name: box["x"] + box["width"] / 2 for name, box in boxes.items()}
    y = {name: box["y"] for name, box in boxes.items()}
    assert y["a/large"] < y["a/small"] < y["a/middle"]
    share = (x["a/middle"] - x["a/small"]) / (x["a/large"] - x["a/small"])
    assert share == pytest.approx(0.458, abs=0.01)  # log 7 / log 70
    expect(point(page, "a/large")).to_have_attribute(
        "aria-label",
        re.compile(r"score 90\.0, 95% interval 85\.0 to 95\.0; 70B parameters; Sequence classifier; rank 1"),
    )
    point(page, "a/middle").locator(".rb-mark-shape").hover()
    card = page.locator(".rb-plot-card")
    expect(card).to_contain_text("a/middle")
    expect(card).to_contain_text("Score 60.0, 95% interval 55.0 to 65.0")
    expect(card).to_contain_text("7B parameters")
    page.mouse.move(5, 5)
    expect(card).to_be_hidden()


def test_arrow_keys_move_by_size_and_by_score(open_page: OpenPage, small: str) -> None:
    """One point is in the tab order. On a small screen the card lies below the plot; it never leaves the page."""
    page = open_page(at=small, tab="Plot", width=390)
    for width in (390, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        expect(page.locator(".rb-canvas svg")).to_have_attribute("width", re.compile(rf"^{str(width)[:1]}\d+$"))
        point(page, "a/middle").focus()
        plot = page.locator(".rb-canvas svg").bounding_box()
        card = page.locator(".rb-plot-card").bounding_box()
        assert plot
        assert card
        assert (card["y"] >= plot["y"] + plot["height"]) == (width == 390)
        assert card["x"] >= 0
        assert card["x"] + card["width"] <= width
        page.keyboard.press("Escape")
    expect(page.locator('.rb-point[tabindex="0"]')).to_have_count(1)
    page.locator('.rb-point[tabindex="0"]').focus()
    for key, expected in [
        *(("Home", "a/small"), ("ArrowRight", "a/middle"), ("ArrowRight", "a/large"), ("ArrowRight", "a/large")),
        *(("ArrowDown", "a/small"), ("ArrowDown", "a/middle"), ("ArrowUp", "a/small"), ("End", "a/large")),
    ]:
        page.keyboard.press(key)
        expect(point(page, expected)).to_be_focused()
        expect(page.locator(".rb-plot-card b")).to_have_text(expected)
    expect(page.locator('.rb-point[tabindex="0"]')).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".rb-plot-card")).to_be_hidden()


def test_choices_make_the_drawing_and_the_address(open_page: OpenPage, small: str) -> None:
    """Chosen models are named in the plot and can be compared; the legend and the search filter; axes can be chosen."""
    page = open_page(at=small, tab="Plot")
    page.get_by_role("group", name="Kinds of models").get_by_role("button", name="Sequence classifier 3").click()
    expect(points(page)).to_have_count(3)
    assert "kinds=Sequence" in page.url
    for name in ("a/small", "a/large"):
        point(page, name).press("Enter")
        expect(point(page, name)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".rb-point-name").filter(has_text="small")).to_have_count(1)
    assert parameter(page, "models") == "a/small,a/large"
    link = page.get_by_role("link", name="Compare these").get_attribute("href") or ""
    assert parse_qs(link[1:]) == {"tab": ["compare"], "board": ["starter"], "models": ["a/small,a/large"]}
    page.get_by_role("button", name="Remove a/small").click()
    expect(page.get_by_role("button", name="Remove a/large")).to_be_focused()
    page.get_by_label("Across").select_option("Chat")
    expect(points(page)).to_have_count(4)
    expect(
        page.get_by_role("button", name="a/unsized: score 80.0, 95% interval 75.0 to 85.0; chat 80.0")
    ).to_be_attached()
    assert parameter(page, "x") == "section:Chat"
    page.get_by_role("searchbox", name="Search models").fill("UNSIZED")
    expect(points(page)).to_have_count(1)
    for kind, start in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Save as {kind}").click()
        assert download.value.suggested_filename == f"starter-score-section-Chat.{kind.lower()}"
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(start)
        assert b"var(--" not in content


def test_the_filters_are_those_of_the_leaderboard(open_page: OpenPage, small: str) -> None:
    """A filter that is chosen in one of them is there in the other; unknown release dates offer none."""
    page = open_page(at=small, tab="Plot")
    expect(points(page)).to_have_count(3)
    page.get_by_role("button", name="Size", exact=True).click()
    sizes = page.get_by_role("group", name="Size", exact=True)
    sizes.get_by_role("spinbutton", name="From").fill("5")
    expect(points(page)).to_have_count(2)
    expect(page.get_by_role("button", name="Released")).to_have_count(0)
    page.wait_for_function("new URLSearchParams(location.search).get('size') === '5-'")
    page.get_by_role("tab", name="Leaderboard").click()
    expect(page.get_by_role("button", name="Remove Size: from 5B")).to_be_visible()
    expect(page.locator(".rb-scroll tbody tr:not(.rb-band)")).to_have_count(2)
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_role("tab", name="Plot").click()
    expect(points(page)).to_have_count(3)


def test_marks_and_labels_do_not_cover_each_other(open_page: OpenPage) -> None:
    """Many models of RewardBench have equal sizes. Names that the board lacks are named, and a fifth is refused."""
    page = open_page("?board=rewardbench&models=infly/INF-ORM-Llama3.1-70B,no/body", tab="Plot")
    expect(page.get_by_text("27 not shown (21 unknown size, 6 incomplete). See table.")).to_be_visible()
    expect(page.get_by_text("Not on this board: no/body.")).to_be_visible()
    boxes = page.evaluate(BOXES)
    marks, labels = boxes["marks"], boxes["labels"]
    assert len(marks) == 185
    assert len(labels) > 4
    covered = sum(math.dist(a, b) < 5 for n, a in enumerate(marks) for b in marks[:n])
    assert covered < 5  # pairs of 185 marks
    assert not [(a, b) for n, a in enumerate(labels) for b in labels[:n] if touch(a, b)]
    assert not [(label, mark) for label in labels for mark in marks if touch(label, [*mark, *mark])]
    for n in range(5):  # the first one is chosen already
        points(page).nth(n).press("Enter")
    expect(page.get_by_text("4 models are chosen; remove one first.")).to_be_visible()
    page.get_by_role("combobox", name="Benchmark", exact=True).select_option("Starter")
    expect(page.get_by_text(re.compile(r"^\d of 6 models shown"))).to_be_visible()
    assert parameter(page, "board") == "starter"


BOXES = """() => {
  const box = (node) => node.getBoundingClientRect();
  const all = (selector) => [...document.querySelectorAll(`.rb-canvas ${selector}`)].map(box);
  return { marks: all('.rb-mark-shape').map((b) => [b.left + b.width / 2, b.top + b.height / 2]),
    labels: all('.rb-point-name').map((b) => [b.left, b.top, b.right, b.bottom]) };
}"""


def touch(a: list[float], b: list[float]) -> bool:
    """Return True if two boxes (left, top, right, bottom) share a point."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@in_each_look
def test_data_comes_when_the_tab_is_opened_and_axe_finds_nothing(open_page: OpenPage, looks: Looks) -> None:
    """No points are requested before. axe-core passes with the card and the table open, and models chosen."""
    page = open_page("?board=starter&models=builtin/tiny-rm,baseline/longest")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if "component_server" in request.url else None)
    page.wait_for_timeout(300)
    assert requests == []
    page.get_by_role("tab", name="Plot").click()
    expect(points(page).first).to_be_visible()
    assert len(requests) == 1
    page.get_by_text("As a table", exact=True).click()
    points(page).first.focus()
    expect(page.locator(".rb-plot-card")).to_be_visible()
    assert_accessible(page, looks)
