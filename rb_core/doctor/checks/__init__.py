"""The checks of `rb_core doctor`, in the order of the report. To add one, write its function and list it here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rb_core.doctor.checks import checkpoint, scores, template
from rb_core.doctor.inspection import MODEL_ERRORS, InspectedModel
from rb_core.doctor.report import CheckResult, Observation, skipped
from rb_core.models.options import CONVERSATION_KINDS, HEAD_KINDS, Kind


@dataclass(frozen=True)
class Check:
    """A check and its preconditions.

    needs: steps of `inspection` that must have succeeded; otherwise the check is skipped with their reason.
    kinds: kinds of model that it applies to; the report of another kind does not list it.
    """

    id: str
    title: str
    needs: tuple[str, ...]
    run: Callable[[InspectedModel], Observation]
    kinds: tuple[Kind, ...] = CONVERSATION_KINDS


CHECKS = (
    Check("kind", "Kind and architecture", (), checkpoint.inspect_kind),
    Check("tokenizer", "Tokenizer", (), checkpoint.inspect_tokenizer),
    Check("text", "Text", ("tokenizer",), template.inspect_text),
    Check("weights", "Weights", ("model",), checkpoint.inspect_weights),
    Check("head", "Head", ("weights",), checkpoint.inspect_head, ("classifier", "value-head", "gated", "process")),
    Check("output", "Output", ("model",), checkpoint.inspect_output, HEAD_KINDS),
    Check("tokens", "Tokens of the reward", (), checkpoint.inspect_tokens, ("token",)),
    Check("setup", "Set up as", ("model",), checkpoint.inspect_setup),
    Check("max-length", "Maximum length", ("tokenizer", "model"), checkpoint.inspect_max_length),
    Check("pad", "Pad token", ("tokenizer", "model"), checkpoint.inspect_pad_token, HEAD_KINDS),
    Check("template", "Chat template", ("tokenizer",), template.inspect_template),
    Check("conversation", "Conversation", ("template",), template.inspect_conversation),
    Check("variables", "Template variables", ("conversation",), template.inspect_variables),
    Check("date", "Date", ("conversation",), template.inspect_date),
    Check("system", "System messages", ("conversation",), template.inspect_system_messages),
    Check("turns", "Several turns", ("conversation",), template.inspect_turns),
    Check("answer", "The answer's text", ("conversation",), template.inspect_answer),
    Check("start", "Start of the completion", ("conversation",), template.inspect_start),
    Check("bos", "Beginning of sequence", ("conversation",), template.inspect_bos),
    Check("eos", "End of sequence", ("conversation",), template.inspect_eos),
    Check("control-tokens", "Control tokens", ("conversation",), template.inspect_control_tokens),
    Check("reference", "Reference", ("tokenizer",), checkpoint.inspect_reference, ("implicit",)),
    Check("segments", "Segments", ("scorer", "conversation"), template.inspect_segments, HEAD_KINDS),
    Check("batching", "Batching", ("weights", "output", "conversation"), scores.inspect_batching),
    Check("finite", "Scores", ("scorer", "conversation"), scores.inspect_finite),
    Check("read", "Position of the score", ("finite",), scores.inspect_read_position),
    Check("pairs", "Pairs told apart", ("finite",), scores.inspect_pairs),
    Check("order", "Order of pairs", ("finite",), scores.inspect_order),
    Check("batched", "In batches", ("finite",), scores.inspect_batched),
    Check("right-padding", "Right padding", ("finite",), scores.inspect_right_padding),
    Check("left-padding", "Left padding", ("finite",), scores.inspect_left_padding),
    Check("dtype", "Other dtypes", ("finite",), scores.inspect_dtypes),
)


def run_checks(model: InspectedModel) -> tuple[CheckResult, ...]:
    """Run the checks that apply to the model's kind. A check that raises a model error is reported as failed."""
    return tuple(
        CheckResult(check.id, check.title, *_observe(check, model))
        for check in CHECKS
        if model.spec.kind in check.kinds
    )


def _observe(check: Check, model: InspectedModel) -> Observation:
    reason = model.failure_of(check.needs)
    if reason is not None:
        return skipped(reason)
    try:
        return check.run(model)
    except MODEL_ERRORS as error:
        return Observation("FAIL", f"the check could not be completed: {model.error_line(error)}")
