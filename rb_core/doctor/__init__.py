"""`rb doctor`: what of a model conforms, what does not, and what to do about it.

Each check stands by itself. One whose ground is missing says so (SKIP, "not checked: ...") and the others go on, so
that a report names every fault it can reach. The checks stand by subject in checkpoint, template and scores; what needs
torch is measured in rb_core.scorers.conformance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb_core.doctor.checks import checkpoint, scores, template
from rb_core.doctor.probe import probe, reads_tokens
from rb_core.doctor.report import Check, Finding, Item, Marked, Report, show, unchecked
from rb_core.errors import ModelError
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve

if TYPE_CHECKING:
    from rb_core.doctor.measurements import Patient

__all__ = ["Check", "Report", "examine", "show"]

_CLASSIFIER = ("classifier",)
# In the order of the report.
_ITEMS = (
    Item("kind", "Kind and architecture", (), checkpoint.find_kind),
    Item("tokenizer", "Tokenizer", (), checkpoint.find_tokenizer),
    Item("text", "Text", ("tokenizer",), template.find_text),
    Item("weights", "Weights", ("model",), checkpoint.find_weights),
    Item("head", "Head", ("weights",), checkpoint.find_head, _CLASSIFIER),
    Item("output", "Output", ("model",), checkpoint.find_output, _CLASSIFIER),
    Item("setup", "Set up as", ("model",), checkpoint.find_setup),
    Item("max-length", "Maximum length", ("tokenizer", "model"), checkpoint.find_max_length),
    Item("pad", "Pad token", ("tokenizer", "model"), checkpoint.find_pad, _CLASSIFIER),
    Item("template", "Chat template", ("tokenizer",), template.find_template),
    Item("conversation", "Conversation", ("template",), template.find_conversation),
    Item("date", "Date", ("conversation",), template.find_date),
    Item("system", "System messages", ("conversation",), template.find_system),
    Item("turns", "Several turns", ("conversation",), template.find_several_turns),
    Item("answer", "The answer's text", ("conversation",), template.find_answer),
    Item("start", "Where the completion starts", ("conversation",), template.find_start),
    Item("bos", "Beginning of sequence", ("conversation",), template.find_bos),
    Item("eos", "End of sequence", ("conversation",), template.find_eos),
    Item("control-tokens", "Control tokens", ("conversation",), template.find_control_tokens),
    Item("reference", "Reference", ("tokenizer",), checkpoint.find_reference, ("implicit",)),
    Item("batching", "Way of scoring", ("weights", "output", "conversation"), scores.find_batching),
    Item("finite", "Scores", ("scorer", "conversation"), scores.find_finite),
    Item("read", "Where the score is read", ("finite",), scores.find_read),
    Item("pairs", "Answers told apart", ("finite",), scores.find_pairs),
    Item("order", "Order", ("finite",), scores.find_order),
    Item("batched", "In batches", ("finite",), scores.find_batched),
    Item("right-padding", "Right padding", ("finite",), scores.find_right),
    Item("left-padding", "Left padding", ("finite",), scores.find_left),
    Item("dtype", "Other dtypes", ("finite",), scores.find_dtypes),
)


def examine(model: str, options: ModelOptions | None = None) -> Report:
    """Examine a model. Raises ModelError when there is nothing to examine: no such model, an option that does not fit
    it, a device that is not there, a baseline, or a judge."""
    spec = resolve(model, options or ModelOptions())
    if spec.kind == "baseline":
        raise ModelError(f"{model} is a baseline: it has no checkpoint, so there is nothing to examine")
    if spec.kind == "generative":
        raise ModelError(
            f"{model} is asked as a judge, and what is examined here is where a score is read from a model: ask it "
            "about a few examples with evaluate --limit, and read its transcript"
        )
    from rb_core.doctor.measurements import admit

    patient = admit(spec, model)
    checks = tuple(_made(item, patient) for item in _ITEMS if spec.kind in item.kinds)
    marked = None if "conversation" in patient.faults else _marked(patient)
    return Report(model, checks, marked)


def _made(item: Item, patient: Patient) -> Check:
    from rb_core.doctor.measurements import FAULTS

    if (reason := patient.blocked(item.needs)) is not None:
        return Check(item.id, item.title, "SKIP", unchecked(reason))
    try:
        finding = item.find(patient)
    except FAULTS as error:
        finding = Finding("FAIL", f"the check broke off: {patient.said(error)}")
    return Check(item.id, item.title, *finding)


def _marked(patient: Patient) -> Marked:
    encoded, tokenizer = patient.encoded, patient.tokenizer
    reads = None if patient.blocked(("scorer",)) or not reads_tokens(patient) else patient.scorer.reads(encoded)
    return Marked(
        text=patient.chat.text(probe()),
        ids=encoded.ids,
        tokens=tuple(tokenizer.decode([token]) for token in encoded.ids),
        start=encoded.start,
        read=(reads[0], reads[-1]) if reads else None,
    )
