"""The Questions tab: an index of questions with their answers, and a page for each, rendered by the server."""

from __future__ import annotations

from urllib.parse import urlencode

import gradio as gr
from markupsafe import Markup

from rb_core.audits.report import AuditTable
from rb_core.space.component import component
from rb_core.space.html import message_html, render
from rb_core.space.questions.figure import RIGHT, ROW_GAP, TOP, draw
from rb_core.space.questions.topics import QuestionPage, find_page, question_pages
from rb_core.space.results_source import ResultsSource

SHOWN_ROWS = 12  # of a table, before its button is pressed


def build_questions(page: gr.Blocks, source: ResultsSource) -> gr.HTML:
    """Lay out the tab in the tab's context of `page`; no data is sent before the tab is opened."""

    # Gradio calls such a function with exactly one argument, which may be any JSON.
    def question_html(question: object) -> str:
        """Return the page of a question as HTML; the index without a question, and a message for an unknown one."""
        pages = question_pages(source.reports())
        if not question:
            return index_html(pages)
        found = find_page(pages, str(question))
        return (
            question_page_html(found)
            if found
            else message_html("There is no question of that name.") + index_html(pages)
        )

    return component(__package__, "questions.js", server_functions=[question_html])


def index_html(pages: list[QuestionPage]) -> Markup:
    """Return a card for each page: its question, and the answer in one sentence."""
    return render("questions/index.html", pages=pages)


def question_page_html(page: QuestionPage) -> Markup:
    """Return the reports of a page as HTML; every text in them is escaped."""
    return render(
        "questions/report.html",
        page=page,
        all_drawings={r.audit: draw(r.figure) for r in page.reports if r.figure and r.figure.points},
        numeric_columns=numeric_columns,
        examples_address=examples_address,
        shown_rows=SHOWN_ROWS,
        frame={"right": RIGHT, "top": TOP, "gap": ROW_GAP},
    )


def examples_address(table: AuditTable, column: int, cell: object) -> str:
    """Return the address of an item or of a subset's examples, for a cell that names one; "" for any other."""
    field = table.columns[column].lower()
    if not table.subsets_of or field not in ("subset", "item") or not isinstance(cell, str):
        return ""
    return "?" + urlencode({"tab": "examples", "board": table.subsets_of, field: cell})


def numeric_columns(table: AuditTable) -> list[int]:
    """Return the places of the columns that hold numbers."""
    places = range(len(table.columns))
    return [place for place in places if not any(isinstance(row[place], str) for row in table.rows)]
