"""The terminal, and the default folder of results."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from rb_core.errors import printable

DEFAULT_ROOT = Path("leaderboard_data")

console = Console()


def literal(text: str) -> Text:
    """Return text for a table as it is: brackets are not markup, and control characters are shown as escapes."""
    return Text(printable(text))


def print_line(text: str) -> None:
    """Print a line as it is: brackets are not markup, and long lines are not wrapped."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)
