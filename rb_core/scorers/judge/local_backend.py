"""Replies generated in this process by transformers.

Three ways, of which `LocalGenerator.batching` says the one in use:

- *continuous*: rows leave when they have ended and others take their place (transformers' continuous batching). Where
  it is worth it: on CUDA with flash attention installed. Its other kind of attention reads every row's tokens for each.
- *padded*: batches of like length, padded on the left, each until its last row has ended.
- *single*: one at a time, for a model that a padded batch gives other scores than its own; found out on a few probes
  when it is loaded.

A request for one token with its alternatives takes a forward pass and no generation. What a reply is at temperature 0
and above: `decode`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import chain, groupby, islice
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import ContinuousBatchingConfig
from transformers.utils.import_utils import is_flash_attn_2_available

from rb_core.benchmarks.example import Message
from rb_core.errors import ModelError
from rb_core.models.chat_format import ChatFormat
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.batch_limit import is_out_of_memory
from rb_core.scorers.conversation_scorer import PROBES, TOLERANCE
from rb_core.scorers.judge import generation
from rb_core.scorers.judge.types import CUT, KEPT_TOKENS, NO_LOGPROBS, TOO_LONG, Decoding, Reply, Request, Token
from rb_core.scorers.loading import (
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


# Rows that are generated at once: each step reads all weights once for all of them.
MOST_ROWS = {"cpu": 32, "cuda": 128, "mps": 32}


# Requests that are looked at together, to put those of like length into one batch.
WINDOW = {"cpu": 128, "cuda": 512, "mps": 128}


# Requests given to continuous batching before the first of them is back.
IN_FLIGHT = 512


# What a model that thinks puts around it. Where a tokenizer has these as special tokens they are kept all the same.
THINKING = ("<think>", "</think>", "[THINK]", "[/THINK]")


class Asked(NamedTuple):
    """A request, its place among all, and its prompt's token ids."""

    place: int
    request: Request
    ids: list[int]


Placed = tuple[int, Request]


@dataclass
class LocalGenerator:
    """A loaded language model that replies. Made by `load`; an `exchange.ReplySource`.

    tokens: of prompts and replies that memory holds at once; rows: how many replies are generated at once; probe: the
    largest difference, when loaded, between logits in padded batches and the model's own for one prompt at a time;
    flash: the attention to switch to for continuous batching; continuous: settings of its cache, None to find them.
    """

    model: Any
    chat: ChatFormat
    device: torch.device
    decoding: Decoding
    spec: ModelSpec | None = None
    tokens: int = 1 << 16
    rows: int = MOST_ROWS["cpu"]
    batching: str = "padded"
    probe: float = 0.0
    flash: str | None = None
    continuous: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = field(default=None, init=False)  # what memory turned out to hold, in tokens
    _checked_system_role: bool = field(default=False, init=False)

    @classmethod
    def load(cls, spec: ModelSpec, decoding: Decoding) -> LocalGenerator:
        """Load the model of a spec, and find out how its replies may be generated together.

        Raises ModelError when a weight is missing or left over, or there is no chat template.
        """
        with ThreadPoolExecutor(1) as beside:
            weights = beside.submit(load_pretrained, spec)
            tokenizer = load_tokenizer(spec.name, spec.checkpoint)
            max_length = max_length_of(spec, load_config(spec.name, spec.checkpoint), tokenizer)
            # completions stand in a judge's prompt, and whatever they spell out is text there
            chat = ChatFormat(tokenizer, max_length, spec.chat_template, spec.system_role, sanitize=True)
            model, loading = weights.result()
        check_weights(spec.checkpoint.name, loading)
        device = move_to_device(model, spec)
        rows = MOST_ROWS.get(device.type, MOST_ROWS["cpu"])
        generator = cls(model, chat, device, decoding, spec, spec.options.batch_tokens or room(model, device), rows)
        generator.choose_batching()
        return generator

    # ---- generate

    def generate(self, requests: Iterable[Request]) -> Generator[tuple[int, Reply]]:
        """As in `exchange.ReplySource`. Nothing is truncated: where the prompt and all the tokens of a reply do not fit
        the model's context, that is the reply.

        Raises ModelError for a request with a schema, which takes a server, a template that refuses a conversation, or
        a device that has no memory for one request.
        """
        for continuous, placed in groupby(enumerate(requests), key=lambda each: self._continues(each[1])):
            way = self._continuous if continuous else self._windows
            yield from way(placed)

    def _windows(self, placed: Iterator[Placed]) -> Generator[tuple[int, Reply]]:
        size = WINDOW.get(self.device.type, WINDOW["cpu"])
        while window := list(islice(placed, size)):
            wrong = next((i for i, (_, request) in enumerate(window) if request.schema is not None), None)
            ready: list[Asked] = []
            for asked in self._asked(window[:wrong]):
                if reply := self._too_long(asked):
                    yield asked.place, reply
                else:
                    ready.append(asked)
            for group in self._groups(ready):
                yield from self._batch(group)
            if wrong is not None:
                raise ModelError(
                    "a reply that follows a JSON Schema (--structured) takes a server that can hold a model to one: "
                    "give its address with --base-url, or leave --structured out"
                )

    def _asked(self, placed: Sequence[Placed]) -> list[Asked]:
        conversations = [tuple(_readable(message) for message in request.messages) for _, request in placed]
        has_system = any(message["role"] == "system" for each in conversations for message in each)
        if has_system and self.chat.system_role != "fold" and not self._checked_system_role:
            self.chat.check_system_role()
            self._checked_system_role = True
        every = self.chat.encode_prompts(conversations)
        return [Asked(place, request, ids) for (place, request), ids in zip(placed, every, strict=True)]

    def _too_long(self, asked: Asked) -> Reply | None:
        fits = len(asked.ids) + asked.request.max_tokens <= self.chat.max_length
        return None if fits else Reply(error=TOO_LONG, prompt_tokens=len(asked.ids), completion_tokens=0)

    def _groups(self, ready: Sequence[Asked]) -> Iterator[list[Asked]]:
        """What is generated at once: alike in settings, near in length, longest first, as many as memory holds."""
        kinds: dict[Hashable, list[Asked]] = {}
        for asked in ready:
            kinds.setdefault(self._kind(asked), []).append(asked)
        for some in kinds.values():
            lengths = [len(asked.ids) + asked.request.max_tokens for asked in some]
            for group in plan_batches(lengths, self.limit or self.tokens):
                for first in range(0, len(group), self.rows):
                    yield [some[i] for i in group[first : first + self.rows]]

    def _kind(self, asked: Asked) -> Hashable:
        """Only requests of one kind share a batch."""
        request, length = asked.request, len(asked.ids)
        kind: tuple[Hashable, ...] = (request.max_tokens, request.top_logprobs > 0)
        if self.batching == "single":
            return (*kind, asked.place)
        # Penalties count what stands in a row. Padding would count too: for n-grams, and in transformers 5.17 for
        # all of them.
        if self.own_settings and not _looks_only(request):
            kind = (*kind, length)
        for turn in rope_switch_lengths([self.model]):
            # The longest row sets the pace at which all are read, and one on the way across sets it for itself.
            crosses = length <= turn < length + request.max_tokens
            kind = (*kind, asked.place if crosses else None, length > turn)
        return kind

    # ---- batches

    def _batch(self, group: list[Asked]) -> Generator[tuple[int, Reply]]:
        """The replies of a group, all at once or in parts as memory allows."""
        waiting = [group]
        while waiting:
            some = waiting.pop(0)
            tokens = len(some) * max(len(asked.ids) + asked.request.max_tokens for asked in some)
            fits = self.limit is None or tokens <= self.limit or len(some) == 1
            replies = self._attempt(some) if fits else None
            if replies is None and len(some) == 1:  # nothing smaller is left to try, but what the device keeps
                self._empty_cache()
                replies = self._attempt(some)
            if replies is not None:
                yield from zip([asked.place for asked in some], replies, strict=True)
                continue
            if len(some) == 1:
                raise ModelError(f"out of memory with one request of {tokens} tokens, its reply included")
            if fits:
                self._halve(tokens)
            half = len(some) // 2
            waiting = [some[:half], some[half:], *waiting]

    def _attempt(self, some: Sequence[Asked]) -> list[Reply] | None:
        """The replies, or None where memory does not hold them; see ConversationScorer."""
        try:
            return self._looked(some) if _looks_only(some[0].request) else self._generated(some)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _halve(self, tokens: int) -> None:
        """Remember that so much does not fit, for this batch and all that follow."""
        self.limit = max(1, tokens // 2)
        log.warning("out of memory with %d tokens at once; going on with %d", tokens, self.limit)
        self._empty_cache()

    def _empty_cache(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def _looked(self, some: Sequence[Asked]) -> list[Reply]:
        """The likeliest next token of each, with its alternatives, by one forward pass."""
        start = perf_counter()
        logprobs = self.next_logits([asked.ids for asked in some]).log_softmax(-1)
        values, ids = logprobs.topk(min(max(a.request.top_logprobs for a in some), logprobs.shape[1]), dim=1)
        seconds = perf_counter() - start
        replies = []
        for asked, row, likeliest in zip(some, values.tolist(), ids.tolist(), strict=True):
            token = self._token(likeliest[0], row[0], row, likeliest, asked.request.top_logprobs)
            replies.append(self._reply(asked, likeliest[:1], (token,), seconds))
        return replies

    @torch.inference_mode()
    def _generated(self, some: Sequence[Asked]) -> list[Reply]:
        start = perf_counter()
        request = some[0].request
        top = max(asked.request.top_logprobs for asked in some)
        recorder = generation.Recorder(top) if top else None
        every = self._generate([asked.ids for asked in some], request.max_tokens, [a.request for a in some], recorder)
        seconds = perf_counter() - start
        replies = []
        for row, (asked, ids) in enumerate(zip(some, every, strict=True)):
            tokens = () if recorder is None else self._recorded(recorder, row, ids, asked.request.top_logprobs)
            replies.append(self._reply(asked, ids, tokens, seconds))
        return replies

    def _generate(
        self, rows: list[list[int]], max_tokens: int, requests: Sequence[Request], recorder: generation.Recorder | None
    ) -> list[list[int]]:
        """The new tokens of each row, the one that ended it included."""
        config = generation.generation_config(self.model.generation_config, max_tokens, self.ends, self._fill)
        width = max(map(len, rows))
        options = {
            "generation_config": config,
            "tokenizer": self.chat.tokenizer,  # for a config that names stop strings
            "logits_processor": generation.sampling(self.model.generation_config, self.decoding, requests, self.device),
        }
        if recorder is None:
            out = self.model.generate(**self._padded(rows, left=True), **options)
        else:
            with recorder.listening(self.model):
                out = self.model.generate(**self._padded(rows, left=True), **options, stopping_criteria=[recorder])
        return [self._until_end(new) for new in out[:, width:].tolist()]

    def _until_end(self, ids: list[int]) -> list[int]:
        end = next((i for i, token in enumerate(ids) if token in self.ends), len(ids))
        return ids[: end + 1]

    def next_logits(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """(rows, vocabulary) float32: the model's own for what follows each row. The rows are padded on the right,
        where no token that is read can see it."""
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

    # ---- continuous batching

    def _continues(self, request: Request) -> bool:
        return self.batching == "continuous" and request.schema is None and not request.top_logprobs

    def _continuous(self, placed: Iterator[Placed]) -> Generator[tuple[int, Reply]]:
        """Replies as rows end. What continuous batching fails with, and all that follows it, goes in padded batches."""
        failed: list[Placed] = []
        attention = self.model.config._attn_implementation
        if self.flash is not None:
            self.model.set_attn_implementation(self.flash)
        try:
            with self.model.continuous_batching_context_manager(
                generation_config=generation.generation_config(self.model.generation_config, 1, self.ends, self._fill),
                continuous_batching_config=_cache_config(self.continuous),
            ) as manager:
                yield from self._streamed(manager, placed, failed)
        finally:
            self.model.set_attn_implementation(attention)
        if failed:
            self.batching = "padded"
            yield from self._windows(chain(failed, placed))

    def _streamed(self, manager: Any, placed: Iterator[Placed], failed: list[Placed]) -> Generator[tuple[int, Reply]]:
        running: dict[str, Asked] = {}
        error: str | None = None
        try:
            while error is None:
                for asked in self._asked(list(islice(placed, IN_FLIGHT - len(running)))):
                    if reply := self._too_long(asked):
                        yield asked.place, reply
                        continue
                    running[str(asked.place)] = asked
                    manager.add_request(
                        asked.ids,
                        request_id=str(asked.place),
                        max_new_tokens=asked.request.max_tokens,
                        eos_token_id=list(self.ends) or -1,
                    )
                if not running:
                    return
                result = manager.get_result(timeout=1)
                if result is None:
                    error = None if manager.is_running() else "its thread has ended"
                elif result.is_finished():
                    error = result.error
                    if error is None:
                        asked = running.pop(result.request_id)
                        seconds = perf_counter() - result.created_time
                        yield asked.place, self._reply(asked, self._until_end(result.generated_tokens), (), seconds)
            log.warning("continuous batching failed (%s); going on with padded batches", error)
            failed += [(asked.place, asked.request) for asked in running.values()]
        finally:  # stopping waits for what is running
            for request_id in running:
                manager.cancel_request(request_id)

    # ---- replies

    def _reply(self, asked: Asked, ids: list[int], tokens: tuple[Token, ...], seconds: float) -> Reply:
        ended = bool(ids) and ids[-1] in self.ends
        cut = not ended and asked.request.max_tokens != 1
        broken = any(not math.isfinite(token.logprob) for token in tokens)
        return Reply(
            text=self._text(ids[:-1] if ended else ids),
            finish="stop" if ended else "length",
            error=CUT if cut else NO_LOGPROBS if broken else "",
            tokens=() if broken else tokens,
            prompt_tokens=len(asked.ids),
            completion_tokens=len(ids),
            seconds=seconds,
        )

    def _text(self, ids: list[int]) -> str:
        """Without special tokens but those around what the model thinks."""
        tokenizer = self.chat.tokenizer
        kept = {i for i in self.chat.special_ids if tokenizer.convert_ids_to_tokens(i) in THINKING}
        parts = groupby(ids, key=lambda token: token in kept)
        return "".join(tokenizer.decode(list(part), skip_special_tokens=not keep) for keep, part in parts)

    def _recorded(self, recorder: generation.Recorder, row: int, ids: list[int], top: int) -> tuple[Token, ...]:
        """The last tokens of the text; the one that ended it is not part of it."""
        size = len(ids) - (1 if len(ids) > 1 and ids[-1] in self.ends else 0)
        if not top:
            return ()
        taken, values, likeliest = (each[row].tolist() for each in recorder.steps())
        steps = range(max(0, size - KEPT_TOKENS), size)
        return tuple(self._token(ids[i], taken[i], values[i], likeliest[i], top) for i in steps)

    def _token(self, token: int, logprob: float, values: list[float], ids: list[int], top: int) -> Token:
        decoded = self.chat.tokenizer.decode
        likeliest = zip(ids[:top], values[:top], strict=True)
        return Token(decoded([token]), logprob, tuple((decoded([i]), v) for i, v in likeliest if v > -math.inf))

    # ---- what the model says of itself

    @cached_property
    def ends(self) -> tuple[int, ...]:
        return generation.end_tokens(self.model.generation_config, self.chat.tokenizer)

    @cached_property
    def own_settings(self) -> dict[str, Any]:
        return generation.own_settings(self.model.generation_config)

    @property
    def _fill(self) -> int:
        """What stands at padding, where a mask hides it."""
        pads = (self.model.config.get_text_config().pad_token_id, self.chat.tokenizer.pad_token_id, *self.ends, 0)
        return int(next(pad for pad in pads if pad is not None and pad >= 0))

    @torch.inference_mode()
    def choose_batching(self) -> None:
        """Measure what padding does to the logits of a few probes, and take the best way that leaves them as they are
        for one prompt at a time, but for rounding."""
        rows = [ids for ids in self.chat.encode_prompts([e.prompt for e in PROBES]) if len(ids) < self.chat.max_length]
        if not rows:  # a model too short for any probe: nothing to judge a batch by
            self.batching = "single"
            return
        own = torch.stack(
            [self.model(**self._padded([ids], left=False), use_cache=False).logits[0, -1] for ids in rows]
        )
        config = generation.generation_config(self.model.generation_config, 1, self.ends, self._fill)
        config.return_dict_in_generate = config.output_logits = True
        out = self.model.generate(**self._padded(rows, left=True), generation_config=config)
        padded = torch.stack([out.logits[0], self.next_logits(rows).to(out.logits[0].device)])
        own = own.float().to(padded.device)
        difference = float((padded - own).abs().max())
        if not difference <= TOLERANCE.get(self.model.dtype, 0.0) * float(own.abs().max()):
            log.warning("padded batches move a logit by %g; replies are generated one at a time", difference)
            self.batching = "single"
            return
        self.probe = difference
        if self._may_continue():
            self.batching, self.flash = "continuous", "flash_attention_2"

    def _may_continue(self) -> bool:
        """Whether continuous batching is there and faster: with flash attention, on a CUDA device. It cannot keep
        apart what rows of different pace, penalties, or noise of their own need apart."""
        return (
            self.device.type == "cuda"
            and self.model.dtype in (torch.float16, torch.bfloat16)
            and is_flash_attn_2_available()
            and getattr(self.model, "_supports_flash_attn", False)
            and hasattr(self.model, "continuous_batching_context_manager")
            and self.decoding.temperature == 0
            and not self.own_settings
            and not rope_switch_lengths([self.model])
        )

    def describe(self) -> dict[str, Any]:
        """As in `exchange.ReplySource`; generation: what the model's own generation config does to scores, even at
        temperature 0; sampling: how tokens are chosen."""
        described = describe_checkpoint(self.model, self.chat, self.spec)
        described |= {"batching": self.batching, "probe": self.probe}
        if self.flash is not None:
            described["attention"] = self.flash
        sampling = "greedy" if self.decoding.temperature == 0 else "noise seeded for each request"
        return described | {"backend": "local", "generation": self.own_settings, "sampling": sampling}


def room(model: Any, device: torch.device) -> int:
    """Tokens, of prompts and replies, that fit in the memory that is free now: a power of two, as in `batch_budget`."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", 16)
    width = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 1024) // heads
    layers = getattr(config, "num_hidden_layers", 32)
    cached = 2 * layers * (getattr(config, "num_key_value_heads", None) or heads) * width * model.dtype.itemsize
    # a cache is copied when it grows
    fits = int(0.7 * free_memory(device) / (2 * cached + token_bytes(model)))
    return int(1 << (max(1, fits).bit_length() - 1))


def _readable(message: Message) -> Message:
    """Half a surrogate pair is no text that a tokenizer takes; a served judge is sent the same in its place."""
    return Message(role=message["role"], content=message["content"].encode("utf-8", "replace").decode())


def _looks_only(request: Request) -> bool:
    """Whether what follows the prompt is asked for, and no text."""
    return request.max_tokens == 1 and request.top_logprobs > 0


def _cache_config(settings: Mapping[str, Any]) -> Any:
    """No attention is fetched from the hub, which newer versions do where flash attention is not installed."""
    known = {each.name for each in fields(ContinuousBatchingConfig)}
    own = {"auto_switch_to_flash": False} if "auto_switch_to_flash" in known else {}
    return ContinuousBatchingConfig(**own | dict(settings))
