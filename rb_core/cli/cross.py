"""The command `cross`: models across boards."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated

import typer

from rb_core.audits.across_boards import across_boards_report, cross_rows
from rb_core.audits.report import write_report
from rb_core.cli.audits import Out, Overwrite, print_report
from rb_core.cli.console import DEFAULT_ROOT, print_line
from rb_core.cli.tables import Format, print_markdown
from rb_core.leaderboard.cross_scores import cross_scores
from rb_core.leaderboard.store import ResultsStore

app = typer.Typer()


@app.command(rich_help_panel="Results")
def cross(
    root: Annotated[Path, typer.Option("--results", help="folder with results")] = DEFAULT_ROOT,
    format: Annotated[
        Format, typer.Option(help="output format; csv has a row for each model and board")
    ] = Format.table,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare models across boards: ranks, how boards agree, and scores that do not fit a model's other boards."""
    store = ResultsStore(root)
    store.refresh()
    crossed = cross_scores(store)
    report = across_boards_report(crossed)
    path = None if out is None else write_report(out, report, overwrite=overwrite)
    if format is Format.csv:
        rows = list(cross_rows(crossed))
        writer = csv.DictWriter(sys.stdout, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    elif format is Format.json:
        print(report.model_dump_json(indent=1, exclude_none=True))
    elif format is Format.md:
        for table in report.tables:
            texts = ([table.cell_text(i, cell) for i, cell in enumerate(row)] for row in table.rows)
            print_markdown(table.title, table.columns, texts, [table.note] if table.note else [])
    else:
        print_report(report)
    if path is not None and format is Format.table:
        print_line(f"written to {path}")
