"""Scores of the same sequences computed in several ways, how far they differ, and properties of weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from rb_core.benchmarks.example import CompletionSet
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.chat_format import Encoded
from rb_core.scorers.conversation_scorer import TOLERANCE, ConversationScorer, Inputs
from rb_core.scorers.heads.base import HeadedModel
from rb_core.scorers.loading import free_memory

# Largest part of the free memory that a second copy of a model may take.
SHARE_OF_FREE_MEMORY = 0.6


@torch.inference_mode()
def single_scores(scorer: ConversationScorer, sequences: Sequence[Encoded]) -> tuple[float, ...]:
    """Score each sequence by itself with the model's own forward pass."""
    return tuple(float(scorer.own_values(_batch(scorer, [sequence]))[0]) for sequence in sequences)


def batched_scores(scorer: ConversationScorer, completion_sets: Sequence[CompletionSet]) -> tuple[float, ...]:
    """Score completions as in a benchmark: planned, batched, streamed."""
    return tuple(score.value for row in score_completion_sets(scorer, completion_sets) for score in row)


@torch.inference_mode()
def right_padded_scores(scorer: ConversationScorer, sequences: Sequence[Encoded]) -> tuple[float, ...]:
    """Score all sequences in one batch padded on the right, with the model's own forward pass.

    Raises whatever the forward pass raises.
    """
    return _to_floats(scorer.own_values(_batch(scorer, sequences)))


@torch.inference_mode()
def left_padded_scores(scorer: ConversationScorer, sequences: Sequence[Encoded]) -> tuple[float, ...]:
    """Score all sequences in one batch padded on the left, as other tools do: with a mask and without position ids.

    A model without a pad token refuses several rows; then each goes through alone, padded to the batch's width.
    """
    batch = _left_padded(_batch(scorer, sequences))
    try:
        return _to_floats(scorer.own_values(batch))
    except ValueError:
        width = batch.ids.shape[1]
        rows = (_left_padded(_widened(_batch(scorer, [sequence]), width)) for sequence in sequences)
        return tuple(float(scorer.own_values(row)[0]) for row in rows)


@torch.inference_mode()
def read_position_difference(
    scorer: ConversationScorer, sequences: Sequence[Encoded], scores: Sequence[float]
) -> float:
    """Return the largest difference between the model's own scores and its head at the positions in `scorer.reads`."""
    head_scores = [float(scorer.values(_batch(scorer, [sequence]))[0]) for sequence in sequences]
    return max(abs(a - b) for a, b in zip(head_scores, scores, strict=True))


@torch.inference_mode()
def answer_probability(scorer: ConversationScorer, sequence: Encoded) -> float:
    """Return the probability that a token model gives its tokens together, as the next after a conversation."""
    logits = scorer.model.last_logits(_batch(scorer, [sequence]).ids)
    return float(logits.softmax(dim=1)[0, scorer.model.ids].sum())


def _batch(scorer: ConversationScorer, sequences: Sequence[Encoded]) -> Inputs:
    """Return the sequences as one batch padded on the right."""
    return scorer.inputs(sequences, "bucketed")


def _widened(row: Inputs, width: int) -> Inputs:
    """Return a batch of one row with padding on the right up to `width`."""
    padding = row.ids.new_zeros((1, width - row.ids.shape[1]))
    return row._replace(
        ids=torch.cat([row.ids, padding], dim=1),
        mask=torch.cat([row.mask, padding], dim=1),
        token_types=None if row.token_types is None else torch.cat([row.token_types, padding], dim=1),
        positions=torch.arange(width, device=row.ids.device)[None],
    )


def _left_padded(inputs: Inputs) -> Inputs:
    """Move the padding of each row from the right to the left."""
    width = inputs.ids.shape[1]
    shifts = (width - inputs.mask.sum(dim=1)).tolist()

    def shifted(rows: torch.Tensor) -> torch.Tensor:
        return torch.stack([row.roll(shift) for row, shift in zip(rows, shifts, strict=True)])

    rows_read = torch.div(inputs.reads, width, rounding_mode="floor")
    reads = inputs.reads + torch.tensor(shifts, device=inputs.reads.device)[rows_read]
    types = None if inputs.token_types is None else shifted(inputs.token_types)
    return inputs._replace(ids=shifted(inputs.ids), mask=shifted(inputs.mask), reads=reads, token_types=types)


def _to_floats(values: torch.Tensor) -> tuple[float, ...]:
    return tuple(values.float().cpu().tolist())


# ---- differences


class ScoreDeviation(NamedTuple):
    """The difference between two lists of scores.

    largest: largest absolute difference, infinite if a score is not finite; relative: `largest` over the range of the
    first scores; flipped: pairs whose order changed; flipped_margin: largest margin of a flipped pair.
    """

    largest: float
    relative: float
    flipped: int
    flipped_margin: float


def score_deviation(scores: Sequence[float], others: Sequence[float]) -> ScoreDeviation:
    """Compare the model's scores with those computed in another way. The two scores of a pair are neighbours."""
    largest = max(abs(a - b) if math.isfinite(b) else math.inf for a, b in zip(scores, others, strict=True))
    value_range = max(scores) - min(scores)
    margins = [scores[i] - scores[i + 1] for i in range(0, len(scores), 2)]
    other_margins = [others[i] - others[i + 1] for i in range(0, len(others), 2)]
    flipped = [abs(a) for a, b in zip(margins, other_margins, strict=True) if _sign(a) != _sign(b)]
    relative = largest / value_range if value_range else math.inf
    return ScoreDeviation(largest, relative, len(flipped), max(flipped, default=0.0))


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def rounding_tolerance(scorer: ConversationScorer, scores: Sequence[float]) -> float:
    """Return the largest difference between scores that rounding explains."""
    return float(TOLERANCE.get(scorer.model.dtype, 0.0) * scorer.scale(scores))


# ---- dtypes and weights


def other_dtypes(scorer: ConversationScorer) -> list[str]:
    """Return the dtypes to compare with the one in use. float16 is used only on GPUs."""
    names = ["float32", "bfloat16", *(["float16"] if scorer.device.type == "cuda" else [])]
    return [name for name in names if getattr(torch, name) != scorer.model.dtype]


def has_room_for(scorer: ConversationScorer, dtype: str) -> bool:
    """Return True if a second copy of the model in that dtype fits into the free memory."""
    models = [scorer.model, getattr(scorer, "reference", None)]
    parameters = sum(p.numel() for model in models if model is not None for p in model.parameters())
    return bool(parameters * getattr(torch, dtype).itemsize < SHARE_OF_FREE_MEMORY * free_memory(scorer.device))


def find_head(model: Any) -> tuple[str, nn.Linear] | None:
    """Return (name, layer) of the linear layer that makes the outputs: the one that a head of ours names, or the last
    outside the body with as many outputs as the model; None without one."""
    if isinstance(model, HeadedModel):
        layer = model.get_submodule(model.head_layer)
        return (model.head_layer, layer) if isinstance(layer, nn.Linear) else None
    head = None
    for name, module in model.named_modules():
        outside_body = name and not name.startswith(f"{model.base_model_prefix}.")
        if outside_body and isinstance(module, nn.Linear) and module.out_features == model.config.num_labels:
            head = name, module
    return head


def head_norm(head: nn.Linear) -> tuple[float, int]:
    """Return the norm of the head's weights, and the number of its outputs whose weights are all zero."""
    weight = head.weight.detach().float()
    return float(weight.norm()), int((weight == 0).all(dim=1).sum())


def nonfinite_parameters(model: Any) -> list[str]:
    """Return the names of parameters that hold NaN or infinity."""
    return [name for name, p in model.named_parameters() if p.is_floating_point() and not bool(torch.isfinite(p).all())]
