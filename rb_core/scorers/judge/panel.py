"""Score with several judges and combine their scores by vote."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import ModelError
from rb_core.models.options import Vote
from rb_core.results.judge_records import JudgeRef
from rb_core.results.score_table import Score
from rb_core.scorers.base import Batch, Plan
from rb_core.scorers.judge.scorer import Exchange, JudgeScorer, _Asking
from rb_core.scorers.judge.transcript import Transcript
from rb_core.stats.intervals import Floats


class PanelScorer:
    """Several judges that are asked alike. A completion is scored where every judge has scored it.

    majority: a completion's share of the pairs with the others that most judges decide for it, an even split being a
    half; mean: the mean of its scores. Candidates that have to be graded get the mean.
    """

    kind = "generative"

    def __init__(self, judges: Sequence[JudgeScorer], vote: Vote) -> None:
        self.judges = tuple(judges)
        self.vote = vote

    @property
    def device(self) -> str:
        return self.judges[0].device

    def record(self, transcript: Transcript) -> None:
        """See JudgeScorer.record."""
        for judge in self.judges:
            judge.record(transcript)

    def plan(self, candidates: Sequence[CompletionSet]) -> Plan:
        return self.judges[0].plan(candidates)

    def score(self, batch: Batch) -> list[Score]:
        (found,) = self.stream([batch])
        return found

    def stream(self, batches: Iterable[Batch]) -> Generator[list[Score]]:
        every = list(batches)
        for judge in self.judges:  # they spend from one account
            judge.book_earlier(batch.inputs[0] for batch in every)
        asking = [_Asking(judge, [batch.inputs[0] for batch in every]) for judge in self.judges]
        with ExitStack() as stack:
            streams = [stack.enter_context(closing(each.stream())) for each in asking]
            try:
                for batch, *given in zip(every, *streams, strict=True):
                    yield self.vote_on(batch.inputs[0], given)
            except ModelError:
                for each, stream in zip(asking, streams, strict=True):  # what is on its way is paid for
                    each.finish(stream)
                raise

    def vote_on(self, candidates: CompletionSet, given: Sequence[Sequence[Score]]) -> list[Score]:
        """The panel's scores of candidates, from those of every judge."""
        voted = vote(self.vote, candidates.graded, np.array([[score.value for score in scores] for scores in given]))
        why = reasons_of(voted, [[score.reason for score in scores] for scores in zip(*given, strict=True)])
        return [
            score._replace(value=float(value), reason=reason)
            for score, value, reason in zip(given[0], voted, why, strict=True)
        ]

    def exchanges(self, candidates: CompletionSet) -> list[Exchange]:
        """See JudgeScorer.exchanges."""
        return [exchange for judge in self.judges for exchange in judge.exchanges(candidates)]

    def describe(self) -> dict[str, Any]:
        """See JudgeScorer.describe."""
        described = {judge.name: judge.describe() for judge in self.judges}
        members: list[JudgeRef] = [each["judge"] for each in described.values()]
        panel = {
            "revisions": {name: each["revision"] for name, each in described.items() if each.get("revision")},
            "backend": ", ".join(sorted({member.backend for member in members})),
            "panel": tuple(judge.name for judge in self.judges),
            "vote": self.vote,
        }
        return {"kind": self.kind, "judge": members[0].model_copy(update=panel)}


def vote(rule: Vote, graded: bool, values: Floats) -> Floats:
    """A panel's scores of candidates. values: (judges, completions). Returns (completions,), NaN where unscored."""
    means: Floats = values.mean(axis=0)
    return means if rule == "mean" or graded else majorities(values)


def majorities(values: Floats) -> Floats:
    """What most judges say of every two completions, as a score each.

    values: (judges, completions) scores. Returns (completions,) shares of pairs won, an even split a half; NaN for what
    is in a pair that some judge has not scored.
    """
    # (completions, completions): for minus against
    votes = np.sign(values[:, :, None] - values[:, None, :]).sum(axis=0)
    won = (np.sign(votes) + 1) / 2
    others = ~np.eye(values.shape[1], dtype=bool)
    shares: Floats = np.where(others, won, 0.0).sum(axis=1) / (values.shape[1] - 1)
    return shares


def reasons_of(values: Floats, why: Sequence[Sequence[str]]) -> list[str]:
    """Why each completion of a panel's is unscored, "" for a score: the first reason that a judge had, or one of
    another completion which it had to be compared with, the same for every order of completions. why: by completion
    the reasons of every judge."""
    others = min((reason for reasons in why for reason in reasons if reason), default="")
    return [
        next(filter(None, reasons), others) if math.isnan(value) else ""
        for value, reasons in zip(values, why, strict=True)
    ]
