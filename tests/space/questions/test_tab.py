"""The Questions tab: a list of reports, one of them shown, escaped and accessible."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr
from playwright.sync_api import expect

from rb_core.audits.report import AuditTable, write_report
from rb_core.space.questions.tab import build_questions, question_report_html
from rb_core.space.results_source import ResultsFolder
from tests.audits.reports import small_report
from tests.space.conftest import Looks, OpenPage, Serve, assert_accessible, in_each_look

MARKUP = "<img src=x onerror=document.title='bad'> \"'&"


def questions_page(root: Path) -> gr.Blocks:
    with gr.Blocks() as demo:
        gr.HTML('<div class="rb-board"><h2>Leaderboard</h2></div>')  # what `open_page` waits for
        build_questions(demo, ResultsFolder(root))
    return demo


def test_every_text_of_a_report_is_escaped() -> None:
    html = question_report_html(small_report(text=MARKUP))
    assert "<img" not in html
    assert html.count("&lt;img") >= 10


def test_the_first_cell_of_a_row_is_its_link() -> None:
    table = AuditTable(
        title="t", columns=("a", "b"), rows=(("x", 1), ("y", 2)), links=(None, "https://example.org/?a=1&b=%22")
    )
    html = question_report_html(small_report().model_copy(update={"tables": (table,)}))
    links = re.findall(r'<td><a href="([^"]*)" target="_blank" rel="noopener">y<span', html)
    assert links == ["https://example.org/?a=1&amp;b=%22"]
    assert "<td>x</td>" in html


@in_each_look
def test_a_question_is_chosen_with_the_keyboard_and_kept_in_the_address(
    open_page: OpenPage, serve: Serve, tmp_path: Path, looks: Looks
) -> None:
    for audit, text in (("first", "The first question"), ("second", "The second question")):
        write_report(tmp_path, small_report(audit, text))
    page = open_page("?question=second", at=serve(questions_page(tmp_path)))
    expect(page.get_by_role("heading", name="The second question").first).to_be_visible()
    first = page.get_by_role("button", name="The first question")
    first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The first question").first).to_be_visible()
    expect(first).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("img", name="The first question")).to_be_visible()
    expect(page.locator("td.rb-num").first).to_have_text("0.500")
    assert "question=first" in page.url
    assert_accessible(page, looks, context=".rb-questions")


def test_results_without_reports_say_how_to_make_one(open_page: OpenPage, serve: Serve, tmp_path: Path) -> None:
    page = open_page(at=serve(questions_page(tmp_path)))
    expect(page.get_by_role("status").filter(has_text="no reports yet")).to_be_visible()
