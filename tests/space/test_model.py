"""The tab *Model*: a model's results, weak spots, settings and commands, and what it says of names it does not know."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from huggingface_hub import HfApi
from playwright.sync_api import Locator, Page, expect

from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard.model_report import model_report
from rb_core.results.estimate import Estimate, Matrix
from rb_core.results.schema import ModelRef, Published
from rb_core.space.hub_results import HubResults
from rb_core.space.model.report import report_html, size_text
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from tests.fakes import hub_server
from tests.fakes.hub_server import Server
from tests.fakes.result_sets import KEY, REPO, as_files, write_set
from tests.paths import ROOT
from tests.results.test_results import published
from tests.space.conftest import OpenPage, Serve, compact

GRM = "Ray2333/GRM-gemma2-2B-rewardmodel-ft"


def field(page: Page) -> Locator:
    """The field that takes a model's name."""
    return page.get_by_role("combobox", name="Model", exact=True)


def benchmark(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def html(root: Path, name: str = "a/b") -> str:
    """The page's HTML of a model below a root."""
    return compact(report_html(model_report(ResultsFolder(root), name).to_json()))


def cell(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.1, high=value + 0.1)


def test_a_model_in_the_address_is_shown_with_all_its_benchmarks(open_page: OpenPage) -> None:
    """Both benchmarks are there with score, interval and rank, and the model's page on the hub is linked."""
    page = open_page(f"?model={GRM}", tab="Model")
    expect(page.get_by_role("heading", name=GRM)).to_be_visible()
    expect(page.get_by_role("status").filter(has_text=f"{GRM} on RewardBench and RewardBench 2.")).to_be_visible()
    row = page.get_by_role("group", name="All results").get_by_role("row", name=re.compile("^RewardBench 2"))
    expect(row).to_contain_text("59.7 (56.6 to 62.7)")
    expect(row).to_contain_text("123 of 197")
    link = page.get_by_role("link", name="Page on the hub")
    expect(link).to_have_attribute("href", f"https://huggingface.co/{GRM}")
    assert page.locator(".rb-model-name").input_value() == GRM


def test_weak_spots_stand_first_with_their_rule(open_page: OpenPage) -> None:
    """The subset with the largest clear drop leads, and the rule says what rank and noise mean."""
    page = open_page(f"?model={GRM}", tab="Model")
    part = benchmark(page, "RewardBench")
    table = part.get_by_role("group", name="Parts furthest below the model's overall rank")
    expect(table.get_by_role("row").nth(1)).to_contain_text(re.compile(r"hep-java.*86 of 133.*14.*significant", re.S))
    expect(part.get_by_text("its place by the headline among the same models")).to_be_visible()
    expect(part.get_by_text("not published")).to_be_visible()  # why Prior Sets are absent


def test_a_run_shows_settings_counts_and_a_command(open_page: OpenPage) -> None:
    """A run tells its template's hash, probe, versions and counts, and its command can be copied."""
    page = open_page("?model=builtin/tiny-rm", tab="Model")
    part = benchmark(page, "Starter")
    part.get_by_text("How it was run").click()
    for text in ("a15e2bfaa1245e5b", "9.537e-07", "2,287,104", "transformers 5.23.0", "f1396957668fb1b4"):
        expect(part.get_by_text(text)).to_be_visible()
    part.get_by_text("Counts", exact=True).click()
    expect(part.get_by_text("Truncated completions")).to_be_visible()
    command = "python -m rb_core evaluate --model builtin/tiny-rm --benchmark starter --out mine"
    expect(part.get_by_text(command)).to_be_visible()
    part.get_by_role("button", name="Copy the command: Score it again").click()
    said = page.get_by_role("status").filter(has_text=re.compile(r"The command is (copied|selected)"))
    expect(said).to_be_visible()


def test_another_model_is_found_by_typing(open_page: OpenPage) -> None:
    """A full name shows its model at once and goes into the address; the list offers every model."""
    page = open_page(tab="Model")
    expect(page.get_by_text(re.compile(r"^\d+ models\. Type a part of a name\.$"))).to_be_visible()
    assert page.locator("#rb-model-names option").count() > 300
    field(page).fill("baseline/longest")
    expect(page.get_by_role("heading", name="baseline/longest")).to_be_visible()
    assert "model=baseline%2Flongest" in page.url


def test_an_unknown_name_gets_a_message_and_an_offer(open_page: OpenPage) -> None:
    """A part of a name, shown by Enter, names models that have it; nothing of the last model stays."""
    page = open_page("?model=builtin/tiny-rm", tab="Model")
    expect(page.get_by_role("heading", name="builtin/tiny-rm")).to_be_visible()
    field(page).fill("GRM-gemma2-2B")
    field(page).press("Enter")
    expect(page.get_by_text("No board has a model named 'GRM-gemma2-2B'.")).to_contain_text(f"Did you mean {GRM}")
    expect(page.get_by_role("heading", name="builtin/tiny-rm")).to_have_count(0)


def test_markup_in_a_name_that_is_asked_for_stays_text(open_page: OpenPage) -> None:
    """A name from the address is never read as HTML."""
    page = open_page("?model=<img src=x onerror=document.title='bad'>", tab="Model")
    expect(page.get_by_text("No board has a model named")).to_contain_text("<img src=x")
    assert page.title() == "RewardBench"


def test_texts_of_a_result_are_escaped(tmp_path: Path) -> None:
    """Markup in notes and descriptions is text, and a link that is no web address is none."""
    source = Published(source="<b>paper</b>", note="<script>alert(1)</script>")
    model = ModelRef(name="a/b", kind="classifier", architecture="<i>arch</i>")
    found = model_report(
        ResultsFolder(write_set(tmp_path, published("a/b", model=model, published=source))), "a/b"
    ).to_json() | {"hub": "javascript:alert(1)"}
    text = report_html(found)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&lt;i&gt;arch&lt;/i&gt;" in text
    assert not re.search(r"<script|<i>arch|<b>paper|javascript:", text)


def test_matrices_and_length_are_shown_where_they_are(tmp_path: Path) -> None:
    """RM-Bench's matrix is a table of chosen by rejected style with its three difficulties; other models have none."""
    cells = tuple(tuple(cell(0.1 * (3 * row + column) + 0.1) for column in range(3)) for row in range(3))
    levels = ("concise", "detailed", "markdown")
    matrix = Matrix(levels=levels, cells=cells, easy=cell(0.61), normal=cell(0.52), hard=cell(0.43))
    changes: dict[str, Any] = {"matrices": {"Chat": matrix}, "length": {"chosen_longer": cell(0.77)}}
    text = html(write_set(tmp_path, published("a/b", **changes), published("a/none")))
    assert "Chat: chosen (rows) over rejected (columns)" in text
    row = text[text.index('<th scope="row">detailed</th>') :].split("</tr>")[0]
    assert re.findall(r"<b>([\d.]+)</b>", row) == ["40.0", "50.0", "60.0"]
    assert re.search(r"easy <b>61\.0</b>.*normal <b>52\.0</b>.*hard <b>43\.0</b>", text)
    assert re.search(r"chosen longer</th><td[^>]*><b>77\.0</b>", text)
    assert "chosen (rows)" not in html(tmp_path, "a/none")


@pytest.mark.parametrize(
    ("number", "text"), [(8_030_000_000, "8.03B"), (494e6, "494M"), (1.1e12, "1.1T"), (900, "900")]
)
def test_sizes_are_short(number: float, text: str) -> None:
    """Three digits and a unit."""
    assert size_text(number) == text


# ---- followed results


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("RB_HUB_TIMEOUT", "2")
    with hub_server.serve(tokens={}) as running:
        yield running


def test_files_of_followed_results_are_linked_at_the_shown_commit(
    server: Server, serve: Serve, open_page: OpenPage, tmp_path: Path
) -> None:
    """The result's JSON is linked in the repository at the commit that is shown; bundled results have only a path."""
    server.add_repo(KEY, as_files(published("a/b")))
    shutil.copytree(ROOT / "leaderboard_data" / "results" / "starter", tmp_path / "results" / "starter")
    source = HubResults(ResultsRepo(REPO, HfApi(endpoint=server.url, token=False)), ResultsFolder(tmp_path))
    assert source.on_hub() is None
    source.check()
    page = open_page("?model=a/b", at=serve(build(source)), tab="Model")
    address = f"{server.url}/datasets/{REPO}/blob/{server.repo(KEY).head}/results/starter/a/b.json"
    expect(page.get_by_role("link", name="results/starter/a/b.json")).to_have_attribute("href", address)
    expect(page.get_by_text(f"sync pull --repo {REPO} --revision {server.repo(KEY).head}")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_everybody_can_use_the_page_of_a_model(open_page: OpenPage, theme: str, width: int) -> None:
    """axe-core finds no violation in the page of a run and of published results, and nothing is wider than the page."""
    page = open_page("?model=builtin/tiny-rm&q=tiny", tab="Model", theme=theme, width=width)  # little in what is hidden
    expect(benchmark(page, "Starter")).to_be_visible()
    for summary in benchmark(page, "Starter").locator("summary").all():
        summary.click()
    expect(benchmark(page, "Starter").get_by_text("transformers 5.23.0")).to_be_visible()
    for name in ("builtin/tiny-rm", GRM):
        field(page).fill(name)
        expect(page.get_by_role("heading", name=name)).to_be_visible()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
