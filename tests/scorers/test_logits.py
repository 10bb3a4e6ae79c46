"""Logits of some tokens are scaled as each family scales all of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, CohereConfig, Gemma2Config, GraniteConfig, LlamaConfig

from rb_core.scorers.logits import scale_logits

SIZE = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20}
SIZE |= {"num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.5, "pad_token_id": 0, "bos_token_id": 1}


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SIZE),
        CohereConfig(**SIZE, logit_scale=0.25),
        GraniteConfig(**SIZE, logits_scaling=4.0),
        Gemma2Config(**SIZE, final_logit_softcapping=2.0),
    ],
    ids=lambda config: config.model_type,
)
@torch.no_grad()
def test_the_scaled_outputs_of_the_head_are_the_models_logits(config: Any) -> None:
    model = AutoModelForCausalLM.from_config(config).eval()
    ids = torch.arange(2, 9)[None]
    outputs = model.get_output_embeddings()(model.base_model(ids).last_hidden_state)
    torch.testing.assert_close(scale_logits(model.config, outputs), model(ids).logits)
    if config.model_type != "llama":
        assert not torch.allclose(outputs, model(ids).logits)
