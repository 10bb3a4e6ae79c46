"""The tab that recommends models: from a wish to a group, in the address, by keyboard, accessible."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.space.conftest import Looks, OpenPage, assert_accessible, in_each_look


@in_each_look
def test_a_visitor_gets_a_group_for_a_wish_with_reasons_and_code(open_page: OpenPage, looks: Looks) -> None:
    page = open_page("?tab=choose&use=best-of-n&max_size=10")
    group = page.locator(".rb-ch-group > li")
    expect(group.first).to_contain_text("The highest score for these weights.")
    expect(page.get_by_label("Largest size, billions")).to_have_value("10")
    expect(page.get_by_role("heading", name="cannot be told apart")).to_be_visible()
    group.first.get_by_text("Load it").click()
    expect(group.first.locator("code").first).to_contain_text("--best-of")
    expect(page.get_by_text("correlation 0.92 (95% interval 0.78 to 0.97)")).to_be_visible()
    safety = page.get_by_role("slider", name="Safety")
    safety.focus()
    page.keyboard.press("End")
    expect(page.locator(".rb-ch-weights output").nth(3)).to_have_text("50%")
    page.wait_for_url("**weight=Safety%3A5**")
    page.get_by_label("Use", exact=True).select_option("Reward for RLHF")
    expect(page.get_by_text("does not say which one trains the better policy")).to_be_visible()
    for details in page.locator(".rb-ch-group summary").all():
        details.click()
    assert_accessible(page, looks, context=".rb-choose")
