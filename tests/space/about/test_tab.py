"""The About tab, which is generated from what the package computes with."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from markupsafe import Markup, escape
from playwright.sync_api import expect
from scipy.stats import chi2

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.leaderboard.verdict import p_text
from rb_core.space.about.tab import about_html
from rb_core.space.judge_modes import MODE_DESCRIPTIONS
from rb_core.space.model.labels import JUDGE_SHARES
from rb_core.stats.metrics.ties import TIES_WEIGHTS
from tests.space.conftest import OpenPage, compact


@pytest.fixture(scope="module")
def html() -> str:
    return compact(about_html(BENCHMARKS.values()))


@pytest.mark.parametrize("spec", BENCHMARKS.values(), ids=lambda spec: spec.id)
def test_a_benchmark_has_its_sections_and_weights(html: str, spec) -> None:
    """Each section has its weight, share and number of examples."""
    caption = escape(f"Sections of {spec.title} and their weights in the score")
    table = html.split(f"{caption}</caption>")[1].split("</table>", maxsplit=1)[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table.split("<tbody>")[1].split("</tr>") if row][
        :-1
    ]
    total = sum(section.headline_weight for section in spec.sections)
    assert len(rows) == len(spec.sections)
    for cells, section in zip(rows, spec.sections, strict=True):
        weight = section.headline_weight
        assert cells[:3] == [str(escape(section.name)), f"{weight:g}", f"{100 * weight / total:.1f}%"]
        counts = [subset.count for subset in spec.subsets if subset.name in section.weights]
        if None not in counts:
            assert cells[3] == f"{sum(counts):,}"
        assert int(cells[3].replace(",", "")) > 0


def test_numbers_come_from_the_code_that_uses_them(html: str) -> None:
    """The weights of the Ties score, tie rules, licences and citations."""
    weights = re.findall(r'<th scope="row" class="rb-num">(\d\.\d\d)</th>', html)
    assert [float(weight) for weight in weights] == list(TIES_WEIGHTS.values())
    for spec in BENCHMARKS.values():
        assert spec.licence in html
        assert not spec.url or spec.citation.split(", arXiv")[0] in html
    assert html.count("earns 1/k") == sum(spec.tie_credit == "split" for spec in BENCHMARKS.values())


def test_the_worked_example_is_computed(html: str) -> None:
    text = re.sub(r"\s+", " ", html)
    for part in ("scores 200 of 210 examples", "Its score is 80.0", "76.2 and 81.0", "24 and B alone on 16"):
        assert part in text
    assert p_text(chi2.sf((24 - 16) ** 2 / (24 + 16), 1)) in text  # McNemar's test
    assert "would settle this lead" in text


def test_modes_and_shares_of_judges_are_explained(html: str) -> None:
    for name, mode in MODE_DESCRIPTIONS.items():
        assert f"<code>{name}</code></th><td>{escape(mode.asks)}</td><td>{escape(mode.score)}</td>" in html
    for share in JUDGE_SHARES.values():
        assert f"<dt>{escape(share.label)}</dt><dd>{escape(share.definition)}</dd>" in html


def test_another_record_gives_another_text() -> None:
    spec = BENCHMARKS["rewardbench"]
    sections = (*spec.sections[:4], replace(spec.sections[4], headline_weight=4.0))
    other = replace(spec, tie_credit="split", licence="MIT", sections=sections)
    before, after = compact(about_html([spec])), compact(about_html([other]))
    share = '<td class="rb-num">4</td><td class="rb-num">50.0%</td>'
    for text in (share, "earns 1/k", "<td>MIT</td>"):
        assert text in after
        assert text not in before


def test_texts_of_a_record_are_escaped() -> None:
    evil = '<img src=x onerror="1">'
    spec = replace(BENCHMARKS["rewardbench-2"], title=evil, description=evil, licence=evil, citation=evil)
    html = about_html([spec])
    assert isinstance(html, Markup)
    assert evil not in html
    assert html.count("&lt;img") >= 4


def test_headings_can_be_linked_to(open_page: OpenPage) -> None:
    """An address with an anchor opens the tab at that place, and every link leads to one place. Lines are short."""
    page = open_page("?tab=about&board=starter#about-ranks")
    expect(page.get_by_role("heading", name="Ranks, rank intervals and tiers")).to_be_in_viewport()
    about = page.get_by_role("tabpanel", name="About")
    box = about.locator("p").nth(1).bounding_box()
    assert box
    assert box["width"] < 750  # about 80 characters
    places = page.get_by_role("navigation", name="On this tab").get_by_role("link")
    assert places.all_inner_texts() == about.get_by_role("heading", level=3).all_inner_texts()
    broken_links = about.evaluate(
        """(about) => [...about.querySelectorAll('a')].map((a) => a.hash)
            .filter((hash) => hash && document.querySelectorAll(hash).length !== 1)"""
    )
    assert broken_links == []
    assert about.locator("a[href*='#']").count() > 10
    places.filter(has_text="Licences").click()
    expect(page.get_by_role("heading", name="Licences", exact=True)).to_be_in_viewport()
    assert page.url.endswith("?tab=about&board=starter#about-licences")
