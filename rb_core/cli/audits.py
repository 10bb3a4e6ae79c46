"""The commands `audit NAME`: one for each audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rb_core.audits import downstream, labels, training_choices
from rb_core.audits.corrections import read_corrections
from rb_core.audits.report import AuditReport, AuditTable, cell_text, write_report
from rb_core.cli.console import DEFAULT_ROOT, console, literal, print_line

app = typer.Typer(help="Audit models, labels, data and claims about them.", no_args_is_help=True)

Out = Annotated[Path | None, typer.Option(help="write the report below this results folder, for the page")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace an existing report")]

Root = Annotated[Path, typer.Option("--results", help="folder with results")]


@app.command("training-choices")
def audit_training_choices(root: Root = DEFAULT_ROOT, out: Out = None, overwrite: Overwrite = False) -> None:
    """Estimate what training choices do to the score, from the checkpoints of RewardBench 2's development."""
    finish(training_choices.training_choices_report(root), out, overwrite=overwrite)


@app.command("downstream")
def audit_downstream(
    tables: Annotated[
        list[Path] | None, typer.Argument(help="tables of your own: model, group, benchmark, score, outcome, value")
    ] = None,
    root: Root = DEFAULT_ROOT,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Relate benchmark scores to policies that were trained or selected with the models.

    Without a table: the published best-of-N and PPO outcomes in leaderboard_data.
    """
    report = downstream.downstream_report(tables or downstream.bundled_tables(root))
    finish(report, out, overwrite=overwrite)


@app.command("labels")
def audit_labels(
    benchmark: Annotated[str, typer.Argument(help="a benchmark with outcomes of single items in the results")],
    root: Root = DEFAULT_ROOT,
    texts: Annotated[Path | None, typer.Option(help="write the suspects with their texts to this JSONL file")] = None,
    data: Annotated[Path | None, typer.Option(help="read the texts from this file, instead of the hub")] = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """List the items whose labels may be wrong, by the outcomes of many models, and what they change on the board."""
    audit = labels.audit_labels(root, benchmark)
    finish(labels.labels_report(audit, read_corrections(root, benchmark)), out, overwrite=overwrite)
    if texts is not None:
        print_line(f"{labels.write_suspects(audit, texts, data)} items with their texts written to {texts}")


def finish(report: AuditReport, out: Path | None, *, overwrite: bool) -> None:
    """Print a report, and write it below a results root if there is one."""
    path = None if out is None else write_report(out, report, overwrite=overwrite)
    print_report(report)
    if path is not None:
        console.print(f"written to {path}", soft_wrap=True)


def print_report(report: AuditReport) -> None:
    """Print a report's question, answer, tables and cautions."""
    print_line(f"{report.title}: {report.question}")
    for sentence in report.answer:
        print_line(sentence)
    for table in report.tables:
        _print_table(table)
    for caution in report.cautions:
        print_line(f"Caution: {caution}")


def _print_table(content: AuditTable) -> None:
    table = Table(title=literal(content.title), caption=literal(content.note) if content.note else None)
    for index, column in enumerate(content.columns):
        is_text = any(isinstance(row[index], str) for row in content.rows)
        table.add_column(literal(column), justify="left" if is_text else "right", overflow="fold")
    for row in content.rows:
        table.add_row(*(literal(cell_text(cell, content.decimals)) for cell in row))
    console.print(table)
