"""Sequence classifiers: one number, read at one token of one rendered conversation.

The score is the model's own forward pass on the single unpadded conversation. Batches are right-padded and bucketed by
length; when a model is loaded, a few probes are scored in a batch and one at a time, and a model for which the two
differ is scored one conversation at a time from then on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from rb_core.conversation import ChatFormat, Encoded, Message
from rb_core.errors import ModelError
from rb_core.example import Candidates
from rb_core.models import ModelSpec, Output
from rb_core.packing import plan_batches
from rb_core.scorers.base import Batch, Cell, Plan
from rb_core.scorers.baseline import NOT_FINITE
from rb_core.table import Score

log = logging.getLogger(__name__)

# The largest difference between batched and single scores that rounding explains, relative to the scores' size.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
# Where a tokenizer says it has no limit, transformers writes an absurdly large number.
NO_LIMIT = 10**9
# What loading a damaged or foreign checkpoint has been seen to raise.
LOADING_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError,
    ValueError, SafetensorError, StrictDataclassError,
)  # fmt: skip

_PROBE_TEXTS = (
    ("Hi", "Hello."),
    ("What is the tallest mountain?", "Measured from sea level it is Mount Everest, at about 8,849 metres."),
    ("Name two rivers.", "The Nile and the Amazon. " * 6),
    ("Say nothing.", "A"),
)


def probe_candidates() -> list[Candidates]:
    """A few short conversations of different lengths, to check a model with when it is loaded."""
    return [Candidates((Message(role="user", content=prompt),), (answer,)) for prompt, answer in _PROBE_TEXTS]


@dataclass
class ClassifierScorer:
    """A loaded classifier. Made by `load`."""

    model: Any
    chat: ChatFormat
    output: Output
    sign: float
    batch_tokens: int
    device: torch.device
    batching: str = "single"
    probe: float = 0.0
    scored_token: str = ""
    spec: ModelSpec | None = None
    _checked_system_role: bool = False

    @classmethod
    def load(cls, spec: ModelSpec) -> ClassifierScorer:
        """Load model and tokenizer, and find out how the model may be batched.

        Raises ModelError when a weight is missing or left over, the pad tokens of config and tokenizer differ, there is
        no chat template, or the head has several outputs and nothing says which counts.
        """
        device = pick_device(spec.options.device)
        model, tokenizer = load_checkpoint(spec)
        check_pad_token(spec.name, model, tokenizer)
        output = check_output(spec, model.config.num_labels)
        max_length = own_max_length(spec, model.config, tokenizer)
        chat = ChatFormat(tokenizer, max_length, spec.chat_template, spec.system_role)
        head_in_float32(model)
        model.to(device).eval()
        sign = -1.0 if spec.lower_is_better else 1.0
        scorer = cls(model, chat, output, sign, spec.options.batch_tokens, device, spec=spec)
        scorer.choose_batching()
        return scorer

    # ---- plan

    def plan(self, candidates: Sequence[Candidates]) -> Plan:
        """Encode everything, then bucket by length; what cannot be scored comes in a last batch of its own."""
        self._check_system_role(candidates)
        entries: list[tuple[Cell, Encoded]] = []
        notes = {"empty_completions": 0, "control_token_examples": 0, "rewritten_completions": 0}
        for index, each in enumerate(candidates):
            encoded = self.chat.encode(each.prompt, each.completions)
            entries += [(Cell(index, j), e) for j, e in enumerate(encoded)]
            texts = [message["content"] for message in each.prompt]
            notes["control_token_examples"] += bool(self.chat.control_tokens(*texts, *each.completions))
            notes["empty_completions"] += sum(not text for text in each.completions)
            notes["rewritten_completions"] += sum(e.rewritten for e in encoded)
        impossible = [entry for entry in entries if entry[1].reason]
        # What is the same to the model goes through it once: two rows of a batch may differ in their last bit, and that
        # would break a tie that is one.
        alike: dict[tuple[int, ...], list[tuple[Cell, Encoded]]] = {}
        for entry in entries:
            if not entry[1].reason:
                alike.setdefault(entry[1].ids, []).append(entry)
        rows = list(alike)
        groups = plan_batches([len(row) for row in rows], self.batch_tokens)
        batches = [_batch([entry for i in group for entry in alike[rows[i]]]) for group in groups]
        return Plan((*batches, *([_batch(impossible)] if impossible else [])), notes)

    def _check_system_role(self, candidates: Sequence[Candidates]) -> None:
        if self._checked_system_role or self.chat.system_role == "fold":
            return
        if any(message["role"] == "system" for each in candidates for message in each.prompt):
            self.chat.check_system_role()
            self._checked_system_role = True

    # ---- score

    def score(self, batch: Batch) -> list[Score]:
        encoded: tuple[Encoded, ...] = batch.inputs
        if encoded and encoded[0].reason:
            return [Score.unscored(e.reason, len(e.ids)) for e in encoded]
        rows = list(dict.fromkeys(e.ids for e in encoded))
        try:
            values = dict(zip(rows, self._values(rows, self.batching), strict=True))
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"out of memory with {len(rows)} conversations of up to {max(map(len, rows))} tokens: "
                f"give a smaller --batch-tokens than {self.batch_tokens}; what is scored already is kept"
            ) from error
        return [
            Score(values[e.ids], len(e.ids), e.dropped > 0)
            if math.isfinite(values[e.ids])
            else Score.unscored(NOT_FINITE, len(e.ids), e.dropped > 0)
            for e in encoded
        ]

    @torch.inference_mode()
    def _values(self, rows: Sequence[tuple[int, ...]], batching: str) -> list[float]:
        """One float32 score a row of token ids."""
        logits = getattr(self, FORWARDS[batching])(rows)
        return [float(value) for value in (self.sign * self._reduce(logits)).cpu()]

    def _reduce(self, logits: Tensor) -> Tensor:
        """(rows, outputs) raw logits to (rows,) float32 scores."""
        logits = logits.float()
        if self.output.weights is None:
            return logits[:, 0]
        # outputs of no weight are left out rather than multiplied by 0: they may be infinite
        parts = [weight * logits[:, i] for i, weight in enumerate(self.output.weights) if weight]
        return torch.stack(parts).sum(dim=0) if parts else torch.zeros(len(logits), device=logits.device)

    def _read_at_token(self, rows: Sequence[tuple[int, ...]]) -> Tensor:
        """Right-padded batch through the backbone; the head only at the token the model reads."""
        ids, mask = self._padded(rows)
        hidden = self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        positions = torch.tensor([self._scored_position(row) for row in rows], device=self.device)
        logits: Tensor = self.model.score(hidden[torch.arange(len(rows), device=self.device), positions])
        return logits

    def _own_forward(self, rows: Sequence[tuple[int, ...]]) -> Tensor:
        """Right-padded batch through the model's own forward."""
        ids, mask = self._padded(rows)
        logits: Tensor = self.model(input_ids=ids, attention_mask=mask).logits
        return logits

    def _one_by_one(self, rows: Sequence[tuple[int, ...]]) -> Tensor:
        """The model's own forward on each unpadded row: what every other way is measured against."""
        return torch.cat([self._own_forward([row]) for row in rows])

    def _padded(self, rows: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
        """(rows, width) ids and attention mask, padded on the right."""
        width = max(map(len, rows))
        pad = self._pad_token_id()
        fill = 0 if pad is None or pad < 0 else pad  # -1 is how old Llama checkpoints said that there is none
        ids = torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], device=self.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self.device)
        return ids, mask

    def _pad_token_id(self) -> int | None:
        pad: int | None = self.model.config.get_text_config().pad_token_id
        return pad

    def _scored_position(self, row: tuple[int, ...]) -> int:
        """Where transformers' classifiers read: the rightmost token that is not the config's pad token; without a pad
        token, the last one. (transformers 5, modeling_layers.GenericForSequenceClassification.)"""
        pad = self._pad_token_id()
        if pad is None:
            return len(row) - 1
        return max((i for i, token in enumerate(row) if token != pad), default=0)

    # ---- load

    def choose_batching(self) -> None:
        """Take the first way of batching whose probe scores are the model's own, one conversation at a time."""
        encoded = [e for each in probe_candidates() for e in self.chat.encode(each.prompt, each.completions)]
        rows = [e.ids for e in encoded if not e.reason]
        if not rows:  # a model too short for any probe: nothing to judge a batch by
            return
        if self._reads_a_token():
            self.scored_token = str(self.chat.tokenizer.convert_ids_to_tokens(rows[0][self._scored_position(rows[0])]))
        own = self._values(rows, "single")
        size = max(map(abs, own))
        for batching in self._possible_batchings(rows, own):
            self.probe = self._difference(rows, own, batching)
            if self.probe <= TOLERANCE.get(self.model.dtype, 0.0) * size:
                self.batching = batching
                return
            log.warning("%s batches move a score by %g; not used", batching, self.probe)
        self.batching, self.probe = "single", 0.0

    def _possible_batchings(self, rows: Sequence[tuple[int, ...]], own: Sequence[float]) -> list[str]:
        """Reading the head at one token is possible if on single conversations it is what the model does itself."""
        if self._reads_a_token():
            alone = max(self._difference([row], [value], "bucketed") for row, value in zip(rows, own, strict=True))
            if alone <= 1e-5 * max(map(abs, own)):
                return ["bucketed", "bucketed-own-forward"]
        return ["bucketed-own-forward"]

    def _difference(self, rows: Sequence[tuple[int, ...]], own: Sequence[float], batching: str) -> float:
        """The largest difference between scores so batched and the model's own; infinite where it cannot be told."""
        try:
            values = self._values(rows, batching)
        except (ValueError, TypeError, AttributeError) as error:
            log.warning("scoring cannot use %s batches with this model: %s", batching, error)
            return math.inf
        differences = [abs(a - b) for a, b in zip(values, own, strict=True)]
        return max(differences) if all(map(math.isfinite, differences)) else math.inf

    def describe(self) -> dict[str, Any]:
        config, spec = self.model.config, self.spec
        quantization = config.to_dict().get("quantization_config")
        return {
            "kind": "classifier",
            "source": spec.location if spec and spec.hub_revision else None,
            "revision": spec.revision if spec else None,
            "architecture": type(self.model).__name__,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "attention": config._attn_implementation,
            "quantization": str(quantization.get("quant_method")) if isinstance(quantization, dict) else None,
            "chat_template_sha256": self.chat.sha256,
            "system_role": self.chat.system_role,
            "max_length": self.chat.max_length,
            "scored_token": self.scored_token or None,
            "output": f"{self.output}{', lower is better' if self.sign < 0 else ''}",
            "batching": self.batching,
            "probe": self.probe,
        }

    def _reads_a_token(self) -> bool:
        return isinstance(getattr(self.model, "score", None), nn.Linear)


# How a batch goes through the model, by the names that a result gives.
FORWARDS = {"bucketed": "_read_at_token", "bucketed-own-forward": "_own_forward", "single": "_one_by_one"}


def _batch(entries: Sequence[tuple[Cell, Encoded]]) -> Batch:
    return Batch(tuple(cell for cell, _ in entries), tuple(encoded for _, encoded in entries))


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is cuda, then mps, then cpu. Raises ModelError when it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = name.split(":")[0]
    there = torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available() or kind == "cpu"
    number = name.partition(":")[2]
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        there = False
    if not there:
        raise ModelError(f"device {name!r} is not available on this machine; --device auto takes what is")
    return torch.device(name)


def load_checkpoint(spec: ModelSpec) -> tuple[Any, Any]:
    """Model and tokenizer: safetensors only, no remote code, every weight accounted for."""
    where: dict[str, Any] = {"revision": spec.hub_revision, "trust_remote_code": False}
    dtype = spec.options.dtype if spec.options.dtype == "auto" else getattr(torch, spec.options.dtype)
    try:
        config = AutoConfig.from_pretrained(spec.location, **where)
        tokenizer = AutoTokenizer.from_pretrained(spec.location, **where)
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            spec.location, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True, **where
        )
    except LOADING_ERRORS as error:
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise ModelError(f"{spec.name}: cannot be loaded as a sequence classifier: {reason}") from error
    check_weights(spec.name, loading)
    return model, tokenizer


def check_weights(name: str, loading: dict[str, Any]) -> None:
    """Raise ModelError for weights that were missing, left over, or of another shape: the score would not be its own.

    A language-model head left over beside a complete classifier changes no score and is let pass.
    """
    left_over = [key for key in loading.get("unexpected_keys", ()) if not key.startswith("lm_head.")]
    problems = {
        "misses": sorted(loading.get("missing_keys", ())),
        "has left over": sorted(left_over),
        "has in another shape": sorted(str(key) for key in loading.get("mismatched_keys", ())),
    }
    for what, keys in problems.items():
        if keys:
            shown = ", ".join(map(str, keys[:4])) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
            raise ModelError(
                f"{name}: the checkpoint {what} {shown}; its score would come from random or unused weights"
            )


def check_pad_token(name: str, model: Any, tokenizer: Any) -> None:
    """Raise ModelError when config and tokenizer disagree on the pad token, which decides where the score is read."""
    config_pad, tokenizer_pad = model.config.get_text_config().pad_token_id, tokenizer.pad_token_id
    if config_pad is not None and tokenizer_pad is not None and config_pad != tokenizer_pad:
        raise ModelError(
            f"{name}: pad_token_id is {config_pad} in the config and {tokenizer_pad} in the tokenizer; which token the "
            "score is read at depends on it: correct the one that the model was not trained with"
        )


def check_output(spec: ModelSpec, num_outputs: int) -> Output:
    """The declared output. Raises ModelError when the head has several and none is declared, or they do not fit."""
    weights = spec.output.weights
    if weights is None:
        if num_outputs != 1:
            raise ModelError(
                f"{spec.name}: its head has {num_outputs} outputs; say which one is the reward with --output-index I, "
                "or how they add up with --output-weights A,B,...; and --lower-is-better if it is a cost"
            )
        return spec.output
    if len(weights) > num_outputs or (spec.options.output_weights is not None and len(weights) != num_outputs):
        raise ModelError(f"{spec.name}: its head has {num_outputs} outputs, which {spec.output} does not fit")
    return Output((*weights, *[0.0] * (num_outputs - len(weights))))


def own_max_length(spec: ModelSpec, config: Any, tokenizer: Any) -> int:
    """The limit in tokens: what was asked for, or the model's own. Raises ModelError beyond the model's own."""
    limits = (getattr(config.get_text_config(), "max_position_embeddings", None), tokenizer.model_max_length)
    own = [int(limit) for limit in limits if limit and 0 < limit < NO_LIMIT]
    if spec.max_length is None and not own:
        raise ModelError(f"{spec.name}: neither config nor tokenizer says how long an input may be: give --max-length")
    # where the config has a limit, the tokenizer's is only a habit; without one it is all there is
    if spec.max_length is not None and own and spec.max_length > own[0]:
        raise ModelError(f"{spec.name}: --max-length is {spec.max_length}, but the model's own limit is {own[0]}")
    return spec.max_length or min(own)


def head_in_float32(model: Any) -> None:
    """Let everything outside the backbone run in float32: bfloat16 has steps of 0.125 at 16, and invents ties."""
    if model.dtype == torch.float32 or model.base_model is model:
        return
    for child in model.children():
        if child is not model.base_model:
            child.float()
            child.register_forward_pre_hook(_cast_to_float32, with_kwargs=True)


def _cast_to_float32(
    module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    def cast(value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value

    return tuple(map(cast, arguments)), {name: cast(value) for name, value in named.items()}
