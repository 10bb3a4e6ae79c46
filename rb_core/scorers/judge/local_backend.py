"""Replies generated in this process by transformers.

Replies are generated in batches of similar length, padded on the left. When the model is loaded, a few probes show
whether padding changes its scores by more than rounding; if so, replies are generated one at a time. A request for one
token with its alternatives takes a forward pass and no generation.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rb_core.benchmarks.example import Message
from rb_core.errors import ModelError
from rb_core.models.chat_format import ChatFormat
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.batch_limit import BatchLimit
from rb_core.scorers.conversation_scorer import PROBES, TOLERANCE
from rb_core.scorers.http.replies import Reply, Token
from rb_core.scorers.judge import generation
from rb_core.scorers.judge.types import CUT, KEPT_TOKENS, NO_LOGPROBS, TOO_LONG, Decoding, Request
from rb_core.scorers.loading import (
    check_token_ids,
    check_weights,
    describe_checkpoint,
    free_memory,
    load_config,
    load_pretrained,
    load_tokenizer,
    max_length_of,
    move_to_device,
    rope_switch_lengths,
    token_bytes,
)
from rb_core.scorers.packing import plan_batches

log = logging.getLogger(__name__)

MAX_ROWS = {"cpu": 32, "cuda": 128, "mps": 32}  # replies generated at once: a step reads all weights once for all
WINDOW = {"cpu": 128, "cuda": 512, "mps": 128}  # requests among which those of similar length are batched

# Marks of reasoning, which are kept in the text although a tokenizer may have them as special tokens.
THINKING = ("<think>", "</think>", "[THINK]", "[/THINK]")


class EncodedRequest(NamedTuple):
    """A request with its number among all requests and the token ids of its prompt."""

    number: int
    request: Request
    ids: list[int]

    @property
    def length(self) -> int:
        """Tokens of the prompt and of the longest possible reply."""
        return len(self.ids) + self.request.max_tokens

    @property
    def is_single_token(self) -> bool:
        """True if the alternatives of one token are requested, and no text."""
        return self.request.max_tokens == 1 and self.request.top_logprobs > 0


@dataclass
class LocalGenerator:
    """A loaded language model as a reply source (types.ReplySource). Create it with `load`.

    tokens: tokens of prompts and replies in one batch; rows: replies in one batch; batching: "padded" or "single";
    probe: largest difference, when loaded, between logits in padded batches and of one prompt at a time.
    """

    model: Any
    chat: ChatFormat
    device: torch.device
    decoding: Decoding
    spec: ModelSpec | None = None
    tokens: int = 1 << 16
    rows: int = MAX_ROWS["cpu"]
    batching: str = "padded"
    probe: float = 0.0

    @classmethod
    def load(cls, spec: ModelSpec, decoding: Decoding) -> LocalGenerator:
        """Load a model and check its batching.

        Raises ModelError if a weight is missing or left over, or there is no chat template.
        """
        with ThreadPoolExecutor(1) as executor:
            weights = executor.submit(load_pretrained, spec)
            tokenizer = load_tokenizer(spec)
            max_length = max_length_of(spec, load_config(spec), tokenizer)
            # a judge's prompt contains completions, in which a control token is text
            chat = spec.chat_format(tokenizer, max_length, sanitize=True)
            model, loading = weights.result()
        check_weights(spec.checkpoint.name, loading)
        device = move_to_device(model, spec)
        rows = MAX_ROWS.get(device.type, MAX_ROWS["cpu"])
        tokens = spec.options.batch_tokens or tokens_that_fit(model, device)
        generator = cls(model, chat, device, decoding, spec, tokens, rows)
        generator.choose_batching()
        return generator

    def generate(self, requests: Iterable[Request]) -> Generator[tuple[int, Reply]]:
        """Yield (index of the request, reply), see types.ReplySource. Nothing is truncated: a prompt that does not
        fit the model's context together with the longest possible reply gets the error TOO_LONG.

        Raises ModelError for a request with a schema, a template that refuses a conversation, or a device without
        memory for one request.
        """
        numbered = enumerate(requests)
        while window := list(islice(numbered, WINDOW.get(self.device.type, WINDOW["cpu"]))):
            first_schema = next((i for i, (_, request) in enumerate(window) if request.schema is not None), None)
            fitting = []
            for encoded in self._encode(window[:first_schema]):
                if encoded.length <= self.chat.max_length:
                    fitting.append(encoded)
                else:
                    error = Reply(error=TOO_LONG, prompt_tokens=len(encoded.ids), completion_tokens=0)
                    yield encoded.number, error
            for batch, replies in self.limit.run(
                self._batches(fitting),
                self._replies,
                tokens_in=lambda batch: len(batch) * max(encoded.length for encoded in batch),
                is_single=lambda batch: len(batch) == 1,
                split=lambda batch: (batch[: len(batch) // 2], batch[len(batch) // 2 :]),
                unit="request",
            ):
                yield from zip([encoded.number for encoded in batch], replies, strict=True)
            if first_schema is not None:
                raise ModelError(
                    "--structured needs a server that can hold a model to a JSON Schema: give its address with "
                    "--base-url, or leave --structured out"
                )

    def _encode(self, numbered: Sequence[tuple[int, Request]]) -> list[EncodedRequest]:
        conversations = [tuple(map(_without_surrogates, request.messages)) for _, request in numbered]
        prompts = self.chat.encode_prompts(conversations)
        check_token_ids(self.model, self.chat.tokenizer, prompts)
        return [EncodedRequest(index, request, ids) for (index, request), ids in zip(numbered, prompts, strict=True)]

    def _batches(self, encoded: Sequence[EncodedRequest]) -> Iterator[list[EncodedRequest]]:
        """Yield batches of compatible requests of similar length, longest first, as many as memory holds."""
        groups: dict[Hashable, list[EncodedRequest]] = {}
        for request in encoded:
            groups.setdefault(self._batch_key(request), []).append(request)
        for group in groups.values():
            for batch in plan_batches([request.length for request in group], self.limit.tokens or self.tokens):
                for first in range(0, len(batch), self.rows):
                    yield [group[i] for i in batch[first : first + self.rows]]

    def _batch_key(self, encoded: EncodedRequest) -> Hashable:
        """Return a key that requests have in common if they may share a batch."""
        request, length = encoded.request, len(encoded.ids)
        key: tuple[Hashable, ...] = (request.max_tokens, request.top_logprobs > 0)
        if self.batching == "single":
            return (*key, encoded.number)
        # Penalties count the tokens of a row, and would count padding as well: those on n-grams always, and in
        # transformers 5.17 all of them.
        if self.own_settings and not encoded.is_single_token:
            key = (*key, length)
        for switch in rope_switch_lengths([self.model]):
            # The longest row decides how positions are encoded for all rows, and a row may cross the switch.
            crosses = length <= switch < encoded.length
            key = (*key, encoded.number if crosses else None, length > switch)
        return key

    @torch.inference_mode()
    def _replies(self, batch: Sequence[EncodedRequest]) -> list[Reply]:
        start = perf_counter()
        top = max(encoded.request.top_logprobs for encoded in batch)
        recorded: tuple[Tensor, Tensor, Tensor] | None = None
        if batch[0].is_single_token:
            logprobs = self.next_logits([encoded.ids for encoded in batch]).log_softmax(-1)
            values, likeliest = logprobs.topk(min(top, logprobs.shape[1]), dim=1)
            rows = likeliest[:, :1].tolist()
            # (rows, steps) and (rows, steps, top), as of a recorder
            recorded = (values[:, :1].cpu(), values[:, None].cpu(), likeliest[:, None].cpu())
        else:
            recorder = generation.Recorder(top) if top else None
            rows = self._generate([encoded.ids for encoded in batch], [encoded.request for encoded in batch], recorder)
            if recorder is not None:
                recorded = recorder.steps()
        seconds = perf_counter() - start
        replies = []
        for row, (encoded, ids) in enumerate(zip(batch, rows, strict=True)):
            tokens: tuple[Token, ...] = ()
            if recorded is not None and encoded.request.top_logprobs:
                tokens = self._tokens(ids, [tensor[row].tolist() for tensor in recorded], encoded.request.top_logprobs)
            replies.append(self._reply(encoded, ids, tokens, seconds))
        return replies

    def _generate(
        self, rows: list[list[int]], requests: Sequence[Request], recorder: generation.Recorder | None
    ) -> list[list[int]]:
        """Return the new tokens of each row, including the one that ended it."""
        config = generation.generation_config(
            self.model.generation_config, requests[0].max_tokens, self.end_tokens, self._fill
        )
        options = {
            "generation_config": config,
            "tokenizer": self.chat.tokenizer,  # for a config with stop strings
            "logits_processor": generation.sampling(self.model.generation_config, self.decoding, requests, self.device),
        }
        if recorder is None:
            output = self.model.generate(**self._padded(rows, left=True), **options)
        else:
            with recorder.listening(self.model):
                output = self.model.generate(**self._padded(rows, left=True), **options, stopping_criteria=[recorder])
        replies = output[:, max(map(len, rows)) :].tolist()
        ends = [next((i for i, token in enumerate(ids) if token in self.end_tokens), len(ids)) for ids in replies]
        return [ids[: end + 1] for ids, end in zip(replies, ends, strict=True)]

    def next_logits(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return the model's logits (rows, vocabulary) of the next token, in float32.

        Rows are padded on the right, where no token that is read can attend to it.
        """
        last = torch.tensor([len(row) - 1 for row in rows], device=self.device)
        with generation.head_at(self.model, last):
            logits: Tensor = self.model(**self._padded(rows, left=False), use_cache=False).logits
        if logits.shape[1] > 1:
            logits = logits[torch.arange(len(rows), device=logits.device), last.to(logits.device)][:, None]
        return logits[:, 0].float()

    def _padded(self, rows: Sequence[Sequence[int]], *, left: bool) -> dict[str, Tensor]:
        width = max(map(len, rows))
        ids, mask = [], []
        for row in rows:
            fill, off = [self._fill] * (width - len(row)), [0] * (width - len(row))
            ids.append([*fill, *row] if left else [*row, *fill])
            mask.append([*off, *[1] * len(row)] if left else [*[1] * len(row), *off])
        return {
            "input_ids": torch.tensor(ids, device=self.device),
            "attention_mask": torch.tensor(mask, device=self.device),
        }

    def _reply(self, encoded: EncodedRequest, ids: list[int], tokens: tuple[Token, ...], seconds: float) -> Reply:
        ended = bool(ids) and ids[-1] in self.end_tokens
        cut = not ended and encoded.request.max_tokens != 1
        is_finite = all(math.isfinite(token.logprob) for token in tokens)
        return Reply(
            text=self._text(ids[:-1] if ended else ids),
            finish="stop" if ended else "length",
            error=CUT if cut else "" if is_finite else NO_LOGPROBS,
            tokens=tokens if is_finite else (),
            prompt_tokens=len(encoded.ids),
            completion_tokens=len(ids),
            seconds=seconds,
        )

    def _text(self, ids: list[int]) -> str:
        """Decode without special tokens, apart from marks of reasoning."""
        tokenizer = self.chat.tokenizer
        kept = {i for i in self.chat.special_ids if tokenizer.convert_ids_to_tokens(i) in THINKING}
        parts = groupby(ids, key=lambda token: token in kept)
        return "".join(tokenizer.decode(list(part), skip_special_tokens=not keep) for keep, part in parts)

    def _tokens(self, ids: list[int], recorded: list[list[Any]], top: int) -> tuple[Token, ...]:
        """Return the last tokens of the text, without the one that ended it.

        `recorded` holds the log-probability of each token, and those and the ids of the most likely tokens.
        """
        logprobs, top_logprobs, top_ids = recorded
        size = len(ids) - (1 if len(ids) > 1 and ids[-1] in self.end_tokens else 0)
        decode = self.chat.tokenizer.decode
        tokens = []
        for i in range(max(0, size - KEPT_TOKENS), size):
            alternatives = zip(top_ids[i][:top], top_logprobs[i][:top], strict=True)
            likeliest = tuple((decode([token]), value) for token, value in alternatives if value > -math.inf)
            tokens.append(Token(decode([ids[i]]), logprobs[i], likeliest))
        return tuple(tokens)

    @cached_property
    def limit(self) -> BatchLimit:
        return BatchLimit(self.device)

    @cached_property
    def end_tokens(self) -> tuple[int, ...]:
        return generation.end_tokens(self.model.generation_config, self.chat.tokenizer)

    @cached_property
    def own_settings(self) -> dict[str, Any]:
        return generation.own_settings(self.model.generation_config)

    @property
    def _fill(self) -> int:
        """Token of the padding, which a mask hides."""
        pads = (self.model.config.get_text_config().pad_token_id, self.chat.tokenizer.pad_token_id, *self.end_tokens, 0)
        return int(next(pad for pad in pads if pad is not None and pad >= 0))

    @torch.inference_mode()
    def choose_batching(self) -> None:
        """Measure how padding changes the logits of a few probes, and choose between padded batches and single rows."""
        prompts = self.chat.encode_prompts([completion_set.prompt for completion_set in PROBES])
        rows = [ids for ids in prompts if len(ids) < self.chat.max_length]
        if not rows:  # the context is too short for any probe
            self.batching = "single"
            return
        own = torch.stack(
            [self.model(**self._padded([ids], left=False), use_cache=False).logits[0, -1] for ids in rows]
        )
        config = generation.generation_config(self.model.generation_config, 1, self.end_tokens, self._fill)
        config.return_dict_in_generate = config.output_logits = True
        output = self.model.generate(**self._padded(rows, left=True), generation_config=config)
        padded = torch.stack([output.logits[0], self.next_logits(rows).to(output.logits[0].device)])
        own = own.float().to(padded.device)
        difference = float((padded - own).abs().max())
        if not difference <= TOLERANCE.get(self.model.dtype, 0.0) * float(own.abs().max()):
            log.warning("padded batches change a logit by %g; replies are generated one at a time", difference)
            self.batching = "single"
            return
        self.probe = difference

    def continue_from(self, replies: Sequence[Reply]) -> None:
        """Do nothing: replies do not depend on those before."""

    def describe(self) -> dict[str, Any]:
        """Return the settings replies depend on, see types.ReplySource."""
        return describe_checkpoint(self.model, self.chat, self.spec) | {
            "batching": self.batching,
            "probe": self.probe,
            "backend": "local",
            "generation": self.own_settings,
            "sampling": "greedy" if self.decoding.temperature == 0 else "noise seeded for each request",
        }


def tokens_that_fit(model: Any, device: torch.device) -> int:
    """Return the tokens of prompts and replies that fit in the free memory: a power of two, as in `batch_budget`."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", 16)
    width = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 1024) // heads
    layers = getattr(config, "num_hidden_layers", 32)
    cached = 2 * layers * (getattr(config, "num_key_value_heads", None) or heads) * width * model.dtype.itemsize
    # a cache is copied when it grows
    fitting = int(0.7 * free_memory(device) / (2 * cached + token_bytes(model)))
    return int(1 << (max(1, fitting).bit_length() - 1))


def _without_surrogates(message: Message) -> Message:
    """Replace lone surrogates, which no tokenizer takes, with "?" as for a server."""
    return Message(role=message["role"], content=message["content"].encode("utf-8", "replace").decode())
