"""Load scorers, score completions, and put the labels back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from rb_core.benchmarks.example import CompletionSet, Conversation
from rb_core.benchmarks.spec import Benchmark
from rb_core.errors import ModelError
from rb_core.evaluation.distributed import Processes, current, deal
from rb_core.evaluation.journal import BatchScores, Journal
from rb_core.models.resolve import ModelSpec
from rb_core.results.score_table import COLUMNS, Score
from rb_core.scorers.base import Cell, Plan, Scorer, by_cell, score_all
from rb_core.scorers.baseline import BaselineScorer


def make_scorer(spec: ModelSpec, seed: int = 0, upcoming: Sequence[CompletionSet] = ()) -> Scorer:
    """Load the scorer of a model, for this process's device. Raises ModelError when it cannot be.

    upcoming: what is going to be scored; it is tokenised while the weights are loaded.
    """
    if spec.kind == "baseline":
        return BaselineScorer(spec.checkpoint.location.removeprefix("baseline/"), seed)
    if spec.kind == "generative":
        from rb_core.scorers.judge.load import load_judge

        return load_judge(spec, seed)
    here = current()
    if spec.options.device_map is None:
        spec = replace(spec, options=replace(spec.options, device=here.device(spec.options.device)))
    elif here.local_index:
        raise ModelError("--device-map spreads one model over all GPUs of a machine: start one process on each machine")
    if spec.kind == "implicit":
        from rb_core.scorers.implicit import ImplicitScorer

        return ImplicitScorer.load(spec, upcoming)
    from rb_core.scorers.classifier import ClassifierScorer

    return ClassifierScorer.load(spec, upcoming)


# Scoring


def score_missing(scorer: Scorer, plan: Plan, journal: Journal, here: Processes, *, progress: bool = False) -> None:
    """Score this process's share of the batches of the plan that the journal does not have yet."""
    missing = [index for index in range(len(plan.batches)) if index not in journal.done]
    share = [missing[i] for i in deal([plan.batches[index].tokens for index in missing], here.count)[here.index]]
    done, mine = (sum(len(plan.batches[index].cells) for index in indices) for indices in (journal.done, share))
    shown = progress and here.is_main
    begin = time.perf_counter()
    with tqdm(total=done + mine, initial=done, unit="completion", disable=not shown) as bar:
        for index, scores in zip(share, scorer.stream(plan.batches[i] for i in share), strict=True):
            end = time.perf_counter()
            journal.append(BatchScores(index, tuple(scores), round(end - begin, 6)))
            bar.update(len(scores))
            begin = end


def score_candidates(scorer: Scorer, candidates: Sequence[CompletionSet]) -> list[list[Score]]:
    """Score a few candidates at once, with the code that scores benchmarks. One list per candidates, in order."""
    return score_all(scorer, candidates)


class TokenReward(NamedTuple):
    """A token of a completion, as text, and the reward at it."""

    text: str
    reward: float


def trace(scorer: Scorer, prompt: Conversation, completion: str) -> list[TokenReward]:
    """The reward along a completion, its closing tokens included, by one forward pass.

    Of a classifier: its score if it were read after this token; at the token it is read at, the score. Of an implicit
    reward: what the token adds to the score (reference-free: its log-probability). Raises ModelError for a scorer that
    has no reward per token, and for a completion that does not fit.
    """
    from rb_core.scorers.conversation_scorer import ConversationScorer

    if not isinstance(scorer, ConversationScorer):
        raise ModelError(f"{type(scorer).__name__} scores a completion as a whole: it has no reward per token")
    (encoded,) = scorer.encode(CompletionSet(prompt, (completion,)))
    if encoded.reason:
        raise ModelError(f"the completion cannot be scored: {encoded.reason}")
    rewards = scorer.trace(encoded)
    tokens = encoded.ids[len(encoded.ids) - len(rewards) :]
    texts = (scorer.chat.tokenizer.decode([token]) for token in tokens)
    return [TokenReward(*each) for each in zip(texts, rewards, strict=True)]


def score_table(
    benchmark: Benchmark, orders: Sequence[Sequence[int]], plan: Plan, entries: Iterable[BatchScores]
) -> pd.DataFrame:
    """Put the labels back: one row a completion, in the benchmark's order."""
    found = by_cell(plan.batches, (entry.scores for entry in entries))
    rows = []
    for index, (example, order) in enumerate(zip(benchmark.examples, orders, strict=True)):
        place = {completion: position for position, completion in enumerate(order)}
        for completion in range(len(example.completions)):
            score = found[Cell(index, place[completion])]
            chosen = completion < example.num_chosen
            rows.append((example.id, example.subset, example.group, completion, chosen, *score))
    labels = ("example_id", "subset", "group", "completion", "is_chosen", "score")
    frame = pd.DataFrame(rows, columns=[*labels, *Score._fields[1:]])
    counts = dict.fromkeys(("completion", "num_tokens", "num_completion_tokens"), "int32")
    return frame.astype({"score": "float32", **counts}).reindex(columns=COLUMNS)
