"""Compare the first views of pages that are being served: `python -m tests.perf.first_view URL [URL ...]`.

Prints for each address the medians of interleaved loads in a fresh browser context: seconds until the first row of the
leaderboard is visible, until the table has been drawn, bytes and requests, and the layout shift; and the seconds until
the first verdict of a comparison of four models is visible.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from typing import NamedTuple

from playwright.sync_api import Browser, sync_playwright

ROUNDS = 5
MODELS = "infly/INF-ORM-Llama3.1-70B,nicolinho/QRM-Gemma-2-27B,openbmb/UltraRM-13b,allenai/tulu-2-dpo-70b"
COMPARE = f"?tab=compare&board=rewardbench&models={MODELS}"
PROBE = """
window.rowAt = window.tableAt = window.verdictAt = null; window.shift = 0;
new PerformanceObserver((list) => list.getEntries().forEach((entry) => { window.shift += entry.value; }))
  .observe({type: 'layout-shift', buffered: true});
(function look() {
  const seen = (rows) => [...document.querySelectorAll(rows)].some((row) => row.getBoundingClientRect().height > 0);
  if (window.rowAt === null && seen('#rb-first tbody tr, .rb-scroll tbody tr')) window.rowAt = performance.now();
  if (window.tableAt === null && seen('.rb-scroll tbody tr')) window.tableAt = performance.now();
  if (window.verdictAt === null && seen('.rb-cmp-verdicts li')) window.verdictAt = performance.now();
  requestAnimationFrame(look);
})();
"""


class FirstView(NamedTuple):
    """Measurements of one load of a page."""

    row_seconds: float
    table_seconds: float
    bytes: float
    requests: float
    shift: float
    verdict_seconds: float


def first_view(browser: Browser, url: str) -> FirstView:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(PROBE)
    sizes: list[int] = []

    def add(request: object) -> None:
        transferred = request.sizes()  # type: ignore[attr-defined]
        sizes.append(transferred["responseBodySize"] + transferred["responseHeadersSize"])

    page.on("requestfinished", add)
    page.goto(url)
    page.wait_for_function("window.tableAt !== null", timeout=120_000)
    page.wait_for_timeout(1500)
    row, table, shift = page.evaluate("[window.rowAt, window.tableAt, window.shift]")
    context.close()
    return FirstView(row / 1000, table / 1000, sum(sizes), len(sizes), shift, first_verdict(browser, url))


def first_verdict(browser: Browser, url: str) -> float:
    """Return the seconds from navigation to the first verdict on `MODELS` in a fresh context."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(PROBE)
    page.goto(url + COMPARE, wait_until="commit")
    page.wait_for_function("window.verdictAt !== null", timeout=120_000)
    seconds: float = page.evaluate("window.verdictAt") / 1000
    context.close()
    return seconds


def main(urls: list[str]) -> None:
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        views: dict[str, list[FirstView]] = {url: [] for url in urls}
        for _ in range(ROUNDS):
            for url in urls:
                views[url].append(first_view(browser, url))
        browser.close()
    for url, loads in views.items():
        row, table, size, requests, shift, verdict = (statistics.median(values) for values in zip(*loads, strict=True))
        times = f"first row {row:.2f} s, table {table:.2f} s, verdict {verdict:.2f} s"
        print(f"{url}: {times}, {size / 1000:.0f} kB, {requests:.0f} requests, shift {shift:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
