"""Attention over packed rows: what each token gets is what it would get if its conversation stood alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.masking_utils import (
    and_masks,
    bidirectional_mask_function,
    causal_mask_function,
    chunked_causal_mask_function,
    sliding_window_causal_mask_function,
)

from rb_core.scorers.packed_attention import PACKED, Pattern, _varlen_serves, packed_attention, packed_mask, packed_row
from rb_core.scorers.packing import Row, Segment, pack

TinyModel = Callable[[str], Path]

# Two families that share 5 and 9 tokens, a conversation that is the beginning of another, and two without a family.
CONVERSATIONS = [
    (1, 2, 3, 4, 5, 6),
    (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14),
    (1, 2, 3, 4, 5),
    (9,),
    tuple(range(20, 41)),
    (*range(50, 59), 1),
    (*range(50, 59), 2, 3, 4, 5, 6, 7, 8),
    (1, 2, 3, 4, 5, 8, 1),
    (1, 2, 3, 4, 5, 9),
]
KEYS = [0, 0, 0, 1, 2, 3, 3, 0, 0]
PREFIX = 5
LONGEST = 21
FLOAT64 = torch.float64


class Case(NamedTuple):
    """The input of a layer: queries, keys and values of a packed row, and its mask."""

    row: Row
    query: Tensor
    key: Tensor
    value: Tensor
    pattern: Pattern


def rule(kind: str, size: int | None) -> Callable[..., Any]:
    """transformers' own mask function."""
    if kind == "causal" or size is None:
        return causal_mask_function  # type: ignore[no-any-return]
    if kind == "chunked":
        return chunked_causal_mask_function(size, torch.zeros(1, dtype=torch.int64))  # type: ignore[no-any-return]
    return sliding_window_causal_mask_function(size)  # type: ignore[no-any-return]


def sees(kind: str, size: int | None, query: int, key: int) -> bool:
    """Return True if a query position attends to a key position."""
    if key > query:
        return False
    if kind == "sliding":
        assert size is not None
        return query - key < size
    if kind == "chunked":
        assert size is not None
        return query // size == key // size
    return True


def make(
    kind: str = "causal",
    size: int | None = None,
    *,
    heads: int = 4,
    groups: int = 1,
    width: int = 8,
    value_width: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Case:
    row = pack(CONVERSATIONS, KEYS)
    generator = torch.Generator().manual_seed(3)

    def states(number: int, length: int) -> Tensor:
        return torch.randn(1, number, len(row.ids), length, generator=generator).to(dtype)

    query, key = 2 * states(heads, width), states(heads // groups, width)
    pattern = Pattern(row.segments, rule(kind, size), size, torch.device("cpu"))
    return Case(row, query, key, states(heads // groups, value_width or width), pattern)


def dense(
    case: Case,
    kind: str,
    size: int | None,
    scale: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """The reference: each conversation taken out of the row and attended to by itself, in float64."""
    query, key, value = (states[0].to(FLOAT64) for states in (case.query, case.key, case.value))
    groups = query.shape[0] // key.shape[0]
    out = torch.full((query.shape[1], query.shape[0], value.shape[2]), math.nan, dtype=FLOAT64)
    for index, ids in enumerate(CONVERSATIONS):
        places = [case.row.index_of(index, token) for token in range(len(ids))]
        mask = torch.tensor([[sees(kind, size, q, k) for k in range(len(ids))] for q in range(len(ids))])
        for head in range(query.shape[0]):
            logits = query[head, places] @ key[head // groups, places].T * scale
            if softcap is not None:
                logits = softcap * torch.tanh(logits / softcap)
            weights = logits.masked_fill(~mask, -math.inf).exp()
            total = weights.sum(dim=1, keepdim=True)
            if sinks is not None:
                total = total + sinks[head].to(FLOAT64).exp()
            out[places, head] = weights / total @ value[head // groups, places]
    return out


def attend(case: Case, **options: Any) -> Tensor:
    out, weights = packed_attention(nn.Identity(), case.query, case.key, case.value, case.pattern, **options)
    assert weights is None
    assert out.dtype == case.query.dtype
    return out


KINDS = [
    ("causal", None),
    # smaller than, as large as and larger than what is shared; as large as the longest conversation, and beyond it
    ("sliding", 1),
    ("sliding", 3),
    ("sliding", PREFIX),
    ("sliding", PREFIX + 1),
    ("sliding", 12),
    ("sliding", LONGEST - 1),
    ("sliding", LONGEST),
    ("sliding", 100),
    ("chunked", 1),
    ("chunked", 4),
    ("chunked", PREFIX),
    ("chunked", 7),
    ("chunked", LONGEST),
]


@pytest.fixture(params=[1, 7, 128], ids=lambda tile: f"tile{tile}")
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Tiles of one query, of some, and larger than any segment."""
    monkeypatch.setattr("rb_core.scorers.packed_attention.TILE", request.param)
    return int(request.param)


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize(("kind", "size"), KINDS)
def test_every_token_attends_to_its_own_conversation_within_the_mask(kind: str, size: int | None) -> None:
    case = make(kind, size)
    wanted = dense(case, kind, size, 8**-0.5)
    torch.testing.assert_close(attend(case)[0].to(FLOAT64), wanted, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize(("kind", "size"), [("causal", None), ("sliding", 3), ("chunked", 4)])
@pytest.mark.parametrize(("softcap", "with_sinks"), [(0.7, False), (None, True), (0.7, True)])
@pytest.mark.parametrize("groups", [1, 4])
def test_soft_caps_sinks_and_grouped_heads(
    kind: str, size: int | None, softcap: float | None, with_sinks: bool, groups: int
) -> None:
    case = make(kind, size, groups=groups, value_width=6)
    sinks = torch.tensor([0.5, -1.0, 2.0, 0.0]) if with_sinks else None
    wanted = dense(case, kind, size, 0.4, softcap, sinks)
    found = attend(case, scaling=0.4, softcap=softcap, s_aux=sinks, sliding_window=size if kind == "sliding" else None)
    torch.testing.assert_close(found[0].to(FLOAT64), wanted, atol=3e-6, rtol=3e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
@pytest.mark.parametrize(
    ("softcap", "with_sinks", "kind", "size"), [(None, False, "sliding", 7), (5.0, True, "causal", None)]
)
def test_half_precision_is_as_close_as_its_rounding(
    dtype: torch.dtype, tolerance: float, softcap: float | None, with_sinks: bool, kind: str, size: int | None
) -> None:
    case = make(kind, size, groups=2, dtype=dtype)
    sinks = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=dtype) if with_sinks else None
    wanted = dense(case, kind, size, 8**-0.5, softcap, sinks)
    found = attend(case, softcap=softcap, s_aux=sinks)
    assert float((found[0].to(FLOAT64) - wanted).abs().max()) < tolerance * float(case.value.abs().max())


def test_large_logits_do_not_overflow() -> None:
    case = make()
    large = case._replace(query=case.query * 100)
    found = attend(large, s_aux=torch.tensor([90.0, -90.0, 0.0, 300.0]))
    assert found.isfinite().all()
    found = attend(large, softcap=200.0)
    assert found.isfinite().all()


# ---- one call for a whole row, as on CUDA


class Calls:
    """torch's variable-length attention, worked out on the CPU: queries are aligned with the end of their keys."""

    def __init__(self) -> None:
        self.count = 0
        self.heads: list[tuple[int, int]] = []
        self.windows: list[tuple[int, int]] = []

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_q: Tensor,
        cu_k: Tensor,
        max_q: int,
        max_k: int,
        scale: float,
        window: tuple[int, int],
    ) -> Tensor:
        assert query.is_contiguous()
        assert cu_q.dtype == cu_k.dtype == torch.int32
        self.count += 1
        self.heads.append((query.shape[1], key.shape[1]))
        self.windows.append(window)
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        out = torch.empty(*query.shape[:2], value.shape[2], dtype=query.dtype)
        starts = zip(cu_q.tolist(), cu_q.tolist()[1:], cu_k.tolist(), cu_k.tolist()[1:], strict=False)
        for q0, q1, k0, k1 in starts:
            assert q1 - q0 <= max_q
            assert k1 - k0 <= max_k
            mine = torch.arange(k1 - k0 - (q1 - q0), k1 - k0)[:, None]  # aligned at the end
            theirs = torch.arange(k1 - k0)[None, :]
            mask = theirs <= mine + window[1]
            if window[0] >= 0:
                mask &= theirs >= mine - window[0]
            logits = torch.einsum("qhw,khw->hqk", query[q0:q1].float(), key[k0:k1].float()) * scale
            weights = logits.masked_fill(~mask, -math.inf).softmax(dim=-1)
            out[q0:q1] = torch.einsum("hqk,khw->qhw", weights, value[k0:k1].float()).to(query.dtype)
        assert (q1, k1) == (len(query), len(key))
        return out


@pytest.fixture(params=["grouped", "plain"])
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Stands in for the CUDA kernel, with and without the parameter for grouped heads."""
    made = Calls()

    def grouped(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seq_q: Tensor,
        cu_seq_k: Tensor,
        max_q: int,
        max_k: int,
        *,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
        enable_gqa: bool = False,
    ) -> Tensor:
        assert enable_gqa == (query.shape[1] != key.shape[1])
        assert scale is not None
        return made.attend(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale, window_size)

    def plain(*row: Any, scale: float | None = None, window_size: tuple[int, int] = (-1, -1)) -> Tensor:
        return grouped(*row, scale=scale, window_size=window_size)

    monkeypatch.setattr("rb_core.scorers.packed_attention.varlen", {"grouped": grouped, "plain": plain}[request.param])
    serves = _varlen_serves

    class OnCuda:
        """A tensor that says it is on CUDA, for the question whether the kernel serves."""

        def __init__(self, states: Tensor) -> None:
            self.shape, self.dtype, self.is_cuda = states.shape, torch.bfloat16, True

    def ask(query: Tensor, value: Tensor, *others: Any) -> bool:
        return serves(OnCuda(query), OnCuda(value), *others)  # type: ignore[arg-type]

    monkeypatch.setattr("rb_core.scorers.packed_attention._varlen_serves", ask)
    return made


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(("kind", "size"), [pair for pair in KINDS if pair[0] != "chunked"])
def test_one_call_gives_the_result_of_tiles(calls: Calls, kind: str, size: int | None, groups: int) -> None:
    case = make(kind, size, groups=groups)
    wanted = dense(case, kind, size, 0.3)
    found = attend(case, scaling=0.3, sliding_window=size)
    torch.testing.assert_close(found[0].to(FLOAT64), wanted, atol=3e-6, rtol=3e-6)
    assert calls.count == 1
    assert calls.windows[0][1] == 0


@pytest.mark.parametrize(
    ("kind", "size", "sliding_window", "options", "value_width"),
    [
        ("chunked", 4, None, {}, None),  # a local pattern that is no sliding window
        ("chunked", 4, 9, {}, None),
        ("sliding", 4, None, {}, None),  # nobody says that the pattern is a sliding window
        ("causal", None, None, {"softcap": 3.0}, None),
        ("causal", None, None, {"s_aux": torch.zeros(4)}, None),
        ("causal", None, None, {}, 6),  # values of another width
    ],
)
def test_unsupported_attention_is_computed_in_tiles(
    calls: Calls,
    kind: str,
    size: int | None,
    sliding_window: int | None,
    options: dict[str, Any],
    value_width: int | None,
) -> None:
    case = make(kind, size, value_width=value_width)
    wanted = dense(case, kind, size, 8**-0.5, options.get("softcap"), options.get("s_aux"))
    found = attend(case, sliding_window=sliding_window, **options)
    torch.testing.assert_close(found[0].to(FLOAT64), wanted, atol=3e-6, rtol=3e-6)
    assert calls.count == 0


@pytest.mark.usefixtures("calls")
def test_a_chunk_that_holds_every_conversation_is_plain_causal_attention() -> None:
    case = make("chunked", LONGEST)
    torch.testing.assert_close(attend(case)[0].to(FLOAT64), dense(case, "causal", None, 8**-0.5), atol=3e-6, rtol=3e-6)


# ---- what cannot be read in packed rows


def test_a_layer_without_a_mask_is_refused() -> None:
    case = make()
    for mask in (None, torch.ones(1, 1, 4, 4)):
        with pytest.raises(ValueError, match="cannot read packed rows"):
            packed_attention(nn.Identity(), case.query, case.key, case.value, mask)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot read packed rows"):
        attend(case, position_bias=torch.zeros(1))


@pytest.mark.parametrize(
    "options",
    [
        {"mask_function": bidirectional_mask_function},
        {"mask_function": causal_mask_function, "use_vmap": True},
        {"mask_function": and_masks(causal_mask_function, lambda *at: at[3] % 2 == 0)},  # no window says how far
        {"mask_function": lambda batch, head, query, key: query - key < 4, "local_size": 4},  # looks ahead
    ],
)
def test_an_unknown_mask_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="packed rows"):
        packed_mask(**options)


def test_a_mask_outside_of_a_row_is_an_error() -> None:
    with pytest.raises(LookupError):
        packed_mask()


# ---- in force for one row only


@pytest.fixture(scope="module")
def model(tiny_model: TinyModel) -> Any:
    """A language model with a window in all layers."""
    return AutoModelForCausalLM.from_pretrained(tiny_model("mistral-lm"), attn_implementation="sdpa").eval()


class InterruptionError(Exception):
    """Raised in the middle of a row."""


def test_the_models_own_attention_is_restored(model: Any) -> None:
    body = model.base_model
    segments = (Segment(0, 3, 0, 0),)
    with packed_row(body, segments):
        assert body.config._attn_implementation == PACKED
    assert body.config._attn_implementation == "sdpa"
    with pytest.raises(InterruptionError), packed_row(body, segments):
        raise InterruptionError
    assert body.config._attn_implementation == model.config._attn_implementation == "sdpa"
    with pytest.raises(LookupError):
        packed_mask()


@torch.no_grad()
def test_a_packed_row_gives_the_hidden_states_of_each_conversation_alone(model: Any) -> None:
    """All hidden states are compared, not only the last of each conversation; the window is shorter than some."""
    row = pack(CONVERSATIONS, KEYS)
    ids, positions = torch.tensor([row.ids]), torch.tensor([row.positions])
    with packed_row(model.base_model, row.segments):
        packed = model.base_model(
            input_ids=ids, position_ids=positions, attention_mask=torch.ones_like(ids), use_cache=False
        ).last_hidden_state[0]
    for index, conversation in enumerate(CONVERSATIONS):
        alone = model.base_model(input_ids=torch.tensor([conversation])).last_hidden_state[0]
        places = [row.index_of(index, token) for token in range(len(conversation))]
        torch.testing.assert_close(packed[places], alone, atol=1e-5, rtol=1e-5)
