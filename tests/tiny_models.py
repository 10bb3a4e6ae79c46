"""Reward models small enough to build in a test: seeded random weights, a tokenizer trained on a few sentences, and a
chat template in the style of a family. Each is saved to a folder the way a checkpoint is published."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    Gemma2Config,
    Gemma2ForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForSequenceClassification,
)

torch.set_num_threads(1)  # more than one thread is slower at this size, by far where cores are shared

SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and the dog does not mind.",
    "What is the capital of France? Paris is the capital of France.",
    "Name three rivers in Europe: the Rhine, the Danube and the Volga.",
    "You are a careful assistant. Please answer in one short sentence.",
    "user assistant system model think date Jul July 26 2024 today knowledge",
    "I do not know the answer, but here is how you could find it yourself.",
    "0 1 2 3 4 5 6 7 8 9 10 100 1000 + - = ! ? . , ; : ( ) [ ]",
)

# Each turn in a header of its own; a BOS token in front; text is trimmed.
LLAMA_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for turn in messages %}"
    "{{- '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\\n\\n' + turn['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
# The same with today's date in a system turn that is always there.
DATED_TEMPLATE = (
    "{%- if not today is defined %}{%- if strftime_now is defined %}"
    "{%- set today = strftime_now('%d %b %Y') %}"
    "{%- else %}{%- set today = '26 Jul 2024' %}{%- endif %}{%- endif %}"
    "{%- if messages[0]['role'] == 'system' %}{%- set rules = messages[0]['content'] | trim %}"
    "{%- set turns = messages[1:] %}{%- else %}{%- set rules = '' %}{%- set turns = messages %}{%- endif %}"
    "{{- bos_token + '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + today + '\\n\\n' + rules }}"
    "{{- '<|eot_id|>' }}"
    "{%- for turn in turns %}"
    "{{- '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\\n\\n' + turn['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
# The last answer gets an empty think block when it has none; a prompt for an answer does not.
QWEN3_TEMPLATE = (
    "{%- for turn in messages %}"
    "{{- '<|im_start|>' + turn['role'] + '\\n' }}"
    "{%- if turn['role'] == 'assistant' and loop.last and '</think>' not in turn['content'] %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}"
    "{%- endif %}"
    "{{- turn['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
GEMMA_TEMPLATE = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('there is no system role here') }}{% endif %}"
    "{% for turn in messages %}"
    "{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must take turns, user first') }}"
    "{% endif %}"
    "{% set name = 'model' if turn['role'] == 'assistant' else turn['role'] %}"
    "{{ '<start_of_turn>' + name + '\\n' + turn['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
# What a record or a flag declares for models whose tokenizer has no template.
GPT2_TEMPLATE = (
    "{% for turn in messages %}"
    "{% if turn['role'] == 'assistant' %}{{ '\\nAnswer: ' + turn['content'] + eos_token }}"
    "{% else %}{{ '\\n' + turn['role'] + ': ' + turn['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\nAnswer: ' }}{% endif %}"
)
DEBERTA_TEMPLATE = (
    "{{ cls_token }}"
    "{% for turn in messages %}"
    "{% if turn['role'] == 'assistant' %}{{ sep_token + turn['content'] + sep_token }}{% else %}{{ turn['content'] }}"
    "{% endif %}{% endfor %}"
)


def make_tokenizer(
    special: tuple[str, ...], *, ordinary: tuple[str, ...] = (), adds_bos: str | None = None, **options: Any
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with 400 tokens or so.

    special: control tokens, ids from 0; ordinary: added tokens that are not special; adds_bos: a token that encoding a
    plain text puts in front, as the Llama and Gemma tokenizers do; options: named tokens, template, length.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(SENTENCES, trainer)
    core.add_tokens([AddedToken(token, special=False, normalized=False) for token in ordinary])
    if adds_bos:
        core.post_processor = processors.TemplateProcessing(
            single=f"{adds_bos} $A", special_tokens=[(adds_bos, core.token_to_id(adds_bos))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=core, **options)


def llama_tokenizer(template: str | None = LLAMA_TEMPLATE, **options: Any) -> PreTrainedTokenizerFast:
    """BOS from template and post-processor alike; the header tokens are special and, as in Llama 3, have no name."""
    special = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|pad|>")
    named = {"bos_token": special[0], "eos_token": special[1], "pad_token": special[4]}
    return make_tokenizer(
        special, adds_bos=special[0], chat_template=template, **({"model_max_length": 512} | named | options)
    )


def qwen3_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    named = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "extra_special_tokens": ["<|im_start|>"]}
    return make_tokenizer(
        special,
        ordinary=("<think>", "</think>"),
        chat_template=QWEN3_TEMPLATE,
        **({"model_max_length": 512} | named | options),
    )


def gemma2_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    special = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")
    named = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    named |= {"extra_special_tokens": ["<start_of_turn>", "<end_of_turn>"]}
    return make_tokenizer(
        special, adds_bos="<bos>", chat_template=GEMMA_TEMPLATE, **({"model_max_length": 512} | named | options)
    )


def gpt2_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    """No template and one special token, which is BOS and EOS."""
    named = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    return make_tokenizer(("<|endoftext|>",), **({"model_max_length": 256} | named | options))


def deberta_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    named = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return make_tokenizer(("[PAD]", "[CLS]", "[SEP]", "[UNK]"), **({"model_max_length": 256} | named | options))


# Weights so wide that any change of input moves a score by far more than rounding does.
_SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_DECODER = {"num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.5, "max_position_embeddings": 512}


def llama(folder: Path, tokenizer: PreTrainedTokenizerFast | None = None, **changes: Any) -> Path:
    tokenizer = tokenizer or llama_tokenizer()
    config = LlamaConfig(**(_SIZE | _DECODER | _token_ids(tokenizer) | changes))
    return _save(LlamaForSequenceClassification, config, tokenizer, folder)


def llama_dated(folder: Path) -> Path:
    """The template writes the date."""
    return llama(folder, llama_tokenizer(DATED_TEMPLATE))


def llama_pad_is_eos(folder: Path) -> Path:
    """The token that ends each turn is the pad token as well."""
    return llama(folder, llama_tokenizer(pad_token="<|eot_id|>"))  # noqa: S106 - no password


def qwen3(folder: Path, **changes: Any) -> Path:
    tokenizer = qwen3_tokenizer()
    config = Qwen3Config(**(_SIZE | _DECODER | _token_ids(tokenizer) | changes))
    return _save(Qwen3ForSequenceClassification, config, tokenizer, folder)


def gemma2(folder: Path, **changes: Any) -> Path:
    """Sliding window of 8 tokens in every other layer, and soft-capped attention."""
    tokenizer = gemma2_tokenizer()
    own = {"sliding_window": 8, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 5.0}
    config = Gemma2Config(**(_SIZE | _DECODER | own | _token_ids(tokenizer) | changes))
    return _save(Gemma2ForSequenceClassification, config, tokenizer, folder)


def gpt2(folder: Path, tokenizer: PreTrainedTokenizerFast | None = None, **changes: Any) -> Path:
    """Absolute positions; neither config nor tokenizer has a pad token."""
    tokenizer = tokenizer or gpt2_tokenizer()
    own = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "initializer_range": 0.5}
    config = GPT2Config(**(own | _token_ids(tokenizer) | changes))
    return _save(GPT2ForSequenceClassification, config, tokenizer, folder)


def gpt2_pad_is_eos(folder: Path) -> Path:
    return gpt2(folder, gpt2_tokenizer(pad_token="<|endoftext|>"))  # noqa: S106 - no password


def deberta(folder: Path, **changes: Any) -> Path:
    """An encoder whose head reads the first token."""
    tokenizer = deberta_tokenizer()
    own = {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
    }
    own |= {"share_att_key": True, "position_biased_input": False, "type_vocab_size": 0, "initializer_range": 0.5}
    own |= {"max_position_embeddings": 256, "pooler_hidden_size": 32, "pooler_dropout": 0.0}
    config = DebertaV2Config(**(_SIZE | own | _token_ids(tokenizer) | changes))
    return _save(DebertaV2ForSequenceClassification, config, tokenizer, folder)


BUILDERS: Mapping[str, Callable[[Path], Path]] = {
    "llama": llama,
    "llama-dated": llama_dated,
    "llama-pad-is-eos": llama_pad_is_eos,
    "qwen3": qwen3,
    "gemma2": gemma2,
    "gpt2": gpt2,
    "gpt2-pad-is-eos": gpt2_pad_is_eos,
    "deberta": deberta,
}
# The template a model needs because its tokenizer has none.
DECLARED = {"gpt2": GPT2_TEMPLATE, "gpt2-pad-is-eos": GPT2_TEMPLATE, "deberta": DEBERTA_TEMPLATE}
# Those with a head that reads one token of a decoder.
DECODERS = tuple(name for name in BUILDERS if name != "deberta")


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


def _token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {name: getattr(tokenizer, name) for name in names} | {"vocab_size": len(tokenizer), "num_labels": 1}


def _save(kind: Any, config: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(20)
        kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
