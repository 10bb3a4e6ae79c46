"""Score whole conversations with a transformers model: encode, plan, batch, and check the batching at load time.

A score is the model's own forward pass on the single unpadded conversation. There are faster ways to the same number.
When a model is loaded they are tried on a few probes, and the first that reproduces the model's own scores is used:

- *packed*: rows without padding in which the tokens that completions of one prompt share stand once;
- *bucketed*: batches of similar length, padded on the right, with the head only at the tokens that are read;
- *bucketed-own-forward*: the same batches through the model's own forward pass;
- *single*: that pass on one conversation at a time, which the others are compared with.
"""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from rb_core.benchmarks.example import CompletionSet, Conversation, Message
from rb_core.errors import ModelError
from rb_core.models.chat_format import ChatFormat, Encoded
from rb_core.models.resolve import ModelSpec
from rb_core.results.score_table import Score
from rb_core.scorers.base import Batch, Cell, Plan, Scorer, TokenReward
from rb_core.scorers.batch_limit import BatchLimit, is_out_of_memory
from rb_core.scorers.function import NOT_FINITE
from rb_core.scorers.loading import check_token_ids, describe_checkpoint, pad_token_of, rope_switch_lengths
from rb_core.scorers.packed_attention import PACKED, packed_row
from rb_core.scorers.packing import Segment, pack, plan_batches, plan_rows, unique_tokens
from rb_core.scorers.threads import threads_for

log = logging.getLogger(__name__)

# The largest difference between batched and single scores that rounding explains, relative to the size of the scores.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
DEFAULT_BATCH_TOKENS = 4096

# A few short conversations of different lengths, on which a model is checked when it is loaded.
PROBES = tuple(
    CompletionSet((Message(role="user", content=prompt),), completions)
    for prompt, completions in (
        ("Hi", ("Hello.",)),
        (
            "What is the tallest mountain?",
            ("Measured from sea level it is Mount Everest, at about 8,849 metres.", "K2"),
        ),
        ("Name two rivers.", ("The Nile and the Amazon. " * 6, "The Nile.", "The Nile and the Rhine.")),
        ("Say nothing.", ("A",)),
    )
)

# The same to the model: token ids, and the index of the first completion token.
SequenceKey = tuple[tuple[int, ...], int]


class Inputs(NamedTuple):
    """Conversations as tensors on the device.

    ids, positions, mask: (rows, width), mask 0 at padding; reads: indices, on the CPU, into the flattened rows x width
    of the tokens whose hidden states are used, conversation by conversation; segments: of a packed row, else None;
    token_types: (rows, width), 1 in the second text of a pair, for models that tell the two apart, else None.
    """

    sequences: tuple[Encoded, ...]
    ids: Tensor
    positions: Tensor
    mask: Tensor
    reads: Tensor
    segments: tuple[Segment, ...] | None = None
    token_types: Tensor | None = None

    def for_model(self) -> dict[str, Tensor]:
        """Return the arguments of a model's forward pass."""
        arguments = {"input_ids": self.ids, "attention_mask": self.mask}
        return arguments if self.token_types is None else arguments | {"token_type_ids": self.token_types}


class Prefetched(NamedTuple):
    """Completion sets that were encoded in a chat format while the weights were loaded."""

    chat: ChatFormat
    completion_sets: Sequence[CompletionSet]
    encoded: list[list[Encoded]]


class Part(NamedTuple):
    """Sequences of a batch that go through the model at once, by their indices, and as tensors."""

    indices: list[int]
    inputs: Inputs


class Prepared(NamedTuple):
    """A batch with its distinct sequences, and the parts that they go through the model in."""

    batch: Batch
    sequences: tuple[Encoded, ...]
    parts: tuple[Part, ...]


class InFlight(NamedTuple):
    """A batch that the device is computing: for each part its values, on the device."""

    prepared: Prepared
    values: tuple[tuple[Part, Tensor], ...]


@dataclass
class ConversationScorer(Scorer):
    """A scorer that computes one number per conversation. Subclasses say which tokens are read, and what follows.

    batch_tokens: how many tokens go through the model at once; batching, probe: see `choose_batching`; prefetched:
    input that was encoded while the weights were loaded; spec: what was loaded; unused: weights of the checkpoint that
    the score does not use.
    """

    model: Any
    chat: ChatFormat
    device: torch.device
    batch_tokens: int = DEFAULT_BATCH_TOKENS
    batching: str = "single"
    probe: float = 0.0
    prefetched: Prefetched | None = None
    spec: ModelSpec | None = None
    unused: tuple[str, ...] = ()
    limit: BatchLimit = field(init=False)
    probes: ClassVar[tuple[CompletionSet, ...]] = PROBES

    def __post_init__(self) -> None:
        self.limit = BatchLimit(self.device)

    # ---- to be implemented by a kind of model

    @abstractmethod
    def reads(self, encoded: Encoded) -> Sequence[int]:
        """Return the tokens of a conversation whose hidden states make the score."""

    @abstractmethod
    def values(self, inputs: Inputs) -> Tensor:
        """Return (conversations,) float32 scores from the hidden states at the tokens that are read."""

    @abstractmethod
    def own_values(self, inputs: Inputs) -> Tensor:
        """Return (conversations,) float32 scores by the model's own forward pass, right-padded if there are several."""

    @abstractmethod
    def possible_batchings(self, sequences: Sequence[Encoded], own: Sequence[float]) -> list[str]:
        """Return the ways of batching to try, best first, given probes and the model's own scores for them."""

    @abstractmethod
    def token_rewards(self, encoded: Encoded) -> list[float]:
        """Return the reward at each token of the completion, by one forward pass."""

    def needed_tokens(self, encoded: Encoded) -> tuple[int, ...]:
        """Return the beginning of a conversation that its score depends on where no token sees a later one."""
        if rope_switch_lengths(self.models()):  # the scaling of positions depends on the whole length
            return encoded.ids
        return encoded.ids[: max(self.reads(encoded), default=len(encoded.ids)) + 1]

    def second_text(self, encoded: Encoded) -> int | None:
        """Return the index of the first token of the second text, for a model that reads a pair of texts."""
        return None

    def models(self) -> list[Any]:
        """Return every model that reads the conversations."""
        return [self.model]

    def scale(self, own: Sequence[float]) -> float:
        """Return the size that a rounding error of the probes' scores is relative to."""
        return max(map(abs, own))

    # ---- the contract of a scorer

    @property
    def measures_memory(self) -> bool:
        return self.spec is not None and self.spec.options.batch_tokens is None

    def describe(self) -> dict[str, Any]:
        described = describe_checkpoint(self.model, self.chat, self.spec, self.unused)
        described |= {"kind": self.kind, "batching": self.batching, "probe": self.probe}
        return described | ({"attention": PACKED} if self.batching == "packed" else {})

    def trace(self, prompt: Conversation, completion: str) -> list[TokenReward]:
        """Return the reward at each token of a completion, its closing tokens included, by one forward pass.

        Raises ModelError for a model that has no reward per token, and for a completion that does not fit.
        """
        encoded = self.encode_one(prompt, completion)
        rewards = self.token_rewards(encoded)
        tokens = encoded.ids[len(encoded.ids) - len(rewards) :]
        return [
            TokenReward(self.chat.tokenizer.decode([token]), reward)
            for token, reward in zip(tokens, rewards, strict=True)
        ]

    def encode_one(self, prompt: Conversation, completion: str) -> Encoded:
        """Return a conversation as the model reads it. Raises ModelError, with the reason, if it cannot be scored."""
        (encoded,) = self.encode(CompletionSet(prompt, (completion,)))
        if encoded.reason:
            raise ModelError(f"the completion cannot be scored: {encoded.reason}")
        return encoded

    def plan(self, completion_sets: Sequence[CompletionSet]) -> Plan:
        """Encode everything and distribute it over batches; what cannot be scored makes a last batch of its own."""
        encoded = self.encode_all(completion_sets)
        return Plan(self.batches(encoded), input_notes(self.chat, completion_sets, encoded))

    def score(self, batch: Batch) -> list[Score]:
        return next(self.stream([batch]))

    def stream(self, batches: Iterable[Batch]) -> Iterator[list[Score]]:
        """Yield the scores of each batch. The next batch is prepared meanwhile, and on an asynchronous device it is
        launched before the scores of the one before are fetched."""
        prepared_batches = self._prepare_ahead(batches)
        in_flight: InFlight | None = None
        while True:
            try:
                prepared = next(prepared_batches, None)
                launched = None if prepared is None else self._launch(prepared)
            except BaseException:
                if in_flight is not None:  # scores that are computed already are not lost with what fails
                    yield self._collect(in_flight)
                raise
            if in_flight is not None:
                yield self._collect(in_flight)
            if launched is None:
                return
            in_flight = launched
            if self.device.type == "cpu":
                in_flight = None
                yield self._collect(launched)

    # ---- plan

    def encode(self, completion_set: CompletionSet) -> list[Encoded]:
        """Return the conversation of each completion as the model reads it."""
        return self.encode_all([completion_set])[0]

    def encode_all(self, completion_sets: Sequence[CompletionSet]) -> list[list[Encoded]]:
        """Encode many completion sets at once, or take over what was encoded while the weights were loaded.

        Raises ModelError when the template refuses a conversation or drops a text, or the model lacks a token.
        """
        ready = self.prefetched
        if ready is not None and ready.chat is self.chat and list(completion_sets) == list(ready.completion_sets):
            encoded = ready.encoded
        else:
            encoded = self.chat.encode_all([completion_set[:2] for completion_set in completion_sets])
        check_token_ids(self.model, self.chat.tokenizer, (sequence.ids for row in encoded for sequence in row))
        return encoded

    def batches(self, encoded: Sequence[Sequence[Encoded]]) -> tuple[Batch, ...]:
        """Distribute conversations over batches; those with one prompt share its tokens.

        Equal sequences go through the model once: two rows of a batch may differ in their last bit, and that would
        break a tie.
        """
        entries = [(Cell(i, j), sequence) for i, row in enumerate(encoded) for j, sequence in enumerate(row)]
        copies: dict[SequenceKey, list[tuple[Cell, Encoded]]] = {}
        for cell, sequence in entries:
            if not sequence.reason:
                copies.setdefault(_key(sequence), []).append((cell, sequence))
        distinct = list(copies.values())
        sequences = [sequence for (_, sequence), *_ in distinct]
        batches = []
        for group in self._groups(sequences, self.batch_tokens):
            cells, inputs = zip(*(entry for i in group for entry in distinct[i]), strict=True)
            batches.append(Batch(cells, inputs, self._num_tokens([sequences[i] for i in group])))
        if impossible := [entry for entry in entries if entry[1].reason]:
            cells, inputs = zip(*impossible, strict=True)
            batches.append(Batch(cells, inputs))
        return tuple(batches)

    def _row(self, encoded: Encoded) -> tuple[int, ...]:
        """Return the tokens of a conversation that go through the model."""
        return self.needed_tokens(encoded) if self.batching == "packed" else encoded.ids

    def _groups(self, sequences: Sequence[Encoded], budget: int) -> list[list[int]]:
        """Return the indices of the conversations that share a forward pass.

        Sequences on different sides of a switch of the rope scaling are kept apart: a model would apply to all of them
        the scaling of the longest.
        """
        rows = [self._row(sequence) for sequence in sequences]
        switches = rope_switch_lengths(self.models())
        sides = [sum(len(row) > length for length in switches) for row in rows]
        groups: list[list[int]] = []
        for side in sorted(set(sides), reverse=True):
            members = [i for i, own_side in enumerate(sides) if own_side == side]
            if self.batching == "packed":
                # On a CPU rows of half the budget are faster by 7%: their data comes from caches, not from fresh pages.
                # The whole budget is for families that would otherwise be read in parts.
                enough = budget // 2 if self.device.type == "cpu" else None
                families = [_family(sequences[i]) for i in members]
                planned = plan_rows([rows[i] for i in members], families, budget, enough)
            else:
                planned = plan_batches([len(rows[i]) for i in members], budget)
            groups += [[members[i] for i in group] for group in planned]
        return groups

    def _num_tokens(self, sequences: Sequence[Encoded]) -> int:
        """Return the number of tokens through the model, padding included."""
        rows = [self._row(sequence) for sequence in sequences]
        if self.batching == "packed":
            return unique_tokens(rows, list(map(_family, sequences)))
        return len(rows) * max(map(len, rows))

    # ---- score

    def _prepare_ahead(self, batches: Iterable[Batch]) -> Iterator[Prepared]:
        """Yield each batch prepared, while a thread prepares the next."""
        with ThreadPoolExecutor(1) as executor:
            waiting = None
            for batch in batches:
                submitted = executor.submit(self._prepare, batch)
                if waiting is not None:
                    yield waiting.result()
                waiting = submitted
            if waiting is not None:
                yield waiting.result()

    def _prepare(self, batch: Batch) -> Prepared:
        # in the order of the batch
        distinct = {_key(encoded): encoded for encoded in batch.inputs if not encoded.reason}
        sequences = tuple(distinct.values())
        prepared = Prepared(batch, sequences, ())
        return prepared._replace(parts=self._parts(prepared, list(range(len(sequences)))))

    def _parts(self, prepared: Prepared, indices: list[int]) -> tuple[Part, ...]:
        """Return the sequences at these indices as one part, or as several that the memory limit allows."""
        groups = [indices] if indices else []
        if self.limit.tokens is not None:
            split = self._groups([prepared.sequences[i] for i in indices], self.limit.tokens)
            groups = [[indices[i] for i in group] for group in split]
        return tuple(Part(group, self.inputs([prepared.sequences[i] for i in group])) for group in groups)

    @torch.inference_mode()
    def _launch(self, prepared: Prepared) -> InFlight:
        values = self.limit.run(
            prepared.parts,
            lambda part: self._forward(part.inputs, self.batching),
            tokens_in=lambda part: part.inputs.ids.numel(),
            is_single=lambda part: self._is_single([prepared.sequences[i] for i in part.indices], part.inputs),
            split=lambda part: self._parts(prepared, part.indices),
            unit="conversation",
        )
        return InFlight(prepared, tuple(values))

    def _is_single(self, sequences: Sequence[Encoded], inputs: Inputs) -> bool:
        """Return True for one conversation, with or without beginnings of it."""
        return inputs.ids.numel() <= max(len(self._row(sequence)) for sequence in sequences)

    def _collect(self, in_flight: InFlight) -> list[Score]:
        sequences, batch = in_flight.prepared.sequences, in_flight.prepared.batch
        values: dict[SequenceKey, float] = {}
        for part, tensor in in_flight.values:
            keys = [_key(sequences[i]) for i in part.indices]
            values |= dict(zip(keys, tensor.float().cpu().tolist(), strict=True))
        return [as_score(encoded, values.get(_key(encoded), math.nan)) for encoded in batch.inputs]

    # ---- through the model

    def _forward(self, inputs: Inputs, batching: str) -> Tensor:
        with threads_for(2.0 * self._num_weights * inputs.ids.numel()):
            if batching in ("packed", "bucketed"):
                return self.values(inputs)
            if batching == "bucketed-own-forward":
                return self.own_values(inputs)
            return torch.cat([self.own_values(self._padded([sequence])) for sequence in inputs.sequences])

    @cached_property
    def _num_weights(self) -> int:
        """The number of weights that each token is multiplied with, about: an embedding is only looked up."""
        embeddings = sum(int(model.get_input_embeddings().weight.numel()) for model in self.models())
        return sum(int(weight.numel()) for model in self.models() for weight in model.parameters()) - embeddings

    def hidden(self, body: Any, inputs: Inputs) -> Tensor:
        """Return (tokens read, width) hidden states of a model without its head."""
        options = inputs.for_model()
        if inputs.segments is None:
            states: Tensor = body(**options, use_cache=False).last_hidden_state
        else:
            with packed_row(body, inputs.segments):
                states = body(**options, use_cache=False, position_ids=inputs.positions).last_hidden_state
        return states.flatten(0, 1)[inputs.reads.to(states.device, non_blocking=True)]

    def inputs(self, sequences: Sequence[Encoded], batching: str | None = None) -> Inputs:
        """Return conversations as tensors, packed or padded as the batching requires."""
        if (batching or self.batching) != "packed":
            return self._padded(sequences)
        row = pack(
            [self.needed_tokens(sequence) for sequence in sequences], [_family(sequence) for sequence in sequences]
        )
        reads = [row.index_of(i, token) for i, sequence in enumerate(sequences) for token in self.reads(sequence)]
        ids, positions = self._tensor([row.ids]), self._tensor([row.positions])
        return Inputs(tuple(sequences), ids, positions, torch.ones_like(ids), self._on_cpu(reads), row.segments)

    def _padded(self, sequences: Sequence[Encoded]) -> Inputs:
        pad = self.pad_token_id()
        fill = 0 if pad is None else pad
        width = max(len(sequence.ids) for sequence in sequences)
        ids = self._tensor([[*sequence.ids, *[fill] * (width - len(sequence.ids))] for sequence in sequences])
        mask = self._tensor([[1] * len(each.ids) + [0] * (width - len(each.ids)) for each in sequences])
        reads = [i * width + token for i, sequence in enumerate(sequences) for token in self.reads(sequence)]
        positions = torch.arange(width, device=ids.device).expand(len(sequences), -1)
        return Inputs(tuple(sequences), ids, positions, mask, self._on_cpu(reads), None, self._token_types(sequences))

    def _token_types(self, sequences: Sequence[Encoded]) -> Tensor | None:
        seconds = [self.second_text(sequence) for sequence in sequences]
        if all(second is None for second in seconds):  # a model takes missing types for zeros
            return None
        width = max(len(sequence.ids) for sequence in sequences)
        rows = []
        for sequence, second in zip(sequences, seconds, strict=True):
            first = len(sequence.ids) if second is None else second
            rows.append([0] * first + [1] * (len(sequence.ids) - first) + [0] * (width - len(sequence.ids)))
        return self._tensor(rows)

    def _tensor(self, numbers: Any) -> Tensor:
        return self._on_cpu(numbers).to(self.device, non_blocking=True)

    def _on_cpu(self, numbers: Any) -> Tensor:
        tensor = torch.tensor(numbers, dtype=torch.int64)
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def pad_token_id(self) -> int | None:
        return pad_token_of(self.model.config)

    # ---- check at load time

    @torch.inference_mode()
    def choose_batching(self) -> None:
        """Use the first way of batching whose probe scores are the model's own, computed one conversation at a time.

        `batching` is set to its name, `probe` to the largest difference between its scores and the model's own.
        """
        sequences = [sequence for row in self.encode_all(self.probes) for sequence in row if not sequence.reason]
        self.batching, self.probe = "single", 0.0
        if not sequences:  # no probe fits into the model, so a batch cannot be checked
            return
        try:
            own = self._probe_values(sequences, "single")
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise ModelError(
                f"out of memory with one short conversation on {self.device}: the model itself fills the device; "
                "--device-map auto spreads it over all GPUs"
            ) from error
        for batching in self.possible_batchings(sequences, own):
            difference = self._difference(sequences, own, batching)
            if math.isfinite(difference) and difference <= TOLERANCE.get(self.model.dtype, 0.0) * self.scale(own):
                self.batching, self.probe = batching, difference
                return
            log.warning("%s batches change a score by %g; not used", batching, difference)

    def _difference_alone(self, sequences: Sequence[Encoded], own: Sequence[float]) -> float:
        """Return the largest difference between `values` and the model's own scores, one conversation at a time."""
        return max(
            self._difference([sequence], [value], "bucketed") for sequence, value in zip(sequences, own, strict=True)
        )

    def _difference(self, sequences: Sequence[Encoded], own: Sequence[float], batching: str) -> float:
        """Return the largest difference between batched scores and the model's own; infinite if batching fails."""
        try:
            values = self._probe_values(sequences, batching)
        except (ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            log.warning("%s batches do not work with this model: %s", batching, error)
            return math.inf
        differences = [abs(a - b) for a, b in zip(values, own, strict=True)]
        return max(differences) if all(map(math.isfinite, differences)) else math.inf

    def _probe_values(self, sequences: Sequence[Encoded], batching: str) -> list[float]:
        return self._forward(self.inputs(sequences, batching), batching).float().cpu().tolist()


def input_notes(
    chat: ChatFormat, completion_sets: Sequence[CompletionSet], encoded: Sequence[Sequence[Encoded]]
) -> dict[str, int]:
    """Return the peculiarities of encoded input, by field of results.schema.Notes."""
    notes = {"empty_completions": 0, "control_token_examples": 0, "rewritten_completions": 0}
    for completion_set, sequences in zip(completion_sets, encoded, strict=True):
        texts = [message["content"] for message in completion_set.prompt]
        notes["control_token_examples"] += bool(chat.control_tokens(*texts, *completion_set.completions))
        notes["empty_completions"] += sum(not text for text in completion_set.completions)
        notes["rewritten_completions"] += sum(sequence.rewritten for sequence in sequences)
    return notes


def _family(encoded: Encoded) -> Hashable:
    """Return what is equal for conversations that begin alike: those with one prompt, also of other completion sets."""
    return encoded.prompt, encoded.dropped


def _key(encoded: Encoded) -> SequenceKey:
    return encoded.ids, encoded.start


def as_score(encoded: Encoded, value: float) -> Score:
    """Return the score of a conversation; unscored, with the reason, if it has none or `value` is not finite."""
    num_tokens, truncated = len(encoded.ids), encoded.dropped > 0
    num_completion_tokens = num_tokens - encoded.start - encoded.num_closing
    if encoded.reason or not math.isfinite(value):
        return Score.unscored(encoded.reason or NOT_FINITE, num_tokens, truncated, num_completion_tokens)
    return Score(value, num_tokens, truncated, num_completion_tokens=num_completion_tokens)
