"""What `rb doctor` measures: a model brought up step by step, past its faults, and its scores on a few conversations.

`ClassifierScorer.load` stops at the first fault, as scoring must. Here each step is tried by itself, and what a step
could not do is kept, with the reason, for the steps and checks that build on it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from jinja2 import TemplateError
from torch import nn
from transformers.utils import logging as _transformers_logging

from rb_core.benchmarks.example import CompletionSet, Conversation, Message
from rb_core.errors import ModelError, first_line
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.chat_format import ChatFormat, Encoded
from rb_core.models.options import SINGLE_OUTPUT, Output
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.adapter import load_own_tokenizer
from rb_core.scorers.classifier import ClassifierScorer, check_output, head_in_float32
from rb_core.scorers.conversation_scorer import TOLERANCE, ConversationScorer, Inputs
from rb_core.scorers.implicit import ImplicitScorer, check_vocabulary
from rb_core.scorers.loading import (
    LOADED_AS,
    LOADING_ERRORS,
    batch_budget,
    check_weights,
    free_memory,
    load_model,
    load_tokenizer,
    move_to_device,
    own_max_length,
    pick_device,
)

# What a broken model or template has been seen to raise: a fault to be named, not the end of the examination.
FAULTS = (ModelError, TemplateError, *LOADING_ERRORS)


# Where neither model nor user says how long an input may be, and the examination goes on all the same.
ASSUMED_MAX_LENGTH = 2048


# Memory that a second copy of a model is allowed to take, of what is free.
SHARE_OF_FREE_MEMORY = 0.6


def _turns(*texts: str) -> Conversation:
    """User and assistant in turn, user first."""
    return tuple(Message(role="assistant" if i % 2 else "user", content=text) for i, text in enumerate(texts))


# A prompt with a good answer and a bad one: short and long, one line and several, single and multi-turn.
PAIRS: tuple[tuple[Conversation, str, str], ...] = (
    (_turns("What is 7 + 5?"), "12", "13"),
    (_turns("Name a prime."), "Seven is a prime.", "Nine is a prime."),
    (
        _turns("Why is the sky blue?"),
        "Air scatters blue light more than red, so blue reaches us from all sides.",
        "Because.",
    ),
    (
        _turns("Write one word."),
        "Tree",
        "I would be glad to. Here are a few words for you: tree, house, river, and so on.",
    ),
    (_turns("Hi!", "Hello. How can I help?", "Which city is the capital of France?"), "Paris.", "Lyon, I think."),
    (
        _turns("My name is Ada.", "Nice to meet you, Ada.", "Thanks.", "You are welcome.", "What is my name?"),
        "Your name is Ada.",
        "I do not know your name.",
    ),
    (_turns("List three fruits, one a line."), "apple\npear\nplum", "apple apple apple apple apple apple"),
    (_turns("Please say thank you in German and in French."), "German: danke. French: merci.", "fdsa jkl; 1234 !!!"),
)


PROBE: Conversation = _turns("What is the capital of France?")


PROBE_ANSWER = "It is Paris."


class Compared(NamedTuple):
    """Scores against the model's own: the largest difference, that over their spread, how many pairs are in another
    order, and how far apart the furthest of these were."""

    largest: float
    of_spread: float
    flipped: int
    apart: float


@dataclass
class Patient:
    """A model as far as it could be brought up.

    faults: the steps that failed, each with its reason; a step that builds on one has the same reason. What a failed
    step would have made is not there. remarks: what the scorer logged while it looked for a way of batching.
    """

    spec: ModelSpec
    typed: str
    tokenizer: Any = field(init=False)
    reference_tokenizer: Any = None
    model: Any = None
    loading: dict[str, Any] = field(default_factory=dict)
    output: Output = SINGLE_OUTPUT
    max_length: int = ASSUMED_MAX_LENGTH
    chat: ChatFormat = field(init=False)
    encoded: Encoded = field(init=False)
    scorer: ConversationScorer = field(init=False)
    candidates: tuple[CompletionSet, ...] = ()
    works: tuple[Encoded, ...] = ()
    own: tuple[float, ...] = ()
    faults: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def attempt(self, step: str, needs: Sequence[str], make: Callable[[], None]) -> None:
        """Make a step, unless one that it needs has failed."""
        if (reason := self.blocked(needs)) is not None:
            self.faults[step] = reason
            return
        try:
            make()
        except FAULTS as error:
            self.faults[step] = self.said(error)

    def blocked(self, needs: Sequence[str]) -> str | None:
        """Why what needs these steps cannot be done, or None."""
        return next((self.faults[need] for need in needs if need in self.faults), None)

    def said(self, error: BaseException) -> str:
        """An error in one line, without the places of this machine that the user did not name."""
        text = first_line(error)
        spec = self.spec
        for checkpoint in (spec.checkpoint, spec.adapter, spec.reference):
            if checkpoint is not None and checkpoint.location != self.typed:
                text = text.replace(checkpoint.location, checkpoint.name)
        return text.removeprefix(f"{spec.name}: ") if isinstance(error, ModelError) else text


def admit(spec: ModelSpec, typed: str) -> Patient:
    """Bring a model up as far as it goes. typed: the model as the user named it.

    Raises ModelError when the device is not there.
    """
    pick_device(spec.options.device)
    patient = Patient(spec, typed)
    with _quiet(patient.remarks):
        patient.attempt("tokenizer", (), lambda: _load_tokenizer(patient))
        if spec.kind == "implicit":
            patient.attempt("reference", ("tokenizer",), lambda: _load_reference_tokenizer(patient))
            patient.attempt("scorer", ("tokenizer", "reference"), lambda: _load_implicit(patient))
        patient.attempt("model", (), lambda: _load_model(patient))
        patient.attempt("weights", ("model",), lambda: check_weights(spec.name, patient.loading))
        patient.attempt("output", ("model",), lambda: _declare_output(patient))
        patient.attempt("max_length", ("tokenizer", "model"), lambda: _limit(patient))
        patient.attempt("template", ("tokenizer",), lambda: _take_template(patient))
        patient.attempt("conversation", ("template",), lambda: _encode_probe(patient))
        needs = ("weights", "output", "conversation")
        if spec.kind == "classifier":
            patient.attempt("scorer", needs, lambda: _build_classifier(patient))
        patient.attempt("scores", (*needs, "scorer"), lambda: _score_alone(patient))
        patient.attempt("finite", ("scores",), lambda: _check_finite(patient))
    return patient


# The steps


@contextmanager
def _quiet(remarks: list[str]) -> Iterator[None]:
    """Keep the libraries' reports off the terminal, and what the scorers log for the report."""

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            remarks.append(record.getMessage())

    theirs: Any = _transformers_logging
    ours, keep = logging.getLogger("rb_core.scorers"), Keep()
    level, bar, propagate = theirs.get_verbosity(), theirs.is_progress_bar_enabled(), ours.propagate
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    ours.addHandler(keep)
    ours.propagate = False
    try:
        yield
    finally:
        ours.removeHandler(keep)
        ours.propagate = propagate
        theirs.set_verbosity(level)
        if bar:
            theirs.enable_progress_bar()


def _load_tokenizer(patient: Patient) -> None:
    patient.tokenizer = load_own_tokenizer(patient.spec)


def _load_reference_tokenizer(patient: Patient) -> None:
    spec = patient.spec
    if spec.reference is not None:
        patient.reference_tokenizer = load_tokenizer(spec.reference.name, spec.reference)
        check_vocabulary(spec, patient.tokenizer, patient.reference_tokenizer)


def _load_implicit(patient: Patient) -> None:
    scorer = ImplicitScorer.load(patient.spec)
    patient.scorer, patient.model = scorer, scorer.model


def _load_model(patient: Patient) -> None:
    if patient.model is not None:  # an implicit reward that loaded has had its weights looked at
        return
    spec = patient.spec
    try:
        patient.model, patient.loading = load_model(spec)
    except ModelError:
        # transformers refuses a weight of another shape without naming it; asked to go on, it does name it
        patient.model, patient.loading = _load_whatever_fits(spec)
        if patient.model is None:
            raise


def _load_whatever_fits(spec: ModelSpec) -> tuple[Any, dict[str, Any]]:
    """The model with the weights that fit it, where some are of another shape; else None."""
    auto_class, _ = LOADED_AS[spec.kind]
    try:
        loaded: Any = auto_class.from_pretrained(
            spec.checkpoint.location,
            revision=spec.checkpoint.hub_revision,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except LOADING_ERRORS:
        return None, {}
    model, loading = loaded
    mismatched = [key[0] if isinstance(key, tuple) else key for key in loading.get("mismatched_keys", ())]
    return (model, {**loading, "mismatched_keys": mismatched}) if mismatched else (None, {})


def _declare_output(patient: Patient) -> None:
    if patient.spec.kind == "classifier":
        patient.output = check_output(patient.spec, patient.model.config.num_labels)


def _limit(patient: Patient) -> None:
    patient.max_length = own_max_length(patient.spec, patient.model.config, patient.tokenizer)


def _take_template(patient: Patient) -> None:
    spec = patient.spec
    patient.chat = ChatFormat(patient.tokenizer, patient.max_length, spec.chat_template, spec.system_role)


def _encode_probe(patient: Patient) -> None:
    (patient.encoded,) = patient.chat.encode(PROBE, (PROBE_ANSWER,))
    if patient.encoded.reason:
        raise ModelError(f"a short conversation does not fit into {patient.chat.max_length} tokens")


def _build_classifier(patient: Patient) -> None:
    patient.scorer = _classifier(patient.spec, patient.model, patient.chat, patient.output)
    patient.scorer.choose_batching()


def _classifier(spec: ModelSpec, model: Any, chat: ChatFormat, output: Output) -> ClassifierScorer:
    """As ClassifierScorer.load does it, without what that refuses."""
    head_in_float32(model)
    device = move_to_device(model, spec)
    budget = spec.options.batch_tokens or batch_budget([model], device)
    return ClassifierScorer(model, chat, device, budget, output=output, lower_is_better=spec.lower_is_better, spec=spec)


def _score_alone(patient: Patient) -> None:
    """The pairs that fit into the model, each conversation by itself through the model's own forward pass."""
    kept: list[CompletionSet] = []
    works: list[Encoded] = []
    for prompt, better, worse in PAIRS:
        candidates = CompletionSet(prompt, (better, worse))
        try:
            encoded = patient.scorer.encode(candidates)
        except ModelError:  # a template that takes no further turns; a check of its own says so
            continue
        if not any(each.reason for each in encoded):
            kept.append(candidates)
            works += encoded
    if not kept:
        raise ModelError(f"no conversation fits into {patient.scorer.chat.max_length} tokens")
    patient.candidates, patient.works = tuple(kept), tuple(works)
    patient.own = own_scores(patient.scorer, works)


def _check_finite(patient: Patient) -> None:
    broken = sum(not math.isfinite(value) for value in patient.own)
    if broken:
        raise ModelError(f"{broken} of {len(patient.own)} scores are not finite")


# Scores, in several ways


@torch.inference_mode()
def own_scores(scorer: ConversationScorer, works: Sequence[Encoded]) -> tuple[float, ...]:
    """Each conversation by itself, by the model's own forward pass."""
    return tuple(float(scorer.own_values(scorer.inputs([work], [(0, 0)], "bucketed"))[0]) for work in works)


def batched_scores(scorer: ConversationScorer, candidates: Sequence[CompletionSet]) -> tuple[float, ...]:
    """As a benchmark is scored: planned, batched, streamed."""
    return tuple(score.value for row in score_completion_sets(scorer, candidates) for score in row)


@torch.inference_mode()
def right_padded_scores(scorer: ConversationScorer, works: Sequence[Encoded]) -> tuple[float, ...]:
    """All conversations in one batch, padded on the right, by the model's own forward pass. Raises what that raises."""
    return _listed(scorer.own_values(_one_batch(scorer, works)))


@torch.inference_mode()
def left_padded_scores(scorer: ConversationScorer, works: Sequence[Encoded]) -> tuple[float, ...]:
    """The same, padded on the left, and as other tools do it: with a mask and without positions.

    A model without a pad token refuses several rows; then they go through one by one, as wide as the batch.
    """
    batch = _moved_right(_one_batch(scorer, works))
    try:
        return _listed(scorer.own_values(batch))
    except ValueError:
        width = batch.ids.shape[1]
        rows = (_moved_right(_wide(scorer, work, width)) for work in works)
        return tuple(float(scorer.own_values(row)[0]) for row in rows)


def scores_in(patient: Patient, dtype: str) -> tuple[float, ...]:
    """Each conversation by itself, by a second copy of the model in another dtype."""
    spec = replace(patient.spec, options=replace(patient.spec.options, dtype=dtype))
    remarks: list[str] = []
    with _quiet(remarks):
        scorer: ConversationScorer
        if spec.kind == "implicit":
            scorer = ImplicitScorer.load(spec)
        else:
            scorer = _classifier(spec, load_model(spec)[0], patient.chat, patient.output)
        return own_scores(scorer, patient.works)


def other_dtypes(patient: Patient) -> list[str]:
    """The dtypes to compare with the one in use: float16 only where it is used, on a GPU."""
    names = ["float32", "bfloat16", *(["float16"] if patient.scorer.device.type == "cuda" else [])]
    return [name for name in names if getattr(torch, name) != patient.scorer.model.dtype]


def has_room_for(patient: Patient, dtype: str) -> bool:
    """Whether a second copy of the model in that dtype fits into the memory that is free."""
    models = [patient.scorer.model, getattr(patient.scorer, "reference", None)]
    numbers = sum(p.numel() for model in models if model is not None for p in model.parameters())
    return bool(numbers * getattr(torch, dtype).itemsize < SHARE_OF_FREE_MEMORY * free_memory(patient.scorer.device))


def read_at_a_token(scorer: ConversationScorer, works: Sequence[Encoded], own: Sequence[float]) -> float:
    """How far the model's own scores are from its head at the tokens that `reads` names; infinite where there is none
    to ask."""
    if isinstance(scorer, ClassifierScorer) and not scorer.reads_a_token:
        return math.inf
    with torch.inference_mode():
        inputs = (scorer.inputs([work], [(0, 0)], "bucketed") for work in works)
        found = [float(scorer.values(each)[0]) for each in inputs]
    return max(abs(a - b) for a, b in zip(found, own, strict=True))


def tolerance(scorer: ConversationScorer, own: Sequence[float]) -> float:
    """The largest difference that rounding explains."""
    return float(TOLERANCE.get(scorer.model.dtype, 0.0) * scorer.scale(own))


def compare(own: Sequence[float], other: Sequence[float]) -> Compared:
    """Scores of pairs, the two of a pair side by side, against the model's own."""
    largest = max(abs(a - b) if math.isfinite(b) else math.inf for a, b in zip(own, other, strict=True))
    spread = max(own) - min(own)
    pairs = range(0, len(own), 2)
    flipped = [i for i in pairs if _sign(own[i] - own[i + 1]) != _sign(other[i] - other[i + 1])]
    apart = max((abs(own[i] - own[i + 1]) for i in flipped), default=0.0)
    return Compared(largest, largest / spread if spread else math.inf, len(flipped), apart)


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _listed(values: torch.Tensor) -> tuple[float, ...]:
    return tuple(values.float().cpu().tolist())


def _one_batch(scorer: ConversationScorer, works: Sequence[Encoded]) -> Inputs:
    return scorer.inputs(works, [(i, 0) for i in range(len(works))], "bucketed")


def _wide(scorer: ConversationScorer, work: Encoded, width: int) -> Inputs:
    """One conversation padded on the right to that width."""
    one = _one_batch(scorer, [work])
    fill = one.ids.new_zeros((1, width - one.ids.shape[1]))
    positions = torch.arange(width, device=one.ids.device)[None]
    return one._replace(
        ids=torch.cat([one.ids, fill], dim=1), mask=torch.cat([one.mask, fill], dim=1), positions=positions
    )


def _moved_right(inputs: Inputs) -> Inputs:
    """Rows padded on the right, padded on the left instead."""
    width = inputs.ids.shape[1]
    shifts = (width - inputs.mask.sum(dim=1)).tolist()

    def moved(rows: torch.Tensor) -> torch.Tensor:
        return torch.stack([row.roll(shift) for row, shift in zip(rows, shifts, strict=True)])

    rows_read = torch.div(inputs.reads, width, rounding_mode="floor")
    reads = inputs.reads + torch.tensor(shifts, device=inputs.reads.device)[rows_read]
    return inputs._replace(ids=moved(inputs.ids), mask=moved(inputs.mask), reads=reads)


# Weights


def head_of(model: Any) -> tuple[str, nn.Linear] | None:
    """The layer that makes the outputs: the last one outside the body that is as wide as they are many."""
    found = None
    for name, module in model.named_modules():
        outside = name and not name.startswith(f"{model.base_model_prefix}.")
        if outside and isinstance(module, nn.Linear) and module.out_features == model.config.num_labels:
            found = name, module
    return found


def head_numbers(head: nn.Linear) -> tuple[float, int]:
    """The norm of the head's weights, and how many of its outputs have none but zeros."""
    weight = head.weight.detach().float()
    return float(weight.norm()), int((weight == 0).all(dim=1).sum())


def weights_not_finite(model: Any) -> list[str]:
    """The names of parameters that hold NaN or infinity."""
    return [name for name, p in model.named_parameters() if p.is_floating_point() and not bool(torch.isfinite(p).all())]
