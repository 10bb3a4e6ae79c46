"""Load a model step by step, past its faults, for the checks to examine.

Scoring stops at the first fault. Here every step is tried that does not depend on a failed one, and the reason of each
failure is kept.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from logging.handlers import BufferingHandler
from typing import Any, NamedTuple

from jinja2 import TemplateError

from rb_core.benchmarks.example import CompletionSet
from rb_core.doctor.measurements import single_scores
from rb_core.doctor.probes import PAIRS, PROBE_ANSWER, PROBE_PROMPT
from rb_core.doctor.report import TokenizedConversation
from rb_core.errors import ModelError, first_line
from rb_core.models.chat_format import ChatFormat, Encoded
from rb_core.models.options import CONVERSATION_KINDS, HEAD_KINDS, SINGLE_OUTPUT, Kind, Output
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.adapter import load_own_tokenizer
from rb_core.scorers.classifier import ClassifierScorer, check_output, head_in_float32, load_classifier
from rb_core.scorers.conversation_scorer import ConversationScorer
from rb_core.scorers.heads.token import find_tokens
from rb_core.scorers.implicit import ImplicitScorer, check_vocabulary
from rb_core.scorers.loading import (
    LOADING_ERRORS,
    batch_budget,
    check_weights,
    load_tokenizer,
    max_length_of,
    move_to_device,
    pair_separator,
    pick_device,
)
from rb_core.scorers.process import ProcessScorer

# Raised by broken checkpoints and templates.
MODEL_ERRORS = (ModelError, TemplateError, *LOADING_ERRORS)
# Tokens that are allowed for when neither the model nor the user sets a maximum length.
ASSUMED_MAX_LENGTH = 2048


@dataclass
class InspectedModel:
    """A model as far as it could be loaded. The attributes that a failed step would have set are missing.

    requested_name: the model as the user named it.
    unused: weights of the checkpoint that the score does not use.
    encoded: the probe conversation.
    completion_sets: the pairs that fit into the model; sequences: their conversations, the two of a pair in a row.
    scores: score of each sequence, by itself through the model's own forward pass.
    failures: reason of each failed step, and of each step that depends on one.
    log_messages: messages of the scorer while it chose a way of batching.
    """

    spec: ModelSpec
    requested_name: str
    tokenizer: Any = field(init=False)
    reference_tokenizer: Any = None
    network: Any = None
    loading_info: dict[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    output: Output = SINGLE_OUTPUT
    max_length: int = ASSUMED_MAX_LENGTH
    chat: ChatFormat = field(init=False)
    encoded: Encoded = field(init=False)
    scorer: ConversationScorer = field(init=False)
    completion_sets: tuple[CompletionSet, ...] = ()
    sequences: tuple[Encoded, ...] = ()
    scores: tuple[float, ...] = ()
    failures: dict[str, str] = field(default_factory=dict)
    log_messages: list[str] = field(default_factory=list)

    def failure_of(self, steps: Sequence[str]) -> str | None:
        """Return the reason of the first of these steps that failed, or None."""
        return next((self.failures[step] for step in steps if step in self.failures), None)

    def error_line(self, error: BaseException) -> str:
        """Return an error in one line, with the model's name in place of local paths that the user did not enter."""
        text = first_line(error)
        spec = self.spec
        for checkpoint in (spec.checkpoint, spec.adapter, spec.reference):
            if checkpoint is not None and checkpoint.location != self.requested_name:
                text = text.replace(checkpoint.location, checkpoint.name)
        return text.removeprefix(f"{spec.name}: ") if isinstance(error, ModelError) else text

    def token_name(self, token_id: int | None) -> str:
        return "none" if token_id is None else f"{token_id} ({self.tokenizer.decode([token_id])!r})"

    @property
    def eos_ids(self) -> set[int]:
        """The end-of-sequence tokens of the tokenizer and of the config."""
        ids = [self.tokenizer.eos_token_id]
        if "model" not in self.failures:
            config_ids = self.network.config.get_text_config().eos_token_id
            ids += config_ids if isinstance(config_ids, list) else [config_ids]
        return {token_id for token_id in ids if token_id is not None}

    @property
    def reads_a_token(self) -> bool:
        """False for a model whose own forward pass reads the conversation as a whole."""
        return bool(getattr(self.scorer, "reads_a_token", True))

    def tokenized_probe(self) -> TokenizedConversation | None:
        if "conversation" in self.failures:
            return None
        reads = self.scorer.reads(self.encoded) if "scorer" not in self.failures and self.reads_a_token else None
        return TokenizedConversation(
            text=self.chat.conversation_text(PROBE_PROMPT, PROBE_ANSWER),
            ids=self.encoded.ids,
            tokens=tuple(self.tokenizer.decode([token_id]) for token_id in self.encoded.ids),
            start=self.encoded.start,
            read=(reads[0], reads[-1]) if reads else None,
        )

    def scores_in(self, dtype: str) -> tuple[float, ...]:
        """Return the score of each sequence from a second copy of the model in another dtype."""
        spec = replace(self.spec, options=replace(self.spec.options, dtype=dtype))
        with captured_logs([]):
            scorer: ConversationScorer
            if spec.kind == "implicit":
                scorer = ImplicitScorer.load(spec)
            else:
                scorer = _classifier_scorer(spec, load_classifier(spec)[0], self.chat, self.output)
            return single_scores(scorer, self.sequences)


def load_for_inspection(spec: ModelSpec, requested_name: str) -> InspectedModel:
    """Load a model as far as possible. Raises ModelError when the device does not exist."""
    pick_device(spec.options.device)
    model = InspectedModel(spec, requested_name)
    with captured_logs(model.log_messages):
        for step in _STEPS:
            if spec.kind not in step.kinds:
                continue
            reason = model.failure_of(step.needs)
            if reason is None:
                try:
                    step.run(model)
                except MODEL_ERRORS as error:
                    reason = model.error_line(error)
            if reason is not None:
                model.failures[step.name] = reason
    return model


@contextmanager
def captured_logs(messages: list[str]) -> Iterator[None]:
    """Append the scorers' log messages to `messages`, and keep transformers from printing."""
    from transformers.utils import logging as transformers_logging

    library: Any = transformers_logging
    logger, handler = logging.getLogger("rb_core.scorers"), BufferingHandler(capacity=10_000)
    verbosity, progress_bar, propagate = library.get_verbosity(), library.is_progress_bar_enabled(), logger.propagate
    library.set_verbosity_error()
    library.disable_progress_bar()
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        messages += [record.getMessage() for record in handler.buffer]
        logger.removeHandler(handler)
        logger.propagate = propagate
        library.set_verbosity(verbosity)
        if progress_bar:
            library.enable_progress_bar()


# ---- the steps


def _load_tokenizer(model: InspectedModel) -> None:
    model.tokenizer = load_own_tokenizer(model.spec)


def _load_reference_tokenizer(model: InspectedModel) -> None:
    reference = model.spec.reference
    if reference is not None:
        model.reference_tokenizer = load_tokenizer(model.spec, reference)
        check_vocabulary(model.spec, model.tokenizer, model.reference_tokenizer)


def _load_implicit_scorer(model: InspectedModel) -> None:
    scorer = ImplicitScorer.load(model.spec)
    model.scorer, model.network, model.unused = scorer, scorer.model, scorer.unused


def _find_tokens(model: InspectedModel) -> None:
    find_tokens(model.spec, model.tokenizer)


def _load_network(model: InspectedModel) -> None:
    if model.network is not None:  # loaded with the implicit-reward scorer, which checked its weights
        return
    model.network, model.loading_info = load_classifier(model.spec)


def _check_loaded_weights(model: InspectedModel) -> None:
    model.unused = check_weights(model.spec.name, model.loading_info)


def _choose_output(model: InspectedModel) -> None:
    model.output = check_output(model.spec, model.network.config.num_labels)


def _set_max_length(model: InspectedModel) -> None:
    model.max_length = max_length_of(model.spec, model.network.config, model.tokenizer)


def _set_template(model: InspectedModel) -> None:
    model.chat = model.spec.chat_format(model.tokenizer, model.max_length)


def _encode_probe(model: InspectedModel) -> None:
    (model.encoded,) = model.chat.encode(PROBE_PROMPT, (PROBE_ANSWER,))
    if model.encoded.reason:
        raise ModelError(f"a short conversation does not fit into {model.chat.max_length} tokens")


def _build_classifier_scorer(model: InspectedModel) -> None:
    model.scorer = _classifier_scorer(model.spec, model.network, model.chat, model.output)
    model.scorer.choose_batching()


def _classifier_scorer(spec: ModelSpec, network: Any, chat: ChatFormat, output: Output) -> ClassifierScorer:
    """Build the scorer as `ClassifierScorer.load` does, without the checks that would stop the examination."""
    head_in_float32(network)
    device = move_to_device(network, spec)
    budget = spec.options.batch_tokens or batch_budget([network], device)
    scorer_class = ProcessScorer if spec.kind == "process" else ClassifierScorer
    return scorer_class(
        network,
        chat,
        device,
        budget,
        output=output,
        lower_is_better=spec.lower_is_better,
        spec=spec,
        separator=pair_separator(spec.name, network, chat.tokenizer),
    )


def _score_pairs(model: InspectedModel) -> None:
    """Score the pairs that fit into the model, each conversation by itself."""
    for prompt, good, bad in PAIRS:
        completion_set = CompletionSet(prompt, (good, bad))
        try:
            encoded = model.scorer.encode(completion_set)
        except ModelError:  # a template that refuses several turns, which is reported by a check of its own
            continue
        if not any(sequence.reason for sequence in encoded):
            model.completion_sets += (completion_set,)
            model.sequences += tuple(encoded)
    if not model.sequences:
        raise ModelError(f"no conversation fits into {model.scorer.chat.max_length} tokens")
    model.scores = single_scores(model.scorer, model.sequences)


def _check_finite(model: InspectedModel) -> None:
    count = sum(not math.isfinite(score) for score in model.scores)
    if count:
        raise ModelError(f"{count} of {len(model.scores)} scores are not finite")


class Step(NamedTuple):
    """A step of loading. needs: steps that must have succeeded; kinds: kinds of model that have the step."""

    name: str
    needs: tuple[str, ...]
    run: Callable[[InspectedModel], None]
    kinds: tuple[Kind, ...] = CONVERSATION_KINDS


_STEPS = (
    Step("tokenizer", (), _load_tokenizer),
    Step("reference", ("tokenizer",), _load_reference_tokenizer, ("implicit",)),
    Step("scorer", ("tokenizer", "reference"), _load_implicit_scorer, ("implicit",)),
    Step("tokens", ("tokenizer",), _find_tokens, ("token",)),
    Step("model", ("tokens",), _load_network),
    Step("weights", ("model",), _check_loaded_weights),
    Step("output", ("model",), _choose_output, HEAD_KINDS),
    Step("max_length", ("tokenizer", "model"), _set_max_length),
    Step("template", ("tokenizer",), _set_template),
    Step("conversation", ("template",), _encode_probe),
    Step("scorer", ("weights", "output", "conversation"), _build_classifier_scorer, HEAD_KINDS),
    Step("scores", ("weights", "output", "conversation", "scorer"), _score_pairs),
    Step("finite", ("scores",), _check_finite),
)
