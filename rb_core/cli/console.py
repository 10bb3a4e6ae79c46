"""The terminal, and the default folder of results."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

DEFAULT_ROOT = Path("leaderboard_data")

console = Console()


def print_line(text: str) -> None:
    """Print a line as it is: brackets are not markup, and long lines are not wrapped."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)
