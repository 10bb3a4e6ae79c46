"""The part of a tab that the browser draws: a `gr.HTML` with a template and scripts of its own."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any

import gradio as gr

# The scripts of the components that were made, each as a JavaScript module with a function, by the component's name.
_modules: dict[str, str] = {}


def component(package: str, *scripts: str, **options: Any) -> gr.HTML:
    """Return the component of a tab's package, from its `component.html` and these scripts, which share one scope.

    `component.html` is a template of Gradio, not of Jinja: `${...}` and `{{...}}` in it would be run in the browser.
    The browser fetches the scripts when it first draws the component.

    A function, since Gradio writes a stub file beside the module of every component class.
    """
    files = resources.files(package)
    name = package.rpartition(".")[2]
    _modules[name] = f"export default async (element, server) => {{\n{script(package, *scripts)}\n}};\n"
    address = f"new URL('{module_address(name)}', document.baseURI)"
    return gr.HTML(
        html_template=files.joinpath("component.html").read_text(encoding="utf-8"),
        js_on_load=f"import({address}).then((view) => view.default(element, server));",
        apply_default_css=False,
        elem_id=name,
        **options,
    )


def view_module(name: str) -> str | None:
    """Return the scripts of a component as a JavaScript module; None for an unknown one."""
    return _modules.get(name)


def module_address(name: str) -> str | None:
    """Return the address of a component's scripts, which changes with them; None for an unknown one."""
    module = view_module(name)
    return module and f"views/{name}.js?v={hashlib.sha256(module.encode()).hexdigest()[:8]}"


def script(package: str, *names: str) -> str:
    """Return these scripts as one: those of a tab's package, and others of this package, which tabs share."""
    folders = resources.files(package), resources.files(__package__)
    files = [next(file for folder in folders if (file := folder.joinpath(name)).is_file()) for name in names]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
