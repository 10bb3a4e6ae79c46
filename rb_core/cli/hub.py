"""The commands that move results (to and from the hub, out of other layouts), audit them, and make them elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rb_core import export
from rb_core.errors import HubError
from rb_core.evaluation import hf_jobs
from rb_core.hub import pull, push
from rb_core.hub.repository import ResultsRepo
from rb_core.importers import published_tables, reward_bench_results
from rb_core.leaderboard import verify

console = Console()


DEFAULT_ROOT = Path("leaderboard_data")


Repo = Annotated[str, typer.Option(help="the dataset repository on the hub: ORG/NAME")]


sync_app = typer.Typer(help="Push results to a dataset repository on the hub, and pull them.", no_args_is_help=True)


import_app = typer.Typer(help="Turn results in other layouts into results of this project.", no_args_is_help=True)


export_app = typer.Typer(help="Turn results into the formats of others.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(sync_app, name="sync")
    app.add_typer(import_app, name="import")
    app.add_typer(export_app, name="export")
    app.command("verify")(verify_results)
    app.command("submit")(submit)
    app.command("jobs")(show_jobs)


@sync_app.command("push")
def sync_push(
    repo: Repo,
    root: Annotated[Path, typer.Option(help="the folder whose results are pushed")] = DEFAULT_ROOT,
    create: Annotated[bool, typer.Option("--create", help="make the repository if there is none")] = False,
    private: Annotated[bool, typer.Option("--private", help="with --create: only for its owners")] = False,
    pr: Annotated[bool, typer.Option("--pr", help="open a pull request instead of committing")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the plan and send nothing")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace newer or fuller results, too")] = False,
) -> None:
    """Push results, their scores and the tables derived from them, in one commit.

    What is there already is not sent again, nothing is deleted, and no result is replaced by an older or a lesser one.
    """
    if private and not create:
        raise HubError("--private says how a repository is made: give --create as well")

    def show(plan: push.PushPlan) -> None:
        for line in plan.lines():
            console.print(line, soft_wrap=True, highlight=False, markup=False)

    done = push.push(repo, root, create=create, private=private, pr=pr, dry_run=dry_run, overwrite=overwrite, show=show)
    if done.url:
        console.print(f"pushed: {done.url}", soft_wrap=True, highlight=False)
    else:
        console.print("nothing was sent" if dry_run else "nothing to push", highlight=False)


@sync_app.command("pull")
def sync_pull(
    repo: Repo,
    out: Annotated[Path, typer.Option(help="the folder that the results are put into")] = DEFAULT_ROOT,
    revision: Annotated[str | None, typer.Option(help="a commit, branch or tag; main by default")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace newer or fuller results, too")] = False,
) -> None:
    """Pull all results of a repository at one commit. A bad file is refused by name, and the rest stands."""
    done = pull.pull(repo, out, revision=revision, overwrite=overwrite)
    for path, reason in done.kept.items():
        print(f"kept {path}: {reason}; replace it with --overwrite", file=sys.stderr)
    for message in done.refused:
        print(f"refused: {message}", file=sys.stderr)
    date = f" of {done.date:%Y-%m-%d %H:%M} UTC" if done.date else ""
    console.print(
        f"{repo} at {done.commit[:10]}{date}: {done.results} results, {done.written} files written to {out}",
        soft_wrap=True,
        highlight=False,
    )
    if done.refused:
        raise typer.Exit(1)


def verify_results(
    path: Annotated[Path, typer.Argument(help="a folder with results/ and scores/")] = DEFAULT_ROOT,
    repo: Annotated[str | None, typer.Option(help="instead: a dataset repository on the hub, ORG/NAME")] = None,
    revision: Annotated[str | None, typer.Option(help="the repository's commit, branch or tag")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Recompute every published number, from the scores where there are any, and print each that differs.

    The exit code is 1 when any does, or when a repository holds a file that had to be refused.
    """
    if repo is None:
        report = verify.verify(path)
    else:
        with TemporaryDirectory() as folder:
            snapshot = pull.check_out(ResultsRepo(repo), Path(folder), revision)
            report = verify.verify(Path(folder), whole=True, refused=snapshot.refused)
    if as_json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        for difference in report.differences:
            print(difference)
        print(report.summary())
    raise typer.Exit(1 if report.differences else 0)


@import_app.command("published-tables")
def import_published_tables(
    tables: Annotated[Path, typer.Argument(help="folder with the published tables (see the README)")],
    out: Annotated[Path, typer.Option(help="the folder that results are written below")] = DEFAULT_ROOT,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace published results that stand there")] = False,
) -> None:
    """Turn the public RewardBench leaderboards' tables into published results."""
    counts = published_tables.import_tables(tables, out, overwrite=overwrite)
    for name, count in counts.items():
        console.print(f"{name}: {count} results")


@import_app.command("rewardbench-results")
def import_rewardbench_results(
    source: Annotated[str, typer.Argument(help="a folder, or a dataset on the hub: allenai/reward-bench-results")],
    revision: Annotated[str | None, typer.Option(help="the dataset's commit, branch or tag on the hub")] = None,
    out: Annotated[Path, typer.Option(help="the folder that results and scores are written below")] = DEFAULT_ROOT,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace published results that stand there")] = False,
) -> None:
    """Turn results and scores in RewardBench's public layout into results and score tables.

    Exit code 1 when a file was refused, 2 when nothing could be imported.
    """
    report = reward_bench_results.import_results(source, out, revision=revision, overwrite=overwrite)
    if report.differences:
        table = Table("model", "subset", "published", "recomputed", title="Published otherwise than the scores say")
        for found in report.differences:
            table.add_row(found.model, found.subset, f"{found.published:.4f}", f"{found.recomputed:.4f}")
        console.print(table)
    for line in report.refused:
        typer.echo(f"refused: {line}", err=True)
    for name, count in report.written.items():
        console.print(f"{name}: {count} results")
    console.print(
        f"{report.tables} recomputed from scores, {len(report.differences)} differences, {len(report.refused)} refused"
    )
    if report.refused:
        raise typer.Exit(1 if report.written else 2)


@export_app.command("eval-results")
def export_eval_results(
    model: Annotated[str, typer.Argument(help="ORG/NAME of the model, as in its results")],
    root: Annotated[Path, typer.Option(help="the folder that results lie below")] = DEFAULT_ROOT,
    out: Annotated[Path | None, typer.Option(help="the folder to write; by default one named after the model")] = None,
    pull_request: Annotated[bool, typer.Option("--push", help="open a pull request on the model's repository")] = False,
    repo: Annotated[str | None, typer.Option(help="the repository to push to, where it is not MODEL")] = None,
    source_url: Annotated[str | None, typer.Option(help="a link to where the scores of runs can be seen")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would be written or sent")] = False,
) -> None:
    """Write a model's results as the hub's .eval_results and as a model-index for its card, in percent."""
    exported = export.for_the_hub(root, model, source_url=source_url)
    repository = export.target_repository(exported, repo) if pull_request else None
    for reason in exported.left_out:
        _say(f"left out: {reason}")
    if repository is not None:
        _open_pull_request(exported, repository, dry_run=dry_run)
    elif dry_run:
        _show(export.hub_files(exported, {}) | {export.INDEX_FILE: export.index_block(exported)})
    if not dry_run:
        for path in export.write_for_the_hub(exported, out or Path(model.split("/")[1])):
            _say(f"written to {path}")


@export_app.command("every-eval-ever")
def export_every_eval_ever(
    models: Annotated[list[str] | None, typer.Argument(help="ORG/NAME of models; all of them by default")] = None,
    root: Annotated[Path, typer.Option(help="the folder that results lie below")] = DEFAULT_ROOT,
    out: Annotated[Path, typer.Option(help="the folder that data/ is written below")] = Path("every-eval-ever"),
    organization: Annotated[str, typer.Option(help="who reports the runs")] = "unknown",
    relationship: Annotated[
        str, typer.Option(help=f"of the one who ran them to the models: {', '.join(export.RELATIONSHIPS)}")
    ] = "other",
    runs_only: Annotated[bool, typer.Option("--runs-only", help="leave out what was published elsewhere")] = False,
) -> None:
    """Write results as records of the Every Eval Ever project; the same result gives the same file."""
    reporter = export.Reporter(organization, relationship)
    records, left_out = export.every_eval_ever(root, models or [], reporter=reporter, runs_only=runs_only)
    for reason in left_out:
        _say(f"left out: {reason}")
    export.write_records(records, out)
    _say(f"{len(records)} records written below {out / 'data'}")


def submit(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="a model on the hub, ORG/NAME, or one with a record")],
    benchmark: Annotated[str, typer.Option(help="a benchmark's id")],
    flavor: Annotated[str, typer.Option(help="the hardware, such as a10g-large")],
    repo: Annotated[str | None, typer.Option(help="push the result to this dataset repository, ORG/NAME")] = None,
    timeout: Annotated[str, typer.Option(help="the job ends after this: 90m, 6h")] = hf_jobs.DEFAULT_TIMEOUT,
    namespace: Annotated[
        str | None, typer.Option(help="the user or organisation who pays; else the token's own")
    ] = None,
    package: Annotated[
        str | None, typer.Option(help="what pip installs there; by default this checkout's commit, from its remote")
    ] = None,
    image: Annotated[str, typer.Option(help="the container image")] = hf_jobs.DEFAULT_IMAGE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would run, and send nothing")] = False,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTIONS]", help="further options of evaluate, after --")
    ] = None,
) -> None:
    """Evaluate on Hugging Face Jobs instead of here, and push the result from there. Costs money."""
    more = options or []
    _check_passed_on(context, model, benchmark, more)
    job = hf_jobs.plan_job(
        model,
        benchmark,
        flavor,
        repo=repo,
        options=more,
        timeout=timeout,
        namespace=namespace,
        package=package,
        image=image,
    )
    if repo is None:
        print(
            "note: without --repo the job prints its result into its log, and the scores end with it", file=sys.stderr
        )
    if dry_run:
        hf_jobs.check_flavor(flavor)
        print(job.describe())
        return
    started = hf_jobs.submit_job(job)
    print(f"job {started.id} is {started.status}: {started.url}")


def show_jobs(
    namespace: Annotated[str | None, typer.Option(help="of this user or organisation; else the token's own")] = None,
    everything: Annotated[bool, typer.Option("--all", help="also the jobs that have ended")] = False,
) -> None:
    """List the evaluations that run on Hugging Face Jobs."""
    print(hf_jobs.jobs_table(hf_jobs.list_jobs(namespace, ended=everything)))


# What the commands are made of


def _open_pull_request(exported: export.Exported, repository: str, *, dry_run: bool) -> None:
    plan = export.plan_pull_request(exported, repository)
    if not plan.files:
        _say(f"{repository}: main has all of this already; no pull request was opened")
    elif plan.existing:
        _say(f"{repository}: {plan.existing} has all of this already; no pull request was opened")
    elif dry_run:
        _say(f"a pull request on {repository} would change {len(plan.files)} files:")
        _show(plan.files)
    else:
        _say(f"opened {export.open_pull_request(plan)}")


def _show(files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        _say(f"--- {path}")
        _say(content.decode())


def _say(text: str) -> None:
    """A line as it is: names in brackets are no markup, and addresses are not broken."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def _check_passed_on(context: typer.Context, model: str, benchmark: str, options: list[str]) -> None:
    """Let `evaluate` itself read the options, so that a mistake shows here and not on rented hardware.

    Raises HubError for those that a job cannot have: a file of this machine, or what `submit` says itself.
    """
    program: Any = context.find_root()
    said = ["--model", model, "--benchmark", benchmark]
    evaluate = program.command.commands["evaluate"].make_context("evaluate", [*said, *options], parent=program)
    if (evaluate.params["model"], evaluate.params["benchmark"]) != (model, benchmark):
        raise HubError("--model and --benchmark go before the --")
    for name in ("out", "data", "chat_template"):
        if evaluate.get_parameter_source(name).name == "COMMANDLINE":
            raise HubError(
                f"--{name.replace('_', '-')}: a job has no files of this machine, and its own place for results"
            )
    if evaluate.params["reference"] is not None:
        hf_jobs.check_job_model(evaluate.params["reference"])
