"""The commands `request`, `requests` and `worker`: evaluations that are asked for in a repository on the hub."""

from __future__ import annotations

import logging
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from rb_core.cli.console import console, literal, print_line
from rb_core.cli.evaluate import hide_loading_bar
from rb_core.cli.signatures import takes_model_options
from rb_core.errors import HubError
from rb_core.evaluation import hf_jobs
from rb_core.evaluation_queue.checks import RequestLimits, add_request, check_request
from rb_core.evaluation_queue.evaluations import JobEvaluation, LocalEvaluation
from rb_core.evaluation_queue.repository import RequestsRepo
from rb_core.evaluation_queue.worker import ATTEMPTS, LEASE, Worker, worker_name
from rb_core.hub.repository import ResultsRepo
from rb_core.models.options import ModelOptions

app = typer.Typer()

Requests = Annotated[str, typer.Option(help="dataset repository of the requests: ORG/NAME")]
Results = Annotated[str, typer.Option(help="dataset repository of the results: ORG/NAME")]


@app.command("request")
@takes_model_options(
    without=("name", "ensemble", "combine", "lambda_", "scale_by", "scale_results", "scorer", "scorer_args", "judge")
)
def file_request(
    *,
    requests: Requests,
    results: Results,
    model: Annotated[str, typer.Option(help="a model on the hub, ORG/NAME")],
    benchmark: Annotated[str, typer.Option(help="a benchmark's id")],
    create: Annotated[bool, typer.Option("--create", help="create the repository of the requests")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only check the model")] = False,
    options: ModelOptions,
) -> None:
    """Request the evaluation of a model, or vote for a request that waits.

    The model is checked first, without its weights: does it exist, in safetensors, of a known architecture, with a
    licence, within the limits of RB_REQUEST_BILLIONS and RB_REQUEST_ORGS, and is it not evaluated yet?
    """
    repo, board = RequestsRepo(requests), ResultsRepo(results)
    limits = RequestLimits.from_environment()
    user = "nobody" if dry_run else repo.user()
    request = check_request(model, benchmark, options, user, board, limits)
    print_line(f"{request.title} at {request.revision[:10]}: {(request.parameters or 0) / 1e9:.2f} billion parameters")
    if dry_run:
        return
    if create:
        repo.create()
    filed = add_request(repo, request, limits)
    print_line(f"request {filed.id} is {filed.state}, with {len(filed.votes)} votes")


@app.command("requests")
def show_requests(requests: Requests) -> None:
    """List the requests: those that run, those that wait in their order, then the others."""
    queue = RequestsRepo(requests).queue()
    table = Table("state", "model", "benchmark", "votes", "GPU hours", "result or reason", box=SIMPLE_HEAD)
    for each in queue.ordered():
        hours = "" if each.gpu_hours is None else f"{each.gpu_hours:.2g}"
        cells = each.state, each.model, each.benchmark, str(len(each.votes)), hours, each.result or each.reason
        table.add_row(*map(literal, cells))
    console.print(table)
    for message in queue.refused:
        print(f"refused: {message}", file=sys.stderr)


@app.command("worker")
def run_worker(
    *,
    requests: Requests,
    results: Results,
    jobs: Annotated[str | None, typer.Option(help="evaluate on Hugging Face Jobs with this hardware")] = None,
    timeout: Annotated[str, typer.Option(help="with --jobs: maximum time of a job")] = hf_jobs.DEFAULT_TIMEOUT,
    package: Annotated[str | None, typer.Option(help="with --jobs: package for pip to install")] = None,
    work: Annotated[Path, typer.Option(help="folder of unfinished runs, one worker each")] = Path("work"),
    lease: Annotated[float, typer.Option(help="minutes after which others take a dead worker's request")] = (
        LEASE.total_seconds() / 60
    ),
    attempts: Annotated[int, typer.Option(help="attempts without an answer until a request has failed")] = ATTEMPTS,
    period: Annotated[float, typer.Option(help="seconds between looks for new requests")] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="end when no request is free")] = False,
) -> None:
    """Take requests in order: check the model, run the doctor, evaluate, push the result, and write the answer.

    Killed and started again with the same --work, it goes on where it was. With --jobs this costs money.
    """
    if not (1 <= lease <= 24 * 60 and period > 0 and attempts > 0):
        raise HubError("--lease: from 1 to 1440 minutes; --period and --attempts: above 0")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("rb_core").setLevel(logging.INFO)
    repo, board, limits = RequestsRepo(requests), ResultsRepo(results), RequestLimits.from_environment()
    if jobs is not None:
        hf_jobs.check_flavor(jobs)
        package = package or hf_jobs.default_package()
        evaluation: LocalEvaluation = JobEvaluation(board, work, limits, jobs, timeout, package)
    else:
        hide_loading_bar()
        evaluation = LocalEvaluation(board, work, limits)
    with worker_name(work) as name:
        worker = Worker(repo, name, evaluation, timedelta(minutes=lease), attempts, pause=period)
        while True:
            try:
                settled = worker.run_one()
            except HubError as error:
                if once:
                    raise
                print(f"error: {error}; trying again", file=sys.stderr)
                settled = None
            if settled is not None:
                print_line(f"{settled.title}: {settled.state}. {settled.result or settled.reason}")
            elif once:
                return
            if settled is None or settled.state == "waiting":
                time.sleep(period)
