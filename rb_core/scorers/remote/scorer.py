"""A reward model behind a server as a scorer. A batch is one distinct conversation, which is one request."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch

from rb_core.benchmarks.example import CompletionSet
from rb_core.models.chat_format import ChatFormat, Encoded
from rb_core.models.resolve import ModelSpec
from rb_core.results.score_table import Score
from rb_core.scorers.base import Batch, Cell, Plan, RunContext, Scorer
from rb_core.scorers.classifier import check_output, reduce_outputs
from rb_core.scorers.conversation_scorer import as_score, input_notes
from rb_core.scorers.http.replies import Reply
from rb_core.scorers.remote.apis import RewardRequest
from rb_core.scorers.remote.client import RewardClient
from rb_core.scorers.remote.run import RemoteRun

NO_TEXT = "no text makes the server read the same tokens"


@dataclass
class RemoteScorer(Scorer):
    """A reward model behind a server; create it with `load.load_remote`.

    pad: token that is not read at the end of a conversation: see `ClassifierScorer.reads`.
    is_regression: the config declares that no activation follows the head.
    answered: scores that a finished run has, which are not asked for again.
    """

    kind = "classifier"

    client: RewardClient
    chat: ChatFormat
    spec: ModelSpec
    pad: int | None = None
    is_regression: bool = False
    answered: Mapping[Cell, Score] = field(default_factory=dict)

    def plan(self, completion_sets: Sequence[CompletionSet]) -> Plan:
        encoded = self.chat.encode_all([completion_set[:2] for completion_set in completion_sets])
        copies: dict[Encoded, list[Cell]] = {}
        for i, row in enumerate(encoded):
            for j, sequence in enumerate(row):
                copies.setdefault(sequence, []).append(Cell(i, j))
        batches = (Batch(tuple(cells), (key,) * len(cells), len(key.ids)) for key, cells in copies.items())
        return Plan(tuple(batches), input_notes(self.chat, completion_sets, encoded))

    def score(self, batch: Batch) -> list[Score]:
        (scores,) = self.stream([batch])
        return scores

    def stream(self, batches: Iterable[Batch]) -> Generator[list[Score]]:
        """Yield the scores of each batch, in order, while the requests of later ones are on their way."""
        ready: dict[int, list[Score]] = {}  # by place of the batch
        waiting: list[tuple[int, Batch] | None] = []  # by index of the request, until its reply arrives

        def requests() -> Iterator[RewardRequest]:
            for place, batch in enumerate(batches):
                request = self.request(batch.inputs[0])
                if all(cell in self.answered for cell in batch.cells):
                    ready[place] = [self.answered[cell] for cell in batch.cells]
                elif isinstance(request, str):
                    ready[place] = [as_score(batch.inputs[0]._replace(reason=request), math.nan)] * len(batch.cells)
                else:
                    waiting.append((place, batch))
                    yield request

        next_place = 0
        with closing(self.client.generate(requests())) as replies:
            for index, reply in replies:
                sent, waiting[index] = waiting[index], None
                if sent is not None:
                    place, batch = sent
                    ready[place] = [self.read(batch.inputs[0], reply)] * len(batch.cells)
                while next_place in ready:
                    yield ready.pop(next_place)
                    next_place += 1
        while next_place in ready:  # batches that needed no request
            yield ready.pop(next_place)
            next_place += 1

    def request(self, encoded: Encoded, *, raw: bool = True) -> RewardRequest | str:
        """Return the request about a conversation, or the reason why it cannot be sent.

        A server reads the last token. Where transformers' classifiers read an earlier one, because pad tokens follow
        it, the server is sent the tokens up to that one.
        """
        if encoded.reason:
            return encoded.reason
        ids = encoded.ids
        if self.client.api.takes_ids:
            last = max((i for i, token in enumerate(ids) if token != self.pad), default=0)
            return RewardRequest(ids[: last + 1], raw=raw)
        text = self._text(ids)
        if text is None:
            return NO_TEXT
        return RewardRequest(ids, text, self.chat.tokenizer.decode(ids[: encoded.start]), raw)

    def _text(self, ids: tuple[int, ...]) -> str | None:
        """Return a text that the server's tokenizer turns into these tokens; None if no text does."""
        tokenizer, adds = self.chat.tokenizer, self.client.api.adds_special_tokens
        plain, read = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, adds))
        start = next((i for i in range(len(read)) if read[i : i + len(plain)] == plain), 0)
        end = len(ids) - (len(read) - len(plain) - start)
        text = str(tokenizer.decode(ids[start:end], clean_up_tokenization_spaces=False))
        return text if tuple(tokenizer(text, add_special_tokens=adds)["input_ids"]) == ids else None

    def read(self, encoded: Encoded, reply: Reply) -> Score:
        """Return the score in a reply. Raises ModelError if several outputs arrived and none is declared."""
        if reply.error:
            return as_score(encoded._replace(reason=reply.error), math.nan)
        outputs = json.loads(reply.text)
        output = check_output(self.spec, len(outputs))
        value = reduce_outputs(torch.tensor([outputs]), output, lower_is_better=self.spec.lower_is_better)
        return as_score(encoded, float(value[0]))

    def describe(self) -> dict[str, Any]:
        """Return the settings that the scores depend on; never an address, which may hold a key."""
        spec = self.spec
        return {
            "kind": self.kind,
            "kind_detail": spec.options.api,
            "source": self.client.model,
            "tokenizer": spec.checkpoint.name,
            "tokenizer_revision": spec.checkpoint.revision,
            "chat_template_sha256": self.chat.sha256,
            "system_role": self.chat.system_role,
            "max_length": self.chat.max_length,
            "output": f"{spec.output}{', lower is better' if spec.lower_is_better else ''}; raw outputs of the server",
        }

    @property
    def packages(self) -> tuple[str, ...]:
        """Return the packages that render and tokenise."""
        return ("transformers", "rb_core")

    def open_transcript(self, run: RunContext) -> RemoteRun:
        remote_run = RemoteRun(run)
        self.answered = remote_run.answered
        return remote_run
