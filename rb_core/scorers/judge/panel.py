"""A panel of judges as one scorer: its scores are combined by vote."""

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
from rb_core.scorers.judge.run import Judge
from rb_core.scorers.judge.scorer import JudgeScorer, QueryStream
from rb_core.scorers.judge.transcript import Transcript
from rb_core.scorers.judge.types import JudgeRecord
from rb_core.stats.item_outcomes import Floats


class PanelScorer(Judge):
    """Several judges that receive the same queries. A completion is scored if every judge has scored it.

    majority: a completion's share of the pairs with the other completions that most judges decide for it, where an
    even split counts as a half; mean: the mean of its scores. Graded completion sets get the mean.
    """

    def __init__(self, judges: Sequence[JudgeScorer], vote: Vote) -> None:
        self.judges = tuple(judges)
        self.vote = vote
        first = self.judges[0]
        self.device, self.mode, self.config = first.device, first.mode, first.config
        self.budget, self.author = first.budget, first.author

    @property
    def packages(self) -> tuple[str, ...]:
        return max((judge.packages for judge in self.judges), key=len)

    def record(self, transcript: Transcript) -> None:
        for judge in self.judges:
            judge.record(transcript)

    def plan(self, completion_sets: Sequence[CompletionSet]) -> Plan:
        return self.judges[0].plan(completion_sets)

    def stream(self, batches: Iterable[Batch]) -> Generator[list[Score]]:
        completion_sets = [batch.inputs[0] for batch in batches]
        for judge in self.judges:  # all of them spend from one budget
            judge.book_earlier(completion_sets)
        queries = [QueryStream(judge, completion_sets) for judge in self.judges]
        with ExitStack() as stack:
            streams = [stack.enter_context(closing(query_stream.scores())) for query_stream in queries]
            try:
                for completion_set, *scores in zip(completion_sets, *streams, strict=True):
                    yield self._vote(completion_set, scores)
            except ModelError:
                for query_stream, stream in zip(queries, streams, strict=True):  # requests on their way are paid for
                    query_stream.finish(stream)
                raise

    def _vote(self, completion_set: CompletionSet, scores: Sequence[Sequence[Score]]) -> list[Score]:
        values = np.array([[score.value for score in by_judge] for by_judge in scores])
        reasons = [[score.reason for score in by_completion] for by_completion in zip(*scores, strict=True)]
        voted = combine_scores(self.vote, completion_set.needs_ratings, values)
        return [
            score._replace(value=float(value), reason=reason)
            for score, value, reason in zip(scores[0], voted, combine_reasons(voted, reasons), strict=True)
        ]

    def records(self, completion_set: CompletionSet) -> list[JudgeRecord]:
        return [record for judge in self.judges for record in judge.records(completion_set)]

    def describe(self) -> dict[str, Any]:
        described = {judge.name: judge.describe() for judge in self.judges}
        members: list[JudgeRef] = [settings["judge"] for settings in described.values()]
        panel = {
            "revisions": {n: settings["revision"] for n, settings in described.items() if settings.get("revision")},
            "backend": ", ".join(sorted({member.backend for member in members})),
            "panel": tuple(described),
            "vote": self.vote,
        }
        first = next(iter(described.values()))  # all members have the options of the panel
        template = {name: first.get(name) for name in ("template_name", "template_vars")}
        return {"kind": self.kind, "judge": members[0].model_copy(update=panel), **template}


def combine_scores(vote: Vote, needs_ratings: bool, values: Floats) -> Floats:
    """Return a panel's scores (completions,) from those of its judges (judges, completions); NaN if unscored."""
    means: Floats = values.mean(axis=0)
    return means if vote == "mean" or needs_ratings else majority_shares(values)


def majority_shares(values: Floats) -> Floats:
    """Return the share of pairs that each completion wins by majority; an even split counts as a half.

    `values` are scores (judges, completions). Returns (completions,), NaN if a judge has not scored one of the pair.
    """
    # (completions, completions): judges for the first minus judges for the second
    votes = np.sign(values[:, :, None] - values[:, None, :]).sum(axis=0)
    won = (np.sign(votes) + 1) / 2
    pairs = ~np.eye(values.shape[1], dtype=bool)
    shares: Floats = np.where(pairs, won, 0.0).sum(axis=1) / (values.shape[1] - 1)
    return shares


def combine_reasons(values: Floats, reasons: Sequence[Sequence[str]]) -> list[str]:
    """Return why each completion of a panel is unscored, "" for a score.

    `reasons` holds the reasons of all judges for each completion. The first one counts; a completion without one is
    unscored because of another completion, and the reason does not depend on the order of completions.
    """
    other = min((reason for by_judge in reasons for reason in by_judge if reason), default="")
    return [
        next(filter(None, by_judge), other) if math.isnan(value) else ""
        for value, by_judge in zip(values, reasons, strict=True)
    ]
