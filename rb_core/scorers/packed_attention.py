"""Attention for packed rows, for any model that takes its attention from transformers' AttentionInterface.

Inside `packed_row` a model reads one row of many conversations, and every token attends to what it would see if its
conversation stood alone: its family's shared tokens and its own segment, as far as the layer's own mask (causal,
sliding window, chunked) allows. No model class is changed.

On CUDA in half precision one varlen_attn call computes a layer. Elsewhere, and for soft-capped attention or attention
sinks, tiles of a segment go through scaled_dot_product_attention or are computed step by step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, causal_mask_function

from rb_core.scorers.packing import Segment

PACKED = "packed"
# Queries that share a mask: few enough that little is computed above the diagonal, enough to outweigh a kernel's start.
TILE = 128
SHORT = 8  # tokens of segments that are joined in a tile: for these a kernel's start takes longest
_SEGMENTS: ContextVar[Sequence[Segment]] = ContextVar("segments of the packed row")


@dataclass(frozen=True)
class Tile:
    """Queries start..stop of the row, with their keys from the shared tokens and from their own segments.

    mask: (queries, keys), True where a query attends to a key.
    """

    start: int
    stop: int
    shared: slice
    own: slice
    mask: Tensor


@dataclass(frozen=True)
class Lengths:
    """The arguments of varlen_attn: row indices of each segment's keys, and cumulative lengths, on the device."""

    keys: Tensor
    cu_queries: Tensor
    cu_keys: Tensor
    max_queries: int
    max_keys: int


class Pattern:
    """The mask of one kind of layer for a row; transformers hands it to the layers as their attention mask.

    allowed: the model's own mask function of (batch, head, query position, key position); window: the length beyond
    which it differs from causal attention, None if it never does.
    """

    def __init__(
        self, segments: Sequence[Segment], allowed: Callable[..., Any], window: int | None, device: torch.device
    ) -> None:
        self.segments = segments
        self.allowed = allowed
        self.window = window
        self.device = device

    @cached_property
    def is_causal(self) -> bool:
        """True if no conversation of the row is longer than the window."""
        longest = max(segment.offset + segment.stop - segment.start for segment in self.segments)
        return self.window is None or longest <= self.window

    @cached_property
    def tiles(self) -> list[Tile]:
        """Tiles of one segment each."""
        return self._tiles((segment, segment.stop) for segment in self.segments)

    @cached_property
    def joined_tiles(self) -> list[Tile]:
        """Tiles in which short neighbours with the same prefix are joined: far fewer, if there are many."""
        return self._tiles(_joined(self.segments))

    def _tiles(self, parts: Iterable[tuple[Segment, int]]) -> list[Tile]:
        """Return the tiles of parts of the row, each from the start of a segment to where this or a later one ends."""
        return [
            self._tile(segment, start, min(start + TILE, stop))
            for segment, stop in parts
            for start in range(segment.start, stop, TILE)
        ]

    def tiles_for(self, key: Tensor, value: Tensor) -> list[Tile]:
        """Return joined tiles where they are exact: a number that is not finite would reach the neighbours of its
        segment, because 0 x NaN is NaN. To look for one is cheap on a CPU alone."""
        is_exact = key.device.type == "cpu" and bool((key.sum() + value.sum()).isfinite())
        return self.joined_tiles if is_exact else self.tiles

    @cached_property
    def _row(self) -> tuple[Tensor, Tensor]:
        """For each token of the row its position in its conversation, and the number of its segment."""
        lengths = [segment.stop - segment.start for segment in self.segments]
        positions = [torch.arange(s.offset, s.offset + n) for s, n in zip(self.segments, lengths, strict=True)]
        numbers = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
        return torch.cat(positions).to(self.device), numbers.to(self.device)

    def _tile(self, segment: Segment, start: int, stop: int) -> Tile:
        """Return a tile of a segment, or of the short ones that begin with it."""
        positions, numbers = self._row
        first = segment.offset + start - segment.start  # position of the first query in its conversation
        low = 0 if self.window is None else max(0, first - self.window + 1)  # no query looks further back
        shared = slice(min(segment.prefix_start + low, segment.prefix_stop), segment.prefix_stop)
        own = slice(segment.start + max(0, low - segment.offset), stop)
        keys = torch.cat([torch.arange(min(low, segment.offset), segment.offset, device=self.device), positions[own]])
        seen = self.allowed(0, 0, positions[start:stop, None], keys[None, :])
        seen[:, len(keys) - (own.stop - own.start) :] &= numbers[start:stop, None] == numbers[None, own]
        return Tile(start, stop, shared, own, seen)

    @cached_property
    def lengths(self) -> Lengths:
        keys: list[int] = []
        cu_queries, cu_keys = [0], [0]
        for segment in self.segments:
            keys += [*range(segment.prefix_start, segment.prefix_stop), *range(segment.start, segment.stop)]
            cu_queries.append(segment.stop)
            cu_keys.append(len(keys))

        def on_device(values: list[int], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=self.device)

        return Lengths(
            on_device(keys, torch.int64),
            on_device(cu_queries, torch.int32),
            on_device(cu_keys, torch.int32),
            max(segment.stop - segment.start for segment in self.segments),
            max(segment.offset + segment.stop - segment.start for segment in self.segments),
        )


def _joined(segments: Sequence[Segment]) -> Iterator[tuple[Segment, int]]:
    """Yield each segment with its end, but of short neighbours that share a prefix and fit into one tile the first one
    with the end of the last."""
    first, stop = segments[0], segments[0].stop
    for before, segment in pairwise(segments):
        is_alike = (before.prefix_start, before.prefix_stop) == (segment.prefix_start, segment.prefix_stop)
        is_short = all(each.stop - each.start <= SHORT for each in (before, segment))
        if not (is_alike and is_short and segment.stop - first.start <= TILE):
            yield first, stop
            first = segment
        stop = segment.stop
    yield first, stop


@contextmanager
def packed_row(model: Any, segments: Sequence[Segment]) -> Iterator[None]:
    """Make the model's attention read a packed row, and restore it afterwards."""
    # the configs in which the model's layers look up their attention, each once
    configs = list(
        {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}.values()
    )
    before = [config._attn_implementation for config in configs]
    token = _SEGMENTS.set(segments)
    try:
        for config in configs:
            config._attn_implementation = PACKED
        yield
    finally:
        for config, implementation in zip(configs, before, strict=True):
            config._attn_implementation = implementation
        _SEGMENTS.reset(token)


def packed_mask(
    *args: Any,
    mask_function: Callable[..., Any] = causal_mask_function,
    local_size: int | None = None,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    **kwargs: Any,
) -> Pattern:
    """Return the layer's own rule in place of a mask, to be applied to each conversation by itself.

    Raises ValueError for a rule that cannot be called on positions, and for attention that is not causal, where
    conversations cannot share tokens.
    """
    first, second = torch.tensor(0, device=device), torch.tensor(1, device=device)
    if use_vmap or bool(mask_function(0, 0, first, second)):
        raise ValueError("attention that is not causal, or has a mask of its own, cannot read packed rows")
    if local_size is None and mask_function is not causal_mask_function:
        raise ValueError("an attention mask that is neither causal nor local cannot be read in packed rows")
    return Pattern(_SEGMENTS.get(), mask_function, local_size, torch.device(device))


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Pattern | None,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return (1, tokens, heads, width) outputs of (1, heads, tokens, width) queries, and keys and values of as many or
    fewer heads.

    softcap, s_aux: as in Gemma 2 and GPT-OSS. Raises ValueError for a layer that does not pass its mask on.
    """
    if not isinstance(attention_mask, Pattern) or position_bias is not None:
        raise ValueError(
            f"{type(module).__name__} does not take its mask from transformers: it cannot read packed rows"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if softcap is None and s_aux is None and _varlen_serves(query, value, attention_mask, sliding_window):
        return _in_one_call(query, key, value, attention_mask, scale), None
    tiles = attention_mask.tiles_for(key, value)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    out = query.new_empty((1, query.shape[2], query.shape[1], value.shape[3]))
    for tile in tiles:
        keys, values = _gathered(key, tile), _gathered(value, tile)
        queries, mask = query[:, :, tile.start : tile.stop], tile.mask.to(query.device)
        if softcap is None and s_aux is None:
            attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=scale)
        else:
            attended = _step_by_step(queries, keys, values, mask, scale, softcap, s_aux)
        out[:, tile.start : tile.stop] = attended.transpose(1, 2)
    return out, None


def _gathered(states: Tensor, tile: Tile) -> Tensor:
    if tile.shared.start == tile.shared.stop:
        return states[:, :, tile.own]
    return torch.cat([states[:, :, tile.shared], states[:, :, tile.own]], dim=2)


def _step_by_step(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float, softcap: float | None, s_aux: Tensor | None
) -> Tensor:
    """Compute attention with what the fused kernels lack: logits capped by softcap * tanh(logits / softcap) (Gemma 2),
    and a learned logit per head that takes part in the softmax and attends to nothing (GPT-OSS)."""
    logits = query @ key.transpose(2, 3) * scale
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
    if s_aux is None:
        return F.softmax(logits, dim=-1, dtype=torch.float32).to(query.dtype) @ value
    sinks = s_aux.reshape(1, -1, 1, 1).to(logits.dtype).expand(-1, -1, logits.shape[2], 1)
    weights = F.softmax(torch.cat([logits, sinks], dim=-1), dim=-1, dtype=torch.float32)
    return weights[..., :-1].to(query.dtype) @ value


def _load_varlen() -> Callable[..., Any] | None:
    """Return torch's variable-length attention if it takes a scale and a window (torch 2.11 and later)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    parameters = inspect.signature(varlen_attn).parameters
    return varlen_attn if {"scale", "window_size"} <= parameters.keys() else None


varlen = _load_varlen()


def _varlen_serves(query: Tensor, value: Tensor, pattern: Pattern, sliding_window: int | None) -> bool:
    """Return True if varlen_attn applies: CUDA, half precision, one width up to 256, causal or sliding window."""
    return (
        varlen is not None
        and query.is_cuda
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] == value.shape[-1] <= 256
        and (pattern.is_causal or sliding_window == pattern.window)
    )


def _in_one_call(query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, scale: float) -> Tensor:
    """Attend for all segments at once; queries are aligned with the end of their keys, which makes `causal` right."""
    assert varlen is not None  # noqa: S101 - checked by _varlen_serves
    lengths = pattern.lengths
    groups = query.shape[1] // key.shape[1]
    window = -1 if pattern.is_causal or pattern.window is None else pattern.window - 1
    native = groups > 1 and "enable_gqa" in inspect.signature(varlen).parameters
    index = lengths.keys.to(query.device)
    out: Tensor = varlen(
        query[0].transpose(0, 1).contiguous(),
        *(_gathered_keys(states, index, 1 if native else groups) for states in (key, value)),
        lengths.cu_queries.to(query.device),
        lengths.cu_keys.to(query.device),
        lengths.max_queries,
        lengths.max_keys,
        scale=scale,
        window_size=(window, 0),
        **({"enable_gqa": True} if native else {}),
    )
    return out[None]


def _gathered_keys(states: Tensor, index: Tensor, groups: int) -> Tensor:
    """Gather (1, heads, tokens, width) to (gathered tokens, heads x groups, width)."""
    gathered = states[0].transpose(0, 1)[index]
    return gathered.repeat_interleave(groups, dim=1) if groups > 1 else gathered


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, packed_mask)
