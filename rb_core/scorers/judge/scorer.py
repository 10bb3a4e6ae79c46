"""A generative judge as a scorer.

A batch is one completion set. Requests are sent as the reply source takes them, over all batches at once, and every
reply is added to the transcript before anything else is done with it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import ModelError
from rb_core.models.options import Mode
from rb_core.results.judge_records import JudgeRef, TemplateRef
from rb_core.results.score_table import Score
from rb_core.scorers.base import Batch, Cell, Plan, split_words
from rb_core.scorers.http.client import MAX_FAILURES_IN_A_ROW
from rb_core.scorers.http.replies import Reply
from rb_core.scorers.judge.budget import Budget
from rb_core.scorers.judge.parsing import PARSER_VERSION
from rb_core.scorers.judge.prompt_templates import is_injection
from rb_core.scorers.judge.protocols import (
    PromptConfig,
    make_queries,
    make_request,
    scores_from_records,
    with_verdict,
)
from rb_core.scorers.judge.run import Judge
from rb_core.scorers.judge.transcript import Transcript
from rb_core.scorers.judge.types import JudgeQuery, JudgeRecord, ReplySource, Request


class JudgeScorer(Judge):
    """A generative judge as a scorer.

    budget: account of the requests of `generator`; author: name of the judge among the authors of completions, if it
    differs from `name`.
    """

    def __init__(
        self,
        name: str,
        mode: Mode,
        config: PromptConfig,
        generator: ReplySource,
        budget: Budget | None = None,
        author: str | None = None,
    ) -> None:
        self.name = name
        self.mode = mode
        self.config = config
        self.generator = generator
        self.budget = budget or Budget()
        self.author = author
        self.transcript = Transcript()
        self.device = str(getattr(generator, "device", "cpu"))  # "cpu" for a server

    @property
    def packages(self) -> tuple[str, ...]:
        """Return no packages for a server: its replies do not depend on the versions installed here."""
        return super().packages if self.describe()["judge"].backend == "local" else ()

    def record(self, transcript: Transcript) -> None:
        self.transcript = transcript

    def plan(self, completion_sets: Sequence[CompletionSet]) -> Plan:
        empty = sum(not text for completion_set in completion_sets for text in completion_set.completions)
        return Plan(tuple(map(_batch, range(len(completion_sets)), completion_sets)), {"empty_completions": empty})

    def stream(self, batches: Iterable[Batch]) -> Generator[list[Score]]:
        completion_sets = [batch.inputs[0] for batch in batches]
        self.book_earlier(completion_sets)
        yield from QueryStream(self, completion_sets).scores()

    def queries(self, completion_set: CompletionSet) -> tuple[JudgeQuery, ...]:
        return make_queries(self.mode, completion_set)

    def request(self, query: JudgeQuery, completion_set: CompletionSet) -> Request:
        return make_request(query, completion_set, self.config)

    def judge_reply(self, query: JudgeQuery, reply: Reply) -> JudgeRecord:
        """Return a record with the verdict of a reply."""
        return with_verdict(JudgeRecord(self.name, *query, reply), structured=self.config.structured)

    def book_earlier(self, completion_sets: Iterable[CompletionSet]) -> None:
        """Book the replies that an unfinished run left for these completion sets, before anything more is spent."""
        if not self.transcript.earlier:
            return
        replies = []
        for completion_set in completion_sets:
            for query in self.queries(completion_set):
                request = self.request(query, completion_set)
                if reply := self.transcript.take_earlier(self.name, request.sha256):
                    self.budget.add(reply, request)
                    replies.append(reply)
        self.generator.continue_from(replies)

    def records(self, completion_set: CompletionSet) -> list[JudgeRecord]:
        records = []
        for query in self.queries(completion_set):
            request = self.request(query, completion_set)
            record = self.judge_reply(query, self.transcript.replies[self.name, request.sha256])
            injections = sum(is_injection(completion_set.completions[index]) for index in query.order)
            records.append(
                replace(record, messages=request.messages, prompt_sha256=request.sha256, injections=injections)
            )
        return records

    def describe(self) -> dict[str, Any]:
        """Return the settings the scores depend on, by the names of results.ModelRef."""
        settings = dict(self.generator.describe())
        decoding = self.config.decoding
        judge = JudgeRef(
            mode=self.mode,
            templates={
                mode: TemplateRef(name=template.name, version=template.version, sha256=template.sha256)
                for mode, template in self.config.templates.items()
            },
            parser=PARSER_VERSION,
            backend=settings.pop("backend"),
            sampling=settings.pop("sampling", None),
            generation={name: str(value) for name, value in settings.pop("generation", {}).items()},
            temperature=decoding.temperature,
            max_new_tokens=decoding.max_tokens,
            seed=decoding.seed,
            structured=self.config.structured,
            expected=self.config.expected,
            extra_body=settings.pop("extra_body", {}),
        )
        return {"kind": self.kind, "judge": judge, **settings}


class QueryStream:
    """The requests of one judge about completion sets, and the scores in the order of the sets.

    Equal requests are sent once; requests whose reply is in the transcript are not sent.
    """

    def __init__(self, judge: JudgeScorer, completion_sets: Sequence[CompletionSet]) -> None:
        self._judge = judge
        self._sets = completion_sets
        self._queries = [judge.queries(completion_set) for completion_set in completion_sets]
        self._records: list[dict[int, JudgeRecord]] = [{} for _ in completion_sets]  # by index of the query
        self._sent: list[str] = []  # hash of each request sent
        self._waiting: dict[str, list[tuple[int, int]]] = {}  # (set, query) that wait for the reply, by hash
        self._next = 0  # set whose scores come next
        self._ended = False

    def scores(self) -> Generator[list[Score]]:
        """Send the requests and yield the scores of each set once it and all before it are complete."""
        failures = 0
        with closing(self._judge.generator.generate(self._requests())) as replies:
            for index, reply in replies:
                failures = failures + 1 if self._add(index, reply) else 0
                if failures >= MAX_FAILURES_IN_A_ROW:
                    raise ModelError(
                        f"{self._judge.name}: {failures} requests in a row came back without log-probabilities: "
                        "--mode logprob needs a server that gives them (top_logprobs)"
                    )
                yield from self._complete()
        yield from self._complete()  # sets whose replies were all in the transcript

    def finish(self, stream: Generator[list[Score]]) -> None:
        """Send nothing more and keep the replies to requests that were sent; further errors are ignored."""
        self._ended = True
        with suppress(ModelError):
            for _ in stream:
                pass

    def _requests(self) -> Iterator[Request]:
        for index, completion_set in enumerate(self._sets):
            for number, query in enumerate(self._queries[index]):
                if self._ended:
                    return
                request = self._judge.request(query, completion_set)
                sha256 = request.sha256
                if reply := self._judge.transcript.get(self._judge.name, sha256):
                    self._records[index][number] = self._judge.judge_reply(query, reply)
                elif sha256 in self._waiting:
                    self._waiting[sha256].append((index, number))
                else:
                    self._waiting[sha256] = [(index, number)]
                    self._sent.append(sha256)
                    yield request

    def _add(self, index: int, reply: Reply) -> bool:
        """Add a reply. Return True if it lacks the log-probabilities that its mode needs."""
        sha256 = self._sent[index]
        self._judge.transcript.add(self._judge.name, sha256, reply)
        waiting = self._waiting.pop(sha256)
        for set_index, number in waiting:
            record = self._judge.judge_reply(self._queries[set_index][number], reply)
            self._records[set_index][number] = record
        return record.mode == "logprob" and not record.reply.error and not record.reply.tokens

    def _complete(self) -> Iterator[list[Score]]:
        while self._next < len(self._sets):
            queries, records = self._queries[self._next], self._records[self._next]
            if len(records) < len(queries):
                return
            yield scores_from_records(self._sets[self._next], [records[number] for number in range(len(queries))])
            self._next += 1


def _batch(index: int, completion_set: CompletionSet) -> Batch:
    texts = [*(message["content"] for message in completion_set.prompt), *completion_set.completions]
    cells = tuple(Cell(index, number) for number in range(len(completion_set.completions)))
    return Batch(cells, (completion_set,) * len(cells), sum(len(split_words(text)) for text in texts))
