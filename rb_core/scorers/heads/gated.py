"""A gated sum of several rewards: the architecture of RLHFlow/ArmoRM-Llama3-8B-v0.1.

A linear layer makes the rewards of all objectives from the conversation's last hidden state. A gating network weighs
them by the hidden state at the end of the prompt. The score is sum(gate(prompt) x (rewards @ transform)).
(Wang et al. 2024, https://arxiv.org/abs/2406.12845)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from rb_core.errors import ModelError, quoted
from rb_core.models.chat_format import ChatFormat
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.heads.base import HeadedModel, fill_head, load_body, take_head
from rb_core.scorers.loading import pad_token_of

# Fields of the config with their defaults in the published code, and a limit far above any published model's.
_FIELDS = (("num_objectives", 19, 100_000), ("gating_hidden_dim", 1024, 100_000), ("gating_n_hidden", 3, 1_000))


class GatingNetwork(nn.Module):
    """Linear layers with ReLU between them, and a softmax with a temperature, times a learned scale."""

    def __init__(self, widths: Sequence[int], temperature: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.logit_scale = nn.Parameter(torch.ones(1))
        self.temperature = temperature

    def forward(self, states: Tensor) -> Tensor:
        """Return the (n, objectives) weights for (n, width) hidden states."""
        *inner, last = self.layers
        for layer in inner:
            states = torch.relu(layer(states))
        return torch.softmax(last(states) / self.temperature, dim=-1) * self.logit_scale


class GatedHead(nn.Module):
    """The layers under their names in the checkpoint."""

    def __init__(self, width: int, objectives: int, gating_widths: Sequence[int], temperature: float) -> None:
        super().__init__()
        self.regression_layer = nn.Linear(width, objectives, bias=False)
        self.reward_transform_matrix = nn.Parameter(torch.eye(objectives))
        self.gating = GatingNetwork((width, *gating_widths, objectives), temperature)

    def forward(self, states: Tensor) -> Tensor:
        """Return the (n, 1) scores of (2n, width) hidden states: at the prompt's end and at the last token, in turn."""
        prompt_ends, lasts = states[0::2], states[1::2]
        rewards: Tensor = self.regression_layer(lasts) @ self.reward_transform_matrix
        gates: Tensor = self.gating(prompt_ends)
        return (gates * rewards).sum(dim=-1, keepdim=True)


class GatedModel(HeadedModel):
    """A body under a gated head.

    header: the tokens that end a prompt, from its last token to the start of the answer. The gate reads the first token
    of their last occurrence; the rewards are read before the first pad token, or else at the last token.
    """

    reads_by_pad = True
    head_layer = "score.regression_layer"
    position = "the last before any pad token"

    def __init__(self, body: Any, score: GatedHead) -> None:
        super().__init__(body, score)
        self.header: tuple[int, ...] = ()
        self.detail = f"gated sum of {score.regression_layer.out_features} rewards"

    def use_format(self, chat: ChatFormat) -> None:
        self.header = chat.answer_header()

    def reads(self, ids: Sequence[int]) -> Sequence[int]:
        prompt_end = self._prompt_end(ids)
        pad = pad_token_of(self.config)
        padding = ids.index(pad) if pad is not None and pad in ids else 0
        return () if prompt_end is None else (prompt_end, (padding - 1) % len(ids))

    def own_reads(self, ids: Tensor, mask: Tensor) -> Tensor:
        pad = pad_token_of(self.config)
        if pad is None and len(ids) > 1:
            raise ValueError("a gated model without a pad token cannot read several conversations at once")
        is_pad = torch.zeros_like(ids) if pad is None else (ids == pad).int()
        lasts = (is_pad.argmax(dim=1) - 1) % ids.shape[1]
        prompt_ends = [self._prompt_end(row) for row in ids.tolist()]
        if None in prompt_ends:
            raise ValueError("the header of the answer is not in the conversation")
        return torch.stack([torch.tensor(prompt_ends, device=ids.device), lasts], dim=1)

    def _prompt_end(self, ids: Sequence[int]) -> int | None:
        header, length = self.header, len(self.header)
        starts = range(len(ids) - length, -1, -1)
        return next((i for i in starts if ids[i] == header[0] and tuple(ids[i : i + length]) == header), None)


def load_gated(spec: ModelSpec) -> tuple[GatedModel, dict[str, Any]]:
    """Load a body with its gated head, and report on its weights.

    Raises ModelError for a weight of the head that is missing or has another shape than its config declares.
    """
    config = spec.checkpoint.config
    body, loading = load_body(spec)
    width = body.config.get_text_config().hidden_size
    objectives, hidden, layers = (_whole_number(spec.name, config, *field) for field in _FIELDS)
    temperature = config.get("gating_temperature", 10)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise ModelError(f"{spec.name}: gating_temperature in config.json has to be greater than 0")
    with torch.device("meta"):
        head = GatedHead(width, objectives, [hidden] * layers, temperature)
    fill_head(spec.name, head, take_head(spec, loading, {name: name for name in head.state_dict()}))
    return GatedModel(body, head), loading


def _whole_number(name: str, config: Mapping[str, Any], field: str, default: int, largest: int) -> int:
    number = config.get(field, default)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= largest:
        raise ModelError(
            f"{name}: {field} in config.json is {quoted(str(number))}; expected a number from 1 to {largest:,}"
        )
    return number
