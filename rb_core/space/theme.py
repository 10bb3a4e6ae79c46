"""Gradio's theme and the head of the document, both from the colours in `colours.py`. System fonts only."""

from __future__ import annotations

from importlib import resources
from typing import Any

import gradio as gr

from rb_core.space.colours import COLOURS

SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def head() -> str:
    """Return the document's head: colours, style sheet, and the script that several tabs use."""
    light = "".join(f"--rb-{name}:{pair[0]};" for name, pair in COLOURS.items())
    dark = "".join(f"--rb-{name}:{pair[1]};" for name, pair in COLOURS.items())
    script = resources.files(__package__).joinpath("shared.js").read_text(encoding="utf-8")
    return f"<style id='rb-style'>:root{{{light}}}body.dark{{{dark}}}\n{style_sheet()}</style><script>{script}</script>"


def style_sheet() -> str:
    """Return `style.css`, which all views share, followed by each view's own sheet, `VIEW/VIEW.css`."""
    files = resources.files(__package__)
    views = sorted(folder.name for folder in files.iterdir() if folder.is_dir())
    sheets = [files.joinpath("style.css"), *(files.joinpath(view, f"{view}.css") for view in views)]
    return "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets if sheet.is_file())


def theme() -> Any:
    """Return Gradio's plainest theme with this page's colours, corners and fonts."""
    base = gr.themes.Base(
        font=SANS, font_mono=MONO, radius_size=gr.themes.sizes.radius_sm, spacing_size=gr.themes.sizes.spacing_md
    )
    colours = {
        "body_background_fill": "paper",
        "background_fill_primary": "surface",
        "background_fill_secondary": "raised",
        "body_text_color": "ink",
        "body_text_color_subdued": "muted",
        "border_color_primary": "line",
        "block_background_fill": "paper",
        "block_label_background_fill": "paper",
        "block_label_text_color": "ink",
        "block_title_text_color": "ink",
        "block_info_text_color": "muted",
        "input_background_fill": "surface",
        "input_border_color": "field",
        "input_border_color_focus": "accent",
        "input_placeholder_color": "muted",
        "button_primary_background_fill": "accent",
        "button_primary_background_fill_hover": "accent",
        "button_primary_border_color": "accent",
        "button_primary_text_color": "on-accent",
        "button_secondary_background_fill": "surface",
        "button_secondary_background_fill_hover": "raised",
        "button_secondary_text_color": "ink",
        "button_secondary_border_color": "field",
        "link_text_color": "accent",
        "link_text_color_hover": "accent",
        "color_accent": "accent",
        "loader_color": "accent",
        "checkbox_background_color_selected": "accent",
        "checkbox_border_color": "field",
        "panel_background_fill": "paper",
    }
    pairs: dict[str, str] = {}
    for variable, name in colours.items():
        pairs[variable], pairs[f"{variable}_dark"] = COLOURS[name]
    sizes = {"block_border_width": "0px", "block_border_width_dark": "0px", "block_padding": "0px"}
    sizes |= {"block_shadow": "none", "block_shadow_dark": "none", "input_border_width": "1px"}
    return base.set(**{name: value for name, value in (pairs | sizes).items() if hasattr(base, name)})
