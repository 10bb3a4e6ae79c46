"""The page: header, tabs, and the options it is launched with."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from functools import partial
from importlib import resources
from typing import Any, NamedTuple

import gradio as gr
from gradio.blocks import Block, BlockContext
from starlette.middleware import Middleware

from rb_core.space.about.tab import build_about
from rb_core.space.add.tab import build_add
from rb_core.space.api import mcp_installed, publish_endpoints
from rb_core.space.choose.tab import build_choose
from rb_core.space.compare.tab import build_compare
from rb_core.space.examples.tab import build_examples
from rb_core.space.first_view import document_start
from rb_core.space.home.home import build_home, first_rows
from rb_core.space.html import render
from rb_core.space.leaderboard.tab import build_leaderboard
from rb_core.space.model.tab import build_model
from rb_core.space.plain_get import PlainGet
from rb_core.space.plot.tab import build_plot
from rb_core.space.questions.tab import build_questions
from rb_core.space.results_source import ResultsSource
from rb_core.space.server import MAX_SESSIONS, Document, Gate, Page, PageCompression
from rb_core.space.share_card import ShareCard, share_card
from rb_core.space.theme import head, theme
from rb_core.space.try_a_pair.available_models import (
    ONLY_BUILT_IN_MODELS,
    AvailableModels,
    models_from_environment,
)
from rb_core.space.try_a_pair.service import GpuDecorator
from rb_core.space.try_a_pair.tab import build_try_pair

TITLE = "RewardBench"
DESCRIPTION = (
    "An open leaderboard for reward models: which model picks the better answer, by how much, and what is noise."
)


class PageTab(NamedTuple):
    """A tab: its id in the address (`?tab=...`), its label, and the function that lays it out in the tab's context.

    description: a sentence for those who preview a link. subjects: the parameters of the address that a title names.
    """

    id: str
    label: str
    build: Callable[[gr.Blocks, ResultsSource], object]
    description: str
    subjects: tuple[str, ...] = ()


def page_tabs(
    models: AvailableModels = ONLY_BUILT_IN_MODELS, on_gpu: GpuDecorator | None = None
) -> tuple[PageTab, ...]:
    """Return the tabs from left to right; the first one opens if the address names none of them.

    models: those that visitors may try.
    """
    return (
        PageTab("leaderboard", "Leaderboard", _build_front, DESCRIPTION, ("board",)),
        PageTab(
            "choose", "Which one?", build_choose, "Which reward model to use: for a purpose, a size and a licence."
        ),
        PageTab(
            "examples",
            "Examples",
            build_examples,
            "The prompts and answers of a benchmark, and which models get each one wrong.",
            ("board", "subset"),
        ),
        PageTab("plot", "Plot", build_plot, "Scores of reward models against their size, date or traits.", ("models",)),
        PageTab(
            "compare",
            "Compare",
            build_compare,
            "Reward models on the same examples: which is better, by how much, and what may be noise.",
            ("models",),
        ),
        PageTab(
            "model",
            "Models",
            lambda page, results: build_model(page, results, models),
            "One reward model on all benchmarks: scores, ranks, strengths, weak spots and settings.",
            ("model",),
        ),
        PageTab(
            "questions",
            "Questions",
            build_questions,
            "What the results say about safety, fairness, robustness, length and training with a reward model.",
            ("question",),
        ),
        PageTab(
            "try",
            "Try a pair",
            lambda page, results: build_try_pair(page, results, models, on_gpu),
            "Score your own prompt and answers with a reward model.",
        ),
        PageTab("add", "Add a model", build_add, "How to put a reward model on the leaderboard, and what it takes."),
        PageTab("about", "About", build_about, "How each number is computed, and what it does not show."),
    )


def _build_front(page: gr.Blocks, results: ResultsSource) -> None:
    build_home()
    build_leaderboard(page, results)


def build(results: ResultsSource, on_gpu: GpuDecorator | None = None) -> gr.Blocks:
    """Return the page over these results; on_gpu wraps the function that scores visitors' text."""
    tabs = page_tabs(models_from_environment(), on_gpu)
    page = Page(results, title=TITLE, analytics_enabled=False, fill_width=True)
    with page:
        gr.HTML(render("header.html", title=TITLE), apply_default_css=False)
        _lay_out_tabs(page, results, tabs)
        publish_endpoints(results)
    page.first_views["leaderboard"] = partial(first_rows, results)
    return page


def _lay_out_tabs(page: gr.Blocks, results: ResultsSource, tabs: tuple[PageTab, ...]) -> None:
    """Lay out the tabs: the address opens one of them, and a selected tab is written to the address."""
    # "wrap" keeps every tab on screen as a tab: gradio's menu for tabs that do not fit has plain buttons.
    with gr.Tabs(elem_id="rb-tabs", overflow_behavior="wrap") as bar:
        for spec in tabs:
            with gr.Tab(spec.label, id=spec.id, elem_id=f"tab-{spec.id}") as tab:
                spec.build(page, results)
            # Undefined before the page has loaded: what gradio selects by itself until then is not a visitor's choice.
            tab.select(None, js=f"() => window.rbTabSelected?.({json.dumps(spec.id)})")
            _load_when_opened(tab)
    facts = [{"id": spec.id, "label": spec.label, "subjects": spec.subjects} for spec in tabs]
    script = resources.files(__package__).joinpath("tabs.js").read_text(encoding="utf-8")
    page.load(None, None, bar, js=f"() => ({script})({json.dumps(facts)})")


def _load_when_opened(tab: gr.Tab) -> None:
    """Let the browser load the components of a tab when it is first opened.

    Gradio draws a tab when it is opened, but loads the scripts of all visible components before it draws the first one.
    """
    components = [each for each in _components_in(tab) if each.visible is True and not isinstance(each, gr.HTML)]
    for each in components:
        each.visible = False
    if components:
        show = f"Array({len(components)}).fill({{ __type__: 'update', visible: true }})"
        tab.select(None, None, components, js=f"() => (window.rb.once({json.dumps(tab.id)}) ? {show} : [])")


def _components_in(layout: BlockContext) -> Iterator[Block]:
    for child in layout.children:
        yield child
        if isinstance(child, BlockContext):
            yield from _components_in(child)


def launch_options() -> dict[str, Any]:
    """Return the arguments of `launch`. Gradio's environment variables set the server's name and port."""
    cards = {tab.id: ShareCard(f"{tab.label} · {TITLE}", tab.description) for tab in page_tabs()}
    document = Middleware(
        Document,
        head=head(),
        card=partial(share_card, cards=cards, default=ShareCard(TITLE, DESCRIPTION)),
        start=partial(document_start, title=TITLE, tabs=page_tabs()),
    )
    options: dict[str, Any] = {
        "theme": theme(),
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
        "app_kwargs": {"middleware": [Middleware(Gate), Middleware(PageCompression), document, Middleware(PlainGet)]},
        "state_session_capacity": MAX_SESSIONS,
        "share": False,
        "mcp_server": mcp_installed(),
    }
    if "run_history" in inspect.signature(gr.Blocks.launch).parameters:
        # Newer versions of gradio would store what visitors type.
        options["run_history"] = False
    return options
