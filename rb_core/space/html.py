"""Pieces of HTML that say numbers, facts and tables alike wherever a model's results are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

Plain = Mapping[str, Any]


@cache
def _environment() -> Environment:
    loader = PackageLoader("rb_core.space", "")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def render(template: str, **values: Any) -> Markup:
    """Return a Jinja template below `rb_core/space`, filled in; every value is escaped unless it is Markup already."""
    return Markup(_environment().get_template(template).render(**values))  # noqa: S704 - the template escapes


def table_html(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: set[int], *, visible: bool = False
) -> str:
    """Rows of cells that are HTML already; the first of each is its header. numbers: the columns on the right."""

    def kind(column: int) -> str:
        return ' class="rb-num"' if column in numbers else ""

    head = "".join(f'<th scope="col"{kind(i)}>{escape(text)}</th>' for i, text in enumerate(heads))
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"<td{kind(i)}>{cell}</td>" for i, cell in enumerate(row[1:], 1))
        + "</tr>"
        for row in rows
    )
    kind_of_caption = "rb-caption" if visible else "rb-hidden"
    title = f'<caption class="{kind_of_caption}">{escape(caption)}</caption>'
    return (
        f'<div class="rb-sheet" tabindex="0" role="group" aria-label="{escape(caption)}">'
        f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def score_html(estimate: Plain) -> str:
    """The score in percent with its interval, where that is known."""
    if estimate["value"] is None:
        return '<span aria-hidden="true">–</span><span class="rb-hidden">not evaluated</span>'
    known = estimate["low"] is not None and estimate["high"] is not None
    interval = f" <small>({100 * estimate['low']:.1f} to {100 * estimate['high']:.1f})</small>" if known else ""
    return f"<b>{100 * estimate['value']:.1f}</b>{interval}"


def bar_html(estimate: Plain) -> str:
    """The score and its interval on a line from 0 to 100; the numbers stand beside it."""
    if estimate["value"] is None:
        return ""
    low, high = (estimate["value"] if estimate[end] is None else estimate[end] for end in ("low", "high"))
    at, left, right = (100 * min(max(each, 0.0), 1.0) for each in (estimate["value"], low, high))
    return (
        f'<span class="rb-track" aria-hidden="true"><i style="left:{left:.1f}%;width:{right - left:.1f}%"></i>'
        f'<b style="left:{at:.1f}%"></b></span>'
    )


def named_facts(labels: Mapping[str, str], values: Plain) -> list[tuple[str, str]]:
    """(label, value) of the values that are known, in the order of the labels."""
    return [(label, number_text(values[name])) for name, label in labels.items() if values.get(name) is not None]


def number_text(value: object) -> str:
    """A value as text: thousands apart, few digits, yes or no."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def facts_html(facts: Iterable[tuple[str, str]]) -> str:
    """Labels, which are text, and values, which are HTML already."""
    return "<dl>" + "".join(f"<dt>{escape(label)}</dt><dd>{value}</dd>" for label, value in facts) + "</dl>"


def link_html(address: str | None, text: str) -> str:
    """A link that opens in a new tab; nothing for what is no address of the web, such as `javascript:`."""
    if not address or not address.startswith(("https://", "http://")):
        return ""
    note = '<span class="rb-hidden"> (opens in a new tab)</span>'
    return f'<a href="{escape(address)}" target="_blank" rel="noopener">{escape(text)}{note}</a>'


def message_html(message: str) -> str:
    """Why there is nothing to show."""
    return f'<div class="rb-message" role="alert"><p>{escape(message)}</p></div>'


def notice_html(message: str) -> str:
    """How things stand, before there is something to show."""
    return f'<div class="rb-waiting"><p>{escape(message)}</p></div>'
