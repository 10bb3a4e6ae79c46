"""Reward models small enough to build in a test, with seeded random weights and a tokenizer of `tiny_tokenizers`.

Each is saved to a folder the way a checkpoint is published: classifiers, the language models that an implicit reward
compares, and adapters for these.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    DebertaV2Config,
    ElectraConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GptOssConfig,
    JambaConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
)

from tests.fakes.tiny_tokenizers import (
    TOKENIZERS,
    deberta_tokenizer,
    gemma_tokenizer,
    gpt2_tokenizer,
    gpt_oss_tokenizer,
    llama_tokenizer,
    pair_tokenizer,
    phi3_tokenizer,
    qwen2_tokenizer,
    qwen3_tokenizer,
)

torch.set_num_threads(1)  # more than one thread is slower at this size, by far where cores are shared


class Family(NamedTuple):
    """An architecture: what its models share, whichever head they have."""

    config: type[PreTrainedConfig]
    tokenizer: Callable[[], PreTrainedTokenizerFast]
    settings: Mapping[str, Any]
    seed: int = 20  # another where this one's classifier rounds by more than 1e-5 or has scores too close together


# Weights so wide that any change of input moves a score by far more than rounding does.
_WIDE = {"initializer_range": 0.5}


_SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4} | _WIDE


_DECODER = _SIZE | {"num_key_value_heads": 2, "max_position_embeddings": 512}


_EVERY_OTHER = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}


FAMILIES: Mapping[str, Family] = {
    "llama": Family(LlamaConfig, llama_tokenizer, _DECODER | {"head_dim": 8}),
    # A window in all layers.
    "mistral": Family(MistralConfig, llama_tokenizer, _DECODER | {"sliding_window": 8}, seed=21),
    # Queries, keys and values have a bias; input and output embeddings are one matrix.
    "qwen2": Family(Qwen2Config, qwen2_tokenizer, _DECODER | {"tie_word_embeddings": True}, seed=18),
    "qwen3": Family(Qwen3Config, qwen3_tokenizer, _DECODER | {"head_dim": 8}),
    # Queries, keys and values come from one matrix; a window in all layers.
    "phi3": Family(Phi3Config, phi3_tokenizer, _DECODER | {"sliding_window": 12}),
    # A mixture of experts, without a window.
    "mixtral": Family(MixtralConfig, llama_tokenizer, _DECODER | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    # A window in every other layer; soft-capped attention and soft-capped logits of the next token.
    "gemma2": Family(
        Gemma2Config,
        gemma_tokenizer,
        _DECODER
        | _EVERY_OTHER
        | {"head_dim": 8, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 5.0},
    ),
    # A window in every other layer, and positions that turn at another pace there.
    "gemma3": Family(
        Gemma3TextConfig,
        gemma_tokenizer,
        _DECODER
        | _EVERY_OTHER
        | {
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                "full_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            },
        },
    ),
    # A mixture of experts; a window in every other layer; each head has a sink, a key without a value that takes its
    # share of the softmax; positions stretched by yarn.
    "gpt-oss": Family(
        GptOssConfig,
        gpt_oss_tokenizer,
        _DECODER
        | _EVERY_OTHER
        | {
            "head_dim": 8,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10_000.0,
                "factor": 4.0,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "truncate": False,
                "original_max_position_embeddings": 128,
            },
        },
        seed=18,
    ),
    # A recurrent layer, then one of attention; no positions.
    "jamba": Family(
        JambaConfig,
        llama_tokenizer,
        _DECODER | {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1, "mamba_d_state": 4},
    ),
    # Absolute positions; neither config nor tokenizer has a pad token.
    "gpt2": Family(GPT2Config, gpt2_tokenizer, _WIDE | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    # An encoder whose head reads the first token.
    "deberta": Family(
        DebertaV2Config,
        deberta_tokenizer,
        _SIZE
        | {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "type_vocab_size": 0,
            "max_position_embeddings": 256,
            "pooler_hidden_size": 32,
            "pooler_dropout": 0.0,
        },
    ),
}


# Encoders that tell the texts of a pair apart.
_PAIR = _SIZE | {"type_vocab_size": 2, "max_position_embeddings": 256, "embedding_size": 32}
PAIR_ENCODERS: Mapping[str, Family] = {
    "bert": Family(BertConfig, pair_tokenizer, _PAIR),
    "electra": Family(ElectraConfig, pair_tokenizer, _PAIR),
    "albert": Family(AlbertConfig, pair_tokenizer, _PAIR),
}
_ALL_FAMILIES = {
    **FAMILIES,
    **PAIR_ENCODERS,
    # An encoder of one text, whose positions are counted from the one after its pad token's id.
    "roberta": Family(RobertaConfig, pair_tokenizer, _SIZE | {"type_vocab_size": 1, "max_position_embeddings": 258}),
}


def classifier(family: str, folder: Path, tokenizer: PreTrainedTokenizerFast | None = None, **changes: Any) -> Path:
    """A model with a head for one number; changes are made to the family's settings."""
    tokenizer = tokenizer or _ALL_FAMILIES[family].tokenizer()
    config = _config(family, tokenizer, {"num_labels": 1} | changes)
    return _save(AutoModelForSequenceClassification, config, tokenizer, folder, _ALL_FAMILIES[family].seed)


def causal(name: str, folder: Path, seed: int = 20, **changes: Any) -> Path:
    """A language model by its name in CAUSAL_BUILDERS. Another seed gives another model with the same tokenizer, as a
    policy and its reference are."""
    family = name.removesuffix("-lm")
    tokenizer = FAMILIES[family].tokenizer()
    return _save(AutoModelForCausalLM, _config(family, tokenizer, changes), tokenizer, folder, seed)


def adapter(base: Path, folder: Path, seed: int = 21, task: str = "CAUSAL_LM") -> Path:
    """A LoRA adapter for a language model with q_proj and v_proj, as peft publishes it: beside its weights stand the
    base model's tokenizer and, in the config, where the base model is. One for the task SEQ_CLS has a reward head."""
    from peft import LoraConfig, get_peft_model

    kinds: Mapping[str, Any] = {"CAUSAL_LM": AutoModelForCausalLM, "SEQ_CLS": AutoModelForSequenceClassification}
    model = kinds[task].from_pretrained(base, num_labels=1)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type=task)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        adapted = get_peft_model(model, settings)
        for name, weight in adapted.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                weight.normal_(std=0.5)  # a new adapter's B is 0, which changes nothing
    adapted.save_pretrained(folder)
    for file in base.iterdir():
        if file.name.startswith(("tokenizer", "chat_template")):
            shutil.copy(file, folder)
    return folder


def head_weights(prefix: str = "v_head.summary", width: int = 32, seed: int = 22) -> dict[str, torch.Tensor]:
    """A random value head with a bias."""
    random = torch.Generator().manual_seed(seed)
    shapes = {"weight": (1, width), "bias": (1,)}
    return {f"{prefix}.{part}": torch.randn(shape, generator=random) for part, shape in shapes.items()}


def trl_value_head(folder: Path, family: str = "llama") -> Path:
    """A language model with a value head among its weights, as TRL saves it."""
    causal(f"{family}-lm", folder)
    edit_weights(folder, lambda weights: weights.update(head_weights()))
    return folder


def llama_factory_value_head(folder: Path, base: Path | None = None) -> Path:
    """A value head in a file of its own, as LLaMA-Factory saves it, beside a language model or an adapter of `base`."""
    if base is None:
        causal("llama-lm", folder)
    else:
        adapter(base, folder)
    save_file(head_weights(), folder / "value_head.safetensors", metadata={"format": "pt"})
    return folder


def openrlhf_value_head(folder: Path, prefix: str = "value_head", **settings: Any) -> Path:
    """A body with a head without a bias, as OpenRLHF saves it; the config has no num_labels."""
    causal("llama-lm", folder)

    def edit(weights: dict[str, torch.Tensor]) -> None:
        del weights["lm_head.weight"]
        weights[f"{prefix}.weight"] = head_weights(prefix)[f"{prefix}.weight"]

    edit_weights(folder, edit)
    edit_config(folder, architectures=["RewardModel"], **settings)
    return folder


def gated(folder: Path, **settings: Any) -> Path:
    """A body with five rewards and a gating network, as RLHFlow publishes it, with code of its own."""
    causal("llama-lm", folder)
    random = torch.Generator().manual_seed(23)
    widths = (32, 16, 16, 5)
    shapes = {"regression_layer.weight": (5, 32), "reward_transform_matrix": (5, 5), "gating.logit_scale": (1,)}
    for i, (narrow, wide) in enumerate(pairwise(widths)):
        shapes |= {f"gating.layers.{i}.weight": (wide, narrow), f"gating.layers.{i}.bias": (wide,)}

    def edit(weights: dict[str, torch.Tensor]) -> None:
        del weights["lm_head.weight"]
        weights |= {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}

    edit_weights(folder, edit)
    settings = {"num_objectives": 5, "gating_hidden_dim": 16, "gating_n_hidden": 2, "gating_temperature": 2} | settings
    code = {"AutoModelForSequenceClassification": "modeling_custom.LlamaForRewardModelWithGating"}
    edit_config(folder, architectures=["LlamaForRewardModelWithGating"], auto_map=code, **settings)
    return folder


def process(family: str, folder: Path, **changes: Any) -> Path:
    """A token classifier with two outputs, as TRL trains it: the second means that a step is right."""
    tokenizer = FAMILIES[family].tokenizer()
    config = _config(family, tokenizer, {"num_labels": 2} | changes)
    return _save(AutoModelForTokenClassification, config, tokenizer, folder, FAMILIES[family].seed)


def two_layer_process(folder: Path) -> Path:
    """A body under two linear layers with a ReLU between them and code of its own, as Qwen2.5-Math-PRM."""
    causal("qwen2-lm", folder, tie_word_embeddings=True)
    random = torch.Generator().manual_seed(24)
    shapes = {"score.0.weight": (32, 32), "score.0.bias": (32,), "score.2.weight": (2, 32), "score.2.bias": (2,)}
    edit_weights(folder, lambda w: w.update({n: 0.3 * torch.randn(s, generator=random) for n, s in shapes.items()}))
    code = {"AutoModel": "modeling_custom.Qwen2ForProcessRewardModel"}
    edit_config(folder, architectures=["Qwen2ForProcessRewardModel"], auto_map=code)
    return folder


def llama(folder: Path, tokenizer: PreTrainedTokenizerFast | None = None, **changes: Any) -> Path:
    return classifier("llama", folder, tokenizer, **changes)


def llama_dated(folder: Path) -> Path:
    """The template writes the date."""
    return llama(folder, TOKENIZERS["llama-dated"]())


def llama_pad_is_eos(folder: Path) -> Path:
    """The token that ends each turn is the pad token as well."""
    return llama(folder, TOKENIZERS["llama-pad-is-eos"]())


def gpt2(folder: Path, tokenizer: PreTrainedTokenizerFast | None = None, **changes: Any) -> Path:
    return classifier("gpt2", folder, tokenizer, **changes)


def gpt2_pad_is_eos(folder: Path) -> Path:
    return gpt2(folder, TOKENIZERS["gpt2-pad-is-eos"]())


BUILDERS: Mapping[str, Callable[[Path], Path]] = {
    **{name: partial(classifier, name) for name in FAMILIES},
    "llama-dated": llama_dated,
    "llama-pad-is-eos": llama_pad_is_eos,
    "gpt2-pad-is-eos": gpt2_pad_is_eos,
}


CAUSAL_BUILDERS: Mapping[str, Callable[[Path], Path]] = {
    name: partial(causal, name)
    for name in ("llama-lm", "mistral-lm", "qwen2-lm", "phi3-lm", "mixtral-lm", "gemma2-lm", "gpt2-lm")
}


# Those with a head that reads one token of a decoder.
DECODERS = tuple(name for name in BUILDERS if name != "deberta")


# Those that cannot have several texts in a row: an encoder's tokens look at all others, by attention of its own kind,
# and a recurrent layer carries its state from each text into the next, whatever the attention mask says.
UNPACKABLE = ("deberta", "jamba")


def edit_config(folder: Path, **changes: Any) -> None:
    """Change a saved config.json; None as a value is written as null."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change a saved checkpoint's weights in place."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    edit(weights)
    save_file(weights, path, metadata={"format": "pt"})


def _config(family: str, tokenizer: PreTrainedTokenizerFast, changes: Mapping[str, Any]) -> PreTrainedConfig:
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    own = {name: getattr(tokenizer, name) for name in names} | {"vocab_size": len(tokenizer)}
    settings = deepcopy(dict(_ALL_FAMILIES[family].settings))  # a config may fill in what it is given
    return _ALL_FAMILIES[family].config(**(settings | own | changes))


def _save(kind: Any, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast, folder: Path, seed: int) -> Path:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = kind.from_config(config)
        for name, weight in model.named_parameters():
            if name.endswith("bias") and not weight.any():
                weight.normal_(std=0.5)  # a bias of 0 would not be missed
            elif name.endswith("sinks"):
                weight.normal_(10.0, 5.0)  # nor a sink that is small beside what attention scores are here
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def often_ending(folder: Path) -> Path:
    """Build a model that ends most of its replies after 4 to 30 tokens."""
    causal("llama-lm", folder)
    edit_weights(folder, lambda weights: weights["lm_head.weight"][1].mul_(2.0))  # <|eot_id|>
    return folder


def change_generation_config(folder: Path, **settings: Any) -> None:
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def changed_adapter(
    published: Path, out: Path, edit: Callable[[dict[str, torch.Tensor]], Any] = len, **settings: Any
) -> Path:
    """Write a copy of an adapter with its weights edited in place and its settings changed."""
    folder = Path(shutil.copytree(published, out))
    weights = load_file(folder / "adapter_model.safetensors")
    edit(weights)
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | settings))
    return folder
