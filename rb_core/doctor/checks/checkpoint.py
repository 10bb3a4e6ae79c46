"""Checks of the checkpoint: what is saved and declared, and what it is measured against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb_core.doctor.probe import eos_ids, named
from rb_core.doctor.report import Finding, Status

if TYPE_CHECKING:
    from rb_core.doctor.measurements import Patient


def find_kind(patient: Patient) -> Finding:
    config = patient.spec.checkpoint.config
    named = ", ".join(map(str, config.get("architectures") or ())) or "no architecture"
    said = f"{patient.spec.kind}; the config names {named}, model type {config.get('model_type', 'not said')}"
    if "model" in patient.faults:
        return Finding("FAIL", f"{said}; {patient.faults['model']}", "mend the checkpoint, or give another --kind")
    return Finding("PASS", f"{said}; loaded as {type(patient.model).__name__}")


def find_tokenizer(patient: Patient) -> Finding:
    if "tokenizer" in patient.faults:
        return Finding("FAIL", patient.faults["tokenizer"], "add the tokenizer's files to the checkpoint")
    tokenizer = patient.tokenizer
    found = f"{type(tokenizer).__name__} of {len(tokenizer)} tokens"
    if "model" in patient.faults:
        return Finding("PASS", found)
    rows = patient.model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        advice = "a text with one of the tokens beyond cannot be scored: is it the tokenizer the model came with?"
        return Finding("WARN", f"{found}, but the model has embeddings for {rows}", advice)
    return Finding("PASS", f"{found}; the model has embeddings for {rows}")


def find_weights(patient: Patient) -> Finding:
    from rb_core.doctor.measurements import weights_not_finite

    if "weights" in patient.faults:
        advice = "publish the checkpoint with the head it was trained with, and nothing that has no place in it"
        return Finding("FAIL", patient.faults["weights"], advice)
    broken = weights_not_finite(patient.model)
    if broken:
        named = ", ".join(broken[:4]) + (f" and {len(broken) - 4} more" if len(broken) > 4 else "")
        return Finding("FAIL", f"NaN or infinity in {named}", "the checkpoint is damaged, or its dtype cannot hold it")
    count = sum(1 for _ in patient.model.parameters())
    return Finding("PASS", f"all {count} there, none left over, all finite")


def find_head(patient: Patient) -> Finding:
    from rb_core.doctor.measurements import head_numbers, head_of

    found = head_of(patient.model)
    if found is None:
        return Finding("WARN", "no linear layer makes the outputs; the model's own forward pass is trusted")
    name, head = found
    norm, empty = head_numbers(head)
    bias = "no bias" if head.bias is None else f"bias {', '.join(f'{b:.3g}' for b in head.bias.float().tolist()[:4])}"
    said = f"{name}: {head.in_features} inputs, {head.out_features} output(s), {bias}, norm {norm:.3g}"
    if empty:
        which = "its weights are" if empty == head.out_features else f"the weights of {empty} outputs are"
        status: Status = "FAIL" if empty == head.out_features else "WARN"
        return Finding(status, f"{said}; {which} all zero", "the head was never trained, or not saved")
    return Finding("PASS", said)


def find_output(patient: Patient) -> Finding:
    count = patient.model.config.num_labels
    if "output" in patient.faults:
        advice = "declare it with --output-index or --output-weights, as the model's authors say"
        return Finding("FAIL", patient.faults["output"], advice)
    sign = "lower is better" if patient.spec.lower_is_better else "higher is better"
    said = "the one output" if patient.output.weights is None else f"{count} outputs, {patient.output}"
    return Finding("PASS", f"{said}; raw, {sign}")


def find_setup(patient: Patient) -> Finding:
    from rb_core.scorers.loading import quantization_of

    config, model = patient.spec.checkpoint.config, patient.model
    saved = config.get("dtype") or config.get("torch_dtype") or "not said in the config"
    parameters = sum(p.numel() for p in model.parameters())
    parts = (
        f"{parameters:,} parameters",
        f"dtype {str(model.dtype).removeprefix('torch.')} (checkpoint: {saved})",
        f"attention {model.config._attn_implementation}",
        f"device {model.device}",
        f"quantisation {quantization_of(model) or 'none'}",
    )
    return Finding("FACT", ", ".join(parts))


def find_max_length(patient: Patient) -> Finding:
    if "max_length" in patient.faults:
        return Finding("FAIL", patient.faults["max_length"], "give --max-length within the model's own limit")
    from rb_core.scorers.loading import NO_LIMIT

    own = getattr(patient.model.config.get_text_config(), "max_position_embeddings", None)
    habit = patient.tokenizer.model_max_length
    said = f"config {own or 'says nothing'}, tokenizer {habit if habit < NO_LIMIT else 'says nothing'}"
    return Finding("FACT", f"{patient.chat.max_length if _has_chat(patient) else patient.max_length} tokens ({said})")


def _has_chat(patient: Patient) -> bool:
    return "template" not in patient.faults


def find_pad(patient: Patient) -> Finding:
    tokenizer, config = patient.tokenizer, patient.model.config.get_text_config()
    ours, theirs, eos = config.pad_token_id, tokenizer.pad_token_id, eos_ids(patient)
    if ours is not None and theirs is not None and ours != theirs:
        configs = "-1, which is no token" if ours < 0 else named(patient, ours)
        return Finding(
            "FAIL",
            f"the config's is {configs}, the tokenizer's {named(patient, theirs)}",
            "which token the score is read at depends on it: correct the one the model was not trained with",
        )
    if ours is None or ours < 0:
        there = "neither has one" if theirs is None else f"only the tokenizer has one, {named(patient, theirs)}"
        return Finding("FACT", f"{there}: the last token is read, and the model's own forward refuses batches")
    if ours in eos:
        ids = () if "conversation" in patient.faults else patient.encoded.ids
        read = next((token for token in reversed(ids) if token != ours), None)
        therefore = f": the token before it is read, {named(patient, read)}" if read is not None else ""
        return Finding(
            "WARN",
            f"{named(patient, ours)}, which ends a sequence as well{therefore}",
            "right if the model was trained so, which rb_core assumes; a tool with another pad token reads another",
        )
    said = "config and tokenizer agree" if theirs is not None else "the config's; the tokenizer has none"
    return Finding("PASS", f"{named(patient, ours)}: {said}")


def find_reference(patient: Patient) -> Finding:
    """Whether both models read the same tokens; that they have the same numbers is looked at when they are loaded."""
    if "reference" in patient.faults:
        advice = "give the model that the training started from with --reference"
        return Finding("FAIL", patient.faults["reference"], advice)
    other = patient.reference_tokenizer
    if other is None:
        return Finding("FACT", f"none: {patient.spec.options.reference_free} of the log-probabilities")
    ours, theirs = patient.tokenizer.get_vocab(), other.get_vocab()
    named = {number: token for token, number in theirs.items()}
    renamed = [(token, named[i]) for token, i in sorted(ours.items()) if named.get(i, token) != token]
    if renamed:
        found = (
            f"{len(renamed)} tokens have another name in the reference, {renamed[0][0]!r} is {renamed[0][1]!r} there"
        )
        return Finding(
            "WARN", found, "right only if the reference was trained with the policy's tokens under its names"
        )
    extra = len(ours.keys() - theirs.keys())
    unknown = f"; {extra} tokens only the policy has" if extra else ""
    if getattr(other, "chat_template", None) not in (None, patient.tokenizer.chat_template):
        found = f"the same numbers for tokens{unknown}, but another chat template"
        return Finding("WARN", found, "both models read the policy's template; the reference was made with its own")
    named_as = patient.spec.reference.name if patient.spec.reference else ""
    return Finding(
        "PASS", f"{named_as}, beta {patient.spec.beta:g}: the same tokens{unknown} and no other chat template"
    )
