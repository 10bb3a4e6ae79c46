"""The Plot tab, used with a mouse, a keyboard and a screen reader."""

from __future__ import annotations

import re
from collections.abc import Iterator

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
    return page.get_by_role("group", name=re.compile("^Score against number of parameters")).get_by_role("button")


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
    card = page.locator(".rb-card")
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
        card = page.locator(".rb-card").bounding_box()
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
        expect(page.locator(".rb-card b")).to_have_text(expected)
    expect(page.locator('.rb-point[tabindex="0"]')).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".rb-card")).to_be_hidden()


def test_chosen_models_make_a_profile_and_an_address(open_page: OpenPage, small: str) -> None:
    page = open_page(at=small, tab="Plot")
    chosen = page.get_by_role("list", name="Models in the profile").get_by_role("listitem")
    expect(chosen).to_contain_text(["a/large", "a/unsized"])
    expect(page.get_by_text("Showing the top two. Pick others above.")).to_be_visible()
    point(page, "a/small").press("Enter")
    expect(chosen).to_contain_text(["a/small"])
    expect(point(page, "a/small")).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Add a model").fill("a/unsized")
    expect(chosen).to_contain_text(["a/small", "a/unsized"])
    assert parameter(page, "models") == "a/small,a/unsized"
    expect(page.get_by_role("img", name="Scores of a/small, a/unsized over the sections of Starter")).to_be_visible()
    page.get_by_text("Profile as a table").click()
    table = page.get_by_role("region", name="Table of the profile")
    expect(table.get_by_role("row", name=re.compile("^Chat"))).to_contain_text("70.0 (65.0 to 75.0)80.0 (75.0 to 85.0)")
    page.get_by_role("button", name="Remove a/small from the profile").click()
    expect(chosen).to_contain_text(["a/unsized"])
    expect(page.get_by_role("button", name="Remove a/unsized from the profile")).to_be_focused()
    assert parameter(page, "models") == "a/unsized"


def test_the_address_opens_board_and_models(open_page: OpenPage) -> None:
    """A name that is not on the board is named, and a fifth model is refused with a message."""
    page = open_page("?board=rewardbench-2&models=weqweasdas/RM-Gemma-2B,no/body", tab="Plot")
    board = page.get_by_role("combobox", name="Benchmark", exact=True)
    expect(board).to_have_value("rewardbench-2")
    expect(page.get_by_text("Not on this board: no/body.")).to_be_visible()
    expect(page.get_by_role("img", name="Scores of weqweasdas/RM-Gemma-2B over")).to_be_visible()
    for n in range(5):
        points(page).nth(n).press("Enter")
    expect(page.get_by_text("The profile holds 4 models; remove one first.")).to_be_visible()
    assert len((parameter(page, "models") or "").split(",")) == 4
    board.select_option("Starter")
    expect(page.get_by_text(re.compile(r"^\d of 6 models shown"))).to_be_visible()
    assert parameter(page, "board") == "starter"


@in_each_look
def test_data_comes_when_the_tab_is_opened_and_axe_finds_nothing(open_page: OpenPage, looks: Looks) -> None:
    """No points are requested before. axe-core passes with the card, both tables and the profile open."""
    page = open_page("?board=starter&models=builtin/tiny-rm,baseline/longest&q=tiny")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if "component_server" in request.url else None)
    page.wait_for_timeout(300)
    assert requests == []
    page.get_by_role("tab", name="Plot").click()
    expect(points(page).first).to_be_visible()
    assert len(requests) == 1
    page.get_by_text("As a table", exact=True).click()
    page.get_by_text("Profile as a table").click()
    points(page).first.focus()
    expect(page.locator(".rb-card")).to_be_visible()
    assert_accessible(page, looks)
