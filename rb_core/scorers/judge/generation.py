"""What local generation adds to transformers' own: the settings of a reply, noise of its own for each, and
log-probabilities.

At temperature 0 a reply is what `transformers serve` gives for the same weights: the likeliest token each time, after
what the model's own generation config does to the scores (a repetition penalty, say), which is part of how the model
was published. Above 0 the likeliest token is taken after noise was added (Gumbel-max: an exact sample of the softmax),
since the noise can come from a generator for each reply, where `multinomial` draws for a whole batch from one.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    MinPLogitsWarper,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from rb_core.scorers.judge.types import Decoding, Request

# Settings of a generation config that only matter when transformers samples, or searches; and their neutral values.
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_h")


SEARCH: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "num_return_sequences": 1,
    "num_beam_groups": None,
    "penalty_alpha": None,
}


SEARCH |= {"length_penalty": None, "early_stopping": None, "diversity_penalty": None}


# Settings that say nothing of which token follows.
_ELSEWHERE = (
    "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "max_length", "max_new_tokens",
    "use_cache", "cache_implementation", "output_attentions", "output_hidden_states", "output_logits", "output_scores",
    "return_dict_in_generate", "transformers_version", "_from_model_config", "trust_remote_code", "chat_format",
)  # fmt: skip


# Settings written out at the value they have anyway.
_NEUTRAL: dict[str, Any] = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
}


_NEUTRAL |= {"min_new_tokens": 0, "encoder_no_repeat_ngram_size": 0, "guidance_scale": 1.0, "suppress_tokens": []}


def own_settings(config: Any) -> dict[str, Any]:
    """What a model's generation config does to the scores of the next token, even where nothing is sampled: its
    penalties, minimum lengths, suppressed tokens. Most models have none."""
    skipped = {*SAMPLING, *SEARCH, *_ELSEWHERE}
    found = {name: value for name, value in config.to_diff_dict().items() if name not in skipped}
    return {k: v for k, v in found.items() if v is not None and not (k in _NEUTRAL and v == _NEUTRAL[k])}


def ends(config: Any, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end a reply: those of the generation config, and the tokenizer's, which some published configs
    leave out though the chat template ends every turn with it."""
    own = config.eos_token_id
    every = [*(own if isinstance(own, list | tuple) else [own]), tokenizer.eos_token_id]
    return tuple(dict.fromkeys(int(token) for token in every if token is not None))


def generation_config(config: Any, max_tokens: int, eos: Sequence[int], pad: int) -> Any:
    """The model's own config, for the likeliest token each time and at most so many of them."""
    made = copy.deepcopy(config)
    for name, value in (dict.fromkeys(SAMPLING) | SEARCH).items():
        if hasattr(made, name):
            setattr(made, name, value)
    made.max_length, made.max_new_tokens = None, max_tokens
    made.eos_token_id, made.pad_token_id = list(eos) or None, pad
    made.use_cache, made.cache_implementation = True, None
    made.return_dict_in_generate = made.output_logits = made.output_scores = False
    return made


def seed_of(decoding: Decoding, request: Request) -> int:
    """Of a request's noise: equal requests get equal replies, whatever stands beside them."""
    digest = hashlib.sha256(f"{decoding.seed} {request.sha256}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def sampling(config: Any, decoding: Decoding, requests: Sequence[Request], device: torch.device) -> list[Any]:
    """What turns "the likeliest token" into a sample: the temperature, the top_k, top_p and min_p that the model's own
    generation config names, and noise. Nothing at temperature 0."""
    if decoding.temperature == 0:
        return []
    made: list[Any] = [TemperatureLogitsWarper(decoding.temperature)]
    if config.top_k:
        made.append(TopKLogitsWarper(config.top_k))
    if config.top_p is not None and config.top_p < 1:
        made.append(TopPLogitsWarper(config.top_p))
    if config.min_p:
        made.append(MinPLogitsWarper(config.min_p))
    return [*made, Noise([seed_of(decoding, request) for request in requests], device)]


class Noise(LogitsProcessor):
    """Adds Gumbel noise to the scores, each row's from a generator of its own."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(rows, vocabulary) to the same."""
        drawn = torch.empty_like(scores)
        for row, generator in zip(drawn, self.generators, strict=True):
            row.exponential_(generator=generator)
        return scores - drawn.clamp_min(torch.finfo(drawn.dtype).tiny).log()


class Recorder(StoppingCriteria):
    """The log-probabilities of each step: of the token that was taken and of the likeliest. They are the model's own,
    in float32, before penalties and temperature. It stops nothing; it is told after each step which token it was."""

    def __init__(self, top: int) -> None:
        self.top = top
        self._now: Tensor | None = None
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []

    @contextmanager
    def listening(self, model: Any) -> Iterator[None]:
        """Takes the logits of every forward pass within."""

        def take(_module: Any, _inputs: Any, output: Any) -> None:
            self._now = output.logits[:, -1].float().log_softmax(-1)

        hook = model.register_forward_hook(take)
        try:
            yield
        finally:
            hook.remove()

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        if self._now is None:
            raise RuntimeError("a token without a forward pass")
        now = self._now.to(input_ids.device)
        self._steps.append(
            (now.gather(1, input_ids[:, -1:])[:, 0], *now.topk(min(self.top, now.shape[1]), dim=1))  # values, indices
        )
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

    def steps(self) -> tuple[Tensor, Tensor, Tensor]:
        """(rows, steps) of the tokens taken; (rows, steps, top) of the likeliest, and their ids; on the processor."""
        taken, values, ids = (torch.stack(each, dim=1).cpu() for each in zip(*self._steps, strict=True))
        return taken, values, ids


@contextmanager
def head_at(model: Any, last: Tensor) -> Iterator[None]:
    """Within it the head sees one token a row, `last` (rows,), so that memory never holds length x vocabulary; what a
    family does to logits after the head stays the model's own. A head of another shape of input sees all of it."""

    def pick(_module: Any, inputs: tuple[Any, ...]) -> Any:
        hidden = inputs[0]
        if hidden.dim() != 3 or hidden.shape[0] != len(last):
            return None
        rows = torch.arange(len(last), device=hidden.device)
        return (hidden[rows, last.to(hidden.device)][:, None], *inputs[1:])

    head = model.get_output_embeddings()
    hook = None if head is None else head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        if hook is not None:
            hook.remove()
