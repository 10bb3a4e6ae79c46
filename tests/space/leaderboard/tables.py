"""Small boards, and the table as a browser shows it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page, expect

from rb_core.leaderboard.board import Board, BoardRow, BoardSection
from rb_core.results.estimate import Estimate
from rb_core.stats.rank_intervals import RankInterval

MISSING = "–"
NUM_MODELS = 212  # on the bundled RewardBench board


def small_row(
    rank: int | None,
    model: str,
    status: str,
    headline: tuple[float, float | None, float | None],
    *,
    section: float | None = None,
    kind: str = "Generative",
    parameters: int | None = None,
    interval: RankInterval | None = None,
    sweep: str | None = None,
) -> BoardRow:
    """A row of a board with one section; headline: value, and the ends of its interval."""
    value, low, high = headline
    sections = {"Section": value if section is None else section}
    estimate = Estimate(value=value, low=low, high=high)
    organisation = model.split("/", maxsplit=1)[0] if "/" in model else None
    return BoardRow(
        rank, model, kind, status, estimate, 1.0, None, parameters, sections, {}, interval, None, organisation, sweep
    )


def small_board(rows: Sequence[BoardRow], text: str, section: str) -> Board:
    """A board with one section, whose every text is `text`."""
    renamed = tuple(replace(row, sections={section: row.sections["Section"]}) for row in rows)
    sections = (BoardSection(section, text),)
    return Board("small", text, text, text, text, text, sections, (), renamed, ("source",), "2026-01-02")


def header(page: Page, name: str) -> Locator:
    """The button that sorts by the column of that name."""
    return page.get_by_role("columnheader", name=name, exact=True).get_by_role("button")


def shown(page: Page, name: str) -> list[str]:
    """The visible texts of a column, top to bottom."""
    page.locator(".rb-scroll thead th").first.wait_for(state="attached")
    texts: list[str] = page.evaluate(
        """(name) => {
            const [upper, lower] = [...document.querySelectorAll('.rb-scroll thead tr')].map((tr) => [...tr.children]);
            const heads = upper.flatMap((th) => (th.scope === 'colgroup' ? lower.splice(0, th.colSpan) : [th]));
            const label = (th) => th.querySelector('.rb-label').textContent.replace(/[▲▼]/, '');
            const place = heads.findIndex((th) => label(th) === name);
            return [...document.querySelectorAll('.rb-scroll tbody tr:not(.rb-band)')].map((tr) => {
                const cell = tr.children[place].cloneNode(true);
                if (cell.matches('.rb-missing, :has(.rb-missing)')) return '–';
                cell.querySelectorAll('.rb-hidden, .rb-interval, .rb-tag, .rb-facts').forEach((part) => part.remove());
                return cell.textContent.trim();
            });
        }""",
        name,
    )
    return texts


def numbers(texts: list[str]) -> list[float]:
    """The numbers of a column; missing ones must all be at its end."""
    count = next((i for i, text in enumerate(texts) if text == MISSING), len(texts))
    assert set(texts[count:]) <= {MISSING}
    return [float(text) for text in texts[:count]]


def menu(page: Page, name: str) -> Locator:
    """Open the menu of that name, and return the group of its checkboxes."""
    button = page.locator(".rb-open", has_text=name)
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    return page.locator(f"#{button.get_attribute('aria-controls')}")


def wait_for_ranking(page: Page) -> None:
    """Wait until the server has ranked the models by the custom score."""
    expect(page.locator(".rb-custom")).to_contain_text("computed as those of the benchmark’s score")


def wait_for_parameter(page: Page, name: str, *values: str) -> None:
    """Wait until the address has these values of a parameter, in any order; it is written with a delay."""
    page.wait_for_url(lambda url: sorted(parse_qs(urlsplit(url).query).get(name, [])) == sorted(values))


def csv_rows(path: Path) -> list[list[str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def csv_dicts(path: Path) -> list[dict[str, str]]:
    heads, *rows = csv_rows(path)
    return [dict(zip(heads, row, strict=True)) for row in rows]
