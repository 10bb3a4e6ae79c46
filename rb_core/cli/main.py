"""The command line: `rb`, or `python -m rb_core`.

A user's mistake is one line and exit code 2; a run in which nothing could be scored, one line and exit code 1.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import typer

from rb_core.errors import RewardBenchError, first_line
from rb_core.evaluation.distributed import SINGLE_PROCESS, this_process

# The modules of this package in the order of the help text, with the commands that each one defines.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "evaluate": ("evaluate",),
    "score": ("score",),
    "data": ("data",),
    "doctor": ("doctor",),
    "jobs": ("submit", "jobs"),
    "evaluation_queue": ("request", "requests", "worker"),
    "results": ("show", "aggregate", "benchmarks", "models", "schema"),
    "cross": ("cross",),
    "agree": ("agree",),
    "verify": ("verify",),
}
# Modules whose commands have a common first word, with the panel of the help text.
GROUPS: Mapping[str, tuple[str, str]] = {
    "audit": ("audits", "Results"),
    "sync": ("sync", "Exchange results"),
    "import": ("imports", "Exchange results"),
    "export": ("exports", "Exchange results"),
}
# How many objects are made before the next search for garbage (Python: 700).
GARBAGE_THRESHOLD = 100_000


def make_app(command: str = "") -> typer.Typer:
    """Return the command line with the modules that define this command, or with all of them if none does.

    The modules of other commands are left out because importing all of them takes most of the time of a short run.
    """
    app = typer.Typer(
        name="rb",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_no_options)  # with a callback, an app of one command still takes the command's name
    modules = [module for module, names in COMMANDS.items() if command in names]
    groups = [command] if command in GROUPS else []
    if not modules and not groups:
        modules, groups = list(COMMANDS), list(GROUPS)
    for module in modules:
        app.add_typer(import_module(f"rb_core.cli.{module}").app)
    for name in groups:
        module, panel = GROUPS[name]
        app.add_typer(import_module(f"rb_core.cli.{module}").app, name=name, rich_help_panel=panel)
    return app


def _no_options() -> None:
    """Evaluate reward models on preference benchmarks."""


def main() -> None:
    """Run the command line."""
    # Imports make millions of objects that live until the process ends: searching them for garbage, while they are made
    # and again at the end, takes a third of the processor time of a short run.
    gc.set_threshold(GARBAGE_THRESHOLD)
    atexit.register(gc.freeze)
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
            make_app(sys.argv[1] if len(sys.argv) > 1 else "")()
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
