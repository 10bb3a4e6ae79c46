"""A generative judge as a scorer, and a panel of judges as one.

A batch is one candidates with all its completions. Requests go out as the generator takes them, over all batches at
once; each reply is in the transcript before anything else is done with it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any, NamedTuple

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import ModelError
from rb_core.models.options import Mode
from rb_core.results.judge_records import JudgeRef, TemplateRef
from rb_core.results.score_table import Score
from rb_core.scorers.base import Batch, Cell, Plan, words
from rb_core.scorers.judge import protocols
from rb_core.scorers.judge.budget import Budget
from rb_core.scorers.judge.parsing import PARSER_VERSION
from rb_core.scorers.judge.protocols import Answer, Ask, Wording
from rb_core.scorers.judge.transcript import Transcript
from rb_core.scorers.judge.types import SERVER_ERROR, Reply, ReplySource, Request

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

    def plan(self, candidates: Sequence[CompletionSet]) -> Plan:
        empty = sum(not text for each in candidates for text in each.completions)
        return Plan(tuple(_batch(i, each) for i, each in enumerate(candidates)), {"empty_completions": empty})

    def score(self, batch: Batch) -> list[Score]:
        (found,) = self.stream([batch])
        return found

    def stream(self, batches: Iterable[Batch]) -> Generator[list[Score]]:
        every = [batch.inputs[0] for batch in batches]
        self.book_earlier(every)
        yield from _Asking(self, every).stream()

    def question(self, ask: Ask, candidates: CompletionSet) -> protocols.Question:
        """An ask in this judge's words."""
        return protocols.question(ask, candidates, self.wording)

    def answer(self, ask: Ask, reply: Reply) -> Answer:
        """What a reply says to an ask."""
        return protocols.answer(ask, reply, structured=self.wording.structured)

    def book_earlier(self, every: Iterable[CompletionSet]) -> None:
        """Book what an earlier start paid for replies about these candidates, before anything more is spent."""
        if not self.transcript.earlier:
            return
        for candidates in every:
            for ask in protocols.asks(self.mode, candidates):
                request = self.question(ask, candidates).request
                if reply := self.transcript.take_earlier(self.name, request.sha256):
                    self.budget.add(reply, request)

    def exchanges(self, candidates: CompletionSet) -> list[Exchange]:
        """What was asked about candidates that are scored, and answered. Raises KeyError where they are not."""
        found = []
        for ask in protocols.asks(self.mode, candidates):
            request, injections = self.question(ask, candidates)
            reply = self.transcript.replies[self.name, request.sha256]
            found.append(Exchange(self.name, ask, request, injections, reply, self.answer(ask, reply)))
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


class _Asking:
    """The requests of one stream, and the replies as they come: equal requests are one, what the transcript has is not
    asked, and scores are given out in the order of candidates."""

    def __init__(self, judge: JudgeScorer, every: Sequence[CompletionSet]) -> None:
        self._judge = judge
        self._every = every
        self._asks = [protocols.asks(judge.mode, each) for each in every]
        self._answers: list[list[Answer | None]] = [[None] * len(asks) for asks in self._asks]
        self._sent: list[str] = []  # the hash of each request, by its place
        self._waiting: dict[str, list[tuple[int, int]]] = {}  # by hash the candidates and asks it is for
        self._next = 0
        self._ended = False

    def stream(self) -> Generator[list[Score]]:
        """Ask, and give the scores out as they are complete."""
        in_vain = 0
        with closing(self._judge.generator.generate(self._requests())) as replies:
            for place, reply in replies:
                trouble = self._arrived(place, reply)
                in_vain = in_vain + 1 if trouble else 0
                if in_vain >= MOST_IN_A_ROW:
                    raise ModelError(f"{self._judge.name}: {in_vain} requests in a row {trouble}")
                yield from self._scores()
        yield from self._scores()  # what the transcript had already

    def finish(self, stream: Generator[list[Score]]) -> None:
        """Ask nothing more, and take up what is on its way; whatever else goes wrong with it is not told."""
        self._ended = True
        with suppress(ModelError):
            for _ in stream:
                pass

    def _requests(self) -> Iterator[Request]:
        """What the transcript does not have, one after the other."""
        for index, candidates in enumerate(self._every):
            for number, ask in enumerate(self._asks[index]):
                if self._ended:
                    return
                request = self._judge.question(ask, candidates).request
                if self._is_new(request, index, number):
                    self._sent.append(request.sha256)
                    yield request

    def _arrived(self, place: int, reply: Reply) -> str:
        """Take a reply up. Returns what may be the matter with every request, where it is with this one, else ""."""
        sha256 = self._sent[place]
        self._judge.transcript.add(self._judge.name, sha256, reply)
        places = self._waiting.pop(sha256)
        for index, number in places:
            self._put(index, number, reply)
        (index, number), *_ = places
        return _trouble(reply, self._asks[index][number])

    def _scores(self) -> Iterator[list[Score]]:
        """The scores of candidates that are complete, and whose predecessors are, once each."""
        while self._next < len(self._every):
            answers = [answer for answer in self._answers[self._next] if answer is not None]
            if len(answers) < len(self._asks[self._next]):
                return
            yield protocols.scores(self._every[self._next], self._asks[self._next], answers)
            self._next += 1

    def _is_new(self, request: Request, index: int, number: int) -> bool:
        """Whether a request has to be sent; if not, its reply is there, or on its way."""
        sha256 = request.sha256
        known = self._judge.transcript.get(self._judge.name, sha256)
        if known is None:
            self._waiting.setdefault(sha256, []).append((index, number))
            return len(self._waiting[sha256]) == 1
        self._put(index, number, known)
        return False

    def _put(self, index: int, number: int, reply: Reply) -> None:
        self._answers[index][number] = self._judge.answer(self._asks[index][number], reply)


def _trouble(reply: Reply, ask: Ask) -> str:
    if reply.problem == SERVER_ERROR:
        return (
            f"had no answer, the last in {reply.tries} tries; what is answered is kept: start the run again when the "
            "server is back"
        )
    if ask.mode == "logprob" and not reply.problem and not reply.tokens:
        return "came back without log-probabilities: --mode logprob needs a server that gives them (top_logprobs)"
    return ""


def _batch(index: int, candidates: CompletionSet) -> Batch:
    texts = [*(message["content"] for message in candidates.prompt), *candidates.completions]
    cells = tuple(Cell(index, number) for number in range(len(candidates.completions)))
    return Batch(cells, (candidates,) * len(cells), sum(len(words(text)) for text in texts))
