"""Outputs at every token, of which a process reward model reads those at the end of each step.

The head is a linear layer, as in transformers' token classifiers (TRL's PRMTrainer), or two with a ReLU between them,
as in Qwen2.5-Math-PRM (Zhang et al. 2025, arXiv:2501.07301). Or there is no head, and the logits of two tokens are the
verdict, as in Math-Shepherd (Wang et al. 2024, arXiv:2312.08935).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from rb_core.errors import ModelError
from rb_core.models.resolve import ModelSpec
from rb_core.results.schema import ModelKind
from rb_core.scorers.heads.base import HeadedModel, fill_head, load_body, take_head
from rb_core.scorers.heads.token import TokenModel, contrast, load_token

_LINEAR = {f"score.{name}": name for name in ("weight", "bias")}
_TWO_LAYERS = {f"score.{layer}.{name}": f"{layer}.{name}" for layer in (0, 2) for name in ("weight", "bias")}


class StepModel(HeadedModel):
    """A body under a head that is applied to every token: `forward` returns (rows x width, outputs) logits."""

    result_kind: ModelKind = "process"
    position = "the separator after each step"

    def reads(self, ids: Sequence[int]) -> Sequence[int]:
        return range(len(ids))

    def own_reads(self, ids: Tensor, mask: Tensor) -> Tensor:
        return torch.arange(ids.shape[1]).expand(len(ids), -1)


class VerdictModel(StepModel, TokenModel):
    """A language model whose verdict on a step is the token that it would put next: the log-odds of two tokens."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SequenceClassifierOutput:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        logits = self.language_model(input_ids=input_ids, attention_mask=mask, use_cache=False).logits
        logits = logits[..., self.ids].flatten(0, 1).float()
        self.largest_logit = max(self.largest_logit, float(logits.abs().max()))
        return SequenceClassifierOutput(logits=contrast(logits))


def load_process(spec: ModelSpec) -> tuple[HeadedModel, dict[str, Any]]:
    """Load a language model with its head at steps, or with its two tokens, and report on its weights.

    Raises ModelError when there is no such head, or it does not fit the model.
    """
    if spec.options.tokens:
        return load_token(spec, VerdictModel)
    body, loading = load_body(spec)
    width = body.config.get_text_config().hidden_size
    if weights := take_head(spec, loading, _TWO_LAYERS):
        num_outputs = _num_outputs(weights.get("2.weight"))
        inner = _num_outputs(weights.get("0.weight"))
        head: nn.Module = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, num_outputs))
        layer = "score.2"
    elif weights := take_head(spec, loading, _LINEAR):
        num_outputs = _num_outputs(weights.get("weight"))
        head, layer = nn.Linear(width, num_outputs, bias="bias" in weights), "score"
    else:
        raise ModelError(
            f"{spec.name}: no head at steps: its weights have no score.weight, nor score.0.weight and score.2.weight; "
            "for a language model that judges a step by its next token, pass --tokens RIGHT,WRONG"
        )
    fill_head(spec.name, head, weights)
    model = StepModel(body, head, num_outputs)
    model.head_layer = layer
    model.detail = f"{num_outputs} output{'s' if num_outputs > 1 else ''} at each step"
    return model, loading


def _num_outputs(weight: Tensor | None) -> int:
    """Return the outputs of a layer; 1 without its weight, which `fill_head` reports."""
    return 1 if weight is None else len(weight)
