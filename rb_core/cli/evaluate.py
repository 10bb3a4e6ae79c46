"""The command `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rb_core.benchmarks.card import METRICS_OF_CARDS
from rb_core.benchmarks.data_report import describe_data
from rb_core.benchmarks.layouts.reading import parse_columns
from rb_core.benchmarks.spec import Benchmark
from rb_core.cli.console import DEFAULT_ROOT, console, print_line
from rb_core.cli.data import Columns, print_layouts
from rb_core.cli.signatures import takes_model_options
from rb_core.cli.tables import print_result
from rb_core.errors import NotScoredError
from rb_core.evaluation import evaluate as evaluation
from rb_core.evaluation.distributed import this_process
from rb_core.models.options import ModelOptions
from rb_core.stats.metrics.base import TieCredit

app = typer.Typer()


@app.command()
@takes_model_options()
def evaluate(
    *,
    benchmark: Annotated[str, typer.Option(help="a benchmark's id, a card or preference file, or hf://ORG/NAME:SPLIT")],
    model: Annotated[
        str, typer.Option(help="builtin/tiny-rm, baseline/NAME, a folder, a hub id ORG/NAME, or a server's model")
    ] = "",
    out: Annotated[Path, typer.Option(help="folder for results and scores")] = DEFAULT_ROOT,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing result")] = False,
    limit: Annotated[int | None, typer.Option(help="score only this many examples")] = None,
    seed: Annotated[int, typer.Option(help="seed of completion order and the random baseline")] = 0,
    data: Annotated[Path | None, typer.Option(help="read the benchmark's rows from this file or folder")] = None,
    data_revision: Annotated[str | None, typer.Option(help="commit, branch or tag of the dataset on the hub")] = None,
    columns: Columns = "",
    metric: Annotated[
        str | None, typer.Option(help=f"of your own data: what a right example is: {', '.join(METRICS_OF_CARDS)}")
    ] = None,
    ties: Annotated[TieCredit | None, typer.Option(help="of your own data: credit of a tie, 0, 1/2 or 1/k")] = None,
    prior: Annotated[bool, typer.Option("--prior", help="evaluate RewardBench's Prior Sets as well")] = False,
    options: ModelOptions,
) -> None:
    """Score a benchmark with a model and aggregate the result. A killed run resumes when started again.

    `accelerate launch --num_processes 8 -m rb_core evaluate ...` shares the work among eight GPUs.
    """
    if not model.startswith("baseline/") and not options.judge.served and options.scorer is None:
        hide_loading_bar()
    finished = evaluation.evaluate(
        model,
        benchmark,
        options=options,
        data=data,
        data_revision=data_revision,
        columns=parse_columns(columns),
        metric=metric,
        ties=ties,
        prior=prior,
        limit=limit,
        seed=seed,
        out=out,
        overwrite=overwrite,
        progress=True,
        on_loaded=_print_data,
    )
    if this_process().is_main:
        print_result(finished.result)
        console.print(f"written to {finished.path}", soft_wrap=True)
        if failed := finished.result.failed_requests:
            console.print(f"{failed} requests failed; the same command sends only these again")
    if finished.result.counts is not None and not finished.result.counts.scored:
        reasons = ", ".join(finished.result.counts.reasons) or "there are no examples"
        raise NotScoredError(f"no example could be scored: {reasons}")


def _print_data(benchmark: Benchmark) -> None:
    """Print how a user's own data were read, and what is odd about them."""
    print_layouts(benchmark)
    if benchmark.layouts:
        for warning in describe_data(benchmark).warnings():
            print_line(f"warning: {warning}")


def hide_loading_bar() -> None:
    """Turn off transformers' progress bar for weights, which would mix with ours; downloads keep theirs."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    downloads_shown = not are_progress_bars_disabled()
    disable_progress_bar()  # type: ignore[no-untyped-call]
    if downloads_shown:
        enable_progress_bars()
