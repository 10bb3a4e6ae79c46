"""The page: header, tabs, and the options it is launched with."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from importlib import resources
from typing import Any, NamedTuple

import gradio as gr
from starlette.middleware import Middleware

from rb_core.space.about.tab import build_about
from rb_core.space.api import mcp_installed, publish_endpoints
from rb_core.space.choose.tab import build_choose
from rb_core.space.compare.tab import build_compare
from rb_core.space.examples.tab import build_examples
from rb_core.space.html import render
from rb_core.space.leaderboard.tab import build_leaderboard
from rb_core.space.model.tab import build_model
from rb_core.space.plot.tab import build_plot
from rb_core.space.questions.tab import build_questions
from rb_core.space.results_source import ResultsSource
from rb_core.space.server import MAX_SESSIONS, Gate, LinkPreview, Page, PageCompression
from rb_core.space.theme import head, theme
from rb_core.space.try_a_pair.service import GpuDecorator
from rb_core.space.try_a_pair.tab import build_try_pair

TITLE = "RewardBench"
DESCRIPTION = (
    "An open leaderboard for reward models: which model picks the better answer, by how much, and what is noise."
)


class PageTab(NamedTuple):
    """A tab: its id in the address (`?tab=...`), its label, and the function that lays it out in the tab's context."""

    id: str
    label: str
    build: Callable[[gr.Blocks, ResultsSource], object]


def page_tabs(on_gpu: GpuDecorator | None = None) -> tuple[PageTab, ...]:
    """Return the tabs from left to right; the first one opens if the address names none of them."""
    return (
        PageTab("leaderboard", "Leaderboard", build_leaderboard),
        PageTab("choose", "Which one?", build_choose),
        PageTab("examples", "Examples", build_examples),
        PageTab("plot", "Plot", build_plot),
        PageTab("compare", "Compare", build_compare),
        PageTab("model", "Model", build_model),
        PageTab("questions", "Questions", build_questions),
        PageTab("try", "Try a pair", lambda page, results: build_try_pair(page, results, on_gpu)),
        PageTab("about", "About", build_about),
    )


def build(results: ResultsSource, on_gpu: GpuDecorator | None = None) -> gr.Blocks:
    """Return the page over these results; on_gpu wraps the function that scores visitors' text."""
    page = Page(title=TITLE, analytics_enabled=False, fill_width=True)
    with page:
        gr.HTML(render("header.html", title=TITLE), apply_default_css=False)
        _lay_out_tabs(page, results, page_tabs(on_gpu))
        publish_endpoints(results)
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
    script = resources.files(__package__).joinpath("tabs.js").read_text(encoding="utf-8")
    page.load(None, None, bar, js=f"() => ({script})({json.dumps([spec.id for spec in tabs])})")


def launch_options() -> dict[str, Any]:
    """Return the arguments of `launch`. Gradio's environment variables set the server's name and port."""
    titles = {tab.id: f"{tab.label} · {TITLE}" for tab in page_tabs()}
    preview = Middleware(LinkPreview, title=TITLE, titles=titles, description=DESCRIPTION)
    options: dict[str, Any] = {
        "theme": theme(),
        "head": head(),
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
        "app_kwargs": {"middleware": [Middleware(Gate), Middleware(PageCompression), preview]},
        "state_session_capacity": MAX_SESSIONS,
        "share": False,
        "mcp_server": mcp_installed(),
    }
    if "run_history" in inspect.signature(gr.Blocks.launch).parameters:
        # Newer versions of gradio would store what visitors type.
        options["run_history"] = False
    return options
