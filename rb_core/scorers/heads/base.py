"""The body of a language model under a head of another kind, with what scoring reads from a sequence classifier."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from rb_core.errors import ModelError
from rb_core.models.chat_format import ChatFormat
from rb_core.models.resolve import ModelSpec
from rb_core.results.schema import ModelKind
from rb_core.scorers.adapter import load_adapted
from rb_core.scorers.loading import load_pretrained, read_tensors


class HeadedModel(nn.Module):
    """A body and a head. `forward` is the kind's own forward pass, as published, which `score` has to reproduce.

    body: a transformers model without a head; score: maps (n x tokens read, width) hidden states, the tokens that
    `reads` returns for each of n conversations in a row, to (n, outputs); head_layer: the name of the linear layer that
    makes the outputs; result_kind, detail: the kind of model in a result, and the head in words; position: the token
    that is read, in words.
    """

    base_model_prefix = "body"
    reads_by_pad = False  # the pad token decides which token is read
    head_layer = "score"
    result_kind: ModelKind = "custom-classifier"
    detail = ""
    position = "the last token"

    def __init__(self, body: Any, score: nn.Module, num_outputs: int = 1) -> None:
        super().__init__()
        self.body = body
        self.score = score
        self.config = body.config
        self.config.num_labels = num_outputs
        self.hf_quantizer = getattr(body, "hf_quantizer", None)
        *_, last = body.parameters()
        self.score.to(last.device)  # where a body that is spread over devices ends

    def use_format(self, chat: ChatFormat) -> None:
        """Take what the head needs from the model's chat format. Raises ModelError if it does not have it."""

    @abstractmethod
    def reads(self, ids: Sequence[int]) -> Sequence[int]:
        """Return the indices of the tokens whose hidden states make the score, in order; none if the conversation lacks
        one. A reward per token moves the last of them."""

    @abstractmethod
    def own_reads(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the (rows, tokens read) indices of a padded batch, found as the published code finds them."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SequenceClassifierOutput:
        """Return the (rows, outputs) logits of (rows, width) token ids."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        states: Tensor = self.body(input_ids=input_ids, attention_mask=mask, use_cache=False).last_hidden_state
        reads = self.own_reads(input_ids, mask).to(states.device)
        rows = torch.arange(len(reads), device=states.device)[:, None]
        return SequenceClassifierOutput(logits=self.score(states[rows, reads].flatten(0, 1)))

    @property
    def architecture(self) -> str:
        """Name of the architecture under the head, for the result."""
        return type(self.body).__name__

    def rounding_scale(self, largest_score: float) -> float:
        """Return the size that a rounding error of scores is relative to."""
        return largest_score

    @property
    def own_head_dtype(self) -> torch.dtype:
        """The dtype in which the kind's own forward pass applies the head."""
        return torch.float32

    @property
    def base_model(self) -> Any:
        return self.body

    @property
    def dtype(self) -> torch.dtype:
        return self.body.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        return self.body.device  # type: ignore[no-any-return]

    def get_input_embeddings(self) -> Any:
        return self.body.get_input_embeddings()


class LastTokenModel(HeadedModel):
    """A body under a head that reads the last token, whichever it is."""

    def reads(self, ids: Sequence[int]) -> Sequence[int]:
        return (len(ids) - 1,)

    def own_reads(self, ids: Tensor, mask: Tensor) -> Tensor:
        return mask.shape[1] - 1 - mask.long().flip(1).argmax(dim=1, keepdim=True)


def load_language_model(spec: ModelSpec) -> tuple[Any, dict[str, Any]]:
    """Load a language model, with its adapter if it has one. Return it with transformers' report on its weights.

    Raises ModelError when it cannot be loaded.
    """
    return load_pretrained(spec) if spec.adapter is None else load_adapted(spec, spec.adapter)


def load_body(spec: ModelSpec) -> tuple[Any, dict[str, Any]]:
    """Load a language model, with its adapter if it has one, without its head.

    Return the body with transformers' report on the checkpoint's weights, in which the head of the language model is
    left out and all weights of another head are unexpected. Raises ModelError when it cannot be loaded.
    """
    model, loading = load_language_model(spec)
    own_head = {key for key in model.state_dict() if not key.startswith(f"{model.base_model_prefix}.")}
    missing = [key for key in loading["missing_keys"] if key not in own_head]
    return model.base_model, {"missing_keys": missing, "unexpected_keys": sorted(loading["unexpected_keys"])}


def take_head(spec: ModelSpec, loading: dict[str, Any], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the head's weights under the names of its layers, and take them out of the report.

    names: of the weights in the checkpoint, and in the head. Weights that the checkpoint lacks are left out.
    """
    held = [name for name in names if name in loading["unexpected_keys"]]
    loading["unexpected_keys"] = [key for key in loading["unexpected_keys"] if key not in held]
    weights = read_tensors(spec.checkpoint, held)
    return {names[name]: weights[name] for name in held if name in weights}


def fill_head(name: str, head: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put a checkpoint's weights into a head that was built on the device "meta", without memory.

    Raises ModelError, naming the weight, if one is missing or has another shape.
    """
    declared = head.state_dict()
    if unexpected := sorted(weights.keys() - declared.keys()):
        raise ModelError(f"{name}: its head has unexpected {', '.join(unexpected)}")
    if missing := sorted(declared.keys() - weights.keys()):
        raise ModelError(f"{name}: its head misses {', '.join(missing)}; the score would come from random weights")
    for key, weight in weights.items():
        if weight.shape != declared[key].shape:
            shapes = f"{list(weight.shape)}; the model needs {list(declared[key].shape)}"
            raise ModelError(f"{name}: {key} of its head has the shape {shapes}")
    head.load_state_dict({key: weight.float() for key, weight in weights.items()}, assign=True)
    head.requires_grad_(False)
