"""Views as the document shows them until gradio has drawn them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from markupsafe import Markup

from rb_core.space.component import module_address
from rb_core.space.html import render
from rb_core.space.results_source import boards_json
from rb_core.space.server import Page


class FirstView(NamedTuple):
    """The beginning of a view: its HTML, and the selector of its successor; both empty if the document shows nothing.

    board: the id of a board that the browser requests before gradio has loaded.
    """

    html: Markup = Markup()
    until: str = ""
    board: str = ""


def document_start(page: Page, query: str, title: str, tabs: Sequence[Any]) -> Markup:
    """Return the list of boards as a script, and the first view of an address as HTML if its view has one."""
    parameters = {name: values[0] for name, values in parse_qs(query).items()}
    tab = next((tab for tab in tabs if tab.id == parameters.get("tab")), tabs[0])
    make = page.first_views.get(tab.id)
    return render(
        "first_view.html",
        results=boards_json(page.results),
        view=make(parameters) if make else FirstView(),
        header=render("header.html", title=title),
        tabs=tabs,
        opened=tab,
        module=module_address(tab.id),
    )
