"""Score with a sequence classifier: one number, read at one token of one rendered conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import ModelError
from rb_core.models.chat_format import Encoded
from rb_core.models.options import SINGLE_OUTPUT, Kind, Output
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.adapter import load_adapted_classifier, load_own_tokenizer
from rb_core.scorers.conversation_scorer import TOLERANCE, ConversationScorer, Inputs, Prefetched
from rb_core.scorers.heads.base import HeadedModel
from rb_core.scorers.heads.gated import load_gated
from rb_core.scorers.heads.process import load_process
from rb_core.scorers.heads.token import load_token
from rb_core.scorers.heads.value_head import load_value_head
from rb_core.scorers.loading import (
    batch_budget,
    check_pad_token,
    check_weights,
    load_config,
    load_pretrained,
    max_length_of,
    move_to_device,
    pair_separator,
)

# The function that builds the network of each kind whose head is not transformers' own.
_HEADS: Mapping[Kind, Callable[[ModelSpec], tuple[HeadedModel, dict[str, Any]]]] = {
    "value-head": load_value_head,
    "gated": load_gated,
    "token": load_token,
    "process": load_process,
}

NOTHING_TO_READ = "the conversation lacks the tokens before the answer that the head reads"


@dataclass
class ClassifierScorer(ConversationScorer):
    """A loaded classifier; create it with `load`.

    output, lower_is_better: how its outputs become one score; reads_a_token: the model's own score is its head applied
    to the token that `reads` returns; scored_token: that token, as text, in the first probe conversation; separator:
    see `loading.pair_separator`.
    """

    kind = "classifier"

    output: Output = SINGLE_OUTPUT
    lower_is_better: bool = False
    scored_token: str = ""
    reads_a_token: bool = False
    separator: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.declared_pad == "tokenizer":
            self.model.config.get_text_config().pad_token_id = self.chat.tokenizer.pad_token_id
        if isinstance(self.model, HeadedModel):
            self.model.use_format(self.chat)

    @classmethod
    def load(cls, spec: ModelSpec, upcoming: Sequence[CompletionSet] = (), seed: int = 0) -> ClassifierScorer:
        """Load model and tokenizer, and check how the model may be batched.

        upcoming: input that is going to be scored; it is tokenised while the weights are loaded.

        Raises ModelError when a weight is missing or unexpected, the pad tokens of config and tokenizer differ, there
        is no chat template, or the head has several outputs and none is declared.
        """
        with ThreadPoolExecutor(1) as executor:
            weights = executor.submit(load_classifier, spec)
            config = load_config(spec)
            tokenizer = load_own_tokenizer(spec)
            max_length = max_length_of(spec, config, tokenizer)
            chat = spec.chat_format(tokenizer, max_length)
            prefetched = Prefetched(
                chat, upcoming, chat.encode_all([(each.prompt, each.completions) for each in upcoming])
            )
            model, loading = weights.result()
        unused = check_weights(spec.name, loading)
        if reads_by_pad(model):
            check_pad_token(spec.name, config, tokenizer, spec.options.pad_token)
        output = check_output(spec, model.config.num_labels)
        head_in_float32(model)
        device = move_to_device(model, spec)
        scorer = cls(
            model,
            chat,
            device,
            spec.options.batch_tokens or batch_budget([model], device),
            prefetched=prefetched,
            spec=spec,
            unused=unused,
            output=output,
            lower_is_better=spec.lower_is_better,
            separator=pair_separator(spec.name, model, tokenizer),
        )
        scorer.choose_batching()
        return scorer

    @property
    def declared_pad(self) -> str | None:
        """Return whose pad token is declared to be right."""
        return self.spec.options.pad_token if self.spec else None

    def reads(self, encoded: Encoded) -> Sequence[int]:
        """Return the tokens that a head of ours reads, or the one that transformers' classifiers read: the rightmost
        that is not the config's pad token; the last one if there is no pad token. (transformers 5,
        modeling_layers.GenericForSequenceClassification.)"""
        if isinstance(self.model, HeadedModel):
            return self.model.reads(encoded.ids)
        pad, ids = self.pad_token_id(), encoded.ids
        if pad is None:
            return (len(ids) - 1,)
        return (next((i for i in range(len(ids) - 1, -1, -1) if ids[i] != pad), 0),)

    def encode_all(self, completion_sets: Sequence[CompletionSet]) -> list[list[Encoded]]:
        encoded = super().encode_all(completion_sets)
        if not isinstance(self.model, HeadedModel):
            return encoded
        return [[self._with_reason(sequence) for sequence in row] for row in encoded]

    def _with_reason(self, encoded: Encoded) -> Encoded:
        """Return a conversation in which the head finds its tokens as it is, another with the reason."""
        return encoded if encoded.reason or self.reads(encoded) else encoded._replace(reason=NOTHING_TO_READ)

    def second_text(self, encoded: Encoded) -> int | None:
        """Return the index after the separator where the completion starts: prompt and completion are then a pair."""
        for index in (encoded.start, encoded.start - 1):
            if self.separator is not None and encoded.ids[index : index + 1] == (self.separator,):
                return index + 1
        return None

    def values(self, inputs: Inputs) -> Tensor:
        return self.reduce(self.model.score(self.hidden(self.model.base_model, inputs)))

    def own_values(self, inputs: Inputs) -> Tensor:
        return self.reduce(self.model(**inputs.for_model()).logits)

    def reduce(self, logits: Tensor) -> Tensor:
        """Return the (conversations,) scores of (conversations, outputs) raw logits."""
        return reduce_outputs(logits, self.output, lower_is_better=self.lower_is_better)

    @torch.inference_mode()
    def token_rewards(self, encoded: Encoded) -> list[float]:
        """Return the head's score after each token of the completion, by one forward pass.

        The value at the token that is read is the score. Raises ModelError for a model that does not read one token.
        """
        if not self.reads_a_token:
            raise ModelError(
                f"{type(self.model).__name__} has no reward per token: its score is not its head's value at one token"
            )
        inputs = self.inputs([encoded], "bucketed")
        *others, _ = self.reads(encoded)
        reads = [index for token in range(encoded.start, len(encoded.ids)) for index in (*others, token)]
        tokens = torch.tensor(reads, device=inputs.ids.device)
        hidden = self.hidden(self.model.base_model, inputs._replace(reads=tokens))
        return self.reduce(self.model.score(hidden)).cpu().tolist()

    def scale(self, own: Sequence[float]) -> float:
        largest = super().scale(own)
        return self.model.rounding_scale(largest) if isinstance(self.model, HeadedModel) else largest

    def possible_batchings(self, sequences: Sequence[Encoded], own: Sequence[float]) -> list[str]:
        """Return the batchings to try, best first.

        Also sets `reads_a_token` and `scored_token`, if the head at one token gives the model's own scores on single
        conversations.
        """
        if not isinstance(self.model, HeadedModel) and not isinstance(getattr(self.model, "score", None), nn.Linear):
            return ["bucketed-own-forward"]
        head_dtype = self.model.own_head_dtype if isinstance(self.model, HeadedModel) else torch.float32
        tolerance = 1e-5 if head_dtype == torch.float32 else TOLERANCE.get(head_dtype, 0.0)  # rounding
        if self._difference_alone(sequences, own) > tolerance * self.scale(own):
            return ["bucketed-own-forward"]
        self.reads_a_token = True
        last_read = sequences[0].ids[self.reads(sequences[0])[-1]]
        self.scored_token = str(self.chat.tokenizer.convert_ids_to_tokens(last_read))
        return ["packed", "bucketed", "bucketed-own-forward"]

    def describe(self) -> dict[str, Any]:
        headed, described = isinstance(self.model, HeadedModel), super().describe()
        if self.declared_pad is not None:
            note = f"pad token {self.pad_token_id()}, that of the {self.declared_pad}, as declared"
            described["loading"] = [*(described["loading"] or ()), note]
        return described | {
            "kind": self.model.result_kind if headed else self.kind,
            "kind_detail": self.model.detail if headed else None,
            "architecture": self.model.architecture if headed else type(self.model).__name__,
            "scored_token": self.scored_token or None,
            "output": f"{self.output}{', lower is better' if self.lower_is_better else ''}",
        }


def load_classifier(spec: ModelSpec) -> tuple[Any, dict[str, Any]]:
    """Load the network of a kind in HEAD_KINDS, with its adapter if it has one. Return it with a report on its weights,
    as `load_pretrained` does."""
    if spec.kind in _HEADS:
        return _HEADS[spec.kind](spec)
    return load_pretrained(spec) if spec.adapter is None else load_adapted_classifier(spec, spec.adapter)


def reads_by_pad(network: Any) -> bool:
    """Return True if the pad token decides which token a network reads."""
    return network.reads_by_pad if isinstance(network, HeadedModel) else True


def reduce_outputs(logits: Tensor, output: Output, *, lower_is_better: bool) -> Tensor:
    """Reduce (conversations, outputs) raw logits to (conversations,) float32 scores."""
    logits = logits.float()
    sign = -1.0 if lower_is_better else 1.0
    if output.weights is None:
        return sign * logits[:, 0]
    # outputs of weight 0 are left out instead of multiplied: they may be infinite
    terms = [weight * logits[:, i] for i, weight in enumerate(output.weights) if weight]
    return sign * (torch.stack(terms).sum(dim=0) if terms else torch.zeros(len(logits), device=logits.device))


def check_output(spec: ModelSpec, num_outputs: int) -> Output:
    """Return the declared output, with a weight for every output of the head.

    Raises ModelError if the head has several outputs and none is declared, or fewer outputs than weights.
    """
    weights = spec.output.weights
    if weights is None:
        if num_outputs != 1 and spec.kind == "process":
            raise ModelError(
                f"{spec.name}: its head has {num_outputs} outputs; declare the one that means right with "
                "--output-index I"
            )
        if num_outputs != 1:
            raise ModelError(
                f"{spec.name}: its head has {num_outputs} outputs; declare the reward with --output-index I, or a "
                "weighted sum with --output-weights A,B,...; and --lower-is-better if it is a cost"
            )
        return spec.output
    if len(weights) > num_outputs or (spec.options.output_weights is not None and len(weights) != num_outputs):
        raise ModelError(f"{spec.name}: its head has {num_outputs} outputs, which does not match {spec.output}")
    return Output((*weights, *[0.0] * (num_outputs - len(weights))))


def head_in_float32(model: Any) -> None:
    """Run everything outside the backbone in float32.

    Near 16, neighbouring bfloat16 values differ by 0.125, which would create false ties.
    """
    if model.dtype == torch.float32 or model.base_model is model:
        return
    heads = [model.score] if isinstance(model, HeadedModel) else model.children()
    for child in heads:
        if child is not model.base_model:
            child.float()
            child.register_forward_pre_hook(_cast_to_float32, with_kwargs=True)


def _cast_to_float32(
    module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    def cast(value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value

    return tuple(map(cast, arguments)), {name: cast(value) for name, value in keywords.items()}
