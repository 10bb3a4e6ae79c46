"""Score completions: a few at once, or this process's share of a benchmark; and put the labels back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import NoReturn

import pandas as pd
from tqdm import tqdm

from rb_core.benchmarks.example import CompletionSet, Conversation, Message
from rb_core.benchmarks.markdown import count_markdown
from rb_core.benchmarks.spec import Benchmark
from rb_core.evaluation.distributed import Process, deal
from rb_core.evaluation.journal import BatchScores, Journal
from rb_core.results.score_table import COLUMNS, OPTIONAL, Score
from rb_core.scorers.base import Cell, Plan, Scorer, scores_by_cell


def score_completions(scorer: Scorer, prompt: str | Conversation, completions: Sequence[str]) -> list[float]:
    """Return the score of each completion of a prompt, NaN for an unscored one.

    prompt: one user message, or a conversation of messages with `role` and `content`.
    """
    messages = (Message(role="user", content=prompt),) if isinstance(prompt, str) else tuple(prompt)
    (scores,) = score_completion_sets(scorer, [CompletionSet(messages, tuple(completions))])
    return [each.value for each in scores]


def score_completion_sets(scorer: Scorer, completion_sets: Sequence[CompletionSet]) -> list[list[Score]]:
    """Score a few completion sets with the code that scores benchmarks. Return one list per set, in order."""
    plan = scorer.plan(completion_sets)
    scores = scores_by_cell(plan.batches, scorer.stream(plan.batches))
    return [[scores[Cell(i, j)] for j in range(len(each.completions))] for i, each in enumerate(completion_sets)]


def score_missing(scorer: Scorer, plan: Plan, journal: Journal, process: Process, *, progress: bool = False) -> None:
    """Score this process's share of the batches of the plan that the journal does not have yet."""
    done, share = sum(len(plan.batches[index].cells) for index in journal.done), missing_share(plan, journal, process)
    remaining = sum(len(plan.batches[index].cells) for index in share)
    hidden = not (progress and process.is_main)
    with tqdm(total=done + remaining, initial=done, unit="completion", disable=hidden) as bar:
        score_share(scorer, plan, share, journal, bar)


def missing_share(plan: Plan, journal: Journal, process: Process) -> list[int]:
    """Return the indices of this process's share of the batches that the journal does not have yet."""
    missing = [index for index in range(len(plan.batches)) if index not in journal.done]
    work = [plan.batches[index].tokens for index in missing]
    return [missing[i] for i in deal(work, process.count)[process.index]]


def score_share(scorer: Scorer, plan: Plan, share: Sequence[int], journal: Journal, bar: tqdm[NoReturn]) -> None:
    """Score these batches of the plan into the journal."""
    begin = time.perf_counter()
    for index, scores in zip(share, scorer.stream(plan.batches[i] for i in share), strict=True):
        end = time.perf_counter()
        journal.append(BatchScores(index, tuple(scores), round(end - begin, 6)))
        bar.update(len(scores))
        begin = end


def score_table(
    benchmark: Benchmark,
    orders: Sequence[Sequence[int]],
    plan: Plan,
    entries: Iterable[BatchScores],
    precision: str = "float32",
) -> pd.DataFrame:
    """Put the labels back: one row per completion, in the benchmark's order."""
    scores = scores_by_cell(plan.batches, (entry.scores for entry in entries))
    rows = []
    for index, (example, order) in enumerate(zip(benchmark.examples, orders, strict=True)):
        positions = {completion: position for position, completion in enumerate(order)}
        for completion, text in enumerate(example.completions):
            score = scores[Cell(index, positions[completion])]
            chosen = completion < example.num_chosen
            rows.append((example.id, example.subset, example.group, completion, chosen, *score, count_markdown(text)))
    labels = ("example_id", "subset", "group", "completion", "is_chosen", "score")
    frame = pd.DataFrame(rows, columns=[*labels, *Score._fields[1:], "num_markdown"])
    counts = dict.fromkeys(("completion", "num_tokens", "num_completion_tokens", "num_markdown"), "int32")
    return frame.astype({"score": precision, **counts}).reindex(columns=[*COLUMNS, *OPTIONAL.names])
