"""The Questions tab: an index, and a page for each question, escaped and accessible."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr
from playwright.sync_api import expect

from rb_core.audits.report import AuditReport, AuditTable, write_report
from rb_core.space.questions.tab import SHOWN_ROWS, build_questions, index_html, question_page_html
from rb_core.space.questions.topics import find_page, question_pages
from rb_core.space.results_source import ResultsFolder
from tests.audits.reports import small_report
from tests.space.conftest import Looks, OpenPage, Serve, assert_accessible, in_each_look

MARKUP = "<img src=x onerror=document.title='bad'> \"'&"


def questions_page(root: Path) -> gr.Blocks:
    with gr.Blocks() as demo:
        build_questions(demo, ResultsFolder(root))
    return demo


def page_html(*reports: AuditReport) -> str:
    (page,) = question_pages(reports)
    return question_page_html(page)


def test_every_text_of_a_report_is_escaped() -> None:
    report = small_report(text=MARKUP)
    assert "<img" not in page_html(report) + index_html(question_pages([report]))
    assert page_html(report).count("&lt;img") >= 10


def test_the_first_cell_of_a_row_is_its_link_and_subsets_lead_to_their_examples() -> None:
    table = AuditTable(
        title="t",
        columns=("a", "Subset"),
        rows=(("x", "s 1"), ("y", "s 2")),
        links=(None, "https://example.org/?a=1&b=%22"),
        subsets_of="bench",
    )
    html = page_html(small_report().model_copy(update={"tables": (table,)}))
    links = re.findall(r'<td><a href="([^"]*)" target="_blank" rel="noopener">y<span', html)
    assert links == ["https://example.org/?a=1&amp;b=%22"]
    assert "<td>x</td>" in html
    assert '<td><a href="?tab=examples&amp;board=bench&amp;subset=s+1">s 1</a></td>' in html
    items = table.model_copy(update={"columns": ("Item", "n")})
    html = page_html(small_report().model_copy(update={"tables": (items,)}))
    assert '<td><a href="?tab=examples&amp;board=bench&amp;item=y">y</a> · <a href="https://example.org' in html


def test_reports_on_one_property_share_a_page() -> None:
    names = ("length-b", "safety-x", "refusals", "safety", "my-property", "length-a")
    pages = question_pages([small_report(name) for name in names])
    assert [(page.topic.id, [report.audit for report in page.reports]) for page in pages] == [
        ("safety", ["refusals", "safety-x", "safety"]),
        ("length", ["length-b", "length-a"]),
        ("my-property", ["my-property"]),
    ]
    for name in names:
        page = find_page(pages, name)
        assert page
        assert name in [page.topic.id, *(report.audit for report in page.reports)]
    assert find_page(pages, "none") is None


@in_each_look
def test_a_question_is_opened_from_its_card_and_its_table_is_sorted(
    open_page: OpenPage, serve: Serve, tmp_path: Path, looks: Looks
) -> None:
    rows = tuple((f"row {number:02}", float((7 * number) % 31), None if number == 3 else "w") for number in range(30))
    table = AuditTable(title="Numbers", columns=("name", "value", "word"), rows=rows)
    for audit, text in (("first", "The first question"), ("second", "The second question")):
        write_report(tmp_path, small_report(audit, text).model_copy(update={"tables": (table,)}))
    page = open_page("?tab=questions", at=serve(questions_page(tmp_path)))
    assert_accessible(page, looks, context=".rb-questions")
    card = page.get_by_role("link", name="The second question")
    card.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The second question").first).to_be_visible()
    assert "question=second" in page.url
    expect(page.get_by_role("img", name="The second question")).to_be_visible()
    shown = page.get_by_role("table", name="Numbers").locator("tbody tr:visible")
    expect(shown).to_have_count(SHOWN_ROWS)
    by_value = page.get_by_role("button", name="value")
    for ascending in (False, True):
        by_value.press("Enter")
        values = [float(text) for text in shown.locator("td.rb-num").all_inner_texts()]
        assert values == sorted((row[1] for row in rows), reverse=not ascending)[:SHOWN_ROWS]
    page.get_by_role("button", name="word").click()
    page.get_by_role("button", name="Show all 30 rows").click()
    expect(shown).to_have_count(30)
    expect(shown.last.locator("td").first).to_have_text("row 03")
    assert_accessible(page, looks, context=".rb-questions")
    page.get_by_role("link", name="All questions").click()
    expect(page.get_by_role("link", name="The first question")).to_be_visible()


def test_no_two_regions_of_a_page_have_one_name(results: ResultsFolder) -> None:
    """Reports on one page may have tables and figures of one title."""
    for page in question_pages(results.reports()):
        names = re.findall(r'role="region" aria-label="([^"]*)"', question_page_html(page))
        assert len(set(names)) == len(names) > 0, page.topic.id


def test_results_without_reports_say_how_to_make_one(open_page: OpenPage, serve: Serve, tmp_path: Path) -> None:
    page = open_page(at=serve(questions_page(tmp_path)))
    expect(page.get_by_role("status").filter(has_text="no reports yet")).to_be_visible()
