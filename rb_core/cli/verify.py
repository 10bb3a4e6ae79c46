"""The command `verify`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from rb_core.audits.verify import verify_audits
from rb_core.cli.console import DEFAULT_ROOT
from rb_core.hub import pull
from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard import verify

app = typer.Typer()


@app.command("verify", rich_help_panel="Results")
def verify_results(
    path: Annotated[Path, typer.Argument(help="folder with results/ and scores/")] = DEFAULT_ROOT,
    repo: Annotated[str | None, typer.Option(help="instead of a folder: a dataset repository, ORG/NAME")] = None,
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag of the repository")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Recompute every published number, from the scores if there are any, and print each one that differs.

    The exit code is 1 if any number differs, or if a repository holds a file that was refused.
    """
    if repo is None:
        report = _verify(path)
    else:
        with TemporaryDirectory() as folder:
            snapshot = pull.check_out(ResultsRepo(repo), Path(folder), revision)
            report = _verify(Path(folder), whole=True, refused=snapshot.refused)
    if as_json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        for difference in report.differences:
            print(difference)
        print(report.summary())
    raise typer.Exit(1 if report.differences else 0)


def _verify(root: Path, *, whole: bool = False, refused: Sequence[str] = ()) -> verify.VerifyReport:
    """Verify the results of benchmarks and those of audits. Arguments: as `verify.verify`."""
    audits = verify_audits(root)
    has_audits = bool(audits.results or audits.mismatches)
    report = verify.verify(root, whole=whole, refused=refused, may_be_empty=has_audits)
    return replace(
        report,
        results=report.results + audits.results,
        with_scores=report.with_scores + audits.results,
        numbers=report.numbers + audits.numbers,
        differences=(*report.differences, *audits.mismatches),
    )
