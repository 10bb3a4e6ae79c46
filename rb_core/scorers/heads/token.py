"""A token as the reward: the logit of one token at the end of a conversation, or the log-odds of two tokens.

The logits are those of the token that would follow the conversation's last one. The head is the language model's output
embedding, restricted to the rows of the tokens. log p(a) - log p(b) is the difference of the two logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import SequenceClassifierOutput

from rb_core.errors import ModelError, quoted
from rb_core.models.resolve import ModelSpec
from rb_core.results.schema import ModelKind
from rb_core.scorers.adapter import load_own_tokenizer
from rb_core.scorers.heads.base import LastTokenModel, load_language_model
from rb_core.scorers.logits import scale_logits


class TokenHead(nn.Module):
    """Logit of a token, or the logit of the first of two tokens minus that of the second, in float32.

    rows, bias: of the tokens in the output embedding, (1 or 2, width) and (1 or 2,).
    """

    rows: Tensor
    bias: Tensor | None

    def __init__(self, language_model: Any, ids: Sequence[int]) -> None:
        super().__init__()
        self.ids, self.config = list(ids), language_model.config
        embedding = language_model.get_output_embeddings()
        bias = getattr(embedding, "bias", None)
        self.register_buffer("rows", embedding.weight.detach()[self.ids].float())
        self.register_buffer("bias", None if bias is None else bias.detach()[self.ids].float())

    def forward(self, states: Tensor) -> Tensor:
        return contrast(scale_logits(self.config, functional.linear(states.float(), self.rows, self.bias)))

    @property
    def is_constant(self) -> bool:
        """True if the difference of two tokens is 0 after every conversation."""
        return all(len(each) == 2 and torch.equal(*each) for each in self.buffers())


class TokenModel(LastTokenModel):
    """A language model that is read at its logits of one or two tokens. Its own forward pass computes all logits.

    largest_logit: the largest that its own forward pass has returned; the rounding of a difference grows with it.
    """

    result_kind: ModelKind = "token"

    def __init__(self, language_model: Any, head: TokenHead, detail: str) -> None:
        super().__init__(language_model.base_model, head)
        self.language_model = language_model
        self.ids = head.ids
        self.detail = detail
        self.largest_logit = 0.0

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SequenceClassifierOutput:
        logits = self.last_logits(input_ids, attention_mask)[:, self.ids]
        self.largest_logit = max(self.largest_logit, float(logits.abs().max()))
        return SequenceClassifierOutput(logits=contrast(logits))

    def last_logits(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return the (rows, vocabulary) float32 logits at the last token of each row of (rows, width) token ids."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        logits: Tensor = self.language_model(input_ids=input_ids, attention_mask=mask, use_cache=False).logits
        last = self.own_reads(input_ids, mask)[:, 0].to(logits.device)
        return logits[torch.arange(len(last), device=logits.device), last].float()

    @property
    def architecture(self) -> str:
        return type(self.language_model).__name__

    def rounding_scale(self, largest_score: float) -> float:
        return max(largest_score, self.largest_logit)

    @property
    def own_head_dtype(self) -> torch.dtype:
        return self.dtype


def contrast(logits: Tensor) -> Tensor:
    """Return (n, 1): the logits of one token, or the difference of the (n, 2) logits of two."""
    return logits[:, :1] - logits[:, 1:] if logits.shape[1] == 2 else logits


def load_token(spec: ModelSpec, model_class: type[TokenModel] = TokenModel) -> tuple[TokenModel, dict[str, Any]]:
    """Load a language model with its tokens, and report on its weights.

    Raises ModelError when a text is not one token of the tokenizer, or no score would differ from 0.
    """
    tokenizer = load_own_tokenizer(spec)
    ids = find_tokens(spec, tokenizer)
    language_model, loading = load_language_model(spec)
    weight = language_model.get_output_embeddings().weight
    if not weight.is_floating_point():
        raise ModelError(f"{spec.name}: its output embedding is quantised, so a token's row cannot be read from it")
    if (largest := max(ids)) >= len(weight):
        token = quoted(tokenizer.convert_ids_to_tokens(largest))
        raise ModelError(f"{spec.name}: the token {token} has the id {largest}; the model has {len(weight)} logits")
    head = TokenHead(language_model, ids)
    if head.is_constant:
        raise ModelError(
            f"{spec.name}: the two tokens have the same row of the output embedding, so every score would be 0: the "
            "model was not trained to tell them apart"
        )
    return model_class(language_model, head, describe_tokens(tokenizer, ids)), loading


def find_tokens(spec: ModelSpec, tokenizer: Any) -> list[int]:
    """Return the ids of the tokens in the model's options: the one that each text is for the tokenizer.

    Raises ModelError for a text that is not exactly one token, naming its tokens, and for two texts of the same token.
    """
    texts = spec.options.reward_tokens
    flag = "--tokens" if spec.options.tokens else "--token"
    ids = []
    for text in texts:
        pieces = tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(pieces) != 1:
            names = ", ".join(map(quoted, tokenizer.convert_ids_to_tokens(pieces))) or "none"
            raise ModelError(
                f"{spec.name}: {flag} {quoted(text)} is {len(pieces)} tokens of its tokenizer ({names}); the reward is "
                "read at exactly one: name another text, with or without a space in front"
            )
        if pieces[0] == tokenizer.unk_token_id and text != tokenizer.unk_token:
            raise ModelError(f"{spec.name}: {flag} {quoted(text)} is unknown to its tokenizer")
        ids += pieces
    if len(set(ids)) < len(ids):
        raise ModelError(f"{spec.name}: {flag} {','.join(texts)} are the same token of its tokenizer: name two")
    return ids


def describe_tokens(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return the reward in words, with the names and ids of the tokens."""
    names = [f"{token_id} ({quoted(tokenizer.convert_ids_to_tokens(token_id))})" for token_id in ids]
    return f"log-odds of token {names[0]} over {names[1]}" if len(names) == 2 else f"logit of token {names[0]}"
