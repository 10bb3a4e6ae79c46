"""The command `agree`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rb_core.cli.console import console, literal, print_line
from rb_core.cli.tables import value_with_interval
from rb_core.errors import DataError
from rb_core.evaluation.human_labels import ColumnNames, LabelledItems, label_disagreements, read_labelled_items
from rb_core.evaluation.prompt_input import common_types
from rb_core.evaluation.score_file import check_output_file
from rb_core.evaluation.score_writers import check_suffix, write_rows
from rb_core.stats.label_agreement import LabelAgreement

app = typer.Typer()


@app.command(rich_help_panel="Results")
def agree(
    scores: Annotated[Path, typer.Argument(help="file that score or evaluate wrote, or any with ids and scores")],
    *,
    labels: Annotated[Path, typer.Option(help="file with ids and labels: good or bad, a rating, or A, B, tie")],
    id: Annotated[str, typer.Option("--id", help="column with the ids")] = "",
    label: Annotated[str, typer.Option(help="column with the labels")] = "",
    score: Annotated[str, typer.Option(help="column with the scores")] = "score",
    threshold: Annotated[float | None, typer.Option(help="smallest score that means good")] = None,
    precision: Annotated[
        float | None, typer.Option(help="find the smallest score, or margin, from which this share is right: 0.9")
    ] = None,
    disagreements: Annotated[
        Path | None, typer.Option(help="write the disagreements here, largest first: .jsonl, .csv or .parquet")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing file")] = False,
) -> None:
    """Compare scores with your own labels: accuracy, kappa, correlation, and the disagreements to read.

    Labels of single completions are good or bad, or ratings; a label of a prompt with several completions names the
    preferred one.
    """
    if precision is not None and not 0 < precision < 1:
        raise DataError(f"--precision {precision:g}: expected a share above 0 and below 1, such as 0.9")
    if disagreements is not None:
        check_suffix(disagreements, "--disagreements")
        check_output_file(disagreements, 0, overwrite=overwrite, inputs=[scores, labels])
    items = read_labelled_items(scores, labels, ColumnNames(id, label, score))
    agreement = items.compare(threshold, precision)
    _print_counts(items, agreement)
    _print_agreement(agreement)
    if precision is not None:
        print_line(_precision_text(agreement, precision))
    if disagreements is not None:
        rows = label_disagreements(items, agreement)
        write_rows(disagreements, common_types(rows), iter(rows), {})
        print_line(f"{len(rows):,} disagreements written to {disagreements}")


def _print_counts(items: LabelledItems, agreement: LabelAgreement) -> None:
    labels = Counter(str(each.row.label) for each in items.labelled)
    commonest = ", ".join(f"{label} {count:,}" for label, count in labels.most_common(6))
    print_line(f"labels: {len(items.labelled):,}, read as {_KIND_WORDS[agreement.kind]} ({commonest})")
    unit = "items" if agreement.kind == "choice" else "completions"
    print_line(
        f"left out: {items.without_score:,} labels without a score, {items.empty:,} rows without a label, "
        f"{items.ties:,} ties; {items.without_label:,} {unit} have a score and no label"
    )


_KIND_WORDS = {"choice": "choices of a completion", "good or bad": "good or bad", "rating": "ratings"}


def _print_agreement(agreement: LabelAgreement) -> None:
    if agreement.accuracy is not None:
        accuracy = agreement.accuracy
        notes = f"{accuracy.scored:,} scored, {accuracy.unscored:,} unscored"
        if accuracy.unscored:
            low, high = accuracy.bounds
            notes += f" (if they were wrong, or right: {100 * low:.1f} or {100 * high:.1f})"
        if accuracy.ties:
            notes += f", {accuracy.ties:,} tied"
        print_line(f"prediction: {agreement.rule}")
        print_line(f"accuracy: {value_with_interval(accuracy)}; {notes}")
    print_line(f"base rate: {100 * agreement.base_rate:.1f} is the accuracy of always {agreement.base_label!r}")
    for name, estimate in agreement.coefficients.items():
        text = "not defined" if estimate.value is None else value_with_interval(estimate, "{:.3f}".format)
        print_line(f"{name}: {text}")
    if agreement.confusion is not None:
        labels, predictions, counts = agreement.confusion
        table = Table("label", *predictions, title="number of labels (rows) by prediction (columns)")
        for label, row in zip(labels, counts, strict=True):
            table.add_row(literal(label), *(f"{count:.0f}" for count in row))
        console.print(table)


def _precision_text(agreement: LabelAgreement, wanted: float) -> str:
    what = "margin" if agreement.kind == "choice" else "score"
    threshold = agreement.threshold
    if threshold is None:
        return f"precision {100 * wanted:g}: too few labels to show it, even if all were right"
    text = (
        f"{what} from {threshold.threshold:.4g}: {threshold.accepted:,} accepted, precision "
        f"{100 * threshold.precision:.1f} (at least {100 * threshold.low:.1f}), recall {100 * threshold.recall:.1f}"
    )
    if threshold.reached:
        return f"precision {100 * wanted:g}: {text}"
    return f"precision {100 * wanted:g}: no threshold reaches it with 95% confidence; the nearest: {text}"
