"""Output of `score --best-of` and `score --filter`, instead of a table of scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.table import Table

from rb_core.cli.console import console, print_line
from rb_core.cli.tables import value_with_interval
from rb_core.errors import DataError, NotScoredError
from rb_core.evaluation.best_completions import (
    BEST_TYPES,
    CURVE_TYPES,
    BestOfTally,
    best_rows,
    check_labels,
    curve_rows,
)
from rb_core.evaluation.preference_pairs import PAIR_TYPES, PairSelection, PairTally, check_plain, pair_rows
from rb_core.evaluation.prompt_input import PromptInput, RowCheck, Survey
from rb_core.evaluation.score_file import check_output_file
from rb_core.evaluation.score_writers import write_rows
from rb_core.evaluation.scored_prompts import SCORE_COLUMNS, PromptWriter, ScoredPrompt, read_scored_prompts
from rb_core.results.schema import ModelRef
from rb_core.stats.best_of import CurvePoint

_ALL_POINTS = 16  # up to so many completions every k is printed, beyond that the powers of two


@dataclass
class BestOfOutput:
    """The best completion of each prompt, and the curve of best-of-k where a column says what is correct."""

    correct: str = ""
    curve_file: Path | None = None
    tally: BestOfTally = field(default_factory=BestOfTally)
    curve: list[CurvePoint] = field(default_factory=list)

    def row_check(self, out: Path) -> RowCheck | None:
        """Return a check that the labels of a row are readable."""
        return partial(check_labels, column=self.correct) if self.correct else None

    def writer(self, out: Path, survey: Survey, model: ModelRef | None) -> PromptWriter:
        own = {name: kind for name, kind in survey.columns.items() if name not in SCORE_COLUMNS}
        self.tally.correct = self.correct

        def write(scored_prompts: Iterator[ScoredPrompt]) -> None:
            write_rows(out, {**own, **BEST_TYPES}, best_rows(scored_prompts, self.tally), _metadata(survey, model))
            self.curve = self.tally.curve()
            if self.curve_file is not None:
                write_rows(self.curve_file, CURVE_TYPES, iter(curve_rows(self.curve)), _metadata(survey, model))

        return write

    def show(self, out: Path | None) -> None:
        """Print counts and the curve."""
        tally = self.tally
        print_line(
            f"{tally.prompts:,} prompts: {tally.tied:,} with a tie for the best, {tally.with_unscored:,} with an "
            f"unscored completion, {tally.without_score:,} without a score"
        )
        if tally.unlabelled:
            print_line(f"left out of the curve: {tally.unlabelled:,} prompts with a completion without a label")
        if self.curve:
            console.print(_curve_table(self.curve))
        if self.curve_file is not None:
            print_line(f"curve written to {self.curve_file}")
        print_line(f"written to {out}")

    def check_scored(self) -> None:
        """Raise NotScoredError if there are prompts and none has a score."""
        if self.tally.prompts and self.tally.without_score == self.tally.prompts:
            raise NotScoredError("no completion could be scored: see the column reason")


@dataclass
class PairOutput:
    """Preference pairs whose scores differ by a margin or more."""

    min_margin: float
    selection: PairSelection
    tally: PairTally = field(default_factory=PairTally)

    def row_check(self, out: Path) -> RowCheck | None:
        """Return a check that the messages of a row fit the output."""
        return check_plain if out.suffix.lower() == ".parquet" else None

    def writer(self, out: Path, survey: Survey, model: ModelRef | None) -> PromptWriter:
        def write(scored_prompts: Iterator[ScoredPrompt]) -> None:
            rows = pair_rows(scored_prompts, self.min_margin, self.selection, self.tally)
            write_rows(out, PAIR_TYPES, rows, _metadata(survey, model))

        return write

    def show(self, out: Path | None) -> None:
        """Print counts: pairs, and prompts without one by reason."""
        tally = self.tally
        print_line(
            f"{tally.prompts:,} prompts: {tally.pairs:,} pairs; {tally.with_unscored:,} prompts with an unscored "
            "completion"
        )
        for reason, count in tally.without_pair.most_common():
            print_line(f"no pair of {count:,} prompts: {reason}")
        print_line(f"written to {out}")

    def check_scored(self) -> None:
        """Raise NotScoredError if there are prompts and no pair."""
        if self.tally.prompts and not self.tally.pairs:
            raise NotScoredError("no prompt has such a pair")


def selection_output(
    *,
    best_of: bool,
    correct: str,
    curve: Path | None,
    min_margin: float | None,
    pairs: PairSelection | None,
) -> BestOfOutput | PairOutput | None:
    """Return what the options ask for; None without --best-of and --filter. Raises DataError for a contradiction."""
    if best_of and min_margin is not None:
        raise DataError("--best-of and --filter write different files: pass one of them")
    for option, is_given, needed, is_met in (
        ("--correct", correct, "--best-of", best_of),
        ("--curve", curve, "--correct COLUMN", correct),
        ("--pairs", pairs, "--filter MIN_MARGIN", min_margin is not None),
    ):
        if is_given and not is_met:
            raise DataError(f"{option} needs {needed}")
    if best_of:
        return BestOfOutput(correct, curve)
    if min_margin is None:
        return None
    if not 0 <= min_margin < math.inf:
        raise DataError(f"--filter {min_margin:g}: expected a margin of 0 or more")
    return PairOutput(min_margin, pairs or PairSelection.best_worst)


def select_from_scores(scores: Path, output: BestOfOutput | PairOutput, out: Path, *, overwrite: bool) -> None:
    """Write a selection from a file that `score` wrote."""
    check_output_file(out, 0, overwrite=overwrite, inputs=[scores])
    if not scores.is_file():
        raise DataError(f"{scores}: no such file; without --model it has to be a file that score wrote")
    check = output.row_check(out) if isinstance(output, PairOutput) else None  # labels of a row are apart here
    survey = PromptInput(scores).survey(check)
    output.writer(out, survey, None)(read_scored_prompts(scores))


def _metadata(survey: Survey, model: ModelRef | None) -> dict[str, object]:
    described = None if model is None else model.model_dump(mode="json", exclude={"probe"})
    return {"model": described, "data": survey.sha256}


def _curve_table(curve: list[CurvePoint]) -> Table:
    table = Table("k", "prompts", "best-of-k (95% interval)", "bounds", "random", "oracle")
    for point in curve:
        if len(curve) <= _ALL_POINTS or point.k & (point.k - 1) == 0 or point is curve[-1]:
            low, high = point.best_of.bounds
            bounds = "-" if low == high else f"{100 * low:.1f} to {100 * high:.1f}"
            others = (f"{100 * (estimate.value or 0):.1f}" for estimate in (point.random, point.oracle))
            table.add_row(str(point.k), f"{point.prompts:,}", value_with_interval(point.best_of), bounds, *others)
    return table
