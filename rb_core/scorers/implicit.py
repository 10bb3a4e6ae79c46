"""Score with an implicit reward: how much likelier a policy finds a completion than its reference model does.

beta x (log p_policy - log p_reference), summed over the completion's tokens, the same tokens for both models (Rafailov
et al. 2023, "Direct Preference Optimization", equation 5 without the term that depends on the prompt alone). Without a
reference there are three named variants: `sum` and `mean` of the policy's log-probabilities, and `norm`, minus their
Euclidean norm (as in rewardbench/dpo.py of allenai/reward-bench).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rb_core.benchmarks.example import CompletionSet, messages_of
from rb_core.errors import ModelError
from rb_core.models.chat_format import Encoded
from rb_core.models.checkpoint import Checkpoint
from rb_core.models.options import ReferenceFree
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.adapter import apply_adapter, load_own_tokenizer
from rb_core.scorers.conversation_scorer import TOLERANCE, ConversationScorer, Inputs, Prefetched
from rb_core.scorers.loading import (
    batch_budget,
    check_weights,
    load_config,
    load_pretrained,
    load_tokenizer,
    max_length_of,
    move_to_device,
)
from rb_core.scorers.logits import scale_logits

# The number of float32 logits in memory at once: tokens x vocabulary.
LOGITS_AT_ONCE = {"cpu": 1 << 24, "cuda": 1 << 26, "mps": 1 << 24}
# Stored values: reasons in score tables.
UNKNOWN_TO_REFERENCE = "has a token that the reference model does not know"
TOOL_RESULTS = "has results of tools, which the policy did not write"
NOTHING_BEFORE = "no token of the prompt is left to tell the completion's first by"


@dataclass
class ImplicitScorer(ConversationScorer):
    """A loaded policy, `model`, and its reference; create it with `load`.

    The reference is `reference`, another model; or, with `adapters`, the PEFT model around `model`, the policy with its
    adapter switched off. With neither, `reference_free` names the variant.
    """

    kind = "implicit"

    reference: Any = None
    adapters: Any = None
    beta: float = 1.0
    reference_free: ReferenceFree | None = None
    _probe_logprob: float = field(default=1.0, init=False)

    @classmethod
    def load(cls, spec: ModelSpec, upcoming: Sequence[CompletionSet] = (), seed: int = 0) -> ImplicitScorer:
        """Load policy and reference, and check how they may be batched.

        upcoming: input that is going to be scored; it is tokenised while the weights are loaded.

        Raises ModelError when a weight is missing or unexpected, there is no chat template, or the two models give a
        token different ids.
        """
        with ThreadPoolExecutor(1) as executor:
            weights = executor.submit(_load_models, spec)
            tokenizer = load_own_tokenizer(spec)
            max_length = max_length_of(spec, load_config(spec), tokenizer)
            if spec.reference is not None and spec.reference != spec.checkpoint:
                check_vocabulary(spec, tokenizer, load_tokenizer(spec, spec.reference))
                config = load_config(spec, spec.reference)
                max_length = min(max_length, max_length_of(spec, config, tokenizer))
            chat = spec.chat_format(tokenizer, max_length)
            prefetched = Prefetched(chat, upcoming, chat.encode_all([each[:2] for each in upcoming]))
            model, reference, adapters, unused = weights.result()
        device = move_to_device(model, spec)
        if reference is not None:
            move_to_device(reference, spec)
        scorer = cls(
            model,
            chat,
            device,
            spec.options.batch_tokens or batch_budget([model, *([reference] if reference else [])], device),
            prefetched=prefetched,
            spec=spec,
            unused=unused,
            reference=reference,
            adapters=adapters,
            beta=spec.beta,
            reference_free=spec.options.reference_free,
        )
        scorer.choose_batching()
        return scorer

    def encode_all(self, completion_sets: Sequence[CompletionSet]) -> list[list[Encoded]]:
        rows = zip(super().encode_all(completion_sets), completion_sets, strict=True)
        return [
            [self._with_reason(*each) for each in zip(row, completion_set.completions, strict=True)]
            for row, completion_set in rows
        ]

    def _with_reason(self, encoded: Encoded, completion: str) -> Encoded:
        """Add the reason why a token has no log-probability: nothing precedes it, the reference lacks it, or it is not
        the policy's own."""
        if any(message["role"] == "tool" for message in messages_of(completion)):
            return encoded._replace(reason=TOOL_RESULTS)
        if encoded.start == 0 and not encoded.reason:
            return encoded._replace(reason=NOTHING_BEFORE)
        if self.reference is not None:  # the policy's own base has the same vocabulary
            vocabulary = self.reference.get_input_embeddings().weight.shape[0]
            if max(encoded.ids, default=0) >= vocabulary:
                return encoded._replace(reason=UNKNOWN_TO_REFERENCE)
        return encoded

    def models(self) -> list[Any]:
        return [model for model in (self.model, self.reference) if model is not None]

    def reads(self, encoded: Encoded) -> range:
        """Return the token before each token of the completion, at which the model predicts it."""
        return range(encoded.start - 1, len(encoded.ids) - 1)

    def values(self, inputs: Inputs) -> Tensor:
        return self._reduce(self._rewards(inputs, self._logprobs), inputs)

    def own_values(self, inputs: Inputs) -> Tensor:
        return self._reduce(self._rewards(inputs, self._own_logprobs), inputs)

    def _rewards(self, inputs: Inputs, logprobs: Callable[[Any, Inputs], Tensor]) -> Tensor:
        """Return (tokens read,) float32: each token's log-ratio times beta, or its log-probability reference-free."""
        policy = logprobs(self.model, inputs)
        if self.reference_free is not None:
            return policy
        with self._reference_active():
            reference = logprobs(self.model if self.reference is None else self.reference, inputs)
        return self.beta * (policy - reference.to(policy.device))

    def _reference_active(self) -> AbstractContextManager[Any]:
        """Switch the adapter off if the reference is the policy's own base."""
        if self.adapters is None or self.reference is not None:
            return nullcontext()
        return self.adapters.disable_adapter()  # type: ignore[no-any-return]

    def _reduce(self, tokens: Tensor, inputs: Inputs) -> Tensor:
        """Reduce (tokens read,) to (conversations,). Sums are computed in float64 where the device has it."""
        sizes = [len(self.reads(sequence)) for sequence in inputs.sequences]
        exact = tokens if tokens.device.type == "mps" else tokens.double()
        padded = pad_sequence(list(torch.split(exact, sizes)), batch_first=True)  # padding with zeros adds nothing
        if self.reference_free == "norm":
            return -padded.square().sum(dim=1).sqrt().float()
        total = padded.sum(dim=1)
        if self.reference_free == "mean":
            total = total / torch.tensor(sizes, device=total.device)
        return total.float()

    @torch.inference_mode()
    def token_rewards(self, encoded: Encoded) -> list[float]:
        """Return what each token of the completion adds to the reward, by one forward pass of each model.

        The values add up to the score, except for `mean` and `norm`, where they are the tokens' log-probabilities.
        """
        inputs = self.inputs([encoded], "bucketed")
        return self._rewards(inputs, self._logprobs).cpu().tolist()

    # ---- log-probabilities, (tokens read,) float32, of the tokens that follow those read

    def _logprobs(self, model: Any, inputs: Inputs) -> Tensor:
        """Run the body once and the head on chunks of the tokens read, so that memory never holds length x vocabulary
        logits. A token that several completions of a prompt follow goes through the head once."""
        reads, places = torch.unique(inputs.reads, return_inverse=True)
        states = self.hidden(model.base_model, inputs._replace(reads=reads))
        head = model.get_output_embeddings()
        rows = max(1, LOGITS_AT_ONCE.get(self.device.type, 1 << 24) // head.weight.shape[0])
        chunks = torch.split(states, rows)
        sizes = torch.bincount(places // rows, minlength=len(chunks)).tolist()
        order = places.argsort()
        places, targets = ((each[order]).to(states.device) for each in (places % rows, self._targets(inputs)))
        logprobs = [
            logprobs_of(scale_logits(model.config, head(chunk)), *of_chunk)
            for chunk, *of_chunk in zip(chunks, torch.split(places, sizes), torch.split(targets, sizes), strict=True)
        ]
        return torch.cat(logprobs)[order.argsort().to(states.device)]

    def _own_logprobs(self, model: Any, inputs: Inputs) -> Tensor:
        """Run the model's own forward pass."""
        logits = model(**inputs.for_model(), use_cache=False).logits
        read = logits.flatten(0, 1)[inputs.reads.to(logits.device)]
        return logprobs_of(read, torch.arange(len(read)), self._targets(inputs).to(read.device))

    def _targets(self, inputs: Inputs) -> Tensor:
        following = [sequence.ids[token + 1] for sequence in inputs.sequences for token in self.reads(sequence)]
        return torch.tensor(following, dtype=torch.int64)

    # ---- check at load time

    def scale(self, own: Sequence[float]) -> float:
        """Return the log-probability of the first probe: the rounding of a difference grows with what is subtracted."""
        return super().scale(own) if self.reference_free else self._probe_logprob

    def possible_batchings(self, sequences: Sequence[Encoded], own: Sequence[float]) -> list[str]:
        """Body and head can be separated if on single conversations that gives the model's own scores."""
        if self.reference_free is None:
            logprobs = self._own_logprobs(self.model, self.inputs(sequences[:1], "single"))
            self._probe_logprob = self.beta * float(logprobs.sum().abs()) or 1.0
        if self._difference_alone(sequences, own) <= TOLERANCE.get(self.model.dtype, 0.0) * self.scale(own):
            return ["packed", "bucketed", "bucketed-own-forward"]
        return ["bucketed-own-forward"]

    def describe(self) -> dict[str, Any]:
        spec = self.spec
        output = f"reference-free {self.reference_free}" if self.reference_free else "log-ratio"
        described = super().describe() | {"output": output}
        if self.reference_free is None:
            described["beta"] = self.beta
        if spec is not None and spec.reference is not None:
            described |= {"reference": spec.reference.name, "reference_revision": spec.reference.revision}
        return described


def logprobs_of(logits: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
    """Return (tokens,) float32 log-probabilities of (tokens,) targets, each under one of the rows of logits over the
    vocabulary."""
    logits = logits.float()
    return logits[rows, targets] - logits.logsumexp(dim=1)[rows]


def _load_models(spec: ModelSpec) -> tuple[Any, Any | None, Any | None, tuple[str, ...]]:
    """Return the policy, the reference if it is another model, the PEFT model around a policy with an adapter, and the
    unused weights of the policy."""

    def load(checkpoint: Checkpoint) -> tuple[Any, tuple[str, ...]]:
        model, loading = load_pretrained(spec, checkpoint)
        return model, check_weights(checkpoint.name, loading)

    model, unused = load(spec.checkpoint)
    adapters = None if spec.adapter is None else apply_adapter(spec.name, model, spec.adapter)
    own_base = adapters is not None and spec.reference == spec.checkpoint
    return model, None if spec.reference is None or own_base else load(spec.reference)[0], adapters, unused


def check_vocabulary(spec: ModelSpec, policy: Any, reference: Any) -> None:
    """Raise ModelError if the tokenizers give a token different ids: one model would read another text."""
    policy_ids, reference_ids = policy.get_vocab(), reference.get_vocab()
    shared = policy_ids.keys() & reference_ids.keys()
    differing = [token for token in shared if policy_ids[token] != reference_ids[token]]
    if differing or not shared:
        example = f", for example {min(differing)!r}" if differing else ""
        raise ModelError(
            f"{spec.name}: its tokenizer and the reference's have different ids for {len(differing) or 'all'} tokens"
            f"{example}; an implicit reward needs the same tokens in both: give the model the training started from"
        )
