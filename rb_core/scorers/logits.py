"""Logits of a language model from the outputs of its head, as its family computes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def scale_logits(config: Any, outputs: Tensor) -> Tensor:
    """Apply the scaling of the model's family to outputs of its head, for all tokens or for some.

    Cohere multiplies them, Granite divides them, Gemma caps them. For a family that does anything else, the check at
    load time finds the difference and falls back to the model's own forward pass.
    """
    config = config.get_text_config()
    if (factor := getattr(config, "logit_scale", None)) is not None:
        outputs = outputs * factor
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        outputs = outputs / divisor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        outputs = torch.tanh(outputs / cap) * cap
    return outputs
