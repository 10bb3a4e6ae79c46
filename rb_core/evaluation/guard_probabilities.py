"""Ask a guard about completions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import NotScoredError
from rb_core.evaluation.score import score_completion_sets
from rb_core.scorers.guards.load import Guard, Probability


def guard_probabilities(
    guard: Guard, completion_sets: Sequence[CompletionSet], replies: Path | None = None
) -> list[list[Probability]]:
    """Return the probability that each completion is unsafe: one list per set, in order.

    Called in one process. replies: file in which the replies of a server are kept as they arrive, so that the same call
    after a kill asks only about the others; the caller deletes it. Raises NotScoredError if no completion has a
    probability, ScoreTableError if the file holds the replies of another guard.
    """
    keeping: AbstractContextManager[object] = nullcontext()
    if replies is not None:
        replies.parent.mkdir(parents=True, exist_ok=True)
        keeping = guard.scorer.keep_replies(replies, guard.describe(), num_processes=1)
    with keeping:
        scores = score_completion_sets(guard.scorer, guard.shown(completion_sets))
    probabilities = [[guard.probability(score) for score in row] for row in scores]
    reasons = Counter(each.reason for row in probabilities for each in row if math.isnan(each.value))
    if reasons and reasons.total() == sum(map(len, probabilities)):
        reason, _ = reasons.most_common(1)[0]
        raise NotScoredError(f"--guard {guard.name}: none of {reasons.total()} completions has a probability: {reason}")
    return probabilities
