"""The result of a question to one model, and of a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rb_core.evaluation.scored_prompts import ScoredPrompt
from rb_core.results.schema import ModelRef
from rb_core.results.score_table import Score
from rb_core.scorers.base import TokenReward
from rb_core.space.try_a_pair.judges import JudgeResult

# running: the score after each token; added: each token's contribution to the score
TraceKind = Literal["running", "added"]


class TextPiece(NamedTuple):
    """A stretch of a model's input: one control token, or the text between two of them."""

    text: str
    is_control_token: bool
    in_completion: bool


@dataclass(frozen=True)
class ScoredCompletion:
    """One completion's score, and the model input it was computed from."""

    score: Score
    rank: int | None  # 1 is best, equal scores share a rank, None is unscored
    model_input: tuple[TextPiece, ...] = ()  # empty for baselines and judges
    dropped: int = 0  # prompt tokens cut off
    trace: tuple[TokenReward, ...] = ()  # the reward at each token; empty unless asked for

    @property
    def value(self) -> float | None:
        return None if math.isnan(self.score.value) else self.score.value


@dataclass(frozen=True)
class PairResult:
    """The result of one question to one model."""

    model: str
    is_reward: bool  # scores are rewards, whose differences are log-odds
    completions: tuple[ScoredCompletion, ...]
    control_tokens: tuple[str, ...] = ()  # those in the visitor's text, which the model read as ordinary text
    trace_kind: TraceKind = "running"
    no_trace: str = ""  # reason why completions have no trace
    judge: JudgeResult | None = None

    @property
    def margin(self) -> float | None:
        """The best score minus the second; None with fewer than two scores."""
        values = sorted((c.value for c in self.completions if c.value is not None), reverse=True)
        return values[0] - values[1] if len(values) > 1 else None

    @property
    def probability(self) -> float | None:
        """The Bradley-Terry probability that the best is preferred to the second; None unless scores are rewards."""
        return sigmoid(self.margin) if self.is_reward and self.margin is not None else None

    def numbers_of_rank(self, rank: int) -> list[int]:
        """Return the numbers, from 1, of the completions with this rank."""
        return [number for number, completion in enumerate(self.completions, 1) if completion.rank == rank]


class ScoredFile(NamedTuple):
    """The rows of a file, all of them scored by one model."""

    model: ModelRef
    prompts: list[ScoredPrompt]


def sigmoid(margin: float) -> float:
    """Return 1 / (1 + exp(-margin)) without overflow."""
    return 1 - sigmoid(-margin) if margin < 0 else 1 / (1 + math.exp(-margin))


def ranks_of(scores: Sequence[Score]) -> list[int | None]:
    """Return each score's rank: 1 + the number of higher scores; None for an unscored completion."""
    values = [score.value for score in scores]
    return [None if math.isnan(value) else 1 + sum(other > value for other in values) for value in values]
