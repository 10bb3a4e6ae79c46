"""Trait columns, which equal the reports of the audits."""

from __future__ import annotations

from playwright.sync_api import expect

from rb_core.audits.report import read_report, report_path
from rb_core.space.results_source import ResultsFolder
from tests.paths import BUNDLED
from tests.space.conftest import OpenPage
from tests.space.leaderboard.tables import MISSING, header, menu, shown, wait_for_parameter


def test_traits_have_a_view_of_their_own_and_equal_the_reports(open_page: OpenPage, results: ResultsFolder) -> None:
    """Empty cells say why; every board has its own traits; a trait can stand beside the sections."""
    errors = {row[0]: (row[2], row[5]) for row in read_report(BUNDLED / report_path("refusals")).tables[1].rows}
    gaps = {row[0]: row[3] for row in read_report(BUNDLED / report_path("length-rewardbench")).tables[1].rows}
    page = open_page()
    page.get_by_role("radio", name="Traits").check()
    header(page, "Over-refusal").click()
    names = shown(page, "Model")
    over, under, gap = (shown(page, name) for name in ("Over-refusal", "Under-refusal", "Length gap"))
    assert len(errors) == sum(text != MISSING for text in over) == 133
    for place, name in enumerate(names[:133]):
        assert (over[place], under[place]) == tuple(f"{100 * float(share):.1f}" for share in errors[name])  # type: ignore[arg-type]
        if name in gaps:
            assert gap[place] == f"{100 * float(gaps[name]):+.1f}".replace("-", "−")  # type: ignore[arg-type]
    empty = page.locator(".rb-rest tr td.rb-trait.rb-missing")
    expect(empty.first).to_have_attribute("title", "outcomes of single examples are not known")
    wait_for_parameter(page, "view", "traits")
    expect(page.get_by_role("columnheader", name="Chat", exact=True)).to_have_count(0)
    page.get_by_role("radio", name="Sections").check()
    menu(page, "Columns").get_by_role("checkbox", name="Over-refusal").check()
    expect(page.get_by_role("columnheader", name="Over-refusal")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Chat", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("radio", name="RewardBench 2", exact=True).check()
    expect(page.get_by_role("radio", name="Traits")).to_have_count(0)
    page.get_by_role("radio", name="Starter").check()
    page.get_by_role("radio", name="Traits").check()
    page.locator(".rb-label", has_text="Lift").hover()
    expect(page.get_by_role("tooltip")).to_contain_text("Score minus that of the best baseline")
    lifts = dict(zip(shown(page, "Model"), shown(page, "Lift"), strict=True))
    assert lifts.pop("builtin/tiny-rm") == "−0.8"
    assert set(lifts.values()) == {MISSING}
