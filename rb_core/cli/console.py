"""The terminal, and the default folder of results."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rb_core.audits.report import AuditTable
from rb_core.errors import printable

DEFAULT_ROOT = Path("leaderboard_data")
MAX_KEPT_WIDTH = 12  # of a column of text: up to it no cell is broken, however many columns there are

console = Console()


def literal(text: str) -> Text:
    """Return text for a table as it is: brackets are not markup, and control characters are shown as escapes."""
    return Text(printable(text))


def print_line(text: str) -> None:
    """Print a line as it is: brackets are not markup, and long lines are not wrapped."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def print_table(content: AuditTable) -> None:
    """Print a table of a report."""
    table = Table(
        title=literal(content.title), caption=literal(content.note) if content.note else None, box=SIMPLE_HEAD
    )
    for index, column in enumerate(content.columns):
        is_text = any(isinstance(row[index], str) for row in content.rows)
        width = max(map(len, [*column.split(), *(content.cell_text(index, row[index]) for row in content.rows)]))
        table.add_column(
            literal(column),
            justify="left" if is_text else "right",
            overflow="fold",
            min_width=min(width, MAX_KEPT_WIDTH) if is_text else width,
        )
    for row in content.rows:
        table.add_row(*(literal(content.cell_text(index, cell)) for index, cell in enumerate(row)))
    console.print(table)
