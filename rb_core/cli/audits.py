"""The commands `audit NAME`: one for each audit."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rb_core.audits import by_kind, contamination, dialect, downstream, labels, length, refusals, training_choices
from rb_core.audits.corrections import read_corrections
from rb_core.audits.report import AuditReport, check_report_path, write_report
from rb_core.audits.text_overlap import NGRAM
from rb_core.benchmarks.hub_rows import PREFIX
from rb_core.benchmarks.load import load_benchmark
from rb_core.cli.console import DEFAULT_ROOT, console, print_line, print_table
from rb_core.cli.model_audits import AuditGroup, add_commands, print_audits
from rb_core.evaluation.prompt_input import common_types
from rb_core.evaluation.score_file import check_output_file
from rb_core.evaluation.score_writers import check_suffix, write_rows
from rb_core.leaderboard.store import ResultsStore

app = typer.Typer(cls=AuditGroup, help="Audit models, labels, data and claims about them.", no_args_is_help=True)
add_commands(app)


@app.callback(invoke_without_command=True)
def audits(
    list_audits: Annotated[bool, typer.Option("--list", help="list the audits")] = False,
) -> None:
    """Audit models, labels, data and claims about them."""
    if list_audits:
        print_audits(app)
        raise typer.Exit


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


@app.command("contamination")
def audit_contamination(
    training: Annotated[
        str, typer.Argument(metavar="TRAIN", help="file or folder of any layout, or hf://ORG/NAME:SPLIT")
    ],
    benchmark: Annotated[str, typer.Option(help="id of a benchmark, path of a card or file, or hf://ORG/NAME:SPLIT")],
    data: Annotated[Path | None, typer.Option(help="local copy of the benchmark's rows")] = None,
    data_revision: Annotated[str | None, typer.Option(help="commit, branch or tag of the benchmark's dataset")] = None,
    model: Annotated[list[str] | None, typer.Option(help="model to compare; default: all with known outcomes")] = None,
    ngram: Annotated[int, typer.Option(help="words of an n-gram")] = NGRAM,
    share: Annotated[
        float, typer.Option(help="share of a text's n-grams from which on an item is flagged; 0: any")
    ] = 0.0,
    items: Annotated[
        Path | None, typer.Option(help="write the overlap of every item: .csv, .jsonl or .parquet")
    ] = None,
    root: Root = DEFAULT_ROOT,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Find a benchmark's items in training data, and compare models' scores with and without them."""
    if items is not None:
        check_suffix(items, "--items")
        check_output_file(items, 0, overwrite=overwrite)
    store = ResultsStore(root)
    store.refresh()
    loaded = load_benchmark(benchmark, data=data, revision=data_revision)
    if out is not None:
        check_report_path(out, contamination.report_name(loaded.spec), overwrite=overwrite)
    outcomes = contamination.known_outcomes(store, (loaded.spec.id, benchmark), model or ())
    found = contamination.find_contamination(training, loaded, n=ngram, min_share=share, progress=True)
    declared = {entry.name: "; ".join(entry.training_data) for entry in store.registry.models if entry.training_data}
    report = contamination.contamination_report(
        found,
        contamination.score_without(found, outcomes),
        declared,
        command=_contamination_command(training, benchmark, data, ngram, share),
    )
    if items is not None:
        rows = list(found.item_rows())
        write_rows(items, common_types(rows), iter(rows), {})
    finish(report, out, overwrite=overwrite)
    if items is not None:
        print_line(f"{len(found.overlaps):,} items written to {items}")


def _contamination_command(training: str, benchmark: str, data: Path | None, ngram: int, share: float) -> str:
    """Return the command line with the names of local files, without their folders."""
    words = [Path(training).name if not training.startswith(PREFIX) else training, "--benchmark", benchmark]
    words += ["--data", data.name] if data else []
    words += ["--ngram", str(ngram)] if ngram != NGRAM else []
    words += ["--share", f"{share:g}"] if share else []
    return f"python -m rb_core audit contamination {shlex.join(words)}"


@app.command("refusals")
def audit_refusals(root: Root = DEFAULT_ROOT, out: Out = None, overwrite: Overwrite = False) -> None:
    """Compare how often models reward refusing a safe prompt and complying with an unsafe one, on RewardBench."""
    finish(refusals.refusals_report(root), out, overwrite=overwrite)


@app.command("by-kind")
def audit_by_kind(root: Root = DEFAULT_ROOT, out: Out = None, overwrite: Overwrite = False) -> None:
    """Compare kinds of model in each section, and two versions of a benchmark."""
    finish(by_kind.by_kind_report(root), out, overwrite=overwrite)


@app.command("length")
def audit_length(
    benchmark: Annotated[str, typer.Argument(help="a benchmark with item outcomes and lengths")] = "rewardbench",
    root: Root = DEFAULT_ROOT,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare accuracies where the chosen completion is the longer one and where it is the shorter one."""
    finish(length.length_report(root, benchmark), out, overwrite=overwrite)


@app.command("dialect")
def audit_dialect(root: Root = DEFAULT_ROOT, out: Out = None, overwrite: Overwrite = False) -> None:
    """Compare accuracies on RewardBench's pairs and on the same pairs in African American English."""
    finish(dialect.dialect_report(root), out, overwrite=overwrite)


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
        print_table(table)
    for caution in report.cautions:
        print_line(f"Caution: {caution}")
