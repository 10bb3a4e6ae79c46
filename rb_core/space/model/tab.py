"""The Model tab: the browser asks for one model's page, which the server renders."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rb_core.leaderboard.model_report import ModelReport, UnknownModelError, model_names, model_report
from rb_core.space.component import component
from rb_core.space.model.findings import findings_on
from rb_core.space.model.report import ReportContext, report_html
from rb_core.space.results_source import ResultsSource


def build_model(page: gr.Blocks, source: ResultsSource) -> gr.HTML:
    """Lay out the tab in the tab's context of `page`; no data is sent before the tab is opened."""

    # Gradio calls such a function with exactly one argument, which may be any JSON.
    def model_list(part: object) -> list[str]:
        """Return the names of the models that contain this text."""
        return [name for name in model_names(source.boards().values()) if str(part).lower() in name.lower()]

    def model_html(model: object) -> dict[str, Any]:
        """Return a model's page as HTML, its name if it is known, and the line for the live region."""
        try:
            model_results = model_report(source, str(model))
        except UnknownModelError as error:
            return {"known": False, "message": str(error), "html": ""}
        report, context = model_results.to_json(), report_context(model_results, source)
        titles = [entry["benchmark"]["title"] for entry in report["results"]]
        boards = titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"
        name = report["model"]
        return {"known": True, "model": name, "message": f"{name} on {boards}.", "html": report_html(report, context)}

    return component(__package__, "model.js", server_functions=[model_list, model_html])


def report_context(report: ModelReport, source: ResultsSource) -> ReportContext:
    """Return the scores and traits of the models beside this one, and what audits found about it."""
    return ReportContext(
        {entry.board.id: entry.field_scores() for entry in report.benchmarks},
        {entry.board.id: source.traits(entry.board.id) for entry in report.benchmarks},
        findings_on(report.model, source.reports()),
        report.model,
    )
