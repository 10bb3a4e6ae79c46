"""Implicit rewards: how much likelier a policy finds a completion than the model its training started from.

beta x (log p_policy - log p_reference), summed over the completion's tokens, the same tokens for both models (Rafailov
et al. 2023, "Direct Preference Optimization", equation 5 but for a term that depends on the prompt alone). Without a
reference, three named stand-ins: `sum` and `mean` of the policy's log-probabilities, and `norm`, minus their Euclidean
norm (the variants that allenai/reward-bench has in rewardbench/dpo.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import ModelError
from rb_core.models.chat_format import ChatFormat, Encoded
from rb_core.models.checkpoint import Checkpoint
from rb_core.models.options import ReferenceFree
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.adapter import load_own_tokenizer, put_adapter
from rb_core.scorers.conversation_scorer import TOLERANCE, ConversationScorer, Inputs, Prefetched
from rb_core.scorers.loading import (
    batch_budget,
    check_weights,
    load_config,
    load_model,
    load_tokenizer,
    move_to_device,
    own_max_length,
)

# How many logits are held at once, in float32: tokens x vocabulary.
LOGITS_AT_ONCE = {"cpu": 1 << 24, "cuda": 1 << 26, "mps": 1 << 24}
UNKNOWN_TO_REFERENCE = "has a token that the reference model does not know"
NOTHING_BEFORE = "no token of the prompt is left to tell the completion's first by"


@dataclass
class ImplicitScorer(ConversationScorer):
    """A loaded policy, `model`, and what it is measured against. Made by `load`.

    reference: another model; adapters: the PEFT model around `model`, whose adapter is switched off for the reference;
    neither: `reference_free` says what is made of the policy's log-probabilities.
    """

    reference: Any = None
    adapters: Any = None
    beta: float = 1.0
    reference_free: ReferenceFree | None = None
    _size: float = field(default=1.0, init=False)

    @classmethod
    def load(cls, spec: ModelSpec, upcoming: Sequence[CompletionSet] = ()) -> ImplicitScorer:
        """Load policy and reference, and find out how they may be batched.

        upcoming: what is going to be scored; it is tokenised while the weights are loaded.

        Raises ModelError when a weight is missing or left over, there is no chat template, or the two models do not
        give their tokens the same numbers.
        """
        with ThreadPoolExecutor(1) as beside:
            weights = beside.submit(_load_models, spec)
            tokenizer = load_own_tokenizer(spec)
            max_length = own_max_length(spec, load_config(spec.name, spec.checkpoint), tokenizer)
            if spec.reference is not None and spec.reference != spec.checkpoint:
                check_vocabulary(spec, tokenizer, load_tokenizer(spec.reference.name, spec.reference))
                config = load_config(spec.reference.name, spec.reference)
                max_length = min(max_length, own_max_length(spec, config, tokenizer))
            chat = ChatFormat(tokenizer, max_length, spec.chat_template, spec.system_role)
            prefetched = Prefetched(chat, upcoming, chat.encode_all([each[:2] for each in upcoming]))
            model, reference, adapters = weights.result()
        device = move_to_device(model, spec)
        if reference is not None:
            move_to_device(reference, spec)
        scorer = cls(
            model,
            chat,
            device,
            spec.options.batch_tokens or batch_budget([model, *([reference] if reference else [])], device),
            prefetched=prefetched,
            reference=reference,
            adapters=adapters,
            beta=spec.beta,
            reference_free=spec.options.reference_free,
            spec=spec,
        )
        scorer.choose_batching()
        return scorer

    # ---- the number

    def encode_all(self, completion_sets: Sequence[CompletionSet]) -> list[list[Encoded]]:
        return [[self._checked(each) for each in works] for works in super().encode_all(completion_sets)]

    def _checked(self, encoded: Encoded) -> Encoded:
        """With a reason where a token has no log-probability: nothing stands before it, or the reference lacks it."""
        if encoded.start == 0 and not encoded.reason:
            return encoded._replace(reason=NOTHING_BEFORE)
        if self.reference is not None:  # the policy's own base knows the same tokens
            known = self.reference.get_input_embeddings().weight.shape[0]
            if max(encoded.ids, default=0) >= known:
                return encoded._replace(reason=UNKNOWN_TO_REFERENCE)
        return encoded

    def models(self) -> list[Any]:
        return [each for each in (self.model, self.reference) if each is not None]

    def reads(self, encoded: Encoded) -> range:
        """The token before each of the completion's: there the model says what it expects next."""
        return range(encoded.start - 1, len(encoded.ids) - 1)

    def values(self, inputs: Inputs) -> Tensor:
        return self._reduce(self._rewards(inputs, self._logprobs), inputs)

    def own_values(self, inputs: Inputs) -> Tensor:
        return self._reduce(self._rewards(inputs, self._own_logprobs), inputs)

    def _rewards(self, inputs: Inputs, logprobs: Any) -> Tensor:
        """(tokens read,) float32: each token's log-ratio times beta; without a reference its log-probability."""
        policy: Tensor = logprobs(self.model, inputs)
        if self.reference_free is not None:
            return policy
        with self._without_adapter():
            reference = logprobs(self.model if self.reference is None else self.reference, inputs)
        ratio: Tensor = policy - reference.to(policy.device)
        return self.beta * ratio

    def _without_adapter(self) -> AbstractContextManager[Any]:
        """Where the reference is the policy's own base, that base."""
        if self.adapters is None or self.reference is not None:
            return nullcontext()
        return self.adapters.disable_adapter()  # type: ignore[no-any-return]

    def _reduce(self, tokens: Tensor, inputs: Inputs) -> Tensor:
        """(tokens read,) to (conversations,). Sums are taken in float64 where the device has it."""
        sizes = [len(self.reads(work)) for work in inputs.works]
        exact = tokens if tokens.device.type == "mps" else tokens.double()
        padded = pad_sequence(list(torch.split(exact, sizes)), batch_first=True)  # padded by zeros, which add nothing
        if self.reference_free == "norm":
            return -padded.square().sum(dim=1).sqrt().float()
        total = padded.sum(dim=1)
        if self.reference_free == "mean":
            total = total / torch.tensor(sizes, device=total.device)
        return total.float()

    @torch.inference_mode()
    def token_rewards(self, encoded: Encoded) -> list[float]:
        """What each token of the completion adds to the reward, by one forward pass of each model.

        They add up to the score, but for `mean` and `norm`, where they are the tokens' log-probabilities.
        """
        inputs = self.inputs([encoded], [(0, 0)], "bucketed")
        rewards: list[float] = self._rewards(inputs, self._logprobs).cpu().tolist()
        return rewards

    # ---- log-probabilities, (tokens read,) float32: each of the tokens that follow those read

    def _logprobs(self, model: Any, inputs: Inputs) -> Tensor:
        """Through the body alone; the head sees the tokens that are read, some at a time, so that memory never holds
        length x vocabulary."""
        hidden = self.hidden(model.base_model, inputs)
        targets = self._targets(inputs, hidden.device)
        vocabulary = model.get_output_embeddings().weight.shape[0]
        rows = max(1, LOGITS_AT_ONCE.get(self.device.type, 1 << 24) // vocabulary)
        found = [
            logprobs_of(_logits(model, some), wanted)
            for some, wanted in zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True)
        ]
        return torch.cat(found) if found else targets.float()

    def _own_logprobs(self, model: Any, inputs: Inputs) -> Tensor:
        """Through the model's own forward pass."""
        logits = model(input_ids=inputs.ids, attention_mask=inputs.mask, use_cache=False).logits
        return logprobs_of(logits.flatten(0, 1)[inputs.reads.to(logits.device)], self._targets(inputs, logits.device))

    def _targets(self, inputs: Inputs, device: torch.device) -> Tensor:
        following = [work.ids[token + 1] for work in inputs.works for token in self.reads(work)]
        return torch.tensor(following, dtype=torch.int64, device=device)

    # ---- load

    def scale(self, own: Sequence[float]) -> float:
        """The rounding of a difference grows with what is subtracted: the log-probabilities of the first probe."""
        return super().scale(own) if self.reference_free else self._size

    def possible_batchings(self, works: Sequence[Encoded], own: Sequence[float]) -> list[str]:
        """Body and head apart are possible if on single conversations they are what the model does itself."""
        if self.reference_free is None:
            logprobs = self._own_logprobs(self.model, self.inputs(works[:1], [(0, 0)], "single"))
            self._size = self.beta * float(logprobs.sum().abs()) or 1.0
        if self._difference_alone(works, own) <= TOLERANCE.get(self.model.dtype, 0.0) * self.scale(own):
            return ["packed", "bucketed", "bucketed-own-forward"]
        return ["bucketed-own-forward"]

    def describe(self) -> dict[str, Any]:
        spec = self.spec
        output = f"reference-free {self.reference_free}" if self.reference_free else "log-ratio"
        described = self.describe_model(spec) | {"kind": "implicit", "output": output}
        if self.reference_free is None:
            described["beta"] = self.beta
        if spec is not None and spec.reference is not None:
            described |= {"reference": spec.reference.name, "reference_revision": spec.reference.revision}
        if spec is not None and spec.adapter is not None:
            described |= {"adapter": spec.adapter.name, "adapter_revision": spec.adapter.revision}
        return described


def logprobs_of(logits: Tensor, targets: Tensor) -> Tensor:
    """(tokens, vocabulary) and (tokens,) to (tokens,) log-probabilities in float32."""
    logits = logits.float()
    return logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(dim=1)


def _logits(model: Any, hidden: Tensor) -> Tensor:
    """The head, with what its family does to the logits afterwards: Cohere scales them up, Granite down, Gemma bounds
    them. Where a family does something else, the probe finds the difference and the model's own forward is used."""
    config = model.config.get_text_config()
    logits: Tensor = model.get_output_embeddings()(hidden)
    if (factor := getattr(config, "logit_scale", None)) is not None:
        logits = logits * factor
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        logits = logits / divisor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = torch.tanh(logits / cap) * cap
    return logits


def _load_models(spec: ModelSpec) -> tuple[Any, Any | None, Any | None]:
    """Policy, reference where it is another model, and the PEFT model around the policy where it has an adapter."""
    model = _load_language_model(spec, spec.checkpoint)
    adapters = None if spec.adapter is None else put_adapter(spec.name, model, spec.adapter)
    own_base = adapters is not None and spec.reference == spec.checkpoint
    reference = None if spec.reference is None or own_base else _load_language_model(spec, spec.reference)
    return model, reference, adapters


def _load_language_model(spec: ModelSpec, checkpoint: Checkpoint) -> Any:
    model, loading = load_model(spec, checkpoint)
    check_weights(checkpoint.name, loading)
    return model


def check_vocabulary(spec: ModelSpec, policy: Any, reference: Any) -> None:
    """Raise ModelError when the tokenizers give a token that both have different ids: the log-probabilities of one
    model would be those of other text."""
    ours, theirs = policy.get_vocab(), reference.get_vocab()
    differ = [token for token in ours.keys() & theirs.keys() if ours[token] != theirs[token]]
    if differ or not ours.keys() & theirs.keys():
        example = f", {min(differ)!r} among them" if differ else ""
        raise ModelError(
            f"{spec.name}: its tokenizer numbers {len(differ) or 'all'} tokens unlike the reference's{example}; "
            "an implicit reward needs both to read the same tokens: give the model the training started from"
        )
