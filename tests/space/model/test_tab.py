"""The Model tab: results, weak spots, settings and commands of a model, and answers to unknown names."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from urllib.parse import quote

from huggingface_hub import HfApi
from playwright.sync_api import Locator, Page, expect

from rb_core.hub.repository import ResultsRepo
from rb_core.space.hub_results import HubResults
from rb_core.space.model.labels import JUDGE_SHARES, PANEL_AGREEMENT
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from tests.fakes import hub_server
from tests.fakes.judged_runs import BENCHMARK as JUDGED
from tests.fakes.judged_runs import JUDGE, PANEL
from tests.fakes.result_sets import KEY, REPO, as_files
from tests.fakes.results import published
from tests.paths import BUNDLED
from tests.space.conftest import Looks, OpenPage, Serve, assert_accessible, in_each_look

GRM = "Ray2333/GRM-gemma2-2B-rewardmodel-ft"


def name_field(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Model", exact=True)


def benchmark(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def open_all_details(page: Page) -> None:
    page.locator(".rb-model-benchmark").first.wait_for()
    page.evaluate("document.querySelectorAll('#model details').forEach((details) => { details.open = true; })")


def test_another_name_of_a_model_opens_its_page(open_page: OpenPage) -> None:
    page = open_page("?model=Anthropic/claude-3-opus-20240229", tab="Model")
    expect(page.get_by_role("heading", name="anthropic/claude-3-opus-20240229")).to_be_visible()
    expect(name_field(page)).to_have_value("anthropic/claude-3-opus-20240229")
    assert "model=" + quote("anthropic/claude-3-opus-20240229", safe="") in page.url


def test_a_published_model_has_scores_and_weak_spots(open_page: OpenPage) -> None:
    """The subset with the largest significant drop is the first weak spot.

    Unknown names get a message and an offer, and markup in them, from the address too, is text.
    """
    page = open_page("?model=<img src=x onerror=document.title='bad'>", tab="Model")
    expect(page.get_by_text("No board has a model named")).to_contain_text("<img src=x")
    assert page.title().endswith("RewardBench")
    name_field(page).fill(GRM)
    name_field(page).press("Enter")
    expect(page.get_by_role("heading", name=GRM)).to_be_visible()
    expect(page.get_by_role("status").filter(has_text=f"{GRM} on RewardBench and RewardBench 2.")).to_be_visible()
    assert name_field(page).input_value() == GRM
    row = page.get_by_role("group", name="All results").get_by_role("row", name=re.compile("^RewardBench 2"))
    expect(row).to_contain_text("59.7 (56.6 to 62.7)")
    expect(row).to_contain_text("47 of 73")
    link = page.get_by_role("link", name="Page on the hub")
    expect(link).to_have_attribute("href", f"https://huggingface.co/{GRM}")
    part = benchmark(page, "RewardBench")
    spots = part.get_by_role("group", name="Parts furthest below the model's overall rank")
    first = re.compile(r"hep-java.*86 of 133.*14.*significant", re.S)
    expect(spots.get_by_role("row").nth(1)).to_contain_text(first)
    expect(part.get_by_text("corrected for all parts")).to_be_visible()
    expect(part.get_by_text("not published")).to_be_visible()  # why Prior Sets are absent
    strip = part.get_by_role("group", name="Sections").locator("tbody tr").first.locator(".rb-strip")
    assert strip.locator("path").get_attribute("d").count("M") > 50  # the other models
    assert strip.locator("b").get_attribute("style") == "left:91.27%"  # 93.02 on an axis from 20 to 100
    audits = page.get_by_role("region", name="Audits")
    expect(audits.get_by_text("Over-refusal 0.072")).to_be_visible()
    expect(audits.get_by_role("link", name="Over- and under-refusal")).to_have_attribute(
        "href", "?tab=questions&question=refusals"
    )
    name_field(page).fill("GRM-gemma2-2B")
    name_field(page).press("Enter")
    expect(page.get_by_text("No board has a model named 'GRM-gemma2-2B'.")).to_contain_text(f"Did you mean {GRM}")
    expect(page.get_by_role("heading", name=GRM)).to_have_count(0)


@in_each_look
def test_a_run_has_settings_counts_and_commands(open_page: OpenPage, looks: Looks) -> None:
    """A model is found by typing. With all details open axe-core finds no violation."""
    page = open_page("?q=tiny", tab="Model")
    expect(page.get_by_text(re.compile(r"^\d+ models\. Type part of a name\.$"))).to_be_visible()
    assert page.locator("#rb-model-names option").count() > 300
    name_field(page).fill("builtin/tiny-rm")
    expect(page.get_by_role("heading", name="builtin/tiny-rm")).to_be_visible()
    assert "model=builtin%2Ftiny-rm" in page.url
    part = benchmark(page, "Starter")
    part.get_by_text("How it was run").click()
    run = json.loads((BUNDLED / "results/starter/builtin/tiny-rm.json").read_text(encoding="utf-8"))["run"]
    versions = ("a15e2bfaa1245e5b", "9.537e-07", "2,287,104", "transformers 5.23.0", run["git_commit"][:16])
    for text in versions:
        expect(part.get_by_text(text)).to_be_visible()
    part.get_by_text("Counts", exact=True).click()
    expect(part.get_by_text("Truncated completions")).to_be_visible()
    command = "python -m rb_core evaluate --model builtin/tiny-rm --benchmark starter --out mine"
    expect(part.get_by_text(command)).to_be_visible()
    part.get_by_role("button", name="Copy the command").first.click()
    expect(page.get_by_role("status").filter(has_text=re.compile("Command (copied|selected)"))).to_be_visible()
    badge = part.locator("img.rb-badge")
    assert badge.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") > 100
    address, own_page = page.url.partition("?")[0], "?tab=model&model=builtin%2Ftiny-rm"
    expect(part.get_by_text("[![Starter: score and rank interval]")).to_have_text(
        f"[![Starter: score and rank interval]({address}badge/starter/builtin/tiny-rm.svg)]({address}{own_page})"
    )
    part.get_by_role("button", name="Copy the badge").click()
    expect(page.get_by_role("status").filter(has_text=re.compile("Badge (copied|selected)"))).to_be_visible()
    for file in ("results/starter/builtin/tiny-rm.json", "scores/starter/builtin/tiny-rm.parquet"):
        expect(part.get_by_role("link", name=file)).to_have_attribute("href", file)
    open_all_details(page)
    assert_accessible(page, looks)
    page.get_by_role("link", name="Try it").click()
    expect(page.get_by_role("heading", name="Try a pair", exact=True)).to_be_visible()
    expect(page.get_by_role("checkbox", name="builtin/tiny-rm")).to_be_checked()


def test_files_of_hub_results_are_linked_at_the_shown_commit(serve: Serve, open_page: OpenPage, tmp_path: Path) -> None:
    with hub_server.serve(tokens={}) as server:
        server.add_repo(KEY, as_files(published("a/b")))
        shutil.copytree(BUNDLED / "results" / "starter", tmp_path / "results" / "starter")
        source = HubResults(ResultsRepo(REPO, HfApi(endpoint=server.url, token=False)), ResultsFolder(tmp_path))
        assert source.on_hub() is None
        source.check()
        page = open_page("?model=a/b", at=serve(build(source)), tab="Model")
        commit = server.repo(KEY).head
        address = f"{server.url}/datasets/{REPO}/blob/{commit}/results/starter/a/b.json"
        expect(page.get_by_role("link", name="The same on the hub")).to_have_attribute("href", address)
        expect(page.get_by_text(f"sync pull --repo {REPO} --revision {commit}")).to_be_visible()


@in_each_look
def test_a_judge_has_its_reliability_and_cost(open_page: OpenPage, judged_url: str, looks: Looks) -> None:
    """Shares with intervals and numbers, unread replies by reason, and settings without the server's address."""
    page = open_page(f"?model={JUDGE}", at=judged_url, tab="Model")
    open_all_details(page)
    part = benchmark(page, JUDGED)
    rows = {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts()
        for row in part.get_by_role("group", name="Reliability of the judge").locator("tbody tr").all()
    }
    assert list(rows) == [share.label for share in JUDGE_SHARES.values()]
    assert rows["Same verdict in both orders"][0].startswith("73.7 (")  # 14 of 19 pairs
    assert rows["Same verdict in both orders"][2] == "19"
    assert rows["Prefers the first position"][2] == "38"
    assert rows["Prefers its own"][2] == rows["Own is better"][2]
    for text in ("No verdict because: no verdict that can be read", "Cost (US dollars)", "50 is unbiased for pairs"):
        expect(part.get_by_text(text)).to_be_visible()
    for text in (
        "pairwise: which of two completions is better, for every pair and in both orders",
        "an OpenAI-compatible server",
        "pairwise, version 1, SHA-256",
        "--base-url http://SERVER/v1",
    ):
        expect(part).to_contain_text(text)
    assert "127.0.0.1" not in part.inner_text().replace(judged_url, "")  # the badge has the page's own address
    assert_accessible(page, looks)


@in_each_look
def test_a_panel_has_its_members_and_their_agreement(open_page: OpenPage, judged_url: str, looks: Looks) -> None:
    page = open_page(f"?model={quote(PANEL)}", at=judged_url, tab="Model")
    open_all_details(page)
    part = benchmark(page, JUDGED)
    table = part.get_by_role("group", name="Judges of the panel")
    assert table.locator("tbody th").all_inner_texts() == ["org/one", "org/three", "org/two"]
    rows = part.get_by_role("group", name="Agreement of the judges").locator("tbody tr")
    assert rows.locator("th").all_inner_texts() == list(PANEL_AGREEMENT.values())
    values = [value.partition(" ")[0] for value in rows.locator("td:nth-child(2)").all_inner_texts()]
    assert values == ["100.0", "1", "1"]  # the same verdicts
    assert rows.locator("td:nth-child(3)").all_inner_texts() == ["19"] * 3
    expect(part).to_contain_text("org/one, org/two, org/three")
    server = "http://SERVER/v1"
    expect(part).to_contain_text(f"--judges org/one@{server},org/two@{server},org/three@{server} --vote mean")
    assert_accessible(page, looks)
