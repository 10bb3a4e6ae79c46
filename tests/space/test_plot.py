"""The tab *Plot*, as somebody with a mouse, a keyboard or a screen reader meets it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from rb_core.results.estimate import Estimate
from rb_core.results.schema import ModelRef, Result
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from tests.fakes.result_sets import write_set
from tests.results.test_results import published
from tests.space.conftest import OpenPage, Serve

SIZES = {"a/small": (1_000_000_000, 0.7), "a/large": (70_000_000_000, 0.9), "a/middle": (7_000_000_000, 0.6)}


def sized(name: str, parameters: int | None, value: float) -> Result:
    """A published result with an interval."""
    model = ModelRef(name=name, kind="classifier", parameters=parameters)
    estimate = Estimate(value=value, low=value - 0.05, high=value + 0.05, method="binomial")
    return published(name, model=model, headline=estimate, sections={"Chat": estimate, "Ties": estimate})


@pytest.fixture
def small(serve: Serve, tmp_path: Path) -> str:
    """A page over three models of known size, one of unknown size, and one whose name is markup in disguise."""
    found = [sized(name, *numbers) for name, numbers in SIZES.items()]
    return serve(build(ResultsFolder(write_set(tmp_path, *found, sized("a/unsized", None, 0.8)))))


def points(page: Page) -> Locator:
    return page.get_by_role("group", name=re.compile("^Score against number of parameters")).get_by_role("button")


def point(page: Page, model: str) -> Locator:
    return page.get_by_role("button", name=f"{model}: score")


def parameter(page: Page, name: str) -> str | None:
    found: str | None = page.evaluate("(name) => new URLSearchParams(location.search).get(name)", name)
    return found


def test_models_of_known_size_are_drawn_and_the_others_named(open_page: OpenPage, small: str) -> None:
    """Three of four models are points; the fourth is counted, and in the table with the reason."""
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


def test_higher_scores_stand_higher_and_larger_models_further_right(open_page: OpenPage, small: str) -> None:
    """Positions follow the numbers: 7B stands between 1B and 70B, nearer to 70B by its logarithm than by its size."""
    page = open_page(at=small, tab="Plot")
    expect(points(page)).to_have_count(3)
    at = {name: box for name in SIZES if (box := point(page, name).locator(".rb-mark-shape").bounding_box())}
    x = {name: box["x"] + box["width"] / 2 for name, box in at.items()}
    y = {name: box["y"] for name, box in at.items()}
    assert y["a/large"] < y["a/small"] < y["a/middle"]
    share = (x["a/middle"] - x["a/small"]) / (x["a/large"] - x["a/small"])
    assert share == pytest.approx(0.458, abs=0.01)  # log 7 / log 70


def test_a_point_says_name_score_interval_and_size(open_page: OpenPage, small: str) -> None:
    """Hovering shows it beside the point, and the point's own name says it to a screen reader."""
    page = open_page(at=small, tab="Plot")
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


def test_on_a_small_screen_the_card_lies_below_the_plot(open_page: OpenPage, small: str) -> None:
    """There it would cover the points around its own; at no width does it leave the page."""
    for width in (390, 1440):
        page = open_page(at=small, tab="Plot", width=width)
        point(page, "a/middle").focus()
        plot = page.locator(".rb-canvas svg").bounding_box()
        card = page.locator(".rb-card").bounding_box()
        assert plot
        assert card
        assert (card["y"] >= plot["y"] + plot["height"]) == (width == 390)
        assert card["x"] >= 0
        assert card["x"] + card["width"] <= width


def test_arrow_keys_walk_by_size_and_by_score(open_page: OpenPage, small: str) -> None:
    """One point is in the tab order; right goes to the next larger, up to the next better, Escape hides the card."""
    page = open_page(at=small, tab="Plot")
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


def test_a_selection_makes_a_profile_and_an_address(open_page: OpenPage, small: str) -> None:
    """Enter on a point and a name in the field add models, the cross takes one out, and the address says which."""
    page = open_page(at=small, tab="Plot")
    chosen = page.get_by_role("list", name="Models in the profile").get_by_role("listitem")
    expect(chosen).to_contain_text(["a/large", "a/unsized"])  # the best two, until one is chosen
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
    page.get_by_role("button", name="Take a/small out of the profile").click()
    expect(chosen).to_contain_text(["a/unsized"])
    expect(page.get_by_role("button", name="Take a/unsized out of the profile")).to_be_focused()
    assert parameter(page, "models") == "a/unsized"


def test_the_profile_holds_four(open_page: OpenPage) -> None:
    """A fifth model is refused with a message, and the four stay."""
    page = open_page("?board=rewardbench", tab="Plot")
    expect(points(page).nth(6)).to_be_attached()
    for n in range(5):
        points(page).nth(n + 2).press("Enter")  # the first two are chosen until one is
    expect(page.get_by_text("The profile holds 4 models; take one out first.")).to_be_visible()
    assert len((parameter(page, "models") or "").split(",")) == 4


def test_board_and_models_come_from_the_address(open_page: OpenPage) -> None:
    """The address opens the board and the selection, and a name that is not on the board is said."""
    page = open_page("?board=rewardbench-2&models=weqweasdas/RM-Gemma-2B,no/body", tab="Plot")
    expect(page.get_by_role("combobox", name="Benchmark", exact=True)).to_have_value("rewardbench-2")
    expect(page.get_by_text("Not on this board: no/body.")).to_be_visible()
    expect(page.get_by_role("img", name="Scores of weqweasdas/RM-Gemma-2B over")).to_be_visible()
    page.get_by_role("combobox", name="Benchmark", exact=True).select_option("Starter")
    expect(page.get_by_text(re.compile(r"^\d of 6 models shown"))).to_be_visible()
    assert parameter(page, "board") == "starter"


def test_the_data_comes_only_when_the_tab_is_opened(open_page: OpenPage) -> None:
    """Nothing asks for points until the plot is seen; then one request does."""
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "component_server" in request.url else None)
    page.wait_for_timeout(300)
    assert asked == []
    page.get_by_role("tab", name="Plot").click()
    expect(points(page).first).to_be_visible()
    assert len(asked) == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_everybody_can_use_the_plot(open_page: OpenPage, theme: str, width: int) -> None:
    """axe-core finds no violation with card, tables and profile open, and nothing is wider than the page."""
    page = open_page("?board=starter&models=builtin/tiny-rm,baseline/longest", tab="Plot", theme=theme, width=width)
    points(page).first.focus()
    page.get_by_text("As a table", exact=True).click()
    page.get_by_text("Profile as a table").click()
    points(page).first.focus()
    expect(page.locator(".rb-card")).to_be_visible()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
