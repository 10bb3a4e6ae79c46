"""The commands `export eval-results` and `export every-eval-ever`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from rb_core import export
from rb_core.cli.console import DEFAULT_ROOT, print_line

app = typer.Typer(help="Convert results into the formats of other projects.", no_args_is_help=True)

Root = Annotated[Path, typer.Option(help="folder with the results")]


@app.command("eval-results")
def export_eval_results(
    model: Annotated[str, typer.Argument(help="ORG/NAME of the model, as in its results")],
    root: Root = DEFAULT_ROOT,
    out: Annotated[Path | None, typer.Option(help="folder to write; by default one named after the model")] = None,
    pull_request: Annotated[bool, typer.Option("--push", help="open a pull request on the model's repository")] = False,
    repo: Annotated[str | None, typer.Option(help="repository for the pull request, if it is not MODEL")] = None,
    source_url: Annotated[str | None, typer.Option(help="link to the scores of the runs")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the files instead of writing or sending")] = False,
) -> None:
    """Write a model's results as the hub's .eval_results and as a model-index for its card, in percent."""
    exported = export.for_the_hub(root, model, source_url=source_url)
    repository = export.target_repository(exported, repo) if pull_request else None
    for reason in exported.left_out:
        print_line(f"left out: {reason}")
    if repository is not None:
        _open_pull_request(exported, repository, dry_run=dry_run)
    elif dry_run:
        _print_files(export.hub_files(exported, {}) | {export.INDEX_FILE: export.index_block(exported)})
    if not dry_run:
        for path in export.write_for_the_hub(exported, out or Path(model.split("/")[1])):
            print_line(f"written to {path}")


@app.command("every-eval-ever")
def export_every_eval_ever(
    models: Annotated[list[str] | None, typer.Argument(help="ORG/NAME of models; all of them by default")] = None,
    root: Root = DEFAULT_ROOT,
    out: Annotated[Path, typer.Option(help="folder to write data/ into")] = Path("every-eval-ever"),
    organization: Annotated[str, typer.Option(help="organisation that reports the runs")] = "unknown",
    relationship: Annotated[
        str, typer.Option(help=f"relation of that organisation to the models: {', '.join(export.RELATIONSHIPS)}")
    ] = "other",
    runs_only: Annotated[bool, typer.Option("--runs-only", help="leave out results published elsewhere")] = False,
) -> None:
    """Write results as records of the Every Eval Ever project; the same result gives the same file."""
    reporter = export.Reporter(organization, relationship)
    records, left_out = export.every_eval_ever(root, models or [], reporter=reporter, runs_only=runs_only)
    for reason in left_out:
        print_line(f"left out: {reason}")
    export.write_records(records, out)
    print_line(f"{len(records)} records written below {out / 'data'}")


def _open_pull_request(exported: export.Exported, repository: str, *, dry_run: bool) -> None:
    plan = export.plan_pull_request(exported, repository)
    if not plan.files:
        print_line(f"{repository}: main has all of this already; no pull request was opened")
    elif plan.existing:
        print_line(f"{repository}: {plan.existing} has all of this already; no pull request was opened")
    elif dry_run:
        print_line(f"a pull request on {repository} would change {len(plan.files)} files:")
        _print_files(plan.files)
    else:
        print_line(f"opened {export.open_pull_request(plan)}")


def _print_files(files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        print_line(f"--- {path}")
        print_line(content.decode())
