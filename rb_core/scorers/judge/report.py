"""Figures about a judge from the records of a run: cost, failures, reliability."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import pandas as pd

from rb_core.results.failures import FAILED
from rb_core.results.judge_records import JudgeRef, Judging
from rb_core.scorers.judge.bias import Cell, judge_agreement, position_bias, preferences
from rb_core.scorers.judge.budget import Prices
from rb_core.scorers.judge.protocols import mean_points
from rb_core.scorers.judge.types import TOO_LONG, JudgeRecord


def compute_judging(
    records: Sequence[JudgeRecord],
    scores: pd.DataFrame,
    judge: JudgeRef,
    prices: Prices | None,
    author: str | None,
) -> Judging:
    """Return cost and reliability of a judge, or of a panel and each of its members.

    Args:
        scores: the run's score table, which has the labels, lengths and groups of completions.
        author: name of the judge among the authors of completions; None for its own name.
    """
    cells = list(zip(scores["example_id"], scores["completion"], strict=True))
    lengths = dict(zip(cells, scores["num_completion_tokens"], strict=True))
    is_chosen = dict(zip(cells, scores["is_chosen"], strict=True))
    groups = dict(zip(scores["example_id"], scores["group"], strict=True))

    def of_judge(name: str, records: Sequence[JudgeRecord]) -> Judging:
        requests = _unique(records, lambda record: record.prompt_sha256)
        # two completions with the same text have no order
        distinct = _unique(records, lambda record: (record.example_id, record.prompt_sha256))
        plain = sum(record.mode == "ratings" and not record.error and not record.from_logprobs for record in requests)
        is_own = _own_completions(records, author or name)
        return Judging(
            **_usage(requests, prices),
            injections=sum(record.injections for record in records),
            plain_ratings=plain if judge.expected else 0,
            **position_bias(distinct, groups)._asdict(),
            **preferences(records, groups, lengths, is_chosen, is_own)._asdict(),
        )

    by_judge: dict[str, list[JudgeRecord]] = {}
    for record in records:
        by_judge.setdefault(record.judge, []).append(record)
    if not judge.panel:
        ((name, own_records),) = by_judge.items()
        return of_judge(name, own_records)
    values = {
        name: {cell: value for cell, (value, _) in by_cell.items()} for name, by_cell in score_cells(records).items()
    }
    return Judging(
        **_usage(_unique(records, lambda record: (record.judge, record.prompt_sha256)), prices),
        agreement=judge_agreement([values[name] for name in judge.panel], groups),
        members={name: of_judge(name, by_judge[name]) for name in judge.panel},
    )


def _unique(records: Iterable[JudgeRecord], key: Callable[[JudgeRecord], Hashable]) -> list[JudgeRecord]:
    first: dict[Hashable, JudgeRecord] = {}
    for record in records:
        first.setdefault(key(record), record)
    return list(first.values())


def _usage(requests: Sequence[JudgeRecord], prices: Prices | None) -> dict[str, Any]:
    """Return requests, failures, tokens and cost. Requests without a reply have no tokens."""
    replies = [record.reply for record in requests if record.reply.error not in (TOO_LONG, *FAILED)]
    prompt = _total(reply.prompt_tokens for reply in replies)
    completion = _total(reply.completion_tokens for reply in replies)
    cost = None
    if prices is not None and prompt is not None and completion is not None:
        cost = prices.cost(prompt, completion)
    errors = sorted(record.error for record in requests if record.error)
    return {
        "requests": len(requests),
        "failed": sum(record.reply.error in FAILED for record in requests),
        "problems": {error: errors.count(error) for error in dict.fromkeys(errors)},
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cost": cost,
    }


def _total(counts: Iterable[int | None]) -> int | None:
    """Return the sum; None if one count is unknown."""
    values = list(counts)
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _own_completions(records: Iterable[JudgeRecord], judge: str) -> dict[Cell, bool]:
    """Return, for completions with a known author, True if it has the judge's name or the last part of it."""
    names = {judge.lower(), judge.rpartition("/")[2].lower()}
    return {
        (record.example_id, completion): author.lower() in names
        for record in records
        for completion, author in zip(record.order, record.authors, strict=False)
        if author
    }


def score_cells(records: Iterable[JudgeRecord]) -> dict[str, dict[Cell, tuple[float, str]]]:
    """Return (score, reason) by judge and cell; the score is NaN with a reason if the completion is unscored."""
    groups: dict[tuple[str, str], list[JudgeRecord]] = {}
    for record in records:
        groups.setdefault((record.judge, record.example_id), []).append(record)
    cells: dict[str, dict[Cell, tuple[float, str]]] = {}
    for (judge, example), group in groups.items():
        for completion in sorted({index for record in group for index in record.order}):
            cells.setdefault(judge, {})[example, completion] = mean_points(completion, group)
    return cells
