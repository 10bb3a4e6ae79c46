"""Score rows that arrive one by one, or that are in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pandas as pd
from tqdm import tqdm

from rb_core.benchmarks.files import line_rows, read_rows
from rb_core.benchmarks.prompt_rows import PromptRow, read_prompt_row
from rb_core.benchmarks.row_location import Row, RowError, RowLocation, RowProblems
from rb_core.errors import DataError
from rb_core.evaluation.evaluate import describe_model
from rb_core.evaluation.percentiles import Percentiles, find_percentiles
from rb_core.evaluation.prompt_windows import Window, own_columns, plan_window, prompt_windows
from rb_core.evaluation.score_writers import Tally, json_text, score_rows
from rb_core.evaluation.scored_prompts import ROW, SCORE_COLUMNS, ScoredPrompt
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results.storage import check_model_name
from rb_core.scorers.base import Scorer
from rb_core.scorers.load import load_scorer


class NamedScorer(NamedTuple):
    """A scorer, with the name under which its results are."""

    name: str
    scorer: Scorer


# The last model that `score` loaded, by name, options and seed.
_last_loaded: list[tuple[tuple[str, ModelOptions, int], NamedScorer]] = []


def score(
    model: str | Scorer,
    data: str | Path | Iterable[Any],
    *,
    options: ModelOptions | None = None,
    columns: Mapping[str, str] | None = None,
    name: str = "scorer",
    seed: int = 0,
    percentile_of: str | None = None,
    results: Path = Path("leaderboard_data"),
    progress: bool = False,
) -> pd.DataFrame:
    """Score completions without labels; returns a table with one row per completion.

    Args:
        model: a scorer, or the name of a model, which is loaded; the last one stays loaded for the next call.
        data: pairs (prompt, completions), rows as dictionaries, a table of pandas, a dataset, or the path of a file. A
            prompt is text or a list of messages.
        columns: for fields of a row the columns that hold them, such as {"prompt": "question"}.
        name: of a scorer that is passed: its results are looked up under this name for percentiles.
        percentile_of: benchmark whose chosen answers a score is compared with; default: of those below `results` that
            the model was evaluated on the one with most completions.

    The columns are the rows' own, `row` (from 1), `completion`, `completion_index`, `score`, `percentile` (0 to 100),
    `num_tokens`, `truncated` and `reason`; a completion that cannot be scored has a reason and the score NaN.
    Raises DataError for rows that cannot be read, and ModelError if the model cannot be loaded.
    """
    rows = _read_all(data, columns or {})
    if isinstance(model, Scorer):
        scorer = model
    else:
        name, scorer = _load_once(model, options or ModelOptions(), seed)
    percentiles, _ = find_percentiles(describe_model(scorer, name), results, percentile_of)
    with tqdm(total=sum(len(row.completions) for row in rows), unit="completion", disable=not progress) as bar:

        def scored_prompts() -> Iterator[ScoredPrompt]:
            for window in prompt_windows(rows):
                yield from score_window(scorer, window, seed)
                bar.update(window.num_completions)

        frame = pd.DataFrame(score_rows(scored_prompts(), percentiles))
    types = dict.fromkeys(("score", "percentile"), "float64")
    return frame.astype(types) if len(frame) else pd.DataFrame(columns=[*SCORE_COLUMNS])


def score_window(scorer: Scorer, window: Window, seed: int) -> Iterator[ScoredPrompt]:
    """Score a window at once, without a journal."""
    planned = plan_window(scorer, window, seed)
    yield from window.scored_prompts(planned.scores_in_order(scorer.stream(planned.plan.batches)))


def score_lines(
    scorer: Scorer,
    lines: BinaryIO,
    out: BinaryIO,
    *,
    columns: Mapping[str, str],
    seed: int,
    percentiles: Percentiles | None,
    tally: Tally,
) -> None:
    """Score JSON lines as they arrive, and write the rows of each line before the next is read.

    A line that cannot be read becomes a row with a reason and without a score.
    """
    for row, location in line_rows(lines, "standard input"):
        try:
            read = read_prompt_row(row, location, columns)
            own_columns(read)
        except DataError as error:
            tally.prompts += 1
            tally.completions += 1
            tally.unscored[str(error)] += 1
            kept = {} if isinstance(row, RowError) else row
            written = [{**kept, **dict.fromkeys(SCORE_COLUMNS), ROW: location.line, "reason": str(error)}]
        else:
            scored = score_window(scorer, Window(location.line, ((read,),)), seed)
            written = list(score_rows(scored, percentiles, tally))
        out.write(b"".join(json_text(each).encode() + b"\n" for each in written))
        out.flush()


def _load_once(name: str, options: ModelOptions, seed: int) -> NamedScorer:
    """Return the model, loaded unless it is the one of the last call, whose memory is freed for another."""
    key = (name, options, seed)
    if not _last_loaded or _last_loaded[0][0] != key:
        _last_loaded.clear()
        spec = resolve(name, options)
        check_model_name(spec.name)
        _last_loaded.append((key, NamedScorer(spec.name, load_scorer(spec, seed))))
    return _last_loaded[0][1]


def _read_all(data: str | Path | Iterable[Any], columns: Mapping[str, str]) -> list[PromptRow]:
    """Read all rows, and check that they can be written. Raises DataError that names those that cannot be read."""
    problems, rows = RowProblems(), []
    for row, location in read_rows(Path(data)) if isinstance(data, str | Path) else _numbered(data):
        with problems.collected(location):
            read = read_prompt_row(row, location, columns)
            own_columns(read)
            rows.append(read)
    problems.raise_any()
    return rows


def _numbered(data: Any) -> Iterator[tuple[Row | RowError, RowLocation]]:
    """Yield rows with their numbers; a pair is a prompt and its completion or completions."""
    for number, row in enumerate(data.to_dict("records") if isinstance(data, pd.DataFrame) else data, start=1):
        location = RowLocation("data", number, "data")
        match row:
            case dict():
                yield row, location
            case (prompt, completions):
                texts = [completions] if isinstance(completions, str) else list(completions)
                yield {"prompt": prompt, "completions": texts}, location
            case _:
                yield RowError(location, "expected a row with fields, or a pair (prompt, completions)"), location
