"""The commands that begin with `import`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from rb_core.benchmarks.layouts.reading import parse_columns
from rb_core.cli.console import DEFAULT_ROOT, console, literal, print_line
from rb_core.importers import (
    accuracy_tables,
    boards,
    dialect_scores,
    downstream_tables,
    item_styles,
    published_tables,
    reward_bench_results,
    score_files,
)
from rb_core.importers.target import find_target
from rb_core.results.schema import Result

app = typer.Typer(help="Convert results in other layouts into results of this project.", no_args_is_help=True)

BenchmarkOption = Annotated[str, typer.Option("--benchmark", help="id of the benchmark, or the path of its card")]
SourceOption = Annotated[str, typer.Option("--source", help="where the numbers are from: REPOSITORY@COMMIT:PATH")]
RetrievedOption = Annotated[str | None, typer.Option("--retrieved", help="date of the download (UTC): 2026-01-31")]
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


@app.command("scores")
def import_scores(
    scores: Annotated[Path, typer.Argument(help="file or folder with scores of single completions")],
    benchmark: BenchmarkOption,
    source: SourceOption,
    model: Annotated[str | None, typer.Option(help="name of the model, for a file that does not name it")] = None,
    columns: Annotated[
        str, typer.Option(help=f"columns that hold the fields {', '.join(score_files.COLUMNS)}: id=uid,subset=a+b")
    ] = "",
    data: Annotated[Path | None, typer.Option(help="file or folder with the benchmark's examples")] = None,
    joint: Annotated[bool, typer.Option("--joint", help="keep the scores of all models in one file")] = False,
    retrieved: RetrievedOption = None,
    out: Annotated[Path, typer.Option(help="folder for results and scores")] = DEFAULT_ROOT,
    overwrite: Overwrite = False,
) -> None:
    """Convert published scores of single completions into score tables and published results.

    A row has an id, and either a chosen and a rejected score, or one completion's score with its index or label.
    """
    results = score_files.import_scores(
        scores,
        find_target(benchmark, out, data),
        out,
        origin=source,
        model=model,
        columns=parse_columns(columns),
        joint=joint,
        retrieved=retrieved,
        overwrite=overwrite,
    )
    _print_imported(results)


@app.command("accuracies")
def import_accuracies(
    tables: Annotated[Path, typer.Argument(help="table, or folder of tables, with a row for each model")],
    benchmark: BenchmarkOption,
    source: SourceOption,
    columns: Annotated[str, typer.Option(help="columns with other names: headline=avg,Chat=chat_acc,model=name")] = "",
    unit: Annotated[Literal["fraction", "percent"] | None, typer.Option(help="unit of the accuracies")] = None,
    retrieved: RetrievedOption = None,
    out: Annotated[Path, typer.Option(help="folder for the results")] = DEFAULT_ROOT,
    overwrite: Overwrite = False,
) -> None:
    """Convert a table of published accuracies into published results.

    Columns are called as subsets or sections. Or a row has the counts of one part: part, correct, tied, total.
    """
    results = accuracy_tables.import_accuracies(
        tables,
        find_target(benchmark, out),
        out,
        origin=source,
        columns=parse_columns(columns),
        unit=unit,
        retrieved=retrieved,
        overwrite=overwrite,
    )
    _print_imported(results)


@app.command("boards")
def import_boards(
    folder: Annotated[Path, typer.Argument(help="folder with the published files (see rb_core/importers/README.md)")],
    out: Annotated[Path, typer.Option(help="folder with the results and the cards of the benchmarks")] = DEFAULT_ROOT,
    overwrite: Overwrite = False,
) -> None:
    """Rebuild the boards of other projects' published numbers."""
    for name, count in boards.import_boards(folder, out, overwrite=overwrite).items():
        print_line(f"{name}: {count} results")


def _print_imported(results: Sequence[Result]) -> None:
    table = Table("model", "score", "examples", "unscored", "ties", title=f"Imported: {results[0].benchmark.id}")
    for result in results:
        value = result.headline.value if result.headline else None
        counts = result.counts
        numbers = map(str, (counts.examples, counts.unscored, counts.ties)) if counts else ("-", "-", "-")
        table.add_row(literal(result.model.name), "-" if value is None else f"{100 * value:.1f}", *numbers)
    console.print(table)


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
