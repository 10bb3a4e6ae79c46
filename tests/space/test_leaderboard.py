"""The tab *Leaderboard*, as somebody with a mouse, a keyboard or a spreadsheet meets it."""

from __future__ import annotations

import csv
import io
import json
import re
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from rb_core.evaluation.evaluate import evaluate
from rb_core.leaderboard.board import Board, BoardRow, BoardSection
from rb_core.leaderboard.hub_links import hub_page
from rb_core.results.estimate import Estimate
from rb_core.space.leaderboard.tab import leaderboard_table
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder, page_json
from rb_core.stats.rank_intervals import RankInterval
from rb_core.version import __version__
from tests.space.conftest import OpenPage, Serve

MISSING = "–"


def header(page: Page, name: str):
    """The button that sorts by the column of that name."""
    return page.get_by_role("columnheader", name=name, exact=True).get_by_role("button")


def shown(page: Page, name: str) -> list[str]:
    """The visible texts of a column, top to bottom."""
    page.locator(".rb-scroll thead th").first.wait_for(state="attached")
    return page.evaluate(
        """(name) => {
            const [upper, lower] = [...document.querySelectorAll('.rb-scroll thead tr')].map((tr) => [...tr.children]);
            const heads = upper.flatMap((th) => (th.scope === 'colgroup' ? lower.splice(0, th.colSpan) : [th]));
            const label = (th) => th.querySelector('.rb-label').textContent.replace(/[▲▼]/, '');
            const place = heads.findIndex((th) => label(th) === name);
            return [...document.querySelectorAll('.rb-scroll tbody tr')].map((tr) => {
                const cell = tr.children[place].cloneNode(true);
                if (cell.matches('.rb-missing, :has(.rb-missing)')) return '–';
                cell.querySelectorAll('.rb-hidden, .rb-interval, .rb-tag').forEach((part) => part.remove());
                return cell.textContent.trim();
            });
        }""",
        name,
    )


def numbers(texts: list[str]) -> list[float]:
    """The numbers of a column; those that are missing must all stand at its end."""
    count = next((i for i, text in enumerate(texts) if text == MISSING), len(texts))
    assert set(texts[count:]) <= {MISSING}
    return [float(text) for text in texts[:count]]


def row(
    rank: int | None,
    model: str,
    status: str,
    span: tuple[float, float | None, float | None],
    section: float,
    *,
    kind: str = "Generative",
    parameters: int | None = None,
    interval: RankInterval | None = None,
) -> BoardRow:
    """A row of a small board; span: the headline with the ends of its interval."""
    headline = Estimate(value=span[0], low=span[1], high=span[2])
    sections = {"Section": section}
    return BoardRow(rank, model, kind, status, headline, 1.0, None, parameters, sections, {}, interval)


def table_board(rows: list[BoardRow], text: str = "text", section: str = "Section") -> Board:
    """A small board with one section, whose every text is `text`."""
    renamed = tuple(replace(row, sections={section: row.sections["Section"]}) for row in rows)
    parts = (BoardSection(section, text),)
    return Board("small", text, text, text, text, text, parts, (), renamed, ("source",), "2026-01-02")


def several(serve: Serve) -> str:
    """The address of a board with models of all sizes and origins, and with ranges of both ways to find them."""
    spans = [
        ("big/one", "published", 70_553_706_496, 0.90, 0.88, 0.92),
        ("big/two", "published", 8_030_261_248, 0.89, 0.87, 0.91),
        ("mine/tiny", "run", 2_300_000, 0.80, 0.79, 0.81),
        ("mine/partly", "partial run", 12_000_000_000, 0.70, None, None),
        ("alone", "published", None, 0.60, 0.50, 0.72),
        ("baseline/longest", "run", None, 0.65, 0.6, 0.70),
        ("big/weak", "run", 3_000_000_000, 0.55, 0.50, 0.60),
    ]
    ranks = [1, 2, 3, None, 5, 4, 6]
    ranges = [(1, 2, "items"), (1, 2, "items"), (3, 3, "items"), None, (4, 6, "intervals"), (4, 6, "intervals"), None]
    rows = [
        row(
            rank,
            name,
            status,
            (v, low, high),
            v,
            kind="Baseline" if "baseline" in name else "Generative",
            parameters=size,
            interval=interval,
        )
        for rank, (name, status, size, v, low, high), interval in zip(ranks, spans, ranges, strict=True)
    ]
    payload = page_json({"small": table_board(rows)}, 0)
    with gr.Blocks() as demo:
        leaderboard_table(payload)
    return serve(demo)


def menu(page: Page, name: str):
    """Opens the menu of that name; the group of its checkboxes."""
    button = page.locator(".rb-menu").get_by_role("button", name=name)
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    return page.locator(f"#{button.get_attribute('aria-controls')}")


def expect_asked(page: Page, name: str, *values: str) -> None:
    """Wait until the address holds these values of a name, in any order; it is written a moment after what it says."""
    page.wait_for_url(lambda url: sorted(parse_qs(urlsplit(url).query).get(name, [])) == sorted(values))


def weights(payload: dict[str, Any], board: int, left_out: set[str]) -> tuple[dict[str, float | None], Any]:
    """By model the weighted mean of the sections that are not left out, by the record's own rule; and the board."""
    found = payload["boards"][board]
    used = [
        (i, each["weight"], each["required"])
        for i, each in enumerate(found["columns"])
        if each["role"] == "section" and each["label"] not in left_out
    ]
    values: dict[str, float | None] = {}
    for row in found["rows"]:
        there = [(weight, row[i]) for i, weight, _ in used if row[i] is not None]
        lacks = any(required and row[i] is None for i, _, required in used) or not there
        values[row[1]] = None if lacks else sum(w * v for w, v in there) / sum(w for w, _ in there)
    return values, found


def test_every_board_of_the_data_is_on_the_switch(open_page: OpenPage) -> None:
    """The boards that have results can be chosen, and choosing one shows its models and writes it into the address."""
    page = open_page()
    switch = page.get_by_role("group", name="Benchmark").get_by_role("radio")
    expect(switch).to_have_count(3)
    page.get_by_role("radio", name="RewardBench 2").check()
    expect(page.get_by_role("columnheader", name="Factuality")).to_be_visible()
    page.wait_for_url("**board=rewardbench-2**")
    page.get_by_role("group", name="Benchmark").get_by_role("radio").last.check()
    expect(page.get_by_role("rowheader", name="baseline/longest")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Origin")).to_have_count(0)  # the same in every row


@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_sorting_orders_what_is_seen_with_missing_last(open_page: OpenPage, how: str) -> None:
    """A column's header sorts its visible numbers, down and then up, and leaves what is missing at the end."""
    page = open_page()
    for name in ("Prior Sets", "Score"):
        for direction in ("descending", "ascending"):
            if how == "mouse":
                header(page, name).click()
            else:
                header(page, name).focus()
                page.keyboard.press("Enter" if direction == "descending" else "Space")
            expect(page.locator(f'th[aria-sort="{direction}"]')).to_contain_text(name)
            expect(page.locator("th[aria-sort]")).to_have_count(1)
            expect(header(page, name)).to_be_focused()
            texts = shown(page, name)
            assert MISSING in texts
            found = numbers(texts)
            assert len(found) > 20
            assert found == sorted(found, reverse=direction == "descending")


def test_sorting_by_text_is_alphabetical(open_page: OpenPage) -> None:
    """Names sort as people sort them, from A."""
    page = open_page()
    header(page, "Model").click()
    names = shown(page, "Model")
    assert [name.lower() for name in names[:3]] == sorted(name.lower() for name in names)[:3]


def test_search_and_kinds_narrow_the_table_and_say_how_many_are_left(open_page: OpenPage) -> None:
    """A comma in the search means or, kinds narrow further, and the live region counts what is shown."""
    page = open_page()
    search = page.get_by_role("searchbox")
    search.fill("Skywork, grm")
    names = shown(page, "Model")
    assert names
    assert all("skywork" in name.lower() or "grm" in name.lower() for name in names)
    assert any("skywork" not in name.lower() for name in names)
    expect(page.get_by_role("status").filter(has_text="models")).to_contain_text(f"{len(names)} of ")
    page.get_by_role("checkbox", name="Generative").check()
    kinds = shown(page, "Kind")
    assert set(kinds) == {"Generative"}
    assert len(kinds) < len(names)
    search.fill("no such model anywhere")
    expect(page.get_by_text("No model matches")).to_be_visible()


def test_subsets_stand_under_their_sections(open_page: OpenPage) -> None:
    """The view of all subsets has a second row of headers, and each section spans exactly its own columns."""
    page = open_page()
    page.get_by_text("All subsets").click()
    groups = page.evaluate(
        "[...document.querySelectorAll('.rb-groups th[colspan]')].map(t => [t.innerText, t.colSpan])"
    )
    assert dict(groups)["Chat"] == 6
    assert dict(groups)["Chat Hard"] == 7
    header(page, "mt-bench-easy").click()
    found = numbers(shown(page, "mt-bench-easy"))
    assert found == sorted(found, reverse=True)
    widths = page.evaluate("[...document.querySelectorAll('.rb-scroll tbody tr')].map(r => r.children.length)")
    below = page.evaluate("document.querySelectorAll('.rb-scroll thead tr:last-child th').length")
    beside = page.evaluate("document.querySelectorAll('.rb-groups th[rowspan]').length")
    assert set(widths) == {below + beside}


def test_the_address_brings_the_view_back(open_page: OpenPage) -> None:
    """Search, kinds, order, view and board are in the address, and a page opened there looks the same."""
    page = open_page()
    page.get_by_role("searchbox").fill("llama")
    page.get_by_role("checkbox", name="Sequence classifier").check()
    page.get_by_text("All subsets").click()
    header(page, "hep-go").click()
    page.wait_for_url("**sort=-subset**")
    names = shown(page, "hep-go")
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("llama")
    expect(page.get_by_role("checkbox", name="Sequence classifier")).to_be_checked()
    expect(page.get_by_role("radio", name="All subsets")).to_be_checked()
    expect(page.locator("th[aria-sort=descending]")).to_have_count(1)
    assert shown(page, "hep-go") == names


def test_an_address_made_up_shows_the_usual_table(open_page: OpenPage) -> None:
    """A board, column or kind that does not exist is ignored."""
    page = open_page("?board=nope&sort=-nope&kinds=nope&view=nope")
    expect(page.get_by_role("radio", name="RewardBench", exact=True)).to_be_checked()
    assert numbers(shown(page, "Rank"))[:3] == [1, 2, 3]


def test_csv_holds_what_is_shown(open_page: OpenPage, results_root: Path) -> None:
    """The download has the rows that are shown, in their order, with all columns, as fractions."""
    page = open_page("?q=skywork&sort=model")
    names = shown(page, "Model")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "rewardbench.csv"
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert [row["Model"] for row in rows] == names
    board = next(iter(ResultsFolder(results_root).boards().values()))
    expected = {row.model: row.headline.value for row in board.rows}
    for row in rows:
        assert float(row["Score"]) == expected[row["Model"]]
        assert "Chat / alpacaeval-easy" in row


def test_text_of_the_data_is_never_markup_nor_a_formula(serve: Serve, open_page: OpenPage) -> None:
    """Names, descriptions and citations with markup or template syntax are shown as typed; the CSV runs no formula."""
    evil = '<img src=x onerror="document.title=1">${7*7}{{7*7}}`'
    rows = [
        row(1, "=HYPERLINK(1)", "run", (0.9, 0.8, 1.0), -0.5, kind=evil),
        row(2, f"@org/{evil}", "run", (0.8, None, None), 0.5, kind="+kind"),
    ]
    board = table_board(rows, evil, section=evil)
    with gr.Blocks() as demo:
        leaderboard_table(page_json({"small": board}, 0))
    address = serve(demo)
    page = open_page(at=address)
    assert page.locator("img[src=x]").count() == 0
    for place in (".rb-lead", ".rb-notes cite", ".rb-boards", ".rb-kinds", ".rb-scroll"):
        expect(page.locator(place)).to_contain_text(evil)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    cells = list(csv.reader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert [row[1] for row in cells[1:]] == ["'=HYPERLINK(1)", f"'@org/{evil}"]
    assert cells[2][2] == "'+kind"
    assert cells[1][-1] == "-0.5"


def test_a_score_says_its_interval_in_words(open_page: OpenPage) -> None:
    """The interval that is drawn is also text, and a column explains itself to the keyboard."""
    page = open_page()
    expect(page.locator("td.rb-headline").first).to_contain_text("95% interval")
    header(page, "Chat").focus()
    expect(page.get_by_role("tooltip")).to_contain_text("strong answer")
    page.keyboard.press("Escape")
    expect(page.get_by_role("tooltip")).to_be_hidden()


def test_notes_say_source_date_licence_and_what_was_left_out(open_page: OpenPage) -> None:
    """Below the table stand where it comes from and how many files could not be read."""
    notes = open_page().locator(".rb-notes")
    for text in (
        "Close ranks may be noise",
        "Newest result: 20",
        "ODC-BY",
        "Lambert et al.",
        "1 result file could not",
    ):
        expect(notes).to_contain_text(text)


def test_without_results_the_page_says_what_to_do(serve: Serve, open_page: OpenPage, tmp_path: Path) -> None:
    """An empty folder gives a page with a command to try, and no table."""
    address = serve(build(ResultsFolder(tmp_path)))
    page = open_page(at=address)
    expect(page.get_by_role("heading", name="No results yet")).to_be_visible()
    expect(page.get_by_text("python -m rb_core evaluate")).to_be_visible()
    expect(page.locator("table")).to_be_hidden()


def test_results_that_arrive_later_show_without_a_restart(serve: Serve, open_page: OpenPage, tmp_path: Path) -> None:
    """A page opened after a result was written shows it."""
    address = serve(build(ResultsFolder(tmp_path)))
    evaluate("baseline/shortest", "starter", out=tmp_path)
    page = open_page(at=address)
    expect(page.get_by_role("rowheader", name="baseline/shortest")).to_be_visible()


def test_boards_are_the_same_object_until_a_file_changes(results_root: Path) -> None:
    """The folder is read once: an unchanged one gives the same object, which the page need not send again."""
    folder = ResultsFolder(results_root)
    boards = folder.boards()
    assert folder.boards() is boards
    assert folder.num_refused() == 1
    json.dumps(page_json(boards, 1), allow_nan=False)


@pytest.mark.parametrize(
    ("model", "kind", "page"),
    [
        ("org/name", "Sequence classifier", "https://huggingface.co/org/name"),
        ("org/name", "Implicit (DPO)", "https://huggingface.co/org/name"),
        ("openai/gpt", "Generative", None),  # behind an API
        ("builtin/tiny-rm", "Sequence classifier", None),
        ("local/mine", "Sequence classifier", None),
        ("baseline/longest", "Baseline", None),
        ("name-alone", "Sequence classifier", None),
    ],
)
def test_only_models_on_the_hub_are_linked(model: str, kind: str, page: str | None) -> None:
    """A link leads to the hub for checkpoints that live there, and for nothing else."""
    assert hub_page(model, kind) == page


# --------------------------------------------------------------------------------------------------------------------
# Filters


def test_organisations_are_found_and_filtered_with_the_keyboard(open_page: OpenPage) -> None:
    """The menu of organisations opens, searches, filters and closes by keys alone, and the focus goes back to it."""
    page = open_page()
    button = page.get_by_role("button", name="Organisation")
    button.focus()
    page.keyboard.press("Enter")
    panel = page.get_by_role("group", name="Organisation")
    page.keyboard.press("Tab")
    expect(panel.get_by_role("searchbox", name="Find an organisation")).to_be_focused()
    page.keyboard.type("skyw")
    expect(panel.get_by_role("checkbox")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    names = shown(page, "Model")
    assert len(names) > 3
    assert all(name.startswith("Skywork/") for name in names)
    expect(panel.get_by_role("checkbox", name="Skywork")).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(button).to_be_focused()
    expect(button).to_contain_text("1")
    expect_asked(page, "orgs", "Skywork")
    panel = menu(page, "Organisation")
    panel.get_by_role("searchbox").fill("no such name")
    expect(panel.get_by_role("checkbox")).to_have_count(0)
    expect(panel.get_by_role("status")).to_have_text("No such name here")
    page.get_by_role("searchbox", name="Search models").click()
    expect(panel).to_be_hidden()
    page.get_by_role("button", name="Clear filters").click()
    assert len(shown(page, "Model")) == 212


def test_sizes_are_read_and_filtered(serve: Serve, open_page: OpenPage) -> None:
    """Numbers of parameters are short, sort as numbers with unknown last, and filter by ranges that add up."""
    page = open_page(at=several(serve))
    header(page, "Size").click()
    assert shown(page, "Size") == ["71B", "12B", "8B", "3B", "2.3M", MISSING, MISSING]
    expect(page.get_by_role("cell", name="unknown")).to_have_count(2)
    sizes = menu(page, "Size")
    sizes.get_by_role("checkbox", name="3B to 10B").check()
    assert shown(page, "Model") == ["big/two", "big/weak"]
    sizes.get_by_role("checkbox", name="Unknown").check()
    assert shown(page, "Model") == ["big/two", "big/weak", "alone", "baseline/longest"]
    sizes.get_by_role("checkbox", name="3B to 10B").uncheck()
    sizes.get_by_role("checkbox", name="Unknown").uncheck()
    for name, only in (("Under 3B", "mine/tiny"), ("10B to 40B", "mine/partly"), ("40B and more", "big/one")):
        sizes.get_by_role("checkbox", name=name).check()
        assert shown(page, "Model") == [only]
        sizes.get_by_role("checkbox", name=name).uncheck()


def test_own_runs_and_published_results_are_told_apart(serve: Serve, open_page: OpenPage) -> None:
    """The filter by origin keeps own runs, whole or partial, or what was published; an origin of none is disabled."""
    page = open_page(at=several(serve))
    origin = menu(page, "Origin")
    origin.get_by_role("checkbox", name="Own run").check()
    assert set(shown(page, "Origin")) == {"run", "partial run"}
    origin.get_by_role("checkbox", name="Own run").uncheck()
    origin.get_by_role("checkbox", name="Published").check()
    assert shown(page, "Model") == ["big/one", "big/two", "alone"]
    expect(menu(open_page("?board=starter"), "Origin").get_by_role("checkbox", name="Published")).to_be_disabled()


# --------------------------------------------------------------------------------------------------------------------
# Pins and columns


def test_pinned_rows_stay_on_top(open_page: OpenPage) -> None:
    """A pinned row stands first in any order, outlasts filters, a reload and scrolling, and can be let go by key."""
    page = open_page()
    name = shown(page, "Model")[20]
    pin = page.get_by_role("button", name=f"Pin {name}", exact=True)
    pin.click()
    expect(pin).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text(f"{name} is pinned on top")).to_be_visible()
    header(page, "Chat Hard").click()
    assert shown(page, "Model")[0] == name
    assert numbers(shown(page, "Chat Hard")[1:]) == sorted(numbers(shown(page, "Chat Hard")[1:]), reverse=True)
    page.get_by_role("region", name="Leaderboard table").evaluate("(box) => { box.scrollTop = 3000; }")
    table = page.get_by_role("region", name="Leaderboard table").bounding_box()
    row = page.get_by_role("rowheader", name=name, exact=True).bounding_box()
    assert table
    assert row
    assert 0 < row["y"] - table["y"] < 80
    page.get_by_role("searchbox").fill("no such model anywhere")
    assert shown(page, "Model") == [name]
    expect(page.get_by_text("No other model matches")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="models")).to_have_text("1 of 212 models, 1 pinned on top")
    expect_asked(page, "pins", name)
    expect_asked(page, "q", "no such model anywhere")
    page.reload()
    assert shown(page, "Model") == [name]
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name=f"Pin {name}", exact=True).press("Space")
    expect(page.get_by_role("button", name=f"Pin {name}", exact=True)).to_be_focused()
    assert shown(page, "Model")[0] != name


def test_columns_are_hidden_and_shown_again(open_page: OpenPage) -> None:
    """A column switched off in the menu is gone from the table, the address's page and the download, until it is on."""
    page = open_page()
    columns = menu(page, "Columns")
    for name in ("Kind", "Safety"):
        columns.get_by_role("checkbox", name=name, exact=True).focus()
        page.keyboard.press("Space")
        expect(page.get_by_role("columnheader", name=name, exact=True)).to_have_count(0)
        expect(columns.get_by_role("checkbox", name=name, exact=True)).to_be_focused()
    expect_asked(page, "hide", "kind", "section:Safety")
    page.reload()
    expect(page.get_by_role("columnheader", name="Chat", exact=True)).to_be_visible()
    expect(page.get_by_role("columnheader", name="Kind", exact=True)).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    heads = next(csv.reader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert "Chat" in heads
    assert not {"Kind", "Safety"} & set(heads)
    menu(page, "Columns").get_by_role("checkbox", name="Kind", exact=True).check()
    expect(page.get_by_role("columnheader", name="Kind", exact=True)).to_be_visible()
    page.get_by_text("All subsets").click()
    subsets = menu(page, "Columns").get_by_role("group", name="Subsets: Chat", exact=True)
    expect(subsets.get_by_role("checkbox")).to_have_count(5)
    subsets.get_by_role("checkbox", name="alpacaeval-easy").uncheck()
    expect(page.get_by_role("columnheader", name="alpacaeval-easy")).to_have_count(0)


# --------------------------------------------------------------------------------------------------------------------
# A score of one's own


def test_the_weights_of_the_columns_give_the_headline(results_root: Path) -> None:
    """What the browser computes from all sections by their weights is the benchmark's own headline."""
    payload = page_json(ResultsFolder(results_root).boards(), 0)
    for place in range(len(payload["boards"])):
        values, board = weights(payload, place, set())
        score = next(i for i, column in enumerate(board["columns"]) if column["role"] == "headline")
        whole = [(row[score], values[row[1]]) for row in board["rows"] if values[row[1]] is not None]
        assert len(whole) > 5
        for headline, value in whole:  # published ones are rounded to four digits, section by section
            assert headline == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(("board", "left_out"), [(0, {"Chat Hard", "Reasoning"}), (0, {"Chat"}), (1, {"Ties"})])
def test_sections_switched_off_give_a_score_of_ones_own(
    open_page: OpenPage, results_root: Path, board: int, left_out: set[str]
) -> None:
    """The score is computed again from the sections that are left, models are ranked by it, and it says what it is."""
    values, found = weights(page_json(ResultsFolder(results_root).boards(), 0), board, left_out)
    page = open_page(f"?board={found['id']}")
    page.get_by_role("group", name="Filters").wait_for()
    parts = menu(page, "Score from")
    for name in left_out:
        parts.get_by_role("checkbox", name=name, exact=False).and_(page.locator(f"[value='section:{name}']")).uncheck()
    expect(page.get_by_role("columnheader", name="Score", exact=True)).to_have_count(0)
    names, scores, ranks = (shown(page, column) for column in ("Model", "Custom score", "Rank"))
    assert len(names) == len(found["rows"])
    for name, text in zip(names, scores, strict=True):
        value = values[name]
        assert (text == MISSING) == (value is None)
        if value is not None:
            assert float(text) == pytest.approx(100 * value, abs=0.0501)
    exact = [value for name in names if (value := values[name]) is not None]
    assert exact == pytest.approx(sorted(exact, reverse=True), abs=1e-5)
    assert numbers(ranks) == sorted(numbers(ranks))
    assert numbers(ranks)[0] == 1
    official = [row[1] for row in found["rows"]]
    assert names != official
    assert set(shown(page, "Range")) == {MISSING}
    expect(page.locator("td.rb-headline").first).to_contain_text("no interval known")
    note = page.get_by_role("status").filter(has_text="Custom score")
    for text in (*left_out, "not the benchmark’s score", "not known"):
        expect(note).to_contain_text(text)
    expect_asked(page, "off", *(f"section:{name}" for name in left_out))
    page.reload()
    assert shown(page, "Custom score") == scores
    page.get_by_role("button", name="Back to the benchmark’s score").click()
    expect(page.get_by_role("button", name="Score from")).to_be_focused()
    expect(page.get_by_role("columnheader", name="Score", exact=True)).to_be_visible()
    assert shown(page, "Model") == official
    expect(page.locator("td.rb-headline").first).to_contain_text("95% interval")


def test_one_section_always_counts(open_page: OpenPage) -> None:
    """The last section cannot be switched off; another benchmark begins with its own score."""
    page = open_page("?off=section:Chat&off=section:Chat+Hard&off=section:Safety&off=section:Reasoning")
    parts = menu(page, "Score from")
    expect(parts.get_by_role("checkbox", name="Prior Sets")).to_be_disabled()
    expect(parts.get_by_role("checkbox", name="Prior Sets")).to_be_checked()
    assert shown(page, "Custom score")[:30] == shown(page, "Prior Sets")[:30]
    page.get_by_role("radio", name="RewardBench 2").check()
    expect(page.get_by_role("columnheader", name="Score", exact=True)).to_be_visible()


# --------------------------------------------------------------------------------------------------------------------
# What is noise


def test_a_lead_within_noise_says_so(serve: Serve, open_page: OpenPage) -> None:
    """A row says how many models below it are not significantly worse, and whether its range is only from intervals."""
    page = open_page(at=several(serve))
    spoken = page.locator(".rb-rest tr")
    assert shown(page, "Range") == ["1–2≈ 1", "1–2", "3", "~4–6≈ 2", "~4–6≈ 1", MISSING, MISSING]
    expect(spoken.nth(0)).to_contain_text("not significantly better than the next model")
    expect(spoken.nth(1)).to_contain_text("significantly better than every model below")
    expect(spoken.nth(3)).to_contain_text("about")
    expect(spoken.nth(3)).to_contain_text("not significantly better than the next 2")
    notes = page.locator(".rb-notes")
    expect(notes).to_contain_text("≈ 7")
    expect(notes).to_contain_text("from the models’ intervals alone")


def test_the_best_baseline_is_a_line_and_a_word(serve: Serve, open_page: OpenPage) -> None:
    """The best baseline's line stands where its score does, and models that do not clear it are told; else nothing."""
    page = open_page(at=several(serve))
    expect(page.get_by_role("rowheader", name="baseline/longest best baseline")).to_be_visible()
    for name, words in (
        ("big/weak", "does not beat the best baseline"),
        ("alone", "does not beat the best baseline"),
        ("mine/partly", None),
        ("big/one", None),
    ):
        found = page.get_by_role("rowheader", name=name)
        if words:
            expect(found).to_contain_text(words)
        else:
            expect(found).not_to_contain_text("baseline")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="baseline/longest"))
    line, dot = row.locator(".rb-interval").evaluate(
        "(e) => [getComputedStyle(e, '::after').left, getComputedStyle(e.querySelector('.rb-dot')).left]"
    )
    assert float(line[:-2]) == pytest.approx(float(dot[:-2]), abs=0.5)
    expect(page.locator(".rb-notes")).to_contain_text("The dashed line is the best baseline, baseline/longest (65.0)")
    without = open_page("?board=rewardbench-2")
    expect(without.locator(".rb-notes")).not_to_contain_text("baseline")
    assert without.locator(".rb-interval").first.evaluate("(e) => getComputedStyle(e, '::after').content") == "none"


def test_a_subset_says_what_it_tests_how_much_and_under_which_licence(open_page: OpenPage) -> None:
    """The description of a column has what the subset tests, its number of examples, and the data's licence."""
    page = open_page("?view=subsets")
    header(page, "hep-go").focus()
    for text in ("A correct Go function", "164 examples", "Licence: ODC-BY"):
        expect(page.get_by_role("tooltip")).to_contain_text(text)
    header(page, "Prior Sets: Section").focus()
    expect(page.get_by_role("tooltip")).to_contain_text("Weight in the score: 0.5")


# --------------------------------------------------------------------------------------------------------------------
# Taking it away


def test_json_holds_what_is_shown(open_page: OpenPage, results_root: Path) -> None:
    """The JSON download has the shown rows in their order, numbers as numbers, and where they come from."""
    page = open_page("?q=skywork&sort=model&hide=kind&off=section:Chat")
    names = shown(page, "Model")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    assert download.value.suggested_filename == "rewardbench.json"
    found = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    values, _ = weights(page_json(ResultsFolder(results_root).boards(), 0), 0, {"Chat"})
    assert [row["model"] for row in found["rows"]] == names
    assert "kind" not in found["rows"][0]
    assert found["score"] == {"custom": True, "sections": ["Chat Hard", "Safety", "Reasoning", "Prior Sets"]}
    for row in found["rows"]:
        assert row["score"] == pytest.approx(values[row["model"]], abs=1e-5)
        assert [row["low"], row["high"], row["range"]] == [None, None, None]
    assert "Lambert" in found["citation"]
    assert found["sources"]


def test_a_name_leads_to_the_models_page_and_to_the_hub(open_page: OpenPage) -> None:
    """A row's name opens the model's own page here; what is on the hub has a link to it beside the name."""
    page = open_page("?board=rewardbench&q=UltraRM-13b")
    hub = page.get_by_role("link", name="openbmb/UltraRM-13b on the hub")
    expect(hub).to_have_attribute("href", "https://huggingface.co/openbmb/UltraRM-13b")
    page.get_by_role("link", name="openbmb/UltraRM-13b", exact=True).click()
    expect(
        page.get_by_role("tabpanel", name="Model").get_by_role("heading", name="openbmb/UltraRM-13b")
    ).to_be_visible()


def test_the_bundled_results_say_which_they_are(open_page: OpenPage) -> None:
    """Below the table stands the version that the results came with."""
    expect(open_page().locator("#results-line")).to_contain_text(f"rb_core {__version__}")


def test_the_link_brings_everything_back_and_leaves_what_is_not_its_own(open_page: OpenPage) -> None:
    """The copied link opens the same table, and keeps the names in the address that belong to others."""
    page = open_page("?tab=leaderboard&other=kept")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    menu(page, "Organisation").get_by_role("checkbox", name="Skywork").check()
    menu(page, "Columns").get_by_role("checkbox", name="Range").uncheck()
    menu(page, "Score from").get_by_role("checkbox", name="Safety").uncheck()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Pin openai/gpt-4-0613", exact=True).or_(
        page.locator(".rb-pin").nth(2)
    ).first.click()
    header(page, "Reasoning").click()
    before = page.get_by_role("table").inner_text()
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("Link copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    query = parse_qs(urlsplit(link).query)
    assert (query["tab"], query["other"]) == (["leaderboard"], ["kept"])
    again = open_page(f"?{urlsplit(link).query}")
    expect(again.get_by_role("columnheader", name="Custom score", exact=True)).to_be_visible()
    assert again.get_by_role("table").inner_text() == before


def test_the_citation_can_be_copied(open_page: OpenPage) -> None:
    """The button beside the citation copies it with the address of the data, and says so."""
    page = open_page("?board=rewardbench-2")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy citation").click()
    expect(page.get_by_text("Citation copied")).to_be_visible()
    text = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"Malik et al\. 2025.*arXiv:2506\.01937\nhttps://huggingface\.co/\S+", text)


def test_a_closed_clipboard_still_gives_the_link(open_page: OpenPage) -> None:
    """Where the browser refuses to copy, by the newer way and by the older, the link itself is shown."""
    page = open_page("?q=skywork")
    page.evaluate(
        "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no'));"
        " document.execCommand = () => false; }"
    )
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("does not let the page copy")).to_contain_text("?q=skywork")


# --------------------------------------------------------------------------------------------------------------------
# Everybody, and soon


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_in_menus_pins_and_custom_scores(
    serve: Serve, open_page: OpenPage, theme: str, width: int
) -> None:
    """Open menus, pinned rows, sections switched off and baselines pass axe-core, and the page never overflows."""
    query = "?q=skywork&pins=openai/gpt-4-0613&pins=Qwen/WorldPM-72B&off=section:Chat&orgs=Skywork"
    page, axe = open_page(query, theme=theme, width=width), Axe()
    page.get_by_role("button", name="Copy link").click()
    menu(page, "Score from" if width > 1000 else "Organisation")
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.run(open_page("?board=starter&view=subsets", theme=theme, width=width))
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("board", ["rewardbench", "rewardbench-2", "starter"])
def test_the_usual_columns_fit_on_a_desktop(open_page: OpenPage, board: str) -> None:
    """At 1440 pixels nothing of the table hides at its right edge, and no text is wider than its column but names."""
    page = open_page(f"?board={board}")
    table = page.get_by_role("region", name="Leaderboard table")
    assert table.evaluate("(box) => box.scrollWidth - box.clientWidth") == 0
    cells = table.get_by_role("cell")
    assert (
        cells.evaluate_all("(all) => all.filter((td) => td.scrollWidth > td.clientWidth).map((td) => td.innerText)")
        == []
    )


def test_only_rows_near_the_view_are_laid_out(open_page: OpenPage) -> None:
    """That is what makes a repaint fast; a row that is scrolled to is there."""
    page = open_page("?view=subsets")
    laid_out = "(row) => row.checkVisibility({ contentVisibilityAuto: true })"
    heads = page.get_by_role("region", name="Leaderboard table").locator("tbody").get_by_role("rowheader")
    assert heads.count() == 212
    assert heads.first.evaluate(laid_out)
    assert not heads.last.evaluate(laid_out)
    heads.last.scroll_into_view_if_needed()
    expect(heads.last).to_be_in_viewport()
    assert heads.last.evaluate(laid_out)


MEASURE = """async ([selector, act, times]) => {
    const took = [];
    const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    for (let n = 0; n < times; n += 1) {
        const begun = performance.now(), found = document.querySelector(selector);
        if (act === 'type') {
            found.value = ['s', 'sk', 'sky', 'l', 'll', 'lla', 'llama', ''][n % 8];
            found.dispatchEvent(new Event('input', { bubbles: true }));
        } else found.click();
        document.querySelector('.rb-scroll').getBoundingClientRect();
        await painted();
        took.push(performance.now() - begun);
    }
    return took;
}"""


def test_typing_and_sorting_repaint_at_once(open_page: OpenPage, record_property: Any) -> None:
    """A keystroke and a sort on the largest board are seen at once; the limit only tells soon from never."""
    for view in ("sections", "subsets"):
        page = open_page(f"?view={view}")
        assert len(shown(page, "Model")) == 212
        for act, selector in (("type", ".rb-query"), ("sort", 'thead [data-key="score"]')):
            took = statistics.median(page.evaluate(MEASURE, [selector, act, 7]))
            record_property(f"{view} {act} median ms", round(took))
            print(f"{view}, {act}: median {took:.0f} ms")
            assert 0 < took < 5000
