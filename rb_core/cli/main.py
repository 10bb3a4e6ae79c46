"""The command line: `rb`, or `python -m rb_core`.

A user's mistake is one line and exit code 2; a run in which nothing could be scored, one line and exit code 1.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import typer

from rb_core.cli import (
    agree,
    audits,
    cross,
    data,
    doctor,
    evaluate,
    exports,
    imports,
    jobs,
    results,
    score,
    sync,
    verify,
)
from rb_core.errors import RewardBenchError, first_line
from rb_core.evaluation.distributed import SINGLE_PROCESS, this_process

app = typer.Typer(
    name="rb",
    help="Evaluate reward models on preference benchmarks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for commands in (
    evaluate.app,
    score.app,
    data.app,
    doctor.app,
    jobs.app,
    results.app,
    cross.app,
    agree.app,
    verify.app,
):
    app.add_typer(commands)
app.add_typer(audits.app, name="audit", rich_help_panel="Results")
app.add_typer(sync.app, name="sync", rich_help_panel="Exchange results")
app.add_typer(imports.app, name="import", rich_help_panel="Exchange results")
app.add_typer(exports.app, name="export", rich_help_panel="Exchange results")


def main() -> None:
    """Run the command line."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the process ends
    for stream in (sys.stdout, sys.stderr):  # whatever the locale: results have characters beyond ASCII
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    process = SINGLE_PROCESS
    try:
        process = this_process()
        try:
            app()
        finally:
            sys.stdout.flush()
    except RewardBenchError as error:
        if process.is_main:
            print(f"error: {error}", file=sys.stderr, flush=True)
        process.wait_before_exit()
        sys.exit(error.exit_code)
    except OSError as error:  # such as a full disk under the output; the launcher ends the other processes
        print(
            f"error: {error.filename or 'output'}: {error.strerror or first_line(error)}", file=sys.stderr, flush=True
        )
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor can the rest of its buffer be written
        sys.exit(2)
