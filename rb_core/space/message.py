"""A word to the visitor in place of what was asked for, as HTML."""

from __future__ import annotations

from html import escape


def message_html(message: str) -> str:
    """Why there is nothing to show."""
    return f'<div class="rb-message" role="alert"><p>{escape(message)}</p></div>'


def notice_html(message: str) -> str:
    """How things stand, before there is something to show."""
    return f'<div class="rb-waiting"><p>{escape(message)}</p></div>'
