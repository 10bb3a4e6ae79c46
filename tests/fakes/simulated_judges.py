"""Simulated judges whose accuracy, agreement and shares are known, on prompts with several dependent pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rb_core.scorers.http.replies import Reply
from rb_core.scorers.judge.bias import Cell
from rb_core.scorers.judge.types import JudgeRecord
from rb_core.stats.item_outcomes import Floats

CORRELATION = 0.4  # between the pairs of one prompt


def shares_of_prompts(rng: np.random.Generator, mean: float, prompts: int, pairs: int) -> Floats:
    """Return a share for each pair, equal for the pairs of a prompt, so that draws correlate by CORRELATION."""
    size = (1 - CORRELATION) / CORRELATION
    return rng.beta(mean * size, (1 - mean) * size, prompts).repeat(pairs)


class Panel(NamedTuple):
    """Scores of each judge, the group of each example, and the share of pairs on which two judges agree."""

    scores: list[dict[Cell, float]]
    groups: dict[str, str]
    raw: float

    @property
    def kappa(self) -> float:
        """Without ties two judges agree by chance on half of the pairs."""
        return 2 * self.raw - 1


def simulated_panel(rng: np.random.Generator, accuracy: float, prompts: int, pairs: int) -> Panel:
    """Return three judges that find the same prompts hard. Completion 0 is the better one; there are no ties."""
    right = rng.random((3, prompts * pairs)) < shares_of_prompts(rng, accuracy, prompts, pairs)
    scores: list[dict[Cell, float]] = [
        {(str(n), completion): float(won == (completion == 0)) for n, won in enumerate(row) for completion in (0, 1)}
        for row in right
    ]
    raw = 1 - 2 * accuracy * (1 - accuracy) * (1 - CORRELATION)
    return Panel(scores, groups_of(prompts, pairs), raw)


class JudgeRun(NamedTuple):
    """Records of a judge in both orders, what is known of each completion, and the expected shares.

    Completion 0 is the longer one, and the judge's own.
    """

    records: list[JudgeRecord]
    groups: dict[str, str]
    lengths: dict[Cell, int]
    is_chosen: dict[Cell, bool]
    is_own: dict[Cell, bool]
    expected: dict[str, float]


def simulated_run(
    rng: np.random.Generator, consistent: float, longer: float, deserved: float, prompts: int, pairs: int
) -> JudgeRun:
    """Return a run of a judge that names the first completion, or in a share of the pairs a verdict of its own.

    Args:
        consistent: share of pairs with a verdict of its own, which is the same in both orders.
        longer: share of these verdicts for the longer completion.
        deserved: share of pairs in which the longer completion is chosen.
    """
    own, long, right = (
        rng.random(prompts * pairs) < shares_of_prompts(rng, mean, prompts, pairs)
        for mean in (consistent, longer, deserved)
    )
    records, cells = [], [(str(n), completion) for n in range(prompts * pairs) for completion in (0, 1)]
    for n in range(prompts * pairs):
        for order in ((0, 1), (1, 0)):
            winner = (0 if long[n] else 1) if own[n] else order[0]
            points = tuple(float(completion == winner) for completion in order)
            records.append(JudgeRecord("judge", "pairwise", order, Reply(), points, example_id=str(n)))
    preference = consistent * longer + (1 - consistent) / 2
    return JudgeRun(
        records=records,
        groups=groups_of(prompts, pairs),
        lengths={cell: 9 - cell[1] for cell in cells},
        is_chosen={(example, n): bool(right[int(example)]) == (n == 0) for example, n in cells},
        is_own={cell: cell[1] == 0 for cell in cells},
        expected={
            "position_consistency": consistent,
            "first_position": 1 - consistent / 2,
            "length_preference": preference,
            "length_deserved": deserved,
            "self_preference": preference,
            "self_deserved": deserved,
        },
    )


def groups_of(prompts: int, pairs: int) -> dict[str, str]:
    """Return the prompt of each example."""
    return {str(n): f"prompt {n // pairs}" for n in range(prompts * pairs)}
