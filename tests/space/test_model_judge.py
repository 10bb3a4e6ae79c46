"""Results of judges on the page: how they were asked, how far they can be relied on, and the board's column for it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from rb_core.leaderboard.model_report import model_report
from rb_core.results.judge_records import Judging
from rb_core.results.paths import result_path
from rb_core.results.schema import to_json
from rb_core.results.storage import read_result
from rb_core.space.model.labels import JUDGE_COST, JUDGE_SHARES
from rb_core.space.model.report import report_html
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from tests.fakes.judged_runs import BENCHMARK, JUDGE, PANEL, RATER, judged_runs
from tests.paths import ROOT
from tests.space.conftest import OpenPage, compact, launched


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of judges' results, and of a large board of which one model is said to have been a judge."""
    folder = tmp_path_factory.mktemp("judged")
    judged_runs(folder)
    run, fields = read_result(folder / result_path(BENCHMARK, JUDGE)), ("status", "judging", "run", "scores", "counts")
    for source in (ROOT / "leaderboard_data" / "results" / "rewardbench-2").rglob("*.json"):
        result = read_result(source)
        if result.model.name == "anthropic/claude-3-7-sonnet-20250219":
            result = result.model_copy(update={name: getattr(run, name) for name in fields} | {"published": None})
        target = folder / result.path()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(to_json(result))
    return folder


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    with launched(build(ResultsFolder(root))) as url:
        yield url


def part(page: Page) -> Locator:
    return page.get_by_role("region", name=BENCHMARK, exact=True)


def opened(page: Page) -> None:
    """Open whatever is folded in the model's page."""
    page.locator(".rb-model-benchmark").first.wait_for()
    page.evaluate("document.querySelectorAll('#model details').forEach((each) => { each.open = true; })")


def test_a_judges_page_says_how_far_it_can_be_relied_on(open_page: OpenPage, address: str) -> None:
    """Shares with their intervals and numbers, what it took, problems by reason, and the settings in words."""
    page = open_page(f"?model={JUDGE}", at=address, tab="Model")
    opened(page)
    table = part(page).get_by_role("group", name="Reliability of the judge")
    rows = {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()
    }
    assert list(rows) == [share.label for share in JUDGE_SHARES.values()]
    assert rows["Same verdict in both orders"][0].startswith("73.7 (")  # 14 of 19 pairs
    assert rows["Same verdict in both orders"][2] == "19"
    assert rows["Prefers the first position"][2] == "38"
    assert rows["Prefers its own"][2] == rows["Own is better"][2]
    said = part(page)
    for text in ("No verdict because: no verdict that can be read", "Cost (US dollars)", "50 is unbiased for pairs"):
        expect(said.get_by_text(text)).to_be_visible()
    expect(said).to_contain_text("pairwise: which of two completions is better, for every pair and in both orders")
    expect(said).to_contain_text("an OpenAI-compatible server")
    expect(said).to_contain_text("pairwise, version 1, SHA-256")
    expect(said).to_contain_text("--base-url http://SERVER/v1")
    assert "127.0.0.1" not in said.inner_text()


def test_a_panels_page_has_its_members_and_their_agreement(open_page: OpenPage, address: str) -> None:
    """Each judge is a row with its shares; kappa and alpha, the vote, and a command with all of them."""
    page = open_page(f"?model={PANEL.replace('+', '%2B')}", at=address, tab="Model")
    opened(page)
    table = part(page).get_by_role("group", name="Judges of the panel")
    assert table.locator("tbody th").all_inner_texts() == ["org/one", "org/three", "org/two"]
    expect(part(page)).to_contain_text("Fleiss’ kappa")
    expect(part(page)).to_contain_text("org/one, org/two, org/three")
    at = "http://SERVER/v1"
    expect(part(page)).to_contain_text(f"--judges org/one@{at},org/two@{at},org/three@{at} --vote mean")


def test_ratings_have_no_order_to_matter(root: Path) -> None:
    """A judge that rated one at a time says so where shares would stand, and counts ratings without probabilities."""
    html = compact(report_html(model_report(ResultsFolder(root), RATER).to_json()))
    assert "Same verdict in both orders" not in html
    assert "Prefers the longer" in html
    assert f"<dt>{JUDGE_COST['plain_ratings']}</dt><dd>" in html
    assert "<dt>Ratings are expected values</dt><dd>yes</dd>" in html


def test_what_others_wrote_of_a_judge_is_text(root: Path, tmp_path: Path) -> None:
    """Markup in the names of judges, reasons, templates and settings is shown as written."""
    evil = "<img src=x onerror=alert(1)>"
    result = read_result(root / result_path(BENCHMARK, PANEL))
    assert result.judging is not None
    assert result.model.judge is not None
    member = Judging(requests=1, problems={evil: 1})
    templates = {mode: each.model_copy(update={"name": evil}) for mode, each in result.model.judge.templates.items()}
    asked = result.model.judge.model_copy(
        update={"panel": (evil,), "backend": evil, "templates": templates, "generation": {evil: evil}}
    )
    bad = result.model_copy(
        update={
            "judging": result.judging.model_copy(update={"members": {evil: member}, "problems": {evil: 2}}),
            "model": result.model.model_copy(update={"judge": asked}),
        }
    )
    path = tmp_path / bad.path()
    path.parent.mkdir(parents=True)
    path.write_bytes(to_json(bad))
    html = report_html(model_report(ResultsFolder(tmp_path), PANEL).to_json())
    assert html.count("&lt;img src=x") > 5
    assert "<img" not in html


@pytest.mark.parametrize("model", [JUDGE, PANEL])
@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_no_violation_on_a_judges_page(
    open_page: OpenPage, address: str, model: str, width: int, theme: str
) -> None:
    """All that is folded is open; nothing is wider than the screen."""
    page = open_page(f"?model={model.replace('+', '%2B')}", at=address, tab="Model", width=width, theme=theme)
    opened(page)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


# --------------------------------------------------------------------------------------------------------------------
# The board


def test_a_board_of_judges_has_their_consistency(open_page: OpenPage, address: str) -> None:
    """In the place of the kind stands a column that sorts, explains itself, can be hidden, and is in both files."""
    page = open_page(f"?board={BENCHMARK}", at=address)
    head = page.get_by_role("columnheader", name="Keeps verdict")
    expect(page.get_by_role("columnheader", name="Kind")).to_have_count(0)
    head.get_by_role("button").hover()
    expect(page.get_by_role("tooltip")).to_contain_text("keeps to its verdict when the completions change places")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    first = page.locator(".rb-rest tr").first
    expect(first).to_contain_text("judge")
    expect(first).to_contain_text("73.7")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text(encoding="utf-8"))))
    assert [row["Keeps verdict"] for row in rows] == ["0.73684", "", ""]
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download JSON").click()
    found = json.loads(Path(waiting.value.path()).read_text(encoding="utf-8"))
    assert [row["consistency"] for row in found["rows"]] == [0.73684, None, None]
    page.locator(".rb-menu").get_by_role("button", name="Columns").click()
    page.get_by_role("checkbox", name="Keeps verdict").uncheck()
    expect(head).to_have_count(0)


def test_among_other_models_it_comes_with_the_kind_and_fits(open_page: OpenPage, address: str) -> None:
    """The filter for judges alone brings the column, and takes it away; all columns of RewardBench 2 fit beside it."""
    page = open_page("?board=rewardbench-2", at=address)
    head = page.get_by_role("columnheader", name="Keeps verdict")
    expect(head).to_have_count(0)
    expect(page.locator(".rb-notes")).to_contain_text("Choose the kind Generative alone")
    page.get_by_role("checkbox", name="Generative").check()
    expect(head).to_be_visible()
    table = page.get_by_role("region", name="Leaderboard table")
    assert table.evaluate("(box) => box.scrollWidth - box.clientWidth") == 0
    page.get_by_role("button", name="Clear").click()
    expect(head).to_have_count(0)
    expect(page.get_by_role("columnheader", name="Kind")).to_be_visible()


def test_boards_without_judges_have_no_such_column(open_page: OpenPage) -> None:
    """The bundled boards look as they did."""
    page = open_page("?board=rewardbench")
    expect(page.get_by_role("columnheader", name="Keeps verdict")).to_have_count(0)
