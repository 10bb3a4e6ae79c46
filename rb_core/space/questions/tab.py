"""The Questions tab: the reports of audits, one at a time, rendered by the server."""

from __future__ import annotations

import gradio as gr
from markupsafe import Markup

from rb_core.audits.report import AuditReport, AuditTable, cell_text
from rb_core.space.component import component
from rb_core.space.html import message_html, render
from rb_core.space.questions.figure import draw
from rb_core.space.results_source import ResultsSource


def build_questions(page: gr.Blocks, source: ResultsSource) -> gr.HTML:
    """Lay out the tab in the tab's context of `page`; no data is sent before the tab is opened."""

    # Gradio calls such a function with exactly one argument, which may be any JSON.
    def question_list(_: object) -> list[dict[str, str]]:
        """Return the name and title of each report."""
        return [{"audit": report.audit, "title": report.title} for report in source.reports()]

    def question_html(audit: object) -> str:
        """Return the report of an audit as HTML, or a message if there is none of that name."""
        reports = {report.audit: report for report in source.reports()}
        report = reports.get(str(audit))
        return question_report_html(report) if report else message_html("There is no report of that name.")

    return component(__package__, "questions.js", server_functions=[question_list, question_html])


def question_report_html(report: AuditReport) -> Markup:
    """Return a report as HTML; every text in it is escaped."""
    return render(
        "questions/report.html",
        report=report,
        drawing=draw(report.figure) if report.figure and report.figure.points else None,
        numeric_columns=numeric_columns,
        cell_text=cell_text,
    )


def numeric_columns(table: AuditTable) -> list[int]:
    """Return the places of the columns that hold numbers."""
    places = range(len(table.columns))
    return [place for place in places if not any(isinstance(row[place], str) for row in table.rows)]
