"""The command `doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rb_core import doctor
from rb_core.cli.console import console
from rb_core.cli.evaluate import hide_loading_bar
from rb_core.cli.signatures import takes_model_options
from rb_core.errors import ModelError
from rb_core.models.options import ModelOptions

app = typer.Typer()


@app.command("doctor")
@takes_model_options(
    without=("name", "threshold", "ensemble", "combine", "lambda_", "scale_by", "scale_results", "judge")
)
def examine(
    *,
    model: Annotated[str, typer.Option(help="builtin/tiny-rm, a folder, or a hub id ORG/NAME")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
    options: ModelOptions,
) -> None:
    """Check that a model is set up right.

    Does it load completely, what input does it get, where is its score read, and do other ways of running it give the
    same numbers? With --scorer: do scores depend on the completion alone? The exit code is 1 when a check fails.
    """
    if not model and options.scorer is None:
        raise ModelError("give --model or --scorer")
    hide_loading_bar()
    report = doctor.examine(model, options)
    if as_json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        doctor.show(report, console)
    raise typer.Exit(1 if report.failed else 0)
