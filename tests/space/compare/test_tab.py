"""The Compare tab."""

from __future__ import annotations

import html
import json
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from rb_core.space.compare.tab import MAX_WAITING, ComparisonService
from rb_core.space.results_source import ResultsFolder
from tests.space.conftest import Looks, OpenPage, assert_accessible, in_each_look

TINY, LONGEST = "builtin/tiny-rm", "baseline/longest"


@pytest.fixture
def open_tab(open_page: OpenPage) -> OpenPage:
    """Open the tab, ready to choose in."""

    def open_one(query: str = "", **options) -> Page:
        page = open_page(query, tab="Compare", **options)
        expect(page.get_by_label("Benchmark", exact=True).locator("option").first).to_be_attached()
        return page

    return open_one


def search(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Add a model")


def chosen(page: Page) -> list[str]:
    """The names of the chosen models, in order."""
    return page.get_by_role("list", name="Models to compare").get_by_role("link").all_inner_texts()


def parameters(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_the_top_two_are_shown_until_others_are_picked(open_tab: OpenPage, results: ResultsFolder) -> None:
    """Unknown names in the address are named and left out, and an unknown board is the first one."""
    boards = ComparisonService(results).choices()["boards"]
    example = next(board["default_models"] for board in boards if board["id"] == "rewardbench")
    page = open_tab("?board=nope&models=<b>no</b>,no/such")
    expect(page.get_by_text("Not on RewardBench, left out: <b>no</b>, no/such.")).to_be_visible()
    assert chosen(page) == []
    expect(page.get_by_label("Benchmark", exact=True)).to_have_value("rewardbench")
    expect(page.get_by_role("heading", name="Choose two to four models")).to_be_visible()
    page.evaluate("window.rb.follow(new URL('?tab=compare&board=rewardbench', location.href))")
    expect(page.get_by_text("Showing the top two. Pick others above.")).to_be_visible()
    assert chosen(page) == example
    assert "models" not in parameters(page)
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
    page.get_by_text("By subset").click()
    row = page.get_by_role("region", name="disagree").get_by_role("row", name="All examples")
    expect(row).to_contain_text("2,985")
    assert parse_qs(urlsplit(row.get_by_role("link").nth(1).get_attribute("href") or "").query) == {
        "tab": ["examples"],
        "board": ["rewardbench"],
        "filter": ["only-a"],
        "a": [example[0]],
        "b": [example[1]],
    }


def test_the_document_has_the_comparison_of_its_address(browser: Browser, url: str) -> None:
    """The browser shows it before gradio has loaded, and does not ask for it again."""
    names = "nicolinho/QRM-Gemma-2-27B", "infly/INF-ORM-Llama3.1-70B", "openbmb/UltraRM-13b", "allenai/tulu-2-dpo-70b"
    query = "?tab=compare&board=rewardbench&models="
    for models in (names[:1], (*names, "openbmb/Eurus-RM-7b"), ("no/such", names[0]), (names[0], names[0])):
        assert "rb-first" not in httpx.get(url + query + ",".join(models)).text.partition("<body")[2]
    page = browser.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.post_data or ""))
    page.route("**/assets/**", lambda route: route.abort())
    page.goto(url + query + ",".join(names))
    expect(page.get_by_role("heading", name="Verdict")).to_be_visible()
    expect(page.locator("#rb-first .rb-cmp-verdict")).to_have_count(3)
    page.unroute("**/assets/**")
    page.reload()
    expect(page.locator("#rb-first")).to_have_count(0)
    expect(page.locator(".rb-cmp-verdict")).to_have_count(3)
    expect(page.get_by_role("status").filter(has_text="Compared")).to_contain_text(names[3])
    assert not [text for text in requests if "compare_request" in text]
    page.close()


def test_models_are_chosen_by_keyboard_alone(open_tab: OpenPage) -> None:
    """Typing narrows the list, arrows and Enter choose, Escape closes, and focus is never lost."""
    page = open_tab("?board=starter")
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
    expect(options).to_have_text(["No such model"])
    page.keyboard.press("Enter")
    assert chosen(page) == [TINY, second]
    page.get_by_role("button", name=f"Put first: {second}").press("Enter")
    expect(page.get_by_role("region", name="Scores and differences")).to_contain_text(
        f"{second.split('/')[1]} − tiny-rm"
    )
    assert chosen(page) == [second, TINY]
    page.get_by_role("button", name=f"Remove {TINY}").press("Enter")
    expect(field).to_be_focused()
    expect(page.get_by_role("status").filter(has_text="One model chosen")).to_be_visible()


def test_the_address_brings_the_comparison_back(open_tab: OpenPage) -> None:
    """At most four models; those that another benchmark lacks are left out."""
    page = open_tab("?board=starter")
    for name in ("tiny", "longest", "shortest", "random"):
        search(page).fill(name)
        page.get_by_role("option", name=name).click()
    expect(search(page)).to_be_disabled()
    expect(page.get_by_role("region", name="Scores and differences")).to_contain_text("tiny-rm − random")
    names = [TINY, LONGEST, "baseline/shortest", "baseline/random"]
    assert parameters(page) == {"tab": ["compare"], "board": ["starter"], "models": [",".join(names)]}
    page.reload()
    expect(page.get_by_role("list", name="Models to compare").get_by_role("link")).to_have_text(names)
    expect(page.get_by_role("region", name="Scores and differences")).to_contain_text("tiny-rm − random")
    page.get_by_label("Benchmark", exact=True).select_option("rewardbench-2")
    expect(page.get_by_text("Not on RewardBench 2, left out")).to_contain_text(LONGEST)
    assert chosen(page) == []
    assert parameters(page) == {"tab": ["compare"], "board": ["rewardbench-2"]}


@in_each_look
def test_score_files_give_charts_with_tables(open_tab: OpenPage, looks: Looks) -> None:
    """Margins, calibration and accuracy by length of two runs. axe-core passes with the list of models open."""
    page = open_tab(f"?board=starter&models={TINY},{LONGEST}")
    for name in ("Margins of tiny-rm", "Margins of longest", "Calibration of tiny-rm"):
        expect(page.get_by_role("img", name=name)).to_be_visible()
    expect(page.get_by_role("img", name="Calibration of longest")).to_have_count(0)
    page.get_by_text("Calibration in numbers").click()
    for name in ("Margins", "Calibration", "Accuracy by length"):
        expect(page.get_by_role("region", name=name, exact=True).get_by_role("table")).to_be_visible()
    expect(page.get_by_role("region", name="Calibration", exact=True)).to_contain_text("ECE 0.")
    search(page).fill("b")
    expect(page.get_by_role("listbox", name="Models").get_by_role("option").first).to_be_visible()
    assert_accessible(page, looks, context="#compare")


@in_each_look
def test_published_scores_alone_are_explained(open_tab: OpenPage, looks: Looks) -> None:
    """They are all that is known of the top two, which axe-core passes."""
    page = open_tab("?board=rewardbench-2", width=390)
    expect(page.get_by_text("From published scores alone")).to_be_visible()
    expect(page.get_by_text("Not known for")).to_be_visible()
    assert_accessible(page, looks, context="#compare")


def test_refusals_are_messages(results: ResultsFolder, tmp_path: Path) -> None:
    """They are escaped and not cached; half of a surrogate pair in a name is escaped too, so it can be sent."""
    service = ComparisonService(results)
    view = service.view("starter", [TINY, "<b>"])
    assert 'role="alert"' in view["html"]
    assert "&lt;b&gt;" in view["html"]
    view = service.view("starter", [TINY, "\ud800"])
    assert "There is no result of '\\ud800' on starter." in html.unescape(view["html"])
    json.dumps(view, ensure_ascii=False).encode()
    compared = service.compare("starter", [TINY, LONGEST])
    assert service.compare("starter", [TINY, LONGEST]) is compared
    assert ComparisonService(ResultsFolder(tmp_path)).choices() == {"boards": []}


def test_requests_are_refused_when_too_many_wait(results: ResultsFolder) -> None:
    service = ComparisonService(results)
    with ExitStack() as others:
        for _ in range(MAX_WAITING + 1):
            others.enter_context(service._line.admit())
        assert "being served or waiting" in service.view("starter", [TINY, LONGEST])["html"]
    assert "Compared" in service.view("starter", [TINY, LONGEST])["status"]
