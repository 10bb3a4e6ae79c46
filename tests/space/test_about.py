"""The tab *About*: what it says of numbers is what the package computes with."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from markupsafe import escape
from playwright.sync_api import expect

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.space.about.tab import about_html
from rb_core.space.judge_modes import MODE_DESCRIPTIONS
from rb_core.space.model.labels import JUDGE_SHARES
from rb_core.stats.intervals import REPLICATES
from rb_core.stats.metrics.ties import TIES_WEIGHTS
from tests.space.conftest import OpenPage, compact


@pytest.mark.parametrize("spec", BENCHMARKS.values(), ids=lambda spec: spec.id)
def test_every_benchmark_stands_with_its_sections_and_weights(open_page: OpenPage, spec) -> None:
    """The table of a benchmark has each section of its record with weight, share and number of examples."""
    name = f"Sections of {spec.title} and their weights in the score"
    table = open_page("?tab=about").get_by_role("table", name=name)
    rows = table.get_by_role("row")
    expect(rows).to_have_count(len(spec.sections) + 1)
    total = sum(section.headline_weight for section in spec.sections)
    for number, section in enumerate(spec.sections, 1):
        cells = rows.nth(number).locator("th, td").all_inner_texts()
        assert cells[:3] == [
            section.name,
            f"{section.headline_weight:g}",
            f"{100 * section.headline_weight / total:.1f}%",
        ]
        counts = [subset.count for subset in spec.subsets if subset.name in section.weights]
        if None not in counts:
            assert cells[3] == f"{sum(counts):,}"
        assert int(cells[3].replace(",", "")) > 0


def test_numbers_in_the_text_are_the_ones_computed_with() -> None:
    """Replicates, the weights of the Ties score, tie rules, licences and citations come from where they are used."""
    html = compact(about_html(BENCHMARKS.values()))
    assert f"{REPLICATES:,} times" in html
    weights = re.findall(r'<th scope="row" class="rb-num">(\d\.\d\d)</th>', html)
    assert [float(weight) for weight in weights] == list(TIES_WEIGHTS.values())
    for spec in BENCHMARKS.values():
        assert spec.licence in html
        assert not spec.url or spec.citation.split(", arXiv")[0] in html
    assert html.count("earns 1/k") == sum(spec.tie_credit == "split" for spec in BENCHMARKS.values())


def test_every_way_to_ask_a_judge_and_every_share_is_explained() -> None:
    """Modes and shares come from the words that the other tabs have."""
    html = compact(about_html(BENCHMARKS.values()))
    for mode, about in MODE_DESCRIPTIONS.items():
        assert f"<code>{mode}</code></th><td>{escape(about.asks)}</td><td>{escape(about.score)}</td>" in html
    for share in JUDGE_SHARES.values():
        assert f"<dt>{escape(share.label)}</dt><dd>{escape(share.definition)}</dd>" in html


def test_a_record_that_changes_changes_the_text() -> None:
    """Weights, tie rule and licence are the record's: another record reads differently."""
    spec = BENCHMARKS["rewardbench"]
    other = replace(
        spec,
        tie_credit="split",
        licence="MIT",
        sections=(*spec.sections[:4], replace(spec.sections[4], headline_weight=4.0)),
    )
    before, after = compact(about_html([spec])), compact(about_html([other]))
    share = '<td class="rb-num">4</td><td class="rb-num">50.0%</td>'
    for text in (share, "earns 1/k", "<td>MIT</td>"):
        assert text in after
        assert text not in before


def test_texts_of_a_record_are_escaped() -> None:
    """A record with markup in its texts shows it as typed."""
    evil = '<img src=x onerror="1">'
    spec = replace(BENCHMARKS["rewardbench-2"], title=evil, description=evil, licence=evil, citation=evil)
    html = about_html([spec])
    assert evil not in html
    assert html.count("&lt;img") >= 4


def test_headings_can_be_linked_to(open_page: OpenPage) -> None:
    """Every section stands in the list at the top, and an address with its anchor opens the tab at that place."""
    page = open_page("?tab=about&board=starter#about-ranks")
    heading = page.get_by_role("heading", name="Ranks and rank intervals")
    expect(heading).to_be_in_viewport()
    places = page.get_by_role("navigation", name="On this tab").get_by_role("link")
    titles = page.get_by_role("tabpanel", name="About").get_by_role("heading", level=3).all_inner_texts()
    assert places.all_inner_texts() == titles
    places.filter(has_text="Licences").click()
    expect(page.get_by_role("heading", name="Licences", exact=True)).to_be_in_viewport()
    assert page.url.endswith("?tab=about&board=starter#about-licences")


def test_links_inside_of_the_text_lead_somewhere(open_page: OpenPage) -> None:
    """Every link to a place on this tab has that place, and no place is there twice."""
    page = open_page("?tab=about")
    about = page.get_by_role("tabpanel", name="About")
    expect(about).to_be_visible()
    missing = about.evaluate(
        """(about) => [...about.querySelectorAll('a')].map((a) => a.hash)
            .filter((hash) => hash && document.querySelectorAll(hash).length !== 1)"""
    )
    assert missing == []
    assert about.locator("a[href*='#']").count() > 10


def test_lines_are_not_too_long_to_read(open_page: OpenPage) -> None:
    """On a wide window a line of text has at most some 80 characters."""
    page = open_page("?tab=about", width=1440)
    text = page.get_by_role("tabpanel", name="About").locator("p").nth(1)
    assert text.bounding_box()["width"] < 750
