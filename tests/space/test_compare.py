"""The tab *Compare*, and the comparison behind it, which is also published as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from rb_core.leaderboard.comparison import compare_models
from rb_core.space.compare.report import comparison_html, short_names
from rb_core.space.compare.tab import MAX_WAITING, ComparisonService
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from tests.paths import ROOT
from tests.space.conftest import OpenPage, launched

TINY, LONGEST = "builtin/tiny-rm", "baseline/longest"


@pytest.fixture(scope="module")
def source() -> ResultsFolder:
    """The results that come with the page, with their published outcomes."""
    return ResultsFolder(ROOT / "leaderboard_data")


@pytest.fixture(scope="module")
def example(source: ResultsFolder) -> list[str]:
    """The pair that the page offers for RewardBench."""
    return next(b["example"] for b in ComparisonService(source).choices()["boards"] if b["id"] == "rewardbench")


@pytest.fixture(scope="module")
def address(source: ResultsFolder) -> Iterator[str]:
    """A page over these results."""
    with launched(build(source)) as found:
        yield found


@pytest.fixture
def opened(open_page: OpenPage, address: str) -> OpenPage:
    """Opens the tab, ready to choose in."""

    def open_tab(query: str = "", **options) -> Page:
        page = open_page(query, at=address, tab="Compare", **options)
        expect(page.get_by_label("Benchmark", exact=True).locator("option").first).to_be_attached()
        return page

    return open_tab


def search(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Add a model")


def chosen(page: Page) -> list[str]:
    """The names of the chosen models, in order."""
    return page.get_by_role("list", name="Models to compare").get_by_role("link").all_inner_texts()


def parameters(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_short_names_stay_distinct() -> None:
    assert short_names(["a/x", "b/x", "c/y"]) == {"a/x": "a/x", "b/x": "b/x", "c/y": "y"}


def test_texts_are_never_markup(source: ResultsFolder) -> None:
    """Whatever a title, a name or a note says is escaped."""
    evil = "<img src=x onerror=alert(1)>\"'"
    found = compare_models(source, "starter", [TINY, LONGEST]).to_json()
    text = json.dumps(found).replace(TINY, "EVIL").replace("chat-easy", "EVIL").replace("Starter", "EVIL")
    found = json.loads(text.replace("EVIL", json.dumps(evil)[1:-1]))
    found["notes"].append(evil)
    assert "&lt;img" in comparison_html(found)
    assert "<img" not in comparison_html(found)


# --------------------------------------------------------------------------------------------------------------------
# The tab


def test_the_example_is_one_press_away(opened: OpenPage, example: list[str]) -> None:
    """The empty tab says what to do and offers a pair; its comparison has a verdict and links each model's page."""
    page = opened()
    expect(page.get_by_role("heading", name="Choose two to four models")).to_be_visible()
    page.get_by_role("button", name=f"Compare {example[0]} with {example[1]}").click()
    expect(page.get_by_role("heading", name="Verdict")).to_be_visible()
    expect(page.get_by_role("heading", name="Choose two to four models")).to_be_hidden()
    expect(page.get_by_role("status").filter(has_text="Compared")).to_contain_text(example[1])
    table = page.get_by_role("region", name="Scores and differences")
    expect(table.get_by_role("row", name="Chat Hard", exact=False).first).to_be_visible()
    link = table.get_by_role("link", name=example[0].split("/")[1])
    assert parse_qs(urlsplit(link.get_attribute("href") or "").query) == {
        "tab": ["model"],
        "model": [example[0]],
        "board": ["rewardbench"],
    }
    expect(page.get_by_role("region", name="disagree").get_by_role("row", name="All examples")).to_contain_text("2,985")


def test_models_are_chosen_by_keyboard_alone(opened: OpenPage) -> None:
    """Typing narrows the list, arrows and Enter choose, Escape closes, and focus is never lost."""
    page = opened("?board=starter")
    field = search(page)
    field.focus()
    page.keyboard.type("tiny")
    options = page.get_by_role("listbox", name="Models").get_by_role("option")
    expect(options).to_have_count(1)
    page.keyboard.press("Enter")
    expect(field).to_be_focused()
    page.keyboard.press("ArrowDown")
    assert TINY not in " ".join(options.all_inner_texts())
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox", name="Models")).to_be_hidden()
    page.keyboard.type("baseline")
    page.keyboard.press("ArrowDown")
    second = page.locator("#" + (field.get_attribute("aria-activedescendant") or "none")).locator("span").inner_text()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Verdict")).to_be_visible()
    assert chosen(page) == [TINY, second]
    page.keyboard.type("nothing like it")
    expect(options).to_have_text(["No such model here"])
    page.keyboard.press("Enter")
    assert chosen(page) == [TINY, second]
    page.get_by_role("button", name=f"Put first: {second}").press("Enter")
    expect(page.get_by_role("region", name="Scores and differences")).to_contain_text(
        f"{second.split('/')[1]} − tiny-rm"
    )
    assert chosen(page) == [second, TINY]
    page.get_by_role("button", name=f"Remove {TINY}").press("Enter")
    expect(field).to_be_focused()
    expect(page.get_by_role("status").filter(has_text="One model is chosen")).to_be_visible()


def test_the_address_brings_the_comparison_back(opened: OpenPage) -> None:
    """Board and models are in the address, and a page opened there compares the same; four are the most."""
    page = opened("?board=starter")
    for name in ("tiny", "longest", "shortest", "random"):
        search(page).fill(name)
        page.get_by_role("option", name=name).click()
    expect(search(page)).to_be_disabled()
    expect(page.get_by_role("region", name="Scores and differences")).to_contain_text("tiny-rm − random")
    names = [TINY, LONGEST, "baseline/shortest", "baseline/random"]
    assert parameters(page) == {"tab": ["compare"], "board": ["starter"], "models": [",".join(names)]}
    again = opened(f"?{urlsplit(page.url).query}")
    expect(again.get_by_role("region", name="Scores and differences")).to_contain_text("tiny-rm − random")
    assert chosen(again) == names
    again.get_by_label("Benchmark", exact=True).select_option("rewardbench-2")
    expect(again.get_by_text("Not on RewardBench 2, and left out")).to_contain_text(LONGEST)
    assert chosen(again) == []
    assert parameters(again) == {"tab": ["compare"], "board": ["rewardbench-2"]}


def test_an_address_made_up_is_not_obeyed(opened: OpenPage) -> None:
    """Unknown names are named and left out; an unknown board is the first one."""
    page = opened("?board=nope&models=<b>no</b>,no/such")
    expect(page.get_by_text("Not on RewardBench, and left out: <b>no</b>, no/such.")).to_be_visible()
    assert chosen(page) == []
    expect(page.get_by_label("Benchmark", exact=True)).to_have_value("rewardbench")


def test_score_views_are_drawn_and_tabled(opened: OpenPage) -> None:
    """Two runs with score files show margins, calibration and accuracy by length, each drawing with its table."""
    page = opened(f"?board=starter&models={TINY},{LONGEST}")
    for name in ("Margins of tiny-rm", "Margins of longest", "Calibration of tiny-rm"):
        expect(page.get_by_role("img", name=name)).to_be_visible()
    expect(page.get_by_role("img", name="Calibration of longest")).to_have_count(0)
    for name in ("Margins", "Calibration", "Accuracy by length"):
        expect(page.get_by_role("region", name=name, exact=True).get_by_role("table")).to_be_visible()
    expect(page.get_by_role("region", name="Calibration", exact=True)).to_contain_text("ECE 0.")


def test_what_the_server_refuses_is_shown(source: ResultsFolder, tmp_path: Path) -> None:
    """A refusal is a message in place of a comparison, escaped, and is not remembered."""
    service = ComparisonService(source)
    answer = service.view("starter", [TINY, "<b>"])
    assert 'role="alert"' in answer["html"]
    assert "&lt;b&gt;" in answer["html"]
    right = service.compare("starter", [TINY, LONGEST])
    assert service.compare("starter", [TINY, LONGEST]) is right
    assert ComparisonService(ResultsFolder(tmp_path)).choices() == {"boards": []}


def test_a_name_that_cannot_be_written_is_refused_in_what_can(source: ResultsFolder) -> None:
    """Half of a character in a name is escaped in the message, which the browser is sent as UTF-8."""
    answer = ComparisonService(source).view("starter", [TINY, "\ud800"])
    assert "There is no result of &#39;\\ud800&#39; on starter." in answer["html"]
    json.dumps(answer, ensure_ascii=False).encode()


def test_comparisons_do_not_pile_up(source: ResultsFolder) -> None:
    """Where too many wait already a visitor reads so at once, and the next is served when there is room again."""
    service = ComparisonService(source)
    with ExitStack() as others:
        for _ in range(MAX_WAITING + 1):
            others.enter_context(service._line.admit())
        assert "being served or waiting" in service.view("starter", [TINY, LONGEST])["html"]
    assert "Compared" in service.view("starter", [TINY, LONGEST])["status"]


def check(page: Page, width: int) -> None:
    """No violation by axe-core, and the page does not scroll sideways."""
    found = Axe().run(page, context="#compare")
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_no_violation(opened: OpenPage, theme: str, width: int) -> None:
    """With all views of two runs and the list of models open."""
    page = opened(f"?board=starter&models={TINY},{LONGEST}", theme=theme, width=width)
    expect(page.get_by_role("heading", name="Accuracy by length")).to_be_visible()
    assert page.evaluate("document.body.classList.contains('dark')") is (theme == "dark")
    search(page).fill("b")
    expect(page.get_by_role("listbox", name="Models").get_by_role("option").first).to_be_visible()
    check(page, width)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_where_little_is_known(opened: OpenPage, theme: str) -> None:
    """Before anything is chosen, and with published scores alone, on a narrow screen."""
    page = opened("?board=rewardbench-2", theme=theme, width=390)
    check(page, 390)
    page.get_by_role("button", name="Compare Skywork").click()
    expect(page.get_by_text("From published scores alone")).to_be_visible()
    expect(page.get_by_text("Not known for")).to_be_visible()
    check(page, 390)
