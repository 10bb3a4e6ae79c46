"""The commands `show`, `aggregate`, `benchmarks`, `models` and `schema`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.cli.console import DEFAULT_ROOT, console, print_line
from rb_core.cli.tables import Format, print_boards, print_result
from rb_core.errors import ResultError
from rb_core.evaluation import aggregate as aggregation
from rb_core.files import write_atomically
from rb_core.leaderboard.board import Board
from rb_core.leaderboard.custom_scores import even_board
from rb_core.leaderboard.model_registry import NO_MODELS, ModelRegistry, read_registry
from rb_core.leaderboard.store import OutcomesOf, ResultsStore, ranked_boards
from rb_core.models.registry import RECORDS
from rb_core.results import schema as result_schema
from rb_core.results.schema import Result, to_json
from rb_core.results.storage import read_result, read_results
from rb_core.scorers.judge.reparse import write_reparsed
from rb_core.scorers.judge.transcript import is_transcript

app = typer.Typer()


@app.command(rich_help_panel="Results")
def show(
    paths: Annotated[list[Path] | None, typer.Argument(help="result files, or folders with results")] = None,
    format: Annotated[Format, typer.Option(help="output format")] = Format.table,
    benchmark: Annotated[str | None, typer.Option(help="only this benchmark")] = None,
    wide: Annotated[bool, typer.Option("--wide", help="all columns, however wide the terminal is")] = False,
    subsets: Annotated[bool, typer.Option("--subsets", help="with the subsets' columns")] = False,
    common: Annotated[
        bool, typer.Option("--common-sections", help="rank by the sections that all scores of a board include")
    ] = False,
) -> None:
    """Show results as tables, best first. Without a path: those in leaderboard_data.

    A table has as many columns as fit on the terminal; csv, json and md have all of them.
    """
    paths = paths or [DEFAULT_ROOT]
    boards = [board for board in _read_boards(paths, common=common) if benchmark in (None, board.id)]
    if not boards:
        raise ResultError(f"no results{f' of {benchmark}' if benchmark else ''} in {', '.join(map(str, paths))}")
    print_boards(boards, format, wide=wide, subsets=subsets)


@app.command(rich_help_panel="Results")
def aggregate(
    scores: Annotated[Path, typer.Argument(help="a score file, or a judge's transcript to parse again")],
    out: Annotated[Path | None, typer.Option(help="write the result below this folder")] = None,
    model: Annotated[str | None, typer.Option(help="of a file with the scores of many models: the model")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing result")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result file instead of a table")] = False,
) -> None:
    """Compute a result again from its scores alone, or from a judge's replies, without model, GPU or server."""
    if is_transcript(scores):
        if out is None:
            raise ResultError(f"{scores}: parsing a transcript again produces a new result: pass --out DIR")
        reparsed = write_reparsed(scores, out, overwrite=overwrite)
        result = aggregation.write_aggregate(reparsed, out, overwrite=overwrite).result
    else:
        result = aggregation.aggregate_scores(scores, model)
        aggregation.check_same_scores(scores, result)
        if out is not None:
            aggregation.write_aggregate(scores, out, model, overwrite=overwrite)
    if as_json:
        sys.stdout.write(to_json(result).decode())
    else:
        print_result(result)


@app.command("benchmarks", rich_help_panel="Results")
def list_benchmarks() -> None:
    """List the benchmarks: id, examples, sections, source and licence."""
    table = Table("id", "title", "examples", "sections", "source", "licence")
    for spec in BENCHMARKS.values():
        required = {name for section in spec.sections if section.required for name in section.weights}
        counts = [subset.count for subset in spec.subsets if subset.name in required]
        examples = str(sum(count for count in counts if count)) if all(counts) else "-"
        sections = ", ".join(section.name for section in spec.sections)
        source = spec.source.repo if spec.source else "built in"
        table.add_row(spec.id, spec.title, examples, sections, source, spec.licence)
    console.print(table)
    console.print("Any other preference file, or card, is a benchmark of its own: --benchmark path/to/file.jsonl")


@app.command("models", rich_help_panel="Results")
def list_models() -> None:
    """List the models with a record. Any classifier on the hub or in a folder works without one."""
    table = Table("name", "kind", "description")
    for record in RECORDS.values():
        table.add_row(record.name, record.kind, record.description)
    console.print(table)


@app.command("schema", rich_help_panel="Results")
def write_schema(
    out: Annotated[Path, typer.Option(help="folder for the JSON Schema")] = DEFAULT_ROOT,
) -> None:
    """Write the JSON Schema of a result file."""
    write_atomically(out / result_schema.SCHEMA_FILE, result_schema.json_schema())
    print_line(f"written to {out / result_schema.SCHEMA_FILE}")


def _read_boards(paths: Sequence[Path], *, common: bool) -> Iterator[Board]:
    """Yield the boards of each folder, then those of all single files together, with rank intervals.

    common: ranked by the sections that all scores of a board include.
    """
    for results, outcomes_of, registry in _read_all(paths):
        for name, board in ranked_boards(results, outcomes_of, registry).items():
            by_model = {result.model.name: result for result in results if result.benchmark.id == name}
            outcomes = {model: outcomes_of(result) for model, result in by_model.items()} if common else {}
            yield even_board(board, by_model, outcomes) if common else board


def _read_all(paths: Sequence[Path]) -> Iterator[tuple[list[Result], OutcomesOf, ModelRegistry]]:
    """Yield the results of each folder, then all single files together, with their outcomes and models."""
    files: list[Result] = []
    stores: dict[Path, ResultsStore] = {}
    roots: dict[Path, ResultsStore] = {}
    for path in paths:
        if path.is_dir():
            results, refused = read_results(path) if (path / "results").is_dir() else _read_part(path)
            for message in refused:
                print(f"refused: {message}", file=sys.stderr)
            root = _root_of(path)
            registry = read_registry(root)
            yield registry.merge_aliases(results), ResultsStore(root).outcomes_of, registry
        else:
            files.append(read_result(path))
            root = _root_of(path)
            stores[files[-1].path()] = roots.setdefault(root, ResultsStore(root))
    yield files, lambda result: stores[result.path()].outcomes_of(result), NO_MODELS


def _root_of(path: Path) -> Path:
    """Return the folder that holds `results`, in which a folder or file of results lies; else the path itself."""
    return next((folder for folder in (path, *path.resolve().parents) if (folder / "results").is_dir()), path)


def _read_part(folder: Path) -> tuple[list[Result], list[str]]:
    """Read a folder inside of `results/`, such as that of a benchmark or an organisation."""
    results, refused = [], []
    for path in sorted(folder.rglob("*.json")):
        try:
            results.append(read_result(path))
        except ResultError as error:
            refused.append(str(error))
    return results, refused
