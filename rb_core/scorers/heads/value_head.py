"""A value head: one linear layer on the hidden state of the conversation's last token.

As trained by TRL (AutoModelForCausalLMWithValueHead), LLaMA-Factory and OpenRLHF.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from rb_core.errors import ModelError
from rb_core.models.checkpoint import VALUE_HEAD_FILE, value_head_prefix
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.heads.base import LastTokenModel, fill_head, load_body, take_head
from rb_core.scorers.loading import read_safetensors

_TRL_PREFIX = "v_head.summary"
_OPENRLHF_PREFIX = "score"  # the default; sequence classifiers have it too, so it counts only where the kind is known


class ValueHead(nn.Module):
    """(hidden state x weight + bias - mean) / std."""

    def __init__(self, width: int, *, bias: bool, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        self.summary = nn.Linear(width, 1, bias=bias)
        self.mean, self.std = mean, std

    def forward(self, states: Tensor) -> Tensor:
        return (self.summary(states) - self.mean) / self.std  # type: ignore[no-any-return]


class ValueHeadModel(LastTokenModel):
    """A body under a value head."""

    head_layer = "score.summary"

    def __init__(self, body: Any, score: ValueHead, detail: str) -> None:
        super().__init__(body, score)
        self.detail = detail


def load_value_head(spec: ModelSpec) -> tuple[ValueHeadModel, dict[str, Any]]:
    """Load a language model with its value head, and report on its weights.

    Raises ModelError when there is no value head, or it does not fit the model.
    """
    body, loading = load_body(spec)
    holder = next((each for each in (spec.adapter, spec.checkpoint) if each is not None and each.value_head), None)
    if holder is not None and holder.value_head is not None:
        place = f"{_TRL_PREFIX} of {holder.value_head}"
        stored = read_safetensors(spec.name, holder, holder.value_head)
        weights = {key.removeprefix(f"{_TRL_PREFIX}."): weight for key, weight in stored.items()}
    else:
        place = _prefix(spec, loading["unexpected_keys"])
        names = {f"{place}.weight": "weight", f"{place}.bias": "bias", "mean": "mean", "std": "std"}
        weights = take_head(spec, loading, names)
    mean, std = _normalisation(spec, weights)
    with torch.device("meta"):
        head = ValueHead(body.config.get_text_config().hidden_size, bias="bias" in weights, mean=mean, std=std)
    fill_head(spec.name, head.summary, weights)
    normalised = "" if (mean, std) == (0.0, 1.0) else f", (reward - {mean:g}) / {std:g}"
    return ValueHeadModel(body, head, f"value head {place}{normalised}"), loading


def _prefix(spec: ModelSpec, names: Collection[str]) -> str:
    """Return the prefix of the head's weights among weights that the language model does not have."""
    prefix = value_head_prefix(spec.checkpoint.config, names)
    if prefix is None and f"{_OPENRLHF_PREFIX}.weight" in names:
        prefix = _OPENRLHF_PREFIX
    if prefix is None:
        raise ModelError(
            f"{spec.name}: no value head: its weights have no {_TRL_PREFIX}.weight, value_head.weight or "
            f"{_OPENRLHF_PREFIX}.weight, there is no {VALUE_HEAD_FILE} beside them, and config.json names "
            "no other value_head_prefix"
        )
    return prefix


def _normalisation(spec: ModelSpec, weights: dict[str, Tensor]) -> tuple[float, float]:
    """Return mean and standard deviation of the rewards, and take them out of the head's weights.

    OpenRLHF applies them only if `normalize_reward` is set. Buffers of a checkpoint come before fields of its config.
    """
    config = spec.checkpoint.config
    mean, std = (weights.pop(name, config.get(name, default)) for name, default in (("mean", 0.0), ("std", 1.0)))
    if not config.get("normalize_reward"):
        return 0.0, 1.0
    try:
        mean, std = float(mean), float(std)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{spec.name}: mean or std of the rewards is not a number") from error
    if not math.isfinite(mean) or not math.isfinite(std) or std <= 0:
        raise ModelError(
            f"{spec.name}: normalize_reward is set, and the rewards' mean is {mean:g} and their std {std:g}, which has "
            "to be greater than 0: correct them in config.json, or set normalize_reward to false"
        )
    return mean, std
