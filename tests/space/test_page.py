"""The page as a whole: what it loads, and whether everybody can use it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Request, expect

from tests.space.conftest import REPOSITORY, OpenPage

FIRST_TABLE_BYTES = 500_000


def test_app_imports_without_torch() -> None:
    """The page opens without loading what only scoring needs."""
    code = "import sys, app; print(sorted({'torch', 'transformers', 'datasets'} & sys.modules.keys()), app.demo.title)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] RewardBench"


def test_the_first_table_costs_less_than_half_a_megabyte(browser: Browser, url: str) -> None:
    """Everything that is transferred to a new visitor until the table stands stays within the budget."""
    page = browser.new_page()
    sizes: list[int] = []

    def add(request: Request) -> None:
        found = request.sizes()
        sizes.append(found["responseBodySize"] + found["responseHeadersSize"])

    page.on("requestfinished", add)
    page.goto(url)
    expect(page.locator(".rb-scroll tbody tr").first).to_be_visible()
    page.wait_for_timeout(500)  # the page keeps a stream open, so that its network never falls silent
    page.close()
    assert 0 < sum(sizes) < FIRST_TABLE_BYTES


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_no_violation(open_page: OpenPage, theme: str, width: int) -> None:
    """Both tabs pass axe-core, before and after scoring, with every kind of cell on screen; nothing overflows."""
    # A search keeps some rows of each kind: axe reads the contrast of every single cell.
    page = open_page("?q=skywork,tulu-2-7b&view=subsets", theme=theme, width=width)
    assert page.evaluate("document.body.classList.contains('dark')") is (theme == "dark")
    axe = Axe()
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    page.get_by_role("tab", name="Try a pair").click()
    page.get_by_role("button", name="Four answers").click()
    expect(page.get_by_label("Completion 4", exact=True)).to_be_visible()
    page.get_by_role("button", name="Score", exact=True).click()
    page.get_by_text("The text the model was fed").click(timeout=60_000)
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    page.get_by_label("Completion 4", exact=True).fill("")
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="Completion 4 is empty")).to_be_visible()
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
