"""Additions to generation with transformers: settings of a reply, noise seeded per reply, and log-probabilities.

At temperature 0 a reply is that of `transformers serve` with the same weights: the most likely token at each step,
after the changes that the model's own generation config makes to the scores (a repetition penalty, for example). Above
0 the most likely token is taken after noise was added (Gumbel-max, an exact sample of the softmax): the noise has a
generator per reply, whereas `multinomial` draws for a whole batch from one generator.
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

# Settings of a generation config that only apply when transformers samples or searches; the latter with neutral values.
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_h")
SEARCH: dict[str, Any] = {
    "do_sample": False, "num_beams": 1, "num_return_sequences": 1, "num_beam_groups": None, "penalty_alpha": None,
    "length_penalty": None, "early_stopping": None, "diversity_penalty": None,
}  # fmt: skip

# Settings that do not affect which token follows.
_NO_EFFECT = (
    "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "max_length", "max_new_tokens",
    "use_cache", "cache_implementation", "output_attentions", "output_hidden_states", "output_logits", "output_scores",
    "return_dict_in_generate", "transformers_version", "_from_model_config", "trust_remote_code", "chat_format",
)  # fmt: skip

# Values of other settings that have no effect either.
_NEUTRAL: dict[str, Any] = {
    "repetition_penalty": 1.0, "encoder_repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_length": 0,
    "min_new_tokens": 0, "encoder_no_repeat_ngram_size": 0, "guidance_scale": 1.0, "suppress_tokens": [],
}  # fmt: skip


def own_settings(config: Any) -> dict[str, Any]:
    """Return the settings of a model's generation config that change scores without sampling; most models have none.

    These are penalties, minimum lengths and suppressed tokens.
    """
    skipped = {*SAMPLING, *SEARCH, *_NO_EFFECT}
    settings = {name: value for name, value in config.to_diff_dict().items() if name not in skipped}
    return {k: v for k, v in settings.items() if v is not None and not (k in _NEUTRAL and v == _NEUTRAL[k])}


def end_tokens(config: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that end a reply: those of the generation config, and the tokenizer's.

    Some published configs leave out the latter although the chat template ends every turn with it.
    """
    ids = config.eos_token_id if isinstance(config.eos_token_id, list | tuple) else [config.eos_token_id]
    return tuple(dict.fromkeys(int(token) for token in (*ids, tokenizer.eos_token_id) if token is not None))


def generation_config(config: Any, max_tokens: int, eos: Sequence[int], pad: int) -> Any:
    """Return the model's own config, changed to take the most likely token each time, at most `max_tokens` of them."""
    made = copy.deepcopy(config)
    for name, value in (dict.fromkeys(SAMPLING) | SEARCH).items():
        if hasattr(made, name):
            setattr(made, name, value)
    made.max_length, made.max_new_tokens = None, max_tokens
    made.eos_token_id, made.pad_token_id = list(eos) or None, pad
    made.use_cache, made.cache_implementation = True, None
    made.return_dict_in_generate = made.output_logits = made.output_scores = False
    return made


def noise_seed(decoding: Decoding, request: Request) -> int:
    """Return the seed of a request's noise. Equal requests get equal replies in every batch."""
    digest = hashlib.sha256(f"{decoding.seed} {request.sha256}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def sampling(config: Any, decoding: Decoding, requests: Sequence[Request], device: torch.device) -> list[Any]:
    """Return the logits processors that make the most likely token a sample; none at temperature 0.

    They apply the temperature, top_k, top_p and min_p of the model's own generation config, and noise.
    """
    if decoding.temperature == 0:
        return []
    made: list[Any] = [TemperatureLogitsWarper(decoding.temperature)]
    if config.top_k:
        made.append(TopKLogitsWarper(config.top_k))
    if config.top_p is not None and config.top_p < 1:
        made.append(TopPLogitsWarper(config.top_p))
    if config.min_p:
        made.append(MinPLogitsWarper(config.min_p))
    return [*made, Noise([noise_seed(decoding, request) for request in requests], device)]


class Noise(LogitsProcessor):
    """Adds Gumbel noise to the scores, with one generator per row."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores (rows, vocabulary) with noise."""
        drawn = torch.empty_like(scores)
        for row, generator in zip(drawn, self.generators, strict=True):
            row.exponential_(generator=generator)
        return scores - drawn.clamp_min(torch.finfo(drawn.dtype).tiny).log()


class Recorder(StoppingCriteria):
    """Records the log-probability of the token taken at each step, and those of the most likely tokens.

    They are the model's own, in float32, before penalties and temperature. As a stopping criterion it receives every
    token, and never stops.
    """

    def __init__(self, top: int) -> None:
        self.top = top
        self._now: Tensor | None = None
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []

    @contextmanager
    def listening(self, model: Any) -> Iterator[None]:
        """Record the logits of every forward pass inside the context."""

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
        """Return log-probabilities of the tokens taken (rows, steps) and of the most likely ones (rows, steps, top).

        The third tensor has the ids of the latter. All are on the CPU.
        """
        taken, values, ids = (torch.stack(tensors, dim=1).cpu() for tensors in zip(*self._steps, strict=True))
        return taken, values, ids


@contextmanager
def head_at(model: Any, last: Tensor) -> Iterator[None]:
    """Give the model's head only the token `last` (rows,) of each row, so that memory never holds length x vocabulary.

    Later changes to logits are the model's own. A head with another shape of input sees all tokens.
    """

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
