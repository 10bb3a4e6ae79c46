"""A generative judge as a scorer, and a panel of judges as one.

A batch is one candidates with all its completions. Requests go out as the generator takes them, over all batches at
once; each reply is in the transcript before anything else is done with it.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from rb_core.errors import ModelError
from rb_core.example import Candidates
from rb_core.metrics import Floats
from rb_core.models import Mode, Vote
from rb_core.scorers.base import Batch, Cell, Plan, words
from rb_core.scorers.judge import modes
from rb_core.scorers.judge.budget import Budget
from rb_core.scorers.judge.exchange import SERVER_ERROR, Reply, ReplySource, Request
from rb_core.scorers.judge.modes import Answer, Ask, Wording
from rb_core.scorers.judge.records import JudgeRef, TemplateRef
from rb_core.scorers.judge.transcript import Transcript
from rb_core.scorers.judge.verdict import PARSER_VERSION
from rb_core.table import Score

# So many requests in a row that come to nothing are no accident: the server is gone, or does not give what is asked
# for, and the run stops instead of trying each of the others as well.
MOST_IN_A_ROW = 32


class Exchange(NamedTuple):
    """One ask about candidates with all that came of it. judge: who was asked."""

    judge: str
    ask: Ask
    request: Request
    injections: int
    reply: Reply
    answer: Answer


class JudgeScorer:
    """Scores by what a generative judge says. See `modes` for what it is asked and what becomes of its answers.

    budget: the account that the generator's requests are booked on; author: the judge's name among the completions'
    authors, where that is another than its own.
    """

    kind = "generative"

    def __init__(
        self,
        name: str,
        mode: Mode,
        wording: Wording,
        generator: ReplySource,
        budget: Budget | None = None,
        author: str | None = None,
    ) -> None:
        self.name = name
        self.mode = mode
        self.wording = wording
        self.generator = generator
        self.budget = budget or Budget()
        self.author = author
        self.transcript = Transcript()

    @property
    def judges(self) -> tuple[JudgeScorer, ...]:
        """The judges that are asked: itself."""
        return (self,)

    @property
    def device(self) -> str:
        """Where its replies are computed; "cpu" stands for a server as well."""
        return str(getattr(self.generator, "device", "cpu"))

    def record(self, transcript: Transcript) -> None:
        """From now on take replies from this transcript, and add to it."""
        self.transcript = transcript

    def plan(self, candidates: Sequence[Candidates]) -> Plan:
        empty = sum(not text for each in candidates for text in each.completions)
        return Plan(tuple(_batch(i, each) for i, each in enumerate(candidates)), {"empty_completions": empty})

    def score(self, batch: Batch) -> list[Score]:
        (found,) = self.stream([batch])
        return found

    def stream(self, batches: Iterable[Batch]) -> Generator[list[Score]]:
        every: list[Candidates] = [batch.inputs[0] for batch in batches]
        ready = _Replies([len(modes.asks(self.mode, each)) for each in every])
        with closing(self._replies(every, ready)) as arriving:
            for _ in chain(arriving, [None]):
                for index, replies in ready.take():
                    yield self._scores(every[index], replies)

    def exchanges(self, candidates: Candidates) -> list[Exchange]:
        """What was asked about candidates that are scored, and answered. Raises KeyError where they are not."""
        found = []
        for ask in modes.asks(self.mode, candidates):
            request, injections = modes.question(ask, candidates, self.wording)
            reply = self.transcript.replies[self.name, request.sha256]
            answer = modes.answer(ask, reply, structured=self.wording.structured)
            found.append(Exchange(self.name, ask, request, injections, reply, answer))
        return found

    def describe(self) -> dict[str, Any]:
        """The settings its scores depend on, by the names of results.ModelRef."""
        told = dict(self.generator.describe())
        judge = JudgeRef(
            mode=self.mode,
            templates={
                mode: TemplateRef(name=template.name, version=template.version, sha256=template.sha256)
                for mode, template in self.wording.templates.items()
            },
            parser=PARSER_VERSION,
            backend=told.pop("backend"),
            sampling=told.pop("sampling", None),
            generation={name: str(value) for name, value in told.pop("generation", {}).items()},
            temperature=self.wording.decoding.temperature,
            max_new_tokens=self.wording.decoding.max_tokens,
            seed=self.wording.decoding.seed,
            structured=self.wording.structured,
            expected=self.wording.expected,
        )
        return {"kind": self.kind, "judge": judge, **told}

    def _replies(self, every: Sequence[Candidates], ready: _Replies) -> Generator[None]:
        """Fill `ready` with replies, those in the transcript first; ends when all are there."""
        places: list[tuple[str, bool]] = []  # what was sent, by its place, and whether it lives by log-probabilities
        waiting: dict[str, list[tuple[int, int]]] = {}  # equal requests are sent once

        paid: set[str] = set()  # replies that are there already, also from an earlier start, are booked once

        def is_new(request: Request, index: int, number: int) -> bool:
            sha256 = request.sha256
            if (known := self.transcript.get(self.name, sha256)) is not None:
                ready.put(index, number, known)
                if sha256 not in paid:
                    paid.add(sha256)
                    self.budget.add(known, request)
                return False
            waiting.setdefault(sha256, []).append((index, number))
            return len(waiting[sha256]) == 1

        def missing() -> Iterator[Request]:
            for index, candidates in enumerate(every):
                for number, ask in enumerate(modes.asks(self.mode, candidates)):
                    request = modes.question(ask, candidates, self.wording).request
                    if is_new(request, index, number):
                        places.append((request.sha256, ask.mode == "logprob"))
                        yield request

        def arrived(sha256: str, reply: Reply) -> None:
            self.transcript.add(self.name, sha256, reply)
            paid.add(sha256)
            for index, number in waiting.pop(sha256):
                ready.put(index, number, reply)

        in_vain = 0
        with closing(self.generator.generate(missing())) as replies:
            for place, reply in replies:
                sha256, needs_logprobs = places[place]
                arrived(sha256, reply)
                trouble = _trouble(reply, needs_logprobs=needs_logprobs)
                in_vain = in_vain + 1 if trouble else 0
                if in_vain >= MOST_IN_A_ROW:
                    raise ModelError(f"{self.name}: {in_vain} requests in a row {trouble}")
                yield

    def _scores(self, candidates: Candidates, replies: Sequence[Reply]) -> list[Score]:
        asked = modes.asks(self.mode, candidates)
        answers = [
            modes.answer(ask, reply, structured=self.wording.structured)
            for ask, reply in zip(asked, replies, strict=True)
        ]
        return modes.scores(candidates, asked, answers)


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

    def plan(self, candidates: Sequence[Candidates]) -> Plan:
        return self.judges[0].plan(candidates)

    def score(self, batch: Batch) -> list[Score]:
        (found,) = self.stream([batch])
        return found

    def stream(self, batches: Iterable[Batch]) -> Generator[list[Score]]:
        every = list(batches)
        with ExitStack() as stack:  # where one judge fails, nothing more is asked of the others
            streams = [stack.enter_context(closing(judge.stream(every))) for judge in self.judges]
            for batch, *given in zip(every, *streams, strict=True):
                yield self.vote_on(batch.inputs[0], given)

    def vote_on(self, candidates: Candidates, given: Sequence[Sequence[Score]]) -> list[Score]:
        """The panel's scores of candidates, from those of every judge."""
        voted = vote(self.vote, candidates.graded, np.array([[score.value for score in scores] for scores in given]))
        why = reasons_of(voted, [[score.reason for score in scores] for scores in zip(*given, strict=True)])
        return [
            score._replace(value=float(value), reason=reason)
            for score, value, reason in zip(given[0], voted, why, strict=True)
        ]

    def exchanges(self, candidates: Candidates) -> list[Exchange]:
        """See JudgeScorer.exchanges."""
        return [exchange for judge in self.judges for exchange in judge.exchanges(candidates)]

    def describe(self) -> dict[str, Any]:
        """See JudgeScorer.describe."""
        members: list[JudgeRef] = [judge.describe()["judge"] for judge in self.judges]
        panel = {
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
    votes = np.sign(values[:, :, None] - values[:, None, :]).sum(
        axis=0
    )  # (completions, completions): for minus against
    won = (np.sign(votes) + 1) / 2
    others = ~np.eye(values.shape[1], dtype=bool)
    shares: Floats = np.where(others, won, 0.0).sum(axis=1) / (values.shape[1] - 1)
    return shares


def reasons_of(values: Floats, why: Sequence[Sequence[str]]) -> list[str]:
    """Why each completion of a panel's is unscored, "" for a score: the first reason that a judge had, or that of
    another completion which it had to be compared with. why: by completion the reasons of every judge."""
    every = [reason for reasons in why for reason in reasons if reason]
    return [
        next(filter(None, reasons), every[0]) if math.isnan(value) else ""
        for value, reasons in zip(values, why, strict=True)
    ]


def _trouble(reply: Reply, *, needs_logprobs: bool) -> str:
    """What may be the matter with every request, if it is with this one; "" for nothing."""
    if reply.problem == SERVER_ERROR:
        return (
            f"had no answer, the last in {reply.tries} tries; what is answered is kept: start the run again when the "
            "server is back"
        )
    if needs_logprobs and not reply.problem and not reply.tokens:
        return "came back without log-probabilities: --mode logprob needs a server that gives them (top_logprobs)"
    return ""


class _Replies:
    """Replies by candidates and ask, given out in the order of candidates as they are complete."""

    def __init__(self, asks: Sequence[int]) -> None:
        self._replies: list[list[Reply | None]] = [[None] * number for number in asks]
        self._next = 0

    def put(self, index: int, number: int, reply: Reply) -> None:
        self._replies[index][number] = reply

    def take(self) -> Iterator[tuple[int, list[Reply]]]:
        """The candidates that are complete now and whose predecessors are, with their replies."""
        while self._next < len(self._replies):
            found = [reply for reply in self._replies[self._next] if reply is not None]
            if len(found) < len(self._replies[self._next]):
                return
            self._replies[self._next] = []  # held no longer than needed
            self._next += 1
            yield self._next - 1, found


def _batch(index: int, candidates: Candidates) -> Batch:
    texts = [*(message["content"] for message in candidates.prompt), *candidates.completions]
    cells = tuple(Cell(index, number) for number in range(len(candidates.completions)))
    return Batch(cells, (candidates,) * len(cells), sum(len(words(text)) for text in texts))
