"""The Examples tab: from a choice to its items, in the address and by links, accessible."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.space.conftest import Looks, OpenPage, assert_accessible, in_each_look


@in_each_look
def test_a_visitor_finds_the_items_of_a_part_that_a_model_fails(open_page: OpenPage, looks: Looks) -> None:
    page = open_page("?benchmark=starter", tab="Examples")
    status = page.get_by_role("status").filter(has_text="items")
    expect(status).to_have_text("300 items, page 1 of 30.")
    assert "&board=starter" in page.url, "an address of an earlier version is rewritten"
    page.get_by_role("link", name="hard-factual", exact=True).first.click()
    expect(status).to_have_text("25 items, page 1 of 3.")
    page.go_back()
    expect(status).to_have_text("300 items, page 1 of 30.")
    page.get_by_label("Part", exact=True).select_option("hard-factual")
    expect(page.get_by_role("heading", name="hard-factual", exact=True)).to_be_visible()
    expect(page.get_by_text("The rejected answer has one factual error").first).to_be_visible()
    expect(page.get_by_role("img", name="Items by the share of models that are wrong")).to_be_visible()
    page.get_by_label("Show", exact=True).select_option("Wrong for A, right for B")
    page.get_by_label("Model A").fill("baseline/longest")
    page.get_by_label("Model B").fill("builtin/tiny-rm")
    expect(status).to_contain_text("wrong for A, right for B")
    first = page.locator(".rb-ex-items article").first
    expect(first.get_by_text("Better answer")).to_be_visible()
    expect(first.get_by_text("baseline/longest: wrong. builtin/tiny-rm: right.")).to_be_visible()
    assert "subset=hard-factual" in page.url
    assert "filter=only-b" in page.url
    assert_accessible(page, looks, context=".rb-examples")
    page.reload()
    expect(page.locator(".rb-ex-items article").first).to_contain_text("baseline/longest: wrong")
    expect(page.get_by_label("Model A")).to_have_value("baseline/longest")
