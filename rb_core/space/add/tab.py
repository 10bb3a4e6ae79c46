"""The Add tab: the commands that put a model on the leaderboard, and the memory and time that they need."""

from __future__ import annotations

import os
from typing import NamedTuple

import gradio as gr

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.evaluation_queue.checks import COMPLETIONS, SPEED, TOKENS
from rb_core.space.add.requests import RequestDesk, build_requests
from rb_core.space.component import script
from rb_core.space.html import render
from rb_core.space.results_source import ResultsSource


class AddKind(NamedTuple):
    """A kind of model for `--kind`; copies: models that are in memory and read every completion."""

    id: str
    label: str
    copies: int = 1
    note: str = ""


KINDS = (
    AddKind("classifier", "Sequence classifier"),
    AddKind("value-head", "Value head"),
    AddKind("gated", "Gated heads"),
    AddKind("token", "Probability of a token"),
    AddKind("process", "Process reward model"),
    AddKind("implicit", "Implicit reward (DPO)", 2, "The model and its reference are counted, each of this size."),
    AddKind("generative", "Generative judge", 1, "Time to write replies comes on top."),
)


def build_add(page: gr.Blocks, source: ResultsSource) -> None:
    """Lay out the tab; every tab is built with these arguments."""
    gr.HTML(
        html_template=render(
            "add/add.html",
            kinds=KINDS,
            benchmarks=[(spec.id, spec.title, COMPLETIONS[spec.id]) for spec in BENCHMARKS.values()],
            tokens=TOKENS,
            speed=round(SPEED / 1e12),
            repo=os.environ.get("RB_RESULTS_REPO"),
        ),
        js_on_load=script(__package__, "add.js"),
        apply_default_css=False,
        elem_id="add",
    )
    desk = RequestDesk.from_environment()
    if desk is not None:
        build_requests(page, desk)
