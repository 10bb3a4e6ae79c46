"""The commands `import published-tables`, `import rewardbench-results` and `import item-styles`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rb_core.cli.console import DEFAULT_ROOT, console, print_line
from rb_core.importers import dialect_scores, downstream_tables, item_styles, published_tables, reward_bench_results

app = typer.Typer(help="Convert results in other layouts into results of this project.", no_args_is_help=True)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace existing published results")]


@app.command("published-tables")
def import_published_tables(
    tables: Annotated[Path, typer.Argument(help="folder with the published tables (see rb_core/importers/README.md)")],
    out: Annotated[Path, typer.Option(help="folder for the results")] = DEFAULT_ROOT,
    overwrite: Overwrite = False,
) -> None:
    """Convert the public RewardBench leaderboards' tables into published results."""
    for name, count in published_tables.import_tables(tables, out, overwrite=overwrite).items():
        print_line(f"{name}: {count} results")


@app.command("downstream-tables")
def import_downstream_tables(
    tables: Annotated[Path, typer.Argument(help="folder with the published tables (see rb_core/importers/README.md)")],
    out: Annotated[Path, typer.Option(help="folder with results")] = DEFAULT_ROOT,
    overwrite: Overwrite = False,
) -> None:
    """Convert published outcomes of policies into the tables of `audit downstream`."""
    for path in downstream_tables.import_downstream_tables(tables, out, overwrite=overwrite):
        print_line(f"written to {path}")


@app.command("dialect-scores")
def import_dialect_scores(
    folder: Annotated[Path, typer.Argument(help="folder with the published files (see rb_core/importers/README.md)")],
    out: Annotated[Path, typer.Option(help="folder with results")] = DEFAULT_ROOT,
    overwrite: Overwrite = False,
) -> None:
    """Convert published scores of RewardBench's pairs in two dialects into outcomes for `audit dialect`."""
    print_line(f"written to {dialect_scores.import_dialect_scores(folder, out, overwrite=overwrite)}")


@app.command("rewardbench-results")
def import_rewardbench_results(
    source: Annotated[str, typer.Argument(help="a folder, or a dataset on the hub: allenai/reward-bench-results")],
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag of the dataset on the hub")] = None,
    out: Annotated[Path, typer.Option(help="folder for results and scores")] = DEFAULT_ROOT,
    overwrite: Overwrite = False,
) -> None:
    """Convert results and scores in RewardBench's public layout into results and score tables.

    Exit code 1 when a file was refused, 2 when nothing could be imported.
    """
    report = reward_bench_results.import_results(source, out, revision=revision, overwrite=overwrite)
    if report.differences:
        table = Table(
            "model", "subset", "published", "recomputed", title="Published numbers that the scores do not give"
        )
        for difference in report.differences:
            published, recomputed = f"{difference.published:.4f}", f"{difference.recomputed:.4f}"
            table.add_row(difference.model, difference.subset, published, recomputed)
        console.print(table)
    for line in report.refused:
        print(f"refused: {line}", file=sys.stderr)
    for name, count in report.written.items():
        print_line(f"{name}: {count} results")
    print_line(
        f"{report.tables} recomputed from scores, {len(report.differences)} differences, {len(report.refused)} refused"
    )
    if report.refused:
        raise typer.Exit(1 if report.written else 2)


@app.command("item-styles")
def import_item_styles(
    benchmark: Annotated[str, typer.Argument(help="benchmark with published outcomes")] = "rewardbench",
    data: Annotated[Path | None, typer.Option(help="file with the benchmark's examples, instead of the hub")] = None,
    data_revision: Annotated[str | None, typer.Option(help="commit, branch or tag of the dataset on the hub")] = None,
    out: Annotated[Path, typer.Option(help="folder with the published outcomes")] = DEFAULT_ROOT,
) -> None:
    """Add lengths and numbers of markdown marks of a benchmark's completions to its published outcomes."""
    known, total = item_styles.import_item_styles(benchmark, out, data=data, revision=data_revision)
    print_line(f"{benchmark}: {known} of {total} examples have lengths and markdown")
