"""The section *Score a file* of the tab: a file in the browser's hands, scored by one model."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

import gradio as gr
from markupsafe import escape

from rb_core.space.html import message_html, render
from rb_core.space.limits import InputError
from rb_core.space.try_a_pair.file_scores import file_scores_html
from rb_core.space.try_a_pair.form import IMMEDIATE, Updates
from rb_core.space.try_a_pair.handlers import SCORING
from rb_core.space.try_a_pair.result import ScoredFile
from rb_core.space.try_a_pair.service import PairService
from rb_core.space.try_a_pair.uploaded_file import (
    COMMAND,
    FILE_TYPES,
    MAX_FILE_BYTES,
    MAX_ROW_COMPLETIONS,
    MAX_ROWS,
    read_uploaded_file,
)


def build_file_section(page: gr.Blocks, service: PairService) -> None:
    """Lay out the section, closed, inside the tab's context of `page`."""
    scripts = resources.files(__package__)
    with gr.Accordion("Score a file", open=False, elem_classes=["rb-system", "rb-file-section"]):
        help_and_input = render(
            "try_a_pair/file_input.html",
            max_rows=MAX_ROWS,
            max_bytes=MAX_FILE_BYTES,
            max_completions=MAX_ROW_COMPLETIONS,
            command=COMMAND,
            types=FILE_TYPES,
        )
        gr.HTML(help_and_input, apply_default_css=False)
        model = gr.Radio(
            service.file_models, value=service.file_models[0], label="Model for the file", elem_classes="rb-models"
        )
        columns = gr.Textbox(
            "",
            label="Columns (optional)",
            placeholder="prompt=question,completion=answer",
            info="Where the file has other names for its fields; as --columns of the command.",
            max_lines=1,
            elem_classes="rb-file-columns",
        )
        upload = gr.JSON(visible=False)  # filled in by the script
        button = gr.Button("Score the file", variant="primary", elem_classes="rb-go")
        # The line stays where it is and only its text changes, so that progress is announced.
        status = gr.HTML(
            "", html_template='<p role="status">${value}</p>', apply_default_css=False, elem_id="file-status"
        )
        result = gr.HTML(
            "",
            js_on_load=scripts.joinpath("download_scores.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            elem_id="file-scores",
        )

    def score_file_of_page(request: gr.Request, model_name: Any, names: Any, file: Any) -> Iterator[Updates]:
        try:
            with service.rate_limited(request, service.scorer.file_line):
                rows = read_uploaded_file(file, names)
                for step in service.score_file(model_name, rows):
                    if isinstance(step, ScoredFile):
                        html = file_scores_html(step, service.file_percentiles(step))
                        yield {status: "Scoring is done.", result: html}
                    else:
                        yield {status: escape(step), result: ""}
        except InputError as error:
            yield {status: "", result: message_html(str(error))}

    script = scripts.joinpath("read_file.js").read_text(encoding="utf-8")
    button.click(score_file_of_page, [model, columns, upload], [status, result], js=script, **SCORING)
    # More models may be available by now than when the page was built.
    page.load(lambda: gr.Radio(choices=service.file_models), None, model, **IMMEDIATE)
