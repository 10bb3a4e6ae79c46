"""Downloads as CSV and JSON, the copied link and the copied citation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from rb_core.space.results_source import ResultsFolder
from tests.space.conftest import OpenPage
from tests.space.leaderboard.tables import csv_dicts, header, menu, shown, wait_for_ranking
from tests.space.leaderboard.test_controls import boards_json, custom_scores


def test_downloads_have_the_shown_rows_and_columns(open_page: OpenPage, results: ResultsFolder) -> None:
    """CSV and JSON have the rows in their order with exact numbers; hidden columns and custom scores are respected."""
    board = boards_json(results)[0]
    page = open_page("?q=skywork&sort=model")
    names = shown(page, "Model")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "rewardbench.csv"
    rows = csv_dicts(download.value.path())
    assert [row["Model"] for row in rows] == names
    place = next(i for i, column in enumerate(board["columns"]) if column["role"] == "headline")
    headlines = {row[1]: row[place] for row in board["rows"]}
    for row in rows:
        assert float(row["Score"]) == headlines[row["Model"]]
        assert "Chat / alpacaeval-easy" in row

    menu(page, "Columns").get_by_role("checkbox", name="Kind", exact=True).uncheck()
    menu(page, "Weights").get_by_role("spinbutton", name="Weight of Chat", exact=True).fill("0")
    page.keyboard.press("Escape")
    wait_for_ranking(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    assert download.value.suggested_filename == "rewardbench.json"
    content = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    scores = custom_scores(board, {"Chat"})
    assert [row["model"] for row in content["rows"]] == names
    assert "kind" not in content["rows"][0]
    assert content["score"] == {"custom": True, "sections": ["Chat Hard", "Safety", "Reasoning", "Prior Sets"]}
    for row in content["rows"]:
        assert row["score"] == pytest.approx(scores[row["model"]], abs=1e-5)
        assert row["low"] < row["score"] < row["high"]
        assert row["range"]["best"] <= row["rank"] <= row["range"]["worst"]
        assert row["tier"] >= 1
    assert "Lambert" in content["citation"]
    assert content["sources"]


def test_the_copied_link_opens_the_same_table(open_page: OpenPage) -> None:
    """It keeps parameters that belong to others. Without a clipboard the link is shown. The citation has an address."""
    page = open_page("?tab=leaderboard&other=kept")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    menu(page, "Organisation").get_by_role("checkbox", name="Skywork").check()
    menu(page, "Columns").get_by_role("checkbox", name="Rank interval").uncheck()
    menu(page, "Weights").get_by_role("spinbutton", name="Weight of Safety").fill("0")
    page.keyboard.press("Escape")
    wait_for_ranking(page)
    page.locator(".rb-pin").nth(2).click()
    header(page, "Reasoning").click()
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("Link copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    query = parse_qs(urlsplit(link).query)
    assert (query["tab"], query["other"]) == (["leaderboard"], ["kept"])
    page.get_by_role("button", name="Copy citation").click()
    expect(page.get_by_text("Citation copied")).to_be_visible()
    text = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"Lambert et al\. 2024.*arXiv:2403\.13787\nhttps://huggingface\.co/\S+", text)
    page.evaluate(
        "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no'));"
        " document.execCommand = () => false; }"
    )
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("does not let the page copy")).to_contain_text("orgs=Skywork")
    before = page.get_by_role("table").inner_text()
    again = open_page(f"?{urlsplit(link).query}")
    expect(again.get_by_role("columnheader", name="Custom score", exact=True)).to_be_visible()
    wait_for_ranking(again)
    expect(again.get_by_role("table")).to_have_text(before, use_inner_text=True)  # rows may still be drawn again
