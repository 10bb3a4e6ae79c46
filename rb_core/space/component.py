"""The part of a tab that the browser draws: a `gr.HTML` with a template and scripts of its own."""

from __future__ import annotations

from importlib import resources
from typing import Any

import gradio as gr


def component(package: str, *scripts: str, value: Any = None, **options: Any) -> gr.HTML:
    """Return the component of a tab's package, from its `component.html` and these scripts, which share one scope.

    `component.html` is a template of Gradio, not of Jinja: `${...}` and `{{...}}` in it would be run in the browser.

    A function, since Gradio writes a stub file beside the module of every component class.
    """
    files = resources.files(package)
    return gr.HTML(
        value,
        html_template=files.joinpath("component.html").read_text(encoding="utf-8"),
        js_on_load=script(package, *scripts),
        apply_default_css=False,
        elem_id=package.rpartition(".")[2],
        **options,
    )


def script(package: str, *names: str) -> str:
    """Return these scripts as one: those of a tab's package, and others of this package, which tabs share."""
    folders = resources.files(package), resources.files(__package__)
    files = [next(file for folder in folders if (file := folder.joinpath(name)).is_file()) for name in names]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
