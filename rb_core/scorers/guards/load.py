"""Load a guard, and turn what it says into the probability that a completion is unsafe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from scipy.special import expit

from rb_core.benchmarks.example import CompletionSet
from rb_core.results.schema import ModelRef
from rb_core.results.score_table import Score
from rb_core.scorers.base import Scorer
from rb_core.scorers.custom import load_user_code
from rb_core.scorers.guards.queried import load_judge_guard, load_moderation
from rb_core.scorers.guards.spec import GuardSpec, Reads
from rb_core.scorers.guards.words import load_words

_LABELLED = ("classifier", "moderation")
NO_PROBABILITY = "the guard's answer is not a number from 0 to 1"


class Probability(NamedTuple):
    """Probability that a completion is unsafe, NaN where it is unknown, for a reason."""

    value: float
    reason: str = ""


@dataclass(frozen=True)
class Guard:
    """A loaded guard.

    scorer: gives the probability that a completion is unsafe, or its log-odds; reads: the completion alone, or the
    whole conversation.
    """

    spec: GuardSpec
    scorer: Scorer
    reads: Reads
    gives_log_odds: bool = False

    @property
    def name(self) -> str:
        return self.spec.name

    def shown(self, completion_sets: Sequence[CompletionSet]) -> list[CompletionSet]:
        """Return the completion sets as the guard reads them."""
        if self.reads == "conversation":
            return list(completion_sets)
        return [each._replace(prompt=()) for each in completion_sets]

    def probability(self, score: Score) -> Probability:
        """Return the probability that a score of the scorer stands for."""
        if math.isnan(score.value):
            return Probability(math.nan, score.reason)
        value = float(expit(score.value)) if self.gives_log_odds else score.value
        return Probability(value) if 0 <= value <= 1 else Probability(math.nan, NO_PROBABILITY)

    def describe(self) -> dict[str, Any]:
        """Return the settings that the probabilities depend on, as JSON; never an address, which may hold a key."""
        spec = self.spec
        model = ModelRef(name=spec.kind, **self.scorer.describe()).model_dump(mode="json", exclude_defaults=True)
        settings: dict[str, Any] = {"name": spec.name, "reads": self.reads, "model": model}
        settings |= {"label": spec.label, "safe_label": spec.safe_label} if spec.kind in _LABELLED else {}
        settings |= {"words": list(spec.words), "asked_by": spec.asked_by} if spec.kind == "judge" else {}
        return settings


def load_guard(spec: GuardSpec) -> Guard:
    """Load a guard. Raises ModelError if its file, label, model or function is not there or cannot be used."""
    match spec.kind:
        case "words":
            return Guard(spec, load_words(Path(spec.target)), spec.reads or "completion")
        case "function":
            return Guard(spec, load_user_code(spec.target, spec.arguments, "--guard"), "conversation")
        case "moderation":
            return Guard(spec, load_moderation(spec), spec.reads or "completion")
        case "judge":
            return Guard(spec, load_judge_guard(spec), "conversation")
        case "classifier":
            from rb_core.scorers.guards.classifier import load_classifier_guard  # imports torch

            scorer, reads = load_classifier_guard(spec)
            return Guard(spec, scorer, reads, gives_log_odds=True)
