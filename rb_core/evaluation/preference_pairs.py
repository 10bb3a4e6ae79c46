"""Preference pairs for training, from scored completions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations

import pyarrow as pa

from rb_core.benchmarks.example import messages_of
from rb_core.benchmarks.prompt_rows import PromptRow
from rb_core.errors import DataError
from rb_core.evaluation.best_completions import Candidate, candidates_by_prompt
from rb_core.evaluation.score_writers import ColumnTypes, OutputRows
from rb_core.evaluation.scored_prompts import ScoredPrompt

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
PAIR_TYPES: ColumnTypes = {
    "prompt": _MESSAGES,
    "chosen": _MESSAGES,
    "rejected": _MESSAGES,
    "chosen_score": pa.float64(),
    "rejected_score": pa.float64(),
    "margin": pa.float64(),
    "row": pa.int64(),
}


class PairSelection(StrEnum):
    """Candidates among the pairs of a prompt's completions: the best with the worst, or all."""

    best_worst = "best-worst"
    all = "all"


@dataclass
class PairTally:
    """Numbers of prompts, of pairs, of prompts without a pair by reason, and of prompts with unscored completions."""

    prompts: int = 0
    pairs: int = 0
    with_unscored: int = 0
    without_pair: Counter[str] = field(default_factory=Counter)


def pair_rows(
    scored_prompts: Iterable[ScoredPrompt], min_margin: float, selection: PairSelection, tally: PairTally
) -> OutputRows:
    """Yield a row for each pair whose scores differ, by `min_margin` or more, and whose texts differ.

    Prompt, chosen and rejected are lists of messages, the conversational format of TRL, so that the chat template of
    the model that is trained is applied. Unscored completions are in no pair.
    """
    for candidates in candidates_by_prompt(scored_prompts):
        ranked = sorted(
            (candidate for candidate in candidates if not math.isnan(candidate.score)), key=lambda each: -each.score
        )
        tally.prompts += 1
        tally.with_unscored += len(ranked) < len(candidates)
        pairs = list(_pairs(ranked, min_margin, selection))
        tally.pairs += len(pairs)
        if not pairs:
            tally.without_pair[_reason(candidates, ranked, min_margin)] += 1
        for chosen, rejected in pairs:
            yield {
                "prompt": list(chosen.source.prompt),
                "chosen": list(messages_of(chosen.completion)),
                "rejected": list(messages_of(rejected.completion)),
                "chosen_score": chosen.score,
                "rejected_score": rejected.score,
                "margin": chosen.score - rejected.score,
                "row": chosen.source.row_number,
            }


def check_plain(row: PromptRow) -> None:
    """Raise DataError for a message with more than a role and a text, which `PAIR_TYPES` lacks."""
    conversations = (row.prompt, *map(messages_of, row.completions))
    if any(message.keys() - {"role", "content"} for messages in conversations for message in messages):
        raise DataError("messages with tool calls or reasoning do not fit a table; choose --out NAME.jsonl")


def _pairs(
    ranked: list[Candidate], min_margin: float, selection: PairSelection
) -> Iterator[tuple[Candidate, Candidate]]:
    """Yield the pairs (better, worse) of completions that are ranked from the best."""
    pairs: Iterable[tuple[Candidate, Candidate]] = combinations(ranked, 2)
    if selection is PairSelection.best_worst and len(ranked) > 1:
        pairs = [(ranked[0], ranked[-1])]
    for better, worse in pairs:
        margin = better.score - worse.score
        if margin > 0 and margin >= min_margin and better.completion != worse.completion:
            yield better, worse


def _reason(candidates: list[Candidate], ranked: list[Candidate], min_margin: float) -> str:
    """Return why a prompt has no pair."""
    if len(candidates) < 2:
        return "one completion"
    if len(ranked) < 2:
        return "fewer than two scored completions"
    margin = ranked[0].score - ranked[-1].score
    if len({candidate.completion for candidate in ranked}) == 1:
        return "equal texts"
    return "equal scores" if not margin else f"a margin below {min_margin:g}" if margin < min_margin else "equal texts"
