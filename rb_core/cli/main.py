"""The command line: `rb`, or `python -m rb_core`. A user's mistake is one line and exit code 2."""

from __future__ import annotations

import sys

import typer

from rb_core.cli import doctor, evaluate, exports, imports, jobs, results, sync, verify
from rb_core.errors import RewardBenchError
from rb_core.evaluation.distributed import this_process

app = typer.Typer(
    name="rb",
    help="Evaluate reward models on preference benchmarks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for commands in (evaluate.app, doctor.app, jobs.app, results.app, verify.app):
    app.add_typer(commands)
app.add_typer(sync.app, name="sync", rich_help_panel="Exchange results")
app.add_typer(imports.app, name="import", rich_help_panel="Exchange results")
app.add_typer(exports.app, name="export", rich_help_panel="Exchange results")


def main() -> None:
    """Run the command line."""
    try:
        app()
    except RewardBenchError as error:
        processes = this_process()
        if processes.is_main:
            print(f"error: {error}", file=sys.stderr, flush=True)
        processes.wait_before_exit()
        sys.exit(2)
