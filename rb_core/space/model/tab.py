"""The Model tab: the browser asks for one model's page, which the server renders."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import gradio as gr

from rb_core.errors import HubError
from rb_core.leaderboard.model_report import ModelReport, UnknownModelError, model_names, model_report
from rb_core.space.component import component
from rb_core.space.html import message_html, render
from rb_core.space.model.findings import findings_on
from rb_core.space.model.report import ReportContext, report_html
from rb_core.space.results_source import ResultsSource
from rb_core.space.try_a_pair.available_models import AvailableModels


def build_model(page: gr.Blocks, source: ResultsSource, models: AvailableModels) -> gr.HTML:
    """Lay out the tab in the tab's context of `page`; no data is sent before the tab is opened.

    models: those that visitors may try.
    """

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
        report, context = model_results.to_json(), report_context(model_results, source, models.names)
        titles = [entry["benchmark"]["title"] for entry in report["results"]]
        boards = titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"
        name = report["model"]
        return {"known": True, "model": name, "message": f"{name} on {boards}.", "html": report_html(report, context)}

    def history_html(result: object) -> str:
        """Return the versions of a result, [benchmark, model], as HTML."""
        benchmark, model = map(str, result) if isinstance(result, list) and len(result) == 2 else ("", "")
        try:
            return render("model/history.html", versions=source.history(benchmark, model))
        except HubError:
            return message_html("The hub does not answer. Press the button to try again.")

    return component(__package__, "model.js", server_functions=[model_list, model_html, history_html])


def report_context(report: ModelReport, source: ResultsSource, offered: Collection[str] = ()) -> ReportContext:
    """Return the scores and traits of the models beside this one, and what audits found about it.

    offered: names of the models that visitors may try.
    """
    boards = [entry.board.id for entry in report.benchmarks]
    return ReportContext(
        {entry.board.id: entry.field_scores() for entry in report.benchmarks},
        {board: source.traits(board) for board in boards},
        findings_on(report.model, source.reports()),
        report.model,
        {board for board in boards if source.on_hub() or source.score_file(board, report.model)},
        report.model in offered,
        source.on_hub() is not None,
    )
