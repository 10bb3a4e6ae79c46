"""Tokenizers small enough to train in a test, with a chat template in the style of a family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

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

CHATML_TEMPLATE = (
    "{%- for turn in messages %}"
    "{{- '<|im_start|>' + turn['role'] + '\\n' + turn['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
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

# After the last turn comes the token that ends a text, which is the pad token as well.
PHI3_TEMPLATE = (
    "{% for turn in messages %}{{ '<|' + turn['role'] + '|>\\n' + turn['content'] + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)

# The last answer ends in a token of its own; a prompt for an answer leaves the channel open.
HARMONY_TEMPLATE = (
    "{%- for turn in messages %}"
    "{%- if turn['role'] == 'assistant' %}"
    "{{- '<|start|>assistant<|channel|>final<|message|>' + turn['content'] }}"
    "{{- '<|return|>' if loop.last else '<|end|>' }}"
    "{%- else %}{{- '<|start|>' + turn['role'] + '<|message|>' + turn['content'] + '<|end|>' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}"
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

# Writes everything that a conversation with tools says.
TOOL_TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% for turn in messages %}{{ '<|start_header_id|>' + turn['role'] + '<|end_header_id|>' }}"
    "{% if turn['reasoning_content'] %}{{ '(' + turn['reasoning_content'] + ')' }}{% endif %}{{ turn['content'] }}"
    "{% for call in turn['tool_calls'] %}{{ call['function']['name'] + (call['function']['arguments'] | tojson) }}"
    "{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>' }}{% endif %}"
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


def llama_tokenizer(template: str | dict[str, str] | None = LLAMA_TEMPLATE, **options: Any) -> PreTrainedTokenizerFast:
    """BOS from template and post-processor alike; the header tokens are special and, as in Llama 3, have no name."""
    special = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|pad|>")
    named = {"bos_token": special[0], "eos_token": special[1], "pad_token": special[4]}
    return make_tokenizer(
        special, adds_bos=special[0], chat_template=template, **({"model_max_length": 512} | named | options)
    )


def chatml_tokenizer(
    template: str = CHATML_TEMPLATE, *, ordinary: tuple[str, ...] = (), **options: Any
) -> PreTrainedTokenizerFast:
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    named = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "extra_special_tokens": ["<|im_start|>"]}
    return make_tokenizer(
        special, ordinary=ordinary, chat_template=template, **({"model_max_length": 512} | named | options)
    )


def qwen2_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    """Text is split as Qwen2Tokenizer splits it, which transformers loads for a qwen2 model whatever was saved."""
    tokenizer, own = chatml_tokenizer(**options), Qwen2Tokenizer().backend_tokenizer
    tokenizer.backend_tokenizer.normalizer = own.normalizer
    tokenizer.backend_tokenizer.pre_tokenizer = own.pre_tokenizer
    return tokenizer


def qwen3_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    return chatml_tokenizer(QWEN3_TEMPLATE, ordinary=("<think>", "</think>"), **options)


def phi3_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    special = ("<|endoftext|>", "<s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    named = {"bos_token": "<s>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    named |= {"extra_special_tokens": list(special[2:])}
    return make_tokenizer(special, chat_template=PHI3_TEMPLATE, **({"model_max_length": 512} | named | options))


def gpt_oss_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    special = ("<|startoftext|>", "<|endoftext|>", "<|return|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>")
    named = {"bos_token": "<|startoftext|>", "eos_token": "<|return|>", "pad_token": "<|endoftext|>"}
    named |= {"extra_special_tokens": list(special[3:])}
    return make_tokenizer(special, chat_template=HARMONY_TEMPLATE, **({"model_max_length": 512} | named | options))


def gemma_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
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


def pair_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    """Puts two texts together as BERT's tokenizer does, with token types 0 and 1."""
    tokenizer = deberta_tokenizer(**options)
    ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    return tokenizer


# By the name of the model in tiny_models.BUILDERS; models with the same tokenizer as one of these are left out.
TOKENIZERS: Mapping[str, Callable[[], PreTrainedTokenizerFast]] = {
    "llama": llama_tokenizer,
    "llama-dated": partial(llama_tokenizer, DATED_TEMPLATE),
    "llama-pad-is-eos": partial(llama_tokenizer, pad_token="<|eot_id|>"),  # noqa: S106 - no password
    "qwen2": qwen2_tokenizer,
    "qwen3": qwen3_tokenizer,
    "phi3": phi3_tokenizer,
    "gpt-oss": gpt_oss_tokenizer,
    "gemma2": gemma_tokenizer,
    "gpt2": gpt2_tokenizer,
    "gpt2-pad-is-eos": partial(gpt2_tokenizer, pad_token="<|endoftext|>"),  # noqa: S106 - no password
    "deberta": deberta_tokenizer,
}
# The template a model needs because its tokenizer has none.
DECLARED = {
    "gpt2": GPT2_TEMPLATE,
    "gpt2-pad-is-eos": GPT2_TEMPLATE,
    "gpt2-lm": GPT2_TEMPLATE,
    "deberta": DEBERTA_TEMPLATE,
    "bert": DEBERTA_TEMPLATE,
    "electra": DEBERTA_TEMPLATE,
    "albert": DEBERTA_TEMPLATE,
}
