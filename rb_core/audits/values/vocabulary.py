"""A model's vocabulary as answers to one prompt: every token whose text, as the answer, is that token again.

Whole vocabularies as answers, ranked by a reward model: Christian et al. 2025, arXiv:2506.07326.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from rb_core.benchmarks.example import Conversation
from rb_core.models.options import CONVERSATION_KINDS, ModelOptions
from rb_core.models.resolve import ModelSpec, resolve


class Vocabulary(NamedTuple):
    """The tokens of a model as answers. size: number of token ids; texts: of those that are an answer of one token."""

    size: int
    texts: tuple[str, ...]


def model_vocabulary(model: str, options: ModelOptions, prompt: Conversation) -> Vocabulary | None:
    """Return the vocabulary of a model as answers to a prompt; None for a model without a tokenizer of its own, such as
    a baseline or a judge. Raises ModelError."""
    spec = resolve(model, options)
    return expressible_tokens(spec, prompt) if spec.kind in CONVERSATION_KINDS else None


def expressible_tokens(spec: ModelSpec, prompt: Conversation) -> Vocabulary:
    """Return the tokens of a model's tokenizer that can be an answer by themselves.

    Special tokens, parts of characters, and tokens that the chat template or the tokenizer changes behind the prompt
    cannot. Raises ModelError.
    """
    # torch is not imported by the command line before it is needed
    from rb_core.scorers.adapter import load_own_tokenizer
    from rb_core.scorers.loading import load_config, max_length_of

    tokenizer = load_own_tokenizer(spec)
    chat = spec.chat_format(tokenizer, max_length_of(spec, load_config(spec), tokenizer))
    texts = {number: text for number, text in _texts(tokenizer).items() if text and not chat.control_tokens(text)}
    answers = dict(zip(texts, chat.encode(prompt, tuple(texts.values())), strict=True))
    (closing, _), *_ = Counter(answer.ids[answer.start + 1 :] for answer in answers.values()).most_common(1)
    is_answer = [
        number
        for number, answer in answers.items()
        if answer.ids == (*answer.prompt, number, *closing) and not answer.reason
    ]
    return Vocabulary(len(tokenizer), tuple(dict.fromkeys(texts[number] for number in is_answer)))


def _texts(tokenizer: Any) -> dict[int, str]:
    """Return the text of each token; without a leading space where the tokenizer puts one before any text."""
    texts = [str(tokenizer.decode([number])) for number in range(len(tokenizer))]
    bare = [text.removeprefix(" ") for text in texts]
    ids = tokenizer(bare, add_special_tokens=False)["input_ids"]
    return {number: bare[number] if ids[number] == [number] else texts[number] for number in range(len(texts))}
