"""The command `score`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rb_core.benchmarks.layouts.reading import parse_columns
from rb_core.cli.console import DEFAULT_ROOT, print_line
from rb_core.cli.data import Columns
from rb_core.cli.evaluate import hide_loading_bar
from rb_core.cli.selected import select_from_scores, selection_output
from rb_core.cli.signatures import takes_model_options
from rb_core.errors import DataError, NotScoredError
from rb_core.evaluation.distributed import this_process
from rb_core.evaluation.evaluate import check_seed, describe_model
from rb_core.evaluation.percentiles import Percentiles, find_percentiles
from rb_core.evaluation.preference_pairs import PairSelection
from rb_core.evaluation.prompt_input import Survey
from rb_core.evaluation.score_file import check_output_file, score_file
from rb_core.evaluation.score_rows import score_lines
from rb_core.evaluation.score_writers import Tally, check_suffix, table_writer
from rb_core.evaluation.scored_prompts import PromptWriter
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results.failures import FAILED
from rb_core.results.schema import ModelRef
from rb_core.scorers.load import load_scorer

app = typer.Typer()
STANDARD_STREAMS = "-"
SELECT = "Best-of-N and preference pairs"


@app.command()
@takes_model_options(without=("threshold",))
def score(
    data: Annotated[
        str, typer.Argument(help="a file or folder, hf://ORG/NAME:SPLIT, or - for JSON lines on standard input")
    ],
    *,
    model: Annotated[str, typer.Option(help="as for evaluate")] = "",
    out: Annotated[Path | None, typer.Option(help="file to write: NAME.parquet, NAME.jsonl or NAME.csv")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing file")] = False,
    columns: Columns = "",
    split: Annotated[str | None, typer.Option(help="split of a dataset on the hub")] = None,
    data_revision: Annotated[str | None, typer.Option(help="commit, branch or tag of the dataset on the hub")] = None,
    percentile_of: Annotated[
        str | None, typer.Option(help="benchmark for percentiles; default: the largest that the model was evaluated on")
    ] = None,
    results: Annotated[Path, typer.Option(help="folder with the model's results, for percentiles")] = DEFAULT_ROOT,
    seed: Annotated[int, typer.Option(help="seed of completion order and the random baseline")] = 0,
    best_of: Annotated[
        bool, typer.Option("--best-of", help="write only the best completion of each prompt", rich_help_panel=SELECT)
    ] = False,
    correct: Annotated[
        str, typer.Option(help="column that says what is correct, for a curve of best-of-k", rich_help_panel=SELECT)
    ] = "",
    curve: Annotated[
        Path | None, typer.Option(help="write the curve: NAME.csv, .jsonl or .parquet", rich_help_panel=SELECT)
    ] = None,
    min_margin: Annotated[
        float | None,
        typer.Option(
            "--filter",
            metavar="MIN_MARGIN",
            help="write preference pairs whose scores differ by this or more",
            rich_help_panel=SELECT,
        ),
    ] = None,
    pairs: Annotated[
        PairSelection | None, typer.Option(help="of a prompt; default: best-worst", rich_help_panel=SELECT)
    ] = None,
    options: ModelOptions,
) -> None:
    """Score prompts with completions, or conversations, without labels. A killed run resumes when started again.

    Rows are like {"prompt": "...", "completions": ["...", "..."]}; the output has one row per completion. With
    --best-of or --filter a file that this command wrote can be the input, without a model.
    """
    if not model.startswith("baseline/") and not options.judge.served and options.scorer is None:
        hide_loading_bar()
    selection = selection_output(best_of=best_of, correct=correct, curve=curve, min_margin=min_margin, pairs=pairs)
    if selection is not None and percentile_of is not None:
        raise DataError("--percentile-of adds a column to a table of scores, which --best-of and --filter do not write")
    output = selection or ClosingLines(results, percentile_of)
    if data == STANDARD_STREAMS:
        if not isinstance(output, ClosingLines):
            raise DataError("- is read line by line: give --best-of and --filter a file")
        _score_standard_input(output, model, options, out, columns, seed)
    elif out is None:
        raise DataError("--out is missing: name the file to write, such as --out scores.parquet")
    else:
        check_suffix(out)
        if curve is not None:
            check_suffix(curve, "--curve")
            check_output_file(curve, 0, overwrite=overwrite, inputs=[data, out])
        reads_text = columns or split or data_revision
        if selection is not None and not model and options == ModelOptions() and not reads_text:
            this_process().on_main(lambda: select_from_scores(Path(data), selection, out, overwrite=overwrite))
        else:
            score_file(
                model,
                data,
                lambda survey, described: output.writer(out, survey, described),
                out,
                check_row=selection.row_check(out) if selection is not None else None,
                options=options,
                columns=parse_columns(columns),
                split=split,
                data_revision=data_revision,
                seed=seed,
                overwrite=overwrite,
                progress=True,
            )
    if this_process().is_main:
        output.show(out)
        output.check_scored()


class ClosingLines:
    """The percentiles of a command's scores, and its closing lines."""

    def __init__(self, results: Path, percentile_of: str | None) -> None:
        self.tally = Tally()
        self.percentiles: Percentiles | None = None
        self._results, self._benchmark = results, percentile_of
        self._reason = ""

    def find_percentiles(self, model: ModelRef) -> Percentiles | None:
        self.percentiles, self._reason = find_percentiles(model, self._results, self._benchmark)
        return self.percentiles

    def writer(self, out: Path, survey: Survey, model: ModelRef) -> PromptWriter:
        """Return a writer of the table, whose parquet form describes model and data."""
        metadata = {"model": model.model_dump(mode="json", exclude={"probe"}, exclude_none=True), "data": survey.sha256}
        return table_writer(out, survey.columns, self.find_percentiles(model), self.tally, metadata)

    def show(self, out: Path | None) -> None:
        """Print counts, where the median stands, and where the scores are; to standard error without a file."""
        print_to = print_line if out is not None else _print_error
        tally = self.tally
        unscored = sum(tally.unscored.values())
        print_to(
            f"{tally.prompts:,} rows, {tally.completions:,} completions: {unscored:,} unscored, "
            f"{tally.truncated:,} truncated"
        )
        for reason, count in tally.unscored.most_common(5):
            print_to(f"unscored {count:,} times: {reason}")
        if failed := sum(count for reason, count in tally.unscored.items() if reason in FAILED):
            print_to(f"{failed:,} requests failed; the same command sends only these again")
        median = tally.median_rank()
        if self.percentiles is None:
            print_to(f"percentiles are left out: {self._reason}")
        elif median is not None:
            percent = self.percentiles.percent(median)
            print_to(f"median score is higher than {percent:.0f}% of the chosen answers of {self.percentiles.title}")
        if out is not None:
            print_to(f"written to {out}")

    def check_scored(self) -> None:
        """Raise NotScoredError if there are completions and none has a score."""
        if self.tally.completions and self.tally.unscored.total() == self.tally.completions:
            raise NotScoredError("no completion could be scored: see the column reason")


def _score_standard_input(
    closing: ClosingLines, model: str, options: ModelOptions, out: Path | None, columns: str, seed: int
) -> None:
    if out is not None:
        raise DataError("- writes to standard output: leave out --out")
    if this_process().count > 1:
        raise DataError("- reads standard input in one process: give a file to use several")
    check_seed(seed)
    spec, mapping = resolve(model, options), parse_columns(columns)
    scorer = load_scorer(spec, seed)
    percentiles = closing.find_percentiles(describe_model(scorer, spec.name))
    score_lines(
        scorer,
        sys.stdin.buffer,
        sys.stdout.buffer,
        columns=mapping,
        seed=seed,
        percentiles=percentiles,
        tally=closing.tally,
    )


def _print_error(text: str) -> None:
    Console(stderr=True).print(text, soft_wrap=True, markup=False, highlight=False)
