"""The page's colours, for the style sheet and for Gradio's theme."""

from __future__ import annotations

# name: (light, dark). In the style sheet: var(--rb-NAME).
COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#faf8f4", "#14161a"),
    "surface": ("#ffffff", "#1b1e24"),
    "raised": ("#f2eee6", "#242830"),
    "ink": ("#1d1c1a", "#eceae4"),
    "muted": ("#5d584f", "#aeb0b6"),
    "line": ("#e2dccf", "#333842"),
    "field": ("#8c8579", "#767c89"),  # borders of input fields: a contrast of 3:1
    "accent": ("#1b4f8f", "#8fbcf5"),
    "on-accent": ("#ffffff", "#10151d"),
    "wash": ("#e7eef8", "#22324a"),
    "gold": ("#b87503", "#e0a83a"),
    "heat": ("#eda828", "#c98612"),
    "alert": ("#8f2f14", "#ffb59c"),
}
