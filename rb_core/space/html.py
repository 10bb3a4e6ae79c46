"""Render the page's HTML from Jinja templates, in which every value is escaped.

Templates lie beside the modules that fill them in. The files named `component.html` are no Jinja templates: they go to
the browser as they are, for Gradio's own template language (see `component.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rb_core.results.estimate import Estimate

Plain = Mapping[str, Any]


def render(template: str, **values: Any) -> Markup:
    """Return a Jinja template below `rb_core/space`, filled in; every value is escaped unless it is Markup already."""
    return Markup(_environment().get_template(template).render(**values))  # noqa: S704 - the template escapes


@cache
def _environment() -> Environment:
    loader = PackageLoader("rb_core.space", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": number_text,
        "percent": percent_text,
        "significant": significant_text,
        "minus": minus,
        "ranks": ranks_text,
    }
    environment.tests |= {"web_address": is_web_address, "with_bounds": has_bounds}
    return environment


def minus(number: str) -> str:
    """Return a number in text with a typographic minus."""
    return number.replace("-", "−")


def percent_text(fraction: float) -> str:
    """Return a fraction in percent with one decimal and a typographic minus."""
    return minus(f"{100 * fraction:.1f}")


def significant_text(value: float) -> str:
    """Return a number with three significant digits and a typographic minus."""
    return minus(f"{value:.3g}")


def ranks_text(interval: Sequence[Any] | None) -> str:
    """Return a rank interval (best, worst, method), as the leaderboard shows it: `~` marks an approximate one."""
    if interval is None:
        return "–"
    best, worst, method = interval
    return f"{'' if method == 'items' else '~'}{best}" + (f"–{worst}" if worst != best else "")


def number_text(value: object) -> str:
    """Return a value as text: thousands separated, four significant digits, yes or no, a dash for None, a mapping as
    NAME = JSON, a list as its values in JSON, and a text in quotes if white space begins or ends it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {json.dumps(each, ensure_ascii=False)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(json.dumps(each, ensure_ascii=False) for each in value)
    if isinstance(value, str) and value != value.strip():
        return json.dumps(value, ensure_ascii=False)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def has_bounds(estimate: Plain) -> bool:
    """Return True if unscored examples leave the value of an estimate, as JSON, open."""
    fields = {name: estimate.get(name) for name in ("value", "floor", "ceiling")}
    return Estimate.model_validate(fields).has_bounds


def is_web_address(address: str | None) -> bool:
    """Return True for http and https addresses: results come from others, and a `javascript:` link would run."""
    return bool(address) and str(address).startswith(("https://", "http://"))


def labelled(labels: Mapping[str, str], values: Plain) -> list[tuple[str, str]]:
    """Return (label, value as text) of the values that are not None, in the order of the labels."""
    return [(label, number_text(values[name])) for name, label in labels.items() if values.get(name) is not None]


def message_html(message: str) -> Markup:
    """Return an error message, which is announced when it appears."""
    return render("message.html", message=message)


def notice_html(message: str) -> Markup:
    """Return a line that stands where a result is going to be."""
    return render("notice.html", message=message)
