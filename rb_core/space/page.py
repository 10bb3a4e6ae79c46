"""The page: its header, its tabs, and how it is launched."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from importlib import resources
from typing import Any, NamedTuple

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

from rb_core.space.about.tab import build_about
from rb_core.space.api import mcp_installed, publish_endpoints
from rb_core.space.compare.tab import build_compare
from rb_core.space.leaderboard.tab import build_leaderboard
from rb_core.space.model.tab import build_model
from rb_core.space.plot.tab import build_plot
from rb_core.space.results_source import ResultsSource
from rb_core.space.theme import head, theme
from rb_core.space.try_a_pair.tab import GpuDecorator, build_try_pair

TITLE = "RewardBench"

# Three scores with their intervals: what the leaderboard is about.
_MARK = (
    '<svg class="rb-mark" viewBox="0 0 32 32" width="36" height="36" aria-hidden="true">'
    '<g stroke="currentColor" stroke-width="2" stroke-linecap="round"><path d="M3 8h14M9 16h14M17 24h12"/></g>'
    '<g class="rb-mark-dots"><circle cx="10" cy="8" r="3.6"/><circle cx="17" cy="16" r="3.6"/>'
    '<circle cx="24" cy="24" r="3.6"/></g></svg>'
)
_HEADER = (
    f'<header class="rb-header">{_MARK}<div><h1>{TITLE}</h1>'
    "<p>How well reward models tell the better answer, and which leads are noise.</p></div></header>"
)


class PageTab(NamedTuple):
    """A tab: its name in the address (`?tab=...`), its label, and what lays it out inside of the tab's context."""

    id: str
    label: str
    build: Callable[[gr.Blocks, ResultsSource], object]


def page_tabs(on_gpu: GpuDecorator | None = None) -> tuple[PageTab, ...]:
    """The page's tabs from left to right; the first opens where the address names none of them."""
    return (
        PageTab("leaderboard", "Leaderboard", build_leaderboard),
        PageTab("plot", "Plot", build_plot),
        PageTab("compare", "Compare", build_compare),
        PageTab("model", "Model", build_model),
        PageTab("try", "Try a pair", lambda page, results: build_try_pair(page, results, on_gpu)),
        PageTab("about", "About", build_about),
    )


def build(results: ResultsSource, on_gpu: GpuDecorator | None = None) -> gr.Blocks:
    """The page over these results; on_gpu wraps the function that scores visitors' text."""
    page = gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True)
    with page:
        gr.HTML(_HEADER, apply_default_css=False)
        _lay_out_tabs(page, results, page_tabs(on_gpu))
        publish_endpoints(results)
    return page


def _lay_out_tabs(page: gr.Blocks, results: ResultsSource, tabs: tuple[PageTab, ...]) -> None:
    """The tabs, of which the address opens one, and which write themselves into the address when they are selected."""
    # Wrapped, every tab stays on screen and is a tab: gradio's menu of those that do not fit has plain buttons.
    with gr.Tabs(elem_id="rb-tabs", overflow_behavior="wrap") as bar:
        for each in tabs:
            with gr.Tab(each.label, id=each.id, elem_id=f"tab-{each.id}") as tab:
                each.build(page, results)
            # Not there before the page has loaded: what gradio selects by itself until then is not to be remembered.
            tab.select(None, js=f"() => window.rbTabSelected?.({json.dumps(each.id)})")
    script = resources.files(__package__).joinpath("tabs.js").read_text(encoding="utf-8")
    page.load(None, None, bar, js=f"() => ({script})({json.dumps([each.id for each in tabs])})")


class PageCompression(GZipMiddleware):
    """Compresses the page itself, which carries the boards; gradio only compresses files that have an extension."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/":
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def launch_options() -> dict[str, Any]:
    """What `launch` is to be called with. Server name and port are left to gradio's environment variables."""
    options: dict[str, Any] = {
        "theme": theme(),
        "head": head(),
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
        "app_kwargs": {"middleware": [Middleware(PageCompression)]},
        "share": False,
        "mcp_server": mcp_installed(),
    }
    if "run_history" in inspect.signature(gr.Blocks.launch).parameters:
        # Newer versions of gradio would store what visitors type.
        options["run_history"] = False
    return options
