"""The command `data`."""

from __future__ import annotations

from typing import Annotated

import typer

from rb_core.benchmarks.data_report import DataReport, LengthRange, describe_data
from rb_core.benchmarks.example import Example, message_text
from rb_core.benchmarks.layouts.reading import parse_columns
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.spec import Benchmark
from rb_core.cli.console import print_line
from rb_core.errors import quoted

app = typer.Typer()

NUM_EXAMPLES = 3
NUM_SUBSETS = 20

Columns = Annotated[
    str, typer.Option(help="fields of your own data, such as prompt=question,chosen=answer_a,rejected=answer_b")
]


@app.command("data", rich_help_panel="Results")
def describe(
    benchmark: Annotated[str, typer.Argument(help="a file, folder or card, hf://ORG/NAME:SPLIT, or a benchmark's id")],
    *,
    columns: Columns = "",
    data_revision: Annotated[str | None, typer.Option(help="commit, branch or tag of the dataset on the hub")] = None,
) -> None:
    """Show how preference data are read: layout, subsets, groups, lengths, oddities and three examples."""
    loaded = load_benchmark(benchmark, revision=data_revision, columns=parse_columns(columns))
    report = describe_data(loaded)
    print_line(f"{loaded.source}: {report.examples:,} examples, {report.completions:,} completions")
    print_layouts(loaded)
    print_line(f"benchmark: {loaded.spec.id}")
    print_line(f"sha256: {loaded.sha256}")
    _print_counts(report)
    for warning in report.warnings():
        print_line(f"warning: {warning}")
    for example in loaded.examples[:NUM_EXAMPLES]:
        _print_example(example)


def print_layouts(benchmark: Benchmark) -> None:
    """Print the layouts in which a user's own data were read."""
    if benchmark.layouts:
        layouts = "; ".join(f"{name} ({count:,} row{'s' * (count > 1)})" for name, count in benchmark.layouts.items())
        print_line(f"read as: {layouts}")


def _print_counts(report: DataReport) -> None:
    subsets = [f"{quoted(name)} {count:,}" for name, count in report.subsets.items()]
    more = f" and {len(subsets) - NUM_SUBSETS:,} more" if len(subsets) > NUM_SUBSETS else ""
    print_line(f"subsets: {', '.join(subsets[:NUM_SUBSETS])}{more}")
    print_line(f"groups: {len(report.groups):,}, the largest of {max(report.groups.values()):,} examples")
    lengths = ", ".join(f"{name} {_as_text(lengths)}" for name, lengths in report.lengths.items())
    print_line(f"characters, median (range): {lengths}")
    print_line(f"duplicates: {report.duplicates:,}; cannot be won: {report.unwinnable:,}")


def _as_text(lengths: LengthRange) -> str:
    return f"{lengths.median:,.0f} ({lengths.shortest:,} to {lengths.longest:,})"


def _print_example(example: Example) -> None:
    print_line(f"example {quoted(example.id)}")
    for message in example.prompt:
        print_line(f"  {message['role']}: {quoted(message_text(message))}")
    for index, text in enumerate(example.completions):
        print_line(f"  {'chosen' if index < example.num_chosen else 'rejected'}: {quoted(text)}")
