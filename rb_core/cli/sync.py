"""The commands `sync push` and `sync pull`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rb_core.cli.console import DEFAULT_ROOT, print_line
from rb_core.errors import HubError
from rb_core.hub import pull, push
from rb_core.hub.history import result_history
from rb_core.hub.repository import ResultsRepo

app = typer.Typer(help="Push results to a dataset repository on the hub, and pull them.", no_args_is_help=True)

Repo = Annotated[str, typer.Option(help="dataset repository on the hub: ORG/NAME")]


@app.command("push")
def push_results(
    repo: Repo,
    root: Annotated[Path, typer.Option(help="folder whose results are pushed")] = DEFAULT_ROOT,
    create: Annotated[bool, typer.Option("--create", help="create the repository if there is none")] = False,
    private: Annotated[bool, typer.Option("--private", help="with --create: visible only to its owners")] = False,
    pr: Annotated[bool, typer.Option("--pr", help="open a pull request instead of committing")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the plan and send nothing")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="also replace newer or more complete results")] = False,
) -> None:
    """Push results, their scores and the tables derived from them, in one commit.

    Unchanged files are not sent again, nothing is deleted, and no result is replaced by an older or less complete one.
    """
    if private and not create:
        raise HubError("--private applies to a new repository: pass --create as well")

    def show(plan: push.PushPlan) -> None:
        for line in plan.lines():
            print_line(line)

    done = push.push(repo, root, create=create, private=private, pr=pr, dry_run=dry_run, overwrite=overwrite, show=show)
    if done.url:
        print_line(f"pushed: {done.url}")
    else:
        print_line("nothing was sent" if dry_run else "nothing to push")


@app.command("pull")
def pull_results(
    repo: Repo,
    out: Annotated[Path, typer.Option(help="folder that the results are put into")] = DEFAULT_ROOT,
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag; main by default")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="also replace newer or more complete results")] = False,
) -> None:
    """Pull all results of a repository at one commit. A bad file is refused by name; the others are kept."""
    done = pull.pull(repo, out, revision=revision, overwrite=overwrite)
    for path, reason in done.kept.items():
        print(f"kept {path}: {reason}; replace it with --overwrite", file=sys.stderr)
    for message in done.refused:
        print(f"refused: {message}", file=sys.stderr)
    date = f" of {done.date:%Y-%m-%d %H:%M} UTC" if done.date else ""
    print_line(f"{repo} at {done.commit[:10]}{date}: {done.results} results, {done.written} files written to {out}")
    if done.refused:
        raise typer.Exit(1)


@app.command("history")
def show_history(
    repo: Repo,
    benchmark: Annotated[str, typer.Option(help="a benchmark's id")],
    model: Annotated[str, typer.Option(help="the model's name in the results")],
) -> None:
    """List the versions of a result, newest first: score, commit, and what changed."""
    versions = result_history(ResultsRepo(repo), benchmark, model)
    if not versions:
        raise HubError(f"{repo}: there is no result of {model} on {benchmark}")
    for version in versions:
        score = "no score" if version.score is None else f"{100 * version.score:.1f}"
        print_line(f"{version.date:%Y-%m-%d %H:%M} {score:>8}  {version.title}  {version.address}")
        if version.changes:
            print_line(f"    changed: {'; '.join(version.changes)}")
