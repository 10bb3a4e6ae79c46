"""The commands `submit` and `jobs`: evaluations on Hugging Face Jobs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from rb_core.cli.evaluate import app as evaluate_app
from rb_core.cli.signatures import parse_options
from rb_core.errors import HubError
from rb_core.evaluation import hf_jobs
from rb_core.models.options import JudgeOptions, ModelOptions, check_options, flag, option_specs

app = typer.Typer()


@app.command("submit")
def submit_job(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="a model on the hub, ORG/NAME, or one with a record")],
    benchmark: Annotated[str, typer.Option(help="a benchmark's id, or a card that names data on the hub")],
    flavor: Annotated[str, typer.Option(help="hardware, such as a10g-large")],
    repo: Annotated[str | None, typer.Option(help="push the result to this dataset repository, ORG/NAME")] = None,
    timeout: Annotated[str, typer.Option(help="maximum time of the job: 90m, 6h")] = hf_jobs.DEFAULT_TIMEOUT,
    namespace: Annotated[
        str | None, typer.Option(help="user or organisation that pays; the token's own by default")
    ] = None,
    package: Annotated[
        str | None, typer.Option(help="package for pip to install; this checkout's commit on its remote by default")
    ] = None,
    image: Annotated[str, typer.Option(help="container image")] = hf_jobs.DEFAULT_IMAGE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would run, and send nothing")] = False,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTIONS]", help="further options of evaluate, after --")
    ] = None,
) -> None:
    """Evaluate on Hugging Face Jobs instead of here, and push the result from there. Costs money."""
    evaluate_options = options or []
    _check_evaluate_options(context, model, benchmark, evaluate_options)
    job = hf_jobs.plan_job(
        model,
        benchmark,
        flavor,
        repo=repo,
        options=evaluate_options,
        timeout=timeout,
        namespace=namespace,
        package=package,
        image=image,
    )
    if repo is None:
        print("note: without --repo the job only logs its result, and the scores are lost", file=sys.stderr)
    if dry_run:
        hf_jobs.check_flavor(flavor)
        print(job.describe())
        return
    started = hf_jobs.submit_job(job)
    print(f"job {started.id} is {started.status}: {started.url}")


@app.command("jobs")
def list_jobs(
    namespace: Annotated[str | None, typer.Option(help="user or organisation; the token's own by default")] = None,
    everything: Annotated[bool, typer.Option("--all", help="also list jobs that have ended")] = False,
) -> None:
    """List the evaluations that run on Hugging Face Jobs."""
    print(hf_jobs.jobs_table(hf_jobs.list_jobs(namespace, ended=everything)))


def _check_evaluate_options(context: typer.Context, model: str, benchmark: str, options: Sequence[str]) -> None:
    """Let `evaluate` parse the options, so that a mistake shows here and not on rented hardware.

    Raises HubError for options that a job cannot have: local files, and those that `submit` sets itself.
    """
    command: Any = typer.main.get_command(evaluate_app)
    arguments = ["--model", model, "--benchmark", benchmark, *options]
    evaluate = command.make_context("evaluate", arguments, parent=context.find_root())
    if (evaluate.params["model"], evaluate.params["benchmark"]) != (model, benchmark):
        raise HubError("--model and --benchmark go before the --")
    specs = option_specs(ModelOptions) | option_specs(JudgeOptions)
    for name in ("out", "data", *(name for name, spec in specs.items() if spec.is_file or spec.is_local)):
        if evaluate.get_parameter_source(name).name == "COMMANDLINE":
            raise HubError(f"{flag(name)}: a job has no files of this machine, and a results folder of its own")
    parsed = parse_options(evaluate.params)
    check_options(parsed)
    if parsed.question != evaluate.params["question"]:
        raise HubError("--question: a job has no files of this machine; give the question itself")
    for name, spec in specs.items():
        if spec.is_model and evaluate.params[name] is not None:
            hf_jobs.check_job_model(evaluate.params[name])
