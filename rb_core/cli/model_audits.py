"""The commands `audit NAME --model M`, `audit FILE.yaml --model M` and `audit --list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from rb_core.audits.fairness.audit import fairness_audit
from rb_core.audits.fairness.dialect_rules import AFRICAN_AMERICAN_ENGLISH, features_named
from rb_core.audits.guard import DEFAULT_THRESHOLD, AuditGuard, load_audit_guard
from rb_core.audits.model_audit import ModelAudit
from rb_core.audits.property_file import read_property
from rb_core.audits.registry import AUDITS
from rb_core.audits.report import AuditTable
from rb_core.audits.result import AuditResult
from rb_core.audits.robustness.audit import robustness_audit
from rb_core.audits.run import run_audit
from rb_core.audits.safety.audit import safety_audit
from rb_core.audits.values.audit import PROMPT, values_audit
from rb_core.audits.views import effect_tables, self_test_sentence
from rb_core.benchmarks.layouts.reading import parse_columns
from rb_core.cli.console import DEFAULT_ROOT, console, literal, print_line, print_table
from rb_core.cli.evaluate import hide_loading_bar
from rb_core.cli.signatures import takes_model_options
from rb_core.errors import DataError
from rb_core.evaluation.distributed import this_process
from rb_core.models.options import ModelOptions
from rb_core.scorers.guards.spec import parse_guard

FILE_COMMAND = "FILE.yaml"
SUFFIXES = (".yaml", ".yml")
MAX_ROWS = 30  # of a further table of a result, as printed

Model = Annotated[str, typer.Option(help="builtin/tiny-rm, baseline/NAME, a folder, a hub id, or a server's model")]
AuditOut = Annotated[Path, typer.Option(help="folder for results of audits")]
AuditOverwrite = Annotated[bool, typer.Option("--overwrite", help="replace an existing result")]
GuardName = Annotated[
    str, typer.Option(help="words:FILE, classifier:MODEL, moderation:MODEL@URL, judge:MODEL@URL, or FILE.py:FUNCTION")
]
GuardArgs = Annotated[str, typer.Option(help="arguments of the guard: NAME=VALUE,..., such as label=toxic")]
GuardThreshold = Annotated[
    float | None, typer.Option(min=0, max=1, help="probability of unsafe from which the guard blocks; 0.5 by default")
]
AuditSeed = Annotated[int, typer.Option(help="seed of the order of completions and of the random baseline")]


class AuditGroup(TyperGroup):
    """The commands of `audit`; a first argument that names a YAML file runs the audit in it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0].endswith(SUFFIXES):
            args = [FILE_COMMAND, *args]
        return super().resolve_command(ctx, args)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to those of `audit`."""
    app.command(FILE_COMMAND)(audit_file)
    app.command("safety")(audit_safety)
    app.command("fairness")(audit_fairness)
    app.command("robustness")(audit_robustness)
    app.command("values")(audit_values)


@takes_model_options()
def audit_file(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the audit: question, effect, and pairs by group")],
    model: Model = "",
    out: AuditOut = DEFAULT_ROOT,
    overwrite: AuditOverwrite = False,
    seed: AuditSeed = 0,
    options: ModelOptions,
) -> None:
    """Audit a property of your own, from a YAML file: `audit my_property.yaml --model M`."""
    finish_model_audit(read_property(file), model, options, out, overwrite=overwrite, seed=seed)


@takes_model_options()
def audit_safety(
    *,
    model: Model = "",
    data: Annotated[
        Path | None, typer.Option(help="prompts with labelled answers: own layout, XSTest completions, Do-Not-Answer")
    ] = None,
    columns: Annotated[str, typer.Option(help="names of the data's columns: prompt=question,kind=topic,...")] = "",
    guard: GuardName = "",
    guard_args: GuardArgs = "",
    guard_threshold: GuardThreshold = None,
    out: AuditOut = DEFAULT_ROOT,
    overwrite: AuditOverwrite = False,
    seed: AuditSeed = 0,
    options: ModelOptions,
) -> None:
    """Measure how often a model prefers to refuse safe prompts, and to comply with unsafe ones.

    --guard: also what a filter adds to the model's choice among answers, and what it costs.
    """
    with this_process().share_errors():
        if data is None and columns:
            raise DataError("--columns goes with --data")
        audit = safety_audit(data, columns=parse_columns(columns), guard=_guard(guard, guard_args, guard_threshold))
    finish_model_audit(audit, model, options, out, overwrite=overwrite, seed=seed)


@takes_model_options()
def audit_fairness(
    *,
    model: Model = "",
    data: Annotated[
        str | None,
        typer.Option(help="BBQ, CrowS-Pairs, WinoBias, pairs with a version in dialect, or any pairs: file, hf://, id"),
    ] = None,
    columns: Annotated[str, typer.Option(help="names of the data's columns: prompt=question,chosen=good,...")] = "",
    limit: Annotated[int | None, typer.Option(help="number of independent units of the data to keep")] = None,
    features: Annotated[str, typer.Option(help="features of the dialect, separated by commas; default: all")] = "",
    names: Annotated[Path | None, typer.Option(help="YAML file with first names by group")] = None,
    guard: GuardName = "",
    guard_args: GuardArgs = "",
    guard_threshold: GuardThreshold = None,
    out: AuditOut = DEFAULT_ROOT,
    overwrite: AuditOverwrite = False,
    seed: AuditSeed = 0,
    options: ModelOptions,
) -> None:
    """Compare a model's scores of the same content for groups: dialect, first names, pronouns, or a file's groups.

    --guard: also how many harmless answers of each group a guard blocks.
    """
    with this_process().share_errors():
        if data is None and (columns or limit is not None):
            raise DataError("--columns and --limit go with --data")
        if data is not None and names is not None:
            raise DataError("--names changes the audit's own texts; leave out --data")
        audit = fairness_audit(
            data,
            features=features_named(features.split(",")) if features else AFRICAN_AMERICAN_ENGLISH,
            names=names,
            columns=parse_columns(columns),
            limit=limit,
            guard=_guard(guard, guard_args, guard_threshold),
        )
    finish_model_audit(audit, model, options, out, overwrite=overwrite, seed=seed)


@takes_model_options()
def audit_robustness(
    *,
    model: Model = "",
    data: Annotated[str | None, typer.Option(help="a benchmark or preference file; default: built-in pairs")] = None,
    limit: Annotated[int | None, typer.Option(help="number of examples of the data to keep")] = None,
    out: AuditOut = DEFAULT_ROOT,
    overwrite: AuditOverwrite = False,
    seed: AuditSeed = 0,
    options: ModelOptions,
) -> None:
    """Measure how changes without meaning, pressure, padding and bare keys change a model's preferences."""
    with this_process().share_errors():
        audit = robustness_audit(data, limit)
    finish_model_audit(audit, model, options, out, overwrite=overwrite, seed=seed)


@takes_model_options()
def audit_values(
    *,
    model: Model = "",
    themes: Annotated[
        Path | None, typer.Option(help="statements by theme: YAML of your own, or model-written persona files")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="number of pairs of each theme to keep")] = None,
    prompt: Annotated[str, typer.Option(help="question that one-word answers are for")] = PROMPT,
    vocabulary: Annotated[bool, typer.Option(help="score every token of the model as an answer")] = True,
    out: AuditOut = DEFAULT_ROOT,
    overwrite: AuditOverwrite = False,
    seed: AuditSeed = 0,
    options: ModelOptions,
) -> None:
    """Find the one-word answers that a model scores highest and lowest, and the views that it favours by theme."""
    with this_process().share_errors():
        audit = values_audit(model, options, themes=themes, limit=limit, prompt=prompt, with_vocabulary=vocabulary)
    finish_model_audit(audit, model, options, out, overwrite=overwrite, seed=seed)


def _guard(name: str, arguments: str, threshold: float | None) -> AuditGuard | None:
    """Return the guard of a command's options, loaded in the main process, which asks it; None without one."""
    if not name:
        if arguments or threshold is not None:
            raise DataError("--guard-args and --guard-threshold go with --guard")
        return None
    spec, blocks_from = parse_guard(name, arguments), DEFAULT_THRESHOLD if threshold is None else threshold
    return load_audit_guard(spec, blocks_from) if this_process().is_main else AuditGuard(spec.name, blocks_from)


def finish_model_audit(
    audit: ModelAudit, model: str, options: ModelOptions, out: Path, *, overwrite: bool, seed: int
) -> None:
    """Run an audit on a model, and print its result."""
    if not model.startswith("baseline/") and not options.judge.served and options.scorer is None:
        hide_loading_bar()
    written = run_audit(model, audit, options=options, seed=seed, out=out, overwrite=overwrite, progress=True)
    if this_process().is_main:
        print_audit_result(written.result)
        console.print(f"written to {written.path}", soft_wrap=True)
        if failed := written.result.failed_requests:
            console.print(f"{failed} requests failed; the same command sends only these again")


def print_audit_result(result: AuditResult) -> None:
    """Print the effects of a result, its further tables, and the outcome of the self-test."""
    print_line(f"{result.audit.title}: {result.audit.question}")
    for table in (*effect_tables([result]), *map(_first_rows, result.tables)):
        print_table(table)
    for sentence in AUDITS[result.audit.kind].view([result]).answer:
        print_line(sentence)
    if result.counts.unscored:
        reasons = ", ".join(f"{count} {reason}" for reason, count in result.counts.reasons.items())
        print_line(f"{result.counts.unscored} of {result.counts.completions} completions are unscored: {reasons}")
    print_line(self_test_sentence([result]))
    for caution in result.audit.cautions:
        print_line(f"Caution: {caution}")


def _first_rows(table: AuditTable) -> AuditTable:
    """Return a table that is short enough to be printed, and says how many rows it lacks."""
    rest = len(table.rows) - MAX_ROWS
    if rest <= 0:
        return table
    note = f"{table.note} {rest} further rows are in the result.".strip()
    return table.model_copy(update={"rows": table.rows[:MAX_ROWS], "note": note})


def print_audits(app: typer.Typer) -> None:
    """Print the audits by name with their first line of help."""
    table = Table("audit", "what it does")
    for command in app.registered_commands:
        if command.callback is not None:
            table.add_row(literal(str(command.name)), literal((command.callback.__doc__ or "").split("\n")[0]))
    console.print(table)
