"""The tab *Try a pair*: a visitor's prompt and completions, scored when a button is pressed."""

from __future__ import annotations

import gradio as gr
from gradio.events import api

from rb_core.space.component import component
from rb_core.space.html import render
from rb_core.space.limits import Limits
from rb_core.space.results_source import ResultsSource
from rb_core.space.try_a_pair.available_models import AvailableModels
from rb_core.space.try_a_pair.endpoint import score_endpoint
from rb_core.space.try_a_pair.file_section import build_file_section
from rb_core.space.try_a_pair.form import Outputs, StarterFields, build_form, small_button
from rb_core.space.try_a_pair.handlers import Handlers
from rb_core.space.try_a_pair.samples import SAMPLES, starter_subsets
from rb_core.space.try_a_pair.scoring import PairScorer
from rb_core.space.try_a_pair.service import GpuDecorator, PairService
from rb_core.space.try_a_pair.what_if import CHANGES


def build_try_pair(
    page: gr.Blocks, source: ResultsSource, models: AvailableModels, on_gpu: GpuDecorator | None = None
) -> None:
    """Lay out the tab, inside a tab's context, and publish the endpoint `score`.

    Environment variables RB_LIVE_... set the limits.

    Args:
        source: has the models' margins on benchmarks.
        models: those that visitors may choose.
        on_gpu: decorates the functions that score, on a Space that lends a GPU for the length of a call.
    """
    service = PairService(PairScorer(models, Limits.from_environment()), source, on_gpu)
    component(__package__, "try_a_pair.js")
    with gr.Row(elem_classes="rb-try"):
        with gr.Column(scale=7, min_width=320, elem_classes="rb-form"):
            with gr.Row(elem_classes="rb-samples"):
                gr.HTML("<span>Start from an example</span>", elem_classes="rb-samples-label")
                sample_buttons = [small_button(label) for label in SAMPLES]
            form = build_form(service.models)
            with gr.Column(elem_classes="rb-submit"):
                with gr.Row(elem_classes="rb-actions"):
                    score_button = gr.Button("Score", variant="primary", elem_classes="rb-go")
                    gr.HTML("or Ctrl+Enter", elem_classes="rb-keys")
                    link_button = small_button("Copy a link to this")
                note = gr.HTML("", apply_default_css=False, elem_id="pair-note")
            starter = _starter_fields()
            pasted, paste_button = _paste_fields()
        with gr.Column(scale=6, min_width=320, elem_classes="rb-side"):
            result = gr.HTML(service.waiting_html(), elem_id="outcome", apply_default_css=False)
            change_buttons, all_changes_button = _what_if_buttons()
            changes = gr.HTML("", elem_id="shifts", apply_default_css=False)
    build_file_section(page, service)
    handlers = Handlers(service, form, Outputs(result, changes, note, service.waiting_html))
    handlers.connect_boxes()
    for button, question in zip(sample_buttons, SAMPLES.values(), strict=True):
        handlers.connect_sample(button, question)
    handlers.connect_starter(starter)
    handlers.connect_score(score_button)
    for button, change in zip(change_buttons, CHANGES, strict=True):
        handlers.connect_what_if(button, (change,))
    handlers.connect_what_if(all_changes_button, CHANGES)
    handlers.connect_json(pasted, paste_button)
    handlers.connect_link(page, link_button)
    api(score_endpoint(service), api_name="score", concurrency_limit=None)


def _starter_fields() -> StarterFields:
    with (
        gr.Accordion("Examples of the starter benchmark", open=False, elem_classes="rb-system"),
        gr.Row(elem_classes="rb-sets"),
    ):
        subset = gr.Dropdown(
            [(f"{name} ({len(examples)})", name) for name, examples in starter_subsets().items()],
            value=None,
            label="Subset",
            filterable=False,
            scale=0,
            min_width=280,
        )
        next_button = small_button("Next example", interactive=False)
    return StarterFields(subset, next_button, gr.State(0))


def _paste_fields() -> tuple[gr.Textbox, gr.Button]:
    with gr.Accordion("Paste JSON", open=False, elem_classes="rb-system"):
        pasted = gr.Textbox(
            "",
            label="A question as JSON",
            lines=4,
            max_lines=12,
            placeholder='{"prompt": "Name a prime.", "completions": ["Seven.", "Nine."]}',
            info="A downloaded file, or a row of a preference file with prompt, chosen and rejected.",
        )
        return pasted, small_button("Fill in the form")


def _what_if_buttons() -> tuple[list[gr.Button], gr.Button]:
    with gr.Column(elem_classes="rb-what-if"):
        gr.HTML(render("try_a_pair/what_if_intro.html"), apply_default_css=False)
        with gr.Row(elem_classes="rb-actions"):
            return [small_button(change.label) for change in CHANGES], small_button("All five")
