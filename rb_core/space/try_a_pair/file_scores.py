"""The scores of a visitor's file: counts, the first rows for the page, and all rows for downloads."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from rb_core.evaluation.percentiles import Percentiles
from rb_core.evaluation.score_writers import Tally, json_text, score_rows
from rb_core.evaluation.scored_prompts import COMPLETION_INDEX, SCORE_COLUMNS, ScoredPrompt
from rb_core.space.html import render
from rb_core.space.try_a_pair.result import ScoredFile
from rb_core.space.try_a_pair.result_html import excerpt

MAX_SHOWN = 10  # rows on the page


class ShownRow(NamedTuple):
    """A row of the table: its best completion. numbers: of the completions with the best score, from 1."""

    number: int
    prompt: str
    numbers: list[int]
    num_completions: int
    completion: str
    score: float | None
    percent: float | None
    reason: str


def file_scores_html(scored: ScoredFile, percentiles: Percentiles | None) -> Markup:
    """Return counts, a table of the first rows, and the content of the downloads."""
    tally = Tally()
    download = rows_json(scored.prompts, percentiles, tally)
    median = tally.median_rank()
    return render(
        "try_a_pair/file_scores.html",
        model=scored.model.name,
        tally=tally,
        percentiles=percentiles,
        median=None if percentiles is None or median is None else percentiles.percent(median),
        rows=[_shown_row(prompt, percentiles) for prompt in scored.prompts[:MAX_SHOWN]],
        download=download,
    )


def rows_json(prompts: Sequence[ScoredPrompt], percentiles: Percentiles | None, tally: Tally) -> str:
    """Return the columns and rows that `score` writes, as JSON in which every value is a JSON text.

    So a browser copies numbers that it cannot hold. Of a row with several completions only the first entry has the
    row's own columns, which keeps the answer as small as the file.
    """
    rows = list(score_rows(prompts, percentiles, tally))
    own = dict.fromkeys(name for row in rows for name in row if name not in SCORE_COLUMNS)
    entries = [row if row[COMPLETION_INDEX] == 0 else {name: row[name] for name in SCORE_COLUMNS} for row in rows]
    texts = [{name: json_text(value) for name, value in entry.items()} for entry in entries]
    return json.dumps({"columns": [*own, *SCORE_COLUMNS], "rows": texts}, ensure_ascii=False)


def _shown_row(prompt: ScoredPrompt, percentiles: Percentiles | None) -> ShownRow:
    values = [score.value for score in prompt.scores]
    best = max((value for value in values if not math.isnan(value)), default=None)
    numbers = [number for number, value in enumerate(values, 1) if value == best]
    index = numbers[0] - 1 if numbers else 0
    return ShownRow(
        number=prompt.row_number,
        prompt=excerpt(prompt.prompt[-1]["content"]),
        numbers=numbers,
        num_completions=len(values),
        completion=excerpt(prompt.completions[index]),
        score=best,
        percent=None if percentiles is None or best is None else percentiles.of(best),
        reason=prompt.scores[index].reason,
    )
