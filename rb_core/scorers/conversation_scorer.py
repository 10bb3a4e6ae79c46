"""What all scorers share that put whole conversations through a model: encoding, planning, batching, and a check.

A score is the model's own forward pass on the single unpadded conversation. There are faster ways to the same number;
when a model is loaded they are tried on a few probes, and the first that gives the model's own scores is taken:

- *packed*: rows without padding in which the tokens that completions of one prompt share stand once;
- *bucketed*: batches of like length, padded on the right, with the head only at the tokens that are read;
- *bucketed-own-forward*: the same batches through the model's own forward pass;
- *single*: that pass on one conversation at a time, which is what the others are measured against.
"""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor

from rb_core.benchmarks.example import CompletionSet, Conversation, Message
from rb_core.errors import ModelError
from rb_core.models.chat_format import ChatFormat, Encoded
from rb_core.models.resolve import ModelSpec
from rb_core.results.score_table import Score
from rb_core.scorers.base import Batch, Cell, Plan, Scorer, TokenReward
from rb_core.scorers.function import NOT_FINITE
from rb_core.scorers.loading import describe_checkpoint, turning_points
from rb_core.scorers.packed_attention import PACKED, packed_row
from rb_core.scorers.packing import Segment, pack, plan_batches, plan_rows, unique_tokens

log = logging.getLogger(__name__)


# The largest difference between batched and single scores that rounding explains, relative to the scores' size.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


DEFAULT_BATCH_TOKENS = 4096


_PROBES = (
    ("Hi", ("Hello.",)),
    ("What is the tallest mountain?", ("Measured from sea level it is Mount Everest, at about 8,849 metres.", "K2")),
    ("Name two rivers.", ("The Nile and the Amazon. " * 6, "The Nile.", "The Nile and the Rhine.")),
    ("Say nothing.", ("A",)),
)


def probe_candidates() -> list[CompletionSet]:
    """A few short conversations of different lengths, to check a model with when it is loaded."""
    return [CompletionSet((Message(role="user", content=prompt),), answers) for prompt, answers in _PROBES]


# What completions share the tokens of: see `_family`.
Family = tuple[int, int]


# What is one conversation to a model: its token ids, and where the completion starts.
SequenceKey = tuple[tuple[int, ...], int]


class Inputs(NamedTuple):
    """Conversations as tensors on the device.

    works: the conversations; ids, positions, mask: (rows, width), mask 0 at padding; reads: indices into the flattened
    rows x width of the tokens whose hidden states are wanted, conversation by conversation; segments: of a packed row.
    """

    works: tuple[Encoded, ...]
    ids: Tensor
    positions: Tensor
    mask: Tensor
    reads: Tensor
    segments: tuple[Segment, ...] | None = None


class Prefetched(NamedTuple):
    """Completion sets that were encoded in a chat format while the weights were loaded."""

    chat: ChatFormat
    completion_sets: Sequence[CompletionSet]
    encoded: list[list[Encoded]]


class Prepared(NamedTuple):
    """A batch with its different conversations, their families, and the parts that go through the model at once."""

    batch: Batch
    works: tuple[Encoded, ...]
    families: tuple[Family, ...]
    parts: tuple[tuple[list[int], Inputs], ...]


class InFlight(NamedTuple):
    """A batch whose scores are on their way: for each part the conversations and their values on the device."""

    prepared: Prepared
    values: tuple[tuple[list[int], Tensor], ...]


@dataclass
class ConversationScorer(Scorer):
    """Scores conversations one number each. The subclasses say which tokens are read and what is made of them.

    batch_tokens: how many tokens go through the model at once; batching, probe: see `choose_batching`; prefetched:
    input that was encoded while the weights were loaded.
    """

    model: Any
    chat: ChatFormat
    device: torch.device
    batch_tokens: int = DEFAULT_BATCH_TOKENS
    batching: str = "single"
    probe: float = 0.0
    prefetched: Prefetched | None = None
    spec: ModelSpec | None = None
    limit: int | None = field(default=None, init=False)  # what memory turned out to hold, in tokens
    _checked_system_role: bool = field(default=False, init=False)

    # ---- what a kind of model says of itself

    @abstractmethod
    def reads(self, encoded: Encoded) -> range:
        """The tokens of a conversation whose hidden states the score is made of."""

    @abstractmethod
    def values(self, inputs: Inputs) -> Tensor:
        """(conversations,) float32 scores from hidden states at the tokens that are read."""

    @abstractmethod
    def own_values(self, inputs: Inputs) -> Tensor:
        """(conversations,) float32 scores by the model's own forward pass, right-padded where there are several."""

    @abstractmethod
    def possible_batchings(self, works: Sequence[Encoded], own: Sequence[float]) -> list[str]:
        """The ways of batching to try, best first, given probes and their own scores."""

    @abstractmethod
    def token_rewards(self, encoded: Encoded) -> list[float]:
        """Return the reward at each token of the completion, by one forward pass."""

    @property
    def measures_memory(self) -> bool:
        return self.spec is not None and self.spec.options.batch_tokens is None

    def trace(self, prompt: Conversation, completion: str) -> list[TokenReward]:
        """Return the reward at each token of a completion, its closing tokens included, by one forward pass.

        Raises ModelError for a model that has no reward per token, and for a completion that does not fit.
        """
        (encoded,) = self.encode(CompletionSet(prompt, (completion,)))
        if encoded.reason:
            raise ModelError(f"the completion cannot be scored: {encoded.reason}")
        rewards = self.token_rewards(encoded)
        tokens = encoded.ids[len(encoded.ids) - len(rewards) :]
        texts = (self.chat.tokenizer.decode([token]) for token in tokens)
        return [TokenReward(*each) for each in zip(texts, rewards, strict=True)]

    def scale(self, own: Sequence[float]) -> float:
        """The size that a rounding error of the probes' scores is measured against."""
        return max(map(abs, own))

    # ---- plan

    def plan(self, completion_sets: Sequence[CompletionSet]) -> Plan:
        """Encode everything and deal it out to batches; what cannot be scored comes in a last batch of its own."""
        self._check_system_role(completion_sets)
        encoded = self.encode_all(completion_sets)
        notes = {"empty_completions": 0, "control_token_examples": 0, "rewritten_completions": 0}
        for each, works in zip(completion_sets, encoded, strict=True):
            texts = [message["content"] for message in each.prompt]
            notes["control_token_examples"] += bool(self.chat.control_tokens(*texts, *each.completions))
            notes["empty_completions"] += sum(not text for text in each.completions)
            notes["rewritten_completions"] += sum(e.rewritten for e in works)
        return Plan(self.batches(encoded), notes)

    def encode(self, candidates: CompletionSet) -> list[Encoded]:
        """The conversation of each completion as the model is fed it."""
        return self.encode_all([candidates])[0]

    def encode_all(self, completion_sets: Sequence[CompletionSet]) -> list[list[Encoded]]:
        """As `encode`, for many."""
        prefetched = self.prefetched
        if (
            prefetched is not None
            and prefetched.chat is self.chat
            and list(completion_sets) == list(prefetched.completion_sets)
        ):
            return prefetched.encoded
        return self.chat.encode_all([each[:2] for each in completion_sets])

    def batches(self, encoded: Sequence[Sequence[Encoded]]) -> tuple[Batch, ...]:
        """Deal conversations out to batches; those of one candidates share their beginning.

        What is the same to the model goes through it once: two rows of a batch may differ in their last bit, and that
        would break a tie that is one.
        """
        entries = [(Cell(i, j), e) for i, works in enumerate(encoded) for j, e in enumerate(works)]
        impossible = [entry for entry in entries if entry[1].reason]
        alike: dict[SequenceKey, list[tuple[Cell, Encoded]]] = {}
        for entry in entries:
            if not entry[1].reason:
                alike.setdefault(_alike(entry[1]), []).append(entry)
        same = list(alike.values())
        rows = [copies[0][1].ids for copies in same]
        families = [_family(*copies[0]) for copies in same]
        made = []
        for group in self._groups(rows, families, self.batch_tokens):
            cells, inputs = zip(*(entry for i in group for entry in same[i]), strict=True)
            made.append(Batch(cells, inputs, self._tokens([rows[i] for i in group], [families[i] for i in group])))
        if impossible:
            cells, inputs = zip(*impossible, strict=True)
            made.append(Batch(cells, inputs))
        return tuple(made)

    def _groups(self, rows: Sequence[tuple[int, ...]], families: Sequence[Family], budget: int) -> list[list[int]]:
        """What goes through the model at once, as indices. Conversations that a model reads at different paces never
        do: it would take the pace of the longest for all."""
        turns = turning_points(self.models())
        paces = [sum(len(row) > turn for turn in turns) for row in rows]
        groups: list[list[int]] = []
        for pace in sorted(set(paces), reverse=True):
            some = [i for i, own in enumerate(paces) if own == pace]
            if self.batching == "packed":
                # On a processor rows of half the budget are faster by 7%: what they need comes from its caches, not in
                # fresh pages. The whole budget is for families that would otherwise be read in parts.
                enough = budget // 2 if self.device.type == "cpu" else None
                planned = plan_rows([rows[i] for i in some], [families[i] for i in some], budget, enough)
            else:
                planned = plan_batches([len(rows[i]) for i in some], budget)
            groups += [[some[i] for i in group] for group in planned]
        return groups

    def models(self) -> list[Any]:
        """Every model that reads the conversations."""
        return [self.model]

    def _tokens(self, rows: Sequence[tuple[int, ...]], families: Sequence[Family]) -> int:
        """Tokens through the model, padding included."""
        if self.batching == "packed":
            return unique_tokens(rows, families)
        return len(rows) * max(map(len, rows))

    def _check_system_role(self, candidates: Sequence[CompletionSet]) -> None:
        if self._checked_system_role or self.chat.system_role == "fold":
            return
        if any(message["role"] == "system" for each in candidates for message in each.prompt):
            self.chat.check_system_role()
            self._checked_system_role = True

    # ---- score

    def score(self, batch: Batch) -> list[Score]:
        return next(self.stream([batch]))

    def stream(self, batches: Iterable[Batch]) -> Iterator[list[Score]]:
        """The scores of each batch. While the model reads one, the next is made ready and brought to the device, and
        on a device that works by itself the scores before it are taken in."""
        ahead = self._ahead(batches)
        running: InFlight | None = None
        while True:
            try:
                prepared = next(ahead, None)
                launched = None if prepared is None else self._launch(prepared)
            except BaseException:
                if running is not None:  # what is scored already is not lost with what fails
                    yield self._collect(running)
                raise
            if running is not None:
                yield self._collect(running)
            if launched is None:
                return
            running = launched
            if self.device.type == "cpu":
                running = None
                yield self._collect(launched)

    def _ahead(self, batches: Iterable[Batch]) -> Iterator[Prepared]:
        """Each batch prepared, the next one under way in a thread of its own."""
        with ThreadPoolExecutor(1) as beside:
            waiting = None
            for batch in batches:
                upcoming = beside.submit(self._prepare, batch)
                if waiting is not None:
                    yield waiting.result()
                waiting = upcoming
            if waiting is not None:
                yield waiting.result()

    def _prepare(self, batch: Batch) -> Prepared:
        # in the order of the batch; one conversation stands for all that are alike
        first: dict[SequenceKey, tuple[Cell, Encoded]] = {}
        for cell, encoded in zip(batch.cells, batch.inputs, strict=True):
            if not encoded.reason:
                first.setdefault(_alike(encoded), (cell, encoded))
        works = tuple(encoded for _, encoded in first.values())
        families = tuple(_family(*entry) for entry in first.values())
        return Prepared(batch, works, families, self._parts(works, families, list(range(len(works)))))

    def _parts(
        self, works: Sequence[Encoded], families: Sequence[Family], chosen: list[int]
    ) -> tuple[tuple[list[int], Inputs], ...]:
        """The chosen conversations, all at once or as memory allows."""
        groups = [chosen] if chosen else []
        if self.limit is not None:
            split = self._groups([works[i].ids for i in chosen], [families[i] for i in chosen], self.limit)
            groups = [[chosen[i] for i in group] for group in split]
        return tuple((group, self.inputs([works[i] for i in group], [families[i] for i in group])) for group in groups)

    @torch.inference_mode()
    def _launch(self, prepared: Prepared) -> InFlight:
        values: list[tuple[list[int], Tensor]] = []
        waiting = list(prepared.parts)
        while waiting:
            group, inputs = waiting.pop(0)
            tokens = inputs.ids.numel()
            fits = self.limit is None or tokens <= self.limit or len(group) == 1
            found = self._attempt(inputs) if fits else None
            if found is None and len(group) == 1:  # nothing smaller is left to try, but what the device kept for reuse
                self._empty_cache()
                found = self._attempt(inputs)
            if found is not None:
                values.append((group, found))
                continue
            if len(group) == 1:
                raise ModelError(
                    f"out of memory with one conversation of {tokens} tokens: nothing smaller can be tried on this "
                    "device; what is scored already is kept"
                )
            if fits:
                self._halve(tokens)
            waiting = [*self._parts(prepared.works, prepared.families, group), *waiting]
        return InFlight(prepared, tuple(values))

    def _attempt(self, inputs: Inputs) -> Tensor | None:
        """The values, or None where memory does not hold them. (The error is let go of before anything else is tried:
        what it holds on to fills the memory.)"""
        try:
            return self._forward(inputs, self.batching)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return None

    def _halve(self, tokens: int) -> None:
        """Remember that so much does not fit, for this batch and all that follow. No score is moved by it."""
        self.limit = max(1, tokens // 2)
        log.warning("out of memory with %d tokens at once; going on with %d", tokens, self.limit)
        self._empty_cache()

    def _empty_cache(self) -> None:
        """Give back what the device keeps for reuse: it may be in pieces too small for what is tried next."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _collect(self, running: InFlight) -> list[Score]:
        works, batch = running.prepared.works, running.prepared.batch
        found: dict[SequenceKey, float] = {}
        for group, values in running.values:
            found |= {_alike(works[i]): value for i, value in zip(group, values.float().cpu().tolist(), strict=True)}
        return [_score(encoded, found.get(_alike(encoded), math.nan)) for encoded in batch.inputs]

    # ---- ways through the model

    def _forward(self, inputs: Inputs, batching: str) -> Tensor:
        if batching in ("packed", "bucketed"):
            return self.values(inputs)
        if batching == "bucketed-own-forward":
            return self.own_values(inputs)
        return torch.cat([self.own_values(self._padded([work])) for work in inputs.works])

    def hidden(self, body: Any, inputs: Inputs) -> Tensor:
        """(tokens read, width) hidden states of a model's body."""
        options = {"input_ids": inputs.ids, "attention_mask": inputs.mask, "use_cache": False}
        if inputs.segments is None:
            states: Tensor = body(**options).last_hidden_state
        else:
            with packed_row(body, inputs.segments):
                states = body(**options, position_ids=inputs.positions).last_hidden_state
        return states.flatten(0, 1)[inputs.reads.to(states.device)]

    def inputs(self, works: Sequence[Encoded], families: Sequence[Family], batching: str | None = None) -> Inputs:
        """Conversations as tensors, the way the batching wants them."""
        if (batching or self.batching) != "packed":
            return self._padded(works)
        row = pack([work.ids for work in works], families)
        reads = [row.where(i, token) for i, work in enumerate(works) for token in self.reads(work)]
        ids, positions = self._tensor([row.ids]), self._tensor([row.positions])
        return Inputs(tuple(works), ids, positions, torch.ones_like(ids), self._tensor(reads), row.segments)

    def _padded(self, works: Sequence[Encoded]) -> Inputs:
        width = max(len(work.ids) for work in works)
        ids = self._tensor([[*work.ids, *[self._fill()] * (width - len(work.ids))] for work in works])
        mask = self._tensor([[1] * len(work.ids) + [0] * (width - len(work.ids)) for work in works])
        reads = [i * width + token for i, work in enumerate(works) for token in self.reads(work)]
        positions = torch.arange(width, device=ids.device).expand(len(works), -1)
        return Inputs(tuple(works), ids, positions, mask, self._tensor(reads))

    def _tensor(self, numbers: Any) -> Tensor:
        made = torch.tensor(numbers, dtype=torch.int64)
        if self.device.type == "cuda":
            made = made.pin_memory()
        return made.to(self.device, non_blocking=True)

    def pad_token_id(self) -> int | None:
        pad: int | None = self.model.config.get_text_config().pad_token_id
        return pad

    def _fill(self) -> int:
        """What stands at padding: -1 is how old Llama checkpoints said that there is no pad token."""
        pad = self.pad_token_id()
        return 0 if pad is None or pad < 0 else pad

    # ---- load

    def describe_model(self, spec: ModelSpec | None) -> dict[str, Any]:
        """What any kind says of its checkpoint, by the names of results.ModelRef."""
        described = describe_checkpoint(self.model, self.chat, spec) | {"batching": self.batching, "probe": self.probe}
        return described | ({"attention": PACKED} if self.batching == "packed" else {})

    @torch.inference_mode()
    def choose_batching(self) -> None:
        """Take the first way of batching whose probe scores are the model's own, one conversation at a time.

        `batching` says which it is, `probe` the largest difference between its scores and the model's own.
        """
        every = [(e, (i, e.dropped)) for i, works in enumerate(self.encode_all(probe_candidates())) for e in works]
        works = [e for e, _ in every if not e.reason]
        families = [family for e, family in every if not e.reason]
        self.batching, self.probe = "single", 0.0
        if not works:  # a model too short for any probe: nothing to judge a batch by
            return
        try:
            own = self._probe_values(works, families, "single")
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise ModelError(
                f"out of memory with one short conversation on {self.device}: the model leaves no room to work in; "
                "--device-map auto spreads it over all GPUs"
            ) from error
        for batching in self.possible_batchings(works, own):
            difference = self._difference(works, families, own, batching)
            if difference <= TOLERANCE.get(self.model.dtype, 0.0) * self.scale(own):
                self.batching, self.probe = batching, difference
                return
            log.warning("%s batches move a score by %g; not used", batching, difference)

    def _difference_alone(self, works: Sequence[Encoded], own: Sequence[float]) -> float:
        """The largest difference between `values` and the model's own scores, each conversation by itself."""
        return max(self._difference([w], [(0, 0)], [o], "bucketed") for w, o in zip(works, own, strict=True))

    def _probe_values(self, works: Sequence[Encoded], families: Sequence[Family], batching: str) -> list[float]:
        return self._forward(self.inputs(works, families, batching), batching).float().cpu().tolist()

    def _difference(
        self, works: Sequence[Encoded], families: Sequence[Family], own: Sequence[float], batching: str
    ) -> float:
        """The largest difference between scores so batched and the model's own; infinite where it cannot be told."""
        try:
            values = self._probe_values(works, families, batching)
        except (ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
            if out_of_memory(error):
                raise
            log.warning("scoring cannot use %s batches with this model: %s", batching, error)
            return math.inf
        differences = [abs(a - b) for a, b in zip(values, own, strict=True)]
        return max(differences) if all(map(math.isfinite, differences)) else math.inf


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the machine, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, Exception) and should_reduce_batch_size(error)
    )


def _family(cell: Cell, encoded: Encoded) -> Family:
    """Completions of one prompt share its tokens, where as many were dropped from it."""
    return cell.completion_set, encoded.dropped


def _alike(encoded: Encoded) -> SequenceKey:
    return encoded.ids, encoded.start


def _score(encoded: Encoded, value: float) -> Score:
    num_tokens, truncated, own = len(encoded.ids), encoded.dropped > 0, len(encoded.ids) - encoded.start
    if encoded.reason or not math.isfinite(value):
        return Score.unscored(encoded.reason or NOT_FINITE, num_tokens, truncated, own)
    return Score(value, num_tokens, truncated, num_completion_tokens=own)
