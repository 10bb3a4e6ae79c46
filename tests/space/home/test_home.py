"""The leaderboard's first rows: in the server's HTML, above the fold, and without a shift when gradio takes over."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from rb_core.space.first_view import FirstView
from rb_core.space.home.home import first_rows
from rb_core.space.html import percent_text
from rb_core.space.results_source import ResultsFolder

SHIFTS = """
window.shift = 0;
new PerformanceObserver((list) => list.getEntries().forEach((entry) => { window.shift += entry.value; }))
  .observe({type: 'layout-shift', buffered: true});
"""


def test_the_document_has_the_first_rows_of_the_board_that_the_address_names(url: str, results: ResultsFolder) -> None:
    for query, board_id in (
        ("", next(iter(results.boards()))),
        ("?board=rewardbench-2&tab=leaderboard", "rewardbench-2"),
    ):
        html = httpx.get(url + query).text
        rows = re.findall(
            r'<tr><td class="rb-num">(\d+)</td><th scope="row">(.*?)</th><td class="rb-num">(.*?)</td>', html
        )
        ranked = results.boards()[board_id].ranked()[:25]
        assert rows == [(str(row.rank), row.model, percent_text(row.headline.value)) for row in ranked]
    for query in ("?tab=about", "?q=llama", "?pins=a/b"):
        assert "rb-first" not in httpx.get(url + query).text.partition("<body")[2]


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_first_rows_are_above_the_fold_and_stay_where_they_are(
    browser: Browser, url: str, width: int, height: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": height})
    page.add_init_script(SHIFTS)
    page.goto(url)
    row = page.locator(".rb-rest tr").nth(1)
    expect(row).to_be_visible()
    expect(page.locator("#rb-first")).to_have_count(0)
    box = row.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < height
    assert page.evaluate("window.shift") < 0.05
    page.close()


def test_the_page_without_results_has_no_first_rows(tmp_path: Path) -> None:
    assert first_rows(ResultsFolder(tmp_path), {}) == FirstView()
