"""Checks of the checkpoint: weights, head, tokenizer, declared settings, and the reference model."""

from __future__ import annotations

from rb_core.doctor.inspection import InspectedModel
from rb_core.doctor.measurements import answer_probability, find_head, head_norm, nonfinite_parameters
from rb_core.doctor.report import Observation, skipped
from rb_core.scorers.classifier import reads_by_pad
from rb_core.scorers.heads.base import HeadedModel
from rb_core.scorers.loading import NO_LIMIT, check_pad_token, loading_notes, pad_token_of, quantization_of

# Probability of the two tokens together from which on they are the model's answer.
LIKELY_ANSWER = 0.01


def inspect_kind(model: InspectedModel) -> Observation:
    config = model.spec.checkpoint.config
    architectures = ", ".join(map(str, config.get("architectures") or ())) or "none"
    if "tokens" in model.failures:
        return skipped(model.failures["tokens"])
    found = f"{model.spec.kind}; architecture {architectures}, model type {config.get('model_type', 'none')}"
    if "model" in model.failures:
        return Observation(
            "FAIL", f"{found}; {model.failures['model']}", "correct the checkpoint, or pass another --kind"
        )
    found = f"{found}; loaded as {type(model.network).__name__}"
    if notes := loading_notes(model.spec, model.network, ()):
        return Observation("WARN", f"{found}; {'; '.join(notes)}", "compare a score with the authors' own code")
    return Observation("PASS", found)


def inspect_tokenizer(model: InspectedModel) -> Observation:
    if "tokenizer" in model.failures:
        return Observation("FAIL", model.failures["tokenizer"], "add the tokenizer's files to the checkpoint")
    tokenizer = model.tokenizer
    found = f"{type(tokenizer).__name__} with {len(tokenizer)} tokens"
    if "model" in model.failures:
        return Observation("PASS", found)
    embeddings = model.network.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > embeddings:
        advice = "a text with one of the other tokens cannot be scored: is this the tokenizer of the model?"
        return Observation("WARN", f"{found}, but the model has only {embeddings} embeddings", advice)
    return Observation("PASS", f"{found}; the model has {embeddings} embeddings")


def inspect_weights(model: InspectedModel) -> Observation:
    if "weights" in model.failures:
        advice = "publish the checkpoint with the head that it was trained with, and without unused weights"
        return Observation("FAIL", model.failures["weights"], advice)
    broken = nonfinite_parameters(model.network)
    if broken:
        names = ", ".join(broken[:4]) + (f" and {len(broken) - 4} more" if len(broken) > 4 else "")
        return Observation("FAIL", f"NaN or infinity in {names}", "the checkpoint is damaged, or its dtype overflows")
    count = sum(1 for _ in model.network.parameters())
    unused = f"the score does not use {', '.join(model.unused[:4])}" if model.unused else "none is unused"
    return Observation("PASS", f"all {count} parameters are present and finite, and {unused}")


def inspect_head(model: InspectedModel) -> Observation:
    if model.spec.options.reward_tokens:  # the output embedding of the language model
        return Observation("FACT", model.network.detail)
    named_head = find_head(model.network)
    if named_head is None:
        return Observation("WARN", "no linear layer makes the outputs; the model's own forward pass is used")
    name, head = named_head
    norm, zero_outputs = head_norm(head)
    bias = "no bias" if head.bias is None else f"bias {', '.join(f'{b:.3g}' for b in head.bias.float().tolist()[:4])}"
    found = f"{name}: {head.in_features} inputs, {head.out_features} output(s), {bias}, norm {norm:.3g}"
    if zero_outputs == head.out_features:
        return Observation("FAIL", f"{found}; its weights are all zero", "the head was never trained, or not saved")
    if zero_outputs:
        found = f"{found}; the weights of {zero_outputs} outputs are all zero"
        return Observation("WARN", found, "these outputs were never trained, or not saved")
    return Observation("PASS", found)


def inspect_output(model: InspectedModel) -> Observation:
    if "output" in model.failures:
        advice = "choose as the model's authors document it"
        return Observation("FAIL", model.failures["output"], advice)
    outputs = "single output" if model.output.weights is None else f"{model.network.config.num_labels} outputs, "
    outputs += "" if model.output.weights is None else str(model.output)
    return Observation("PASS", f"{outputs}; raw, {'lower' if model.spec.lower_is_better else 'higher'} is better")


def inspect_tokens(model: InspectedModel) -> Observation:
    """Check that each text is one token, and that a model answers with the two whose log-odds are the reward."""
    if "tokens" in model.failures:
        return Observation("FAIL", model.failures["tokens"], "pass the text of one token to --token or --tokens")
    if reason := model.failure_of(("weights", "output", "conversation", "scorer")):
        return skipped(reason)
    found = f"{model.network.detail}, read after {'a question' if model.chat.question else 'the conversation'}"
    if len(model.spec.options.reward_tokens) == 1:
        return Observation("PASS", found)
    share = answer_probability(model.scorer, model.encoded)
    found = f"{found}; in the probe conversation the two tokens have {share:.2g} of the probability"
    if share < LIKELY_ANSWER:
        return Observation("WARN", found, "the model would answer otherwise: check the tokens, the question, its place")
    return Observation("PASS", found)


def inspect_setup(model: InspectedModel) -> Observation:
    config, network = model.spec.checkpoint.config, model.network
    saved_dtype = config.get("dtype") or config.get("torch_dtype") or "not in the config"
    parts = (
        f"{sum(p.numel() for p in network.parameters()):,} parameters",
        f"dtype {str(network.dtype).removeprefix('torch.')} (checkpoint: {saved_dtype})",
        f"attention {network.config._attn_implementation}",
        f"device {network.device}",
        f"quantisation {quantization_of(network) or 'none'}",
    )
    return Observation("FACT", ", ".join(parts))


def inspect_max_length(model: InspectedModel) -> Observation:
    if "max_length" in model.failures:
        return Observation("FAIL", model.failures["max_length"], "pass a --max-length within the model's limit")
    config_limit = getattr(model.network.config.get_text_config(), "max_position_embeddings", None)
    tokenizer_limit = model.tokenizer.model_max_length
    limits = f"config {config_limit or 'none'}, tokenizer {tokenizer_limit if tokenizer_limit < NO_LIMIT else 'none'}"
    length = model.max_length if "template" in model.failures else model.chat.max_length
    return Observation("FACT", f"{length} tokens ({limits})")


def inspect_pad_token(model: InspectedModel) -> Observation:
    if not reads_by_pad(model.network):
        return Observation("FACT", "it does not decide which token is read: the last token of the conversation is")
    if declared := model.spec.options.pad_token:
        check_pad_token(model.spec.name, model.network.config, model.tokenizer, declared)
        return Observation("FACT", f"that of the {declared}, as declared with --pad-token")
    config_pad = pad_token_of(model.network.config)
    tokenizer_pad = model.tokenizer.pad_token_id
    if config_pad is not None and tokenizer_pad is not None and config_pad != tokenizer_pad:
        return Observation(
            "FAIL",
            f"the config has {model.token_name(config_pad)}, the tokenizer {model.token_name(tokenizer_pad)}",
            "the position of the score depends on it: pass --pad-token config or tokenizer, the one that the model was "
            "trained with",
        )
    if config_pad is None:
        where = "not set" if tokenizer_pad is None else f"set only in the tokenizer, {model.token_name(tokenizer_pad)}"
        return Observation("FACT", f"{where}: the last token is read, and the model's own forward pass refuses batches")
    pad = model.token_name(config_pad)
    if config_pad in model.eos_ids:
        ids = () if "conversation" in model.failures else model.encoded.ids
        read = next((token_id for token_id in reversed(ids) if token_id != config_pad), None)
        known = read is not None and not isinstance(model.network, HeadedModel)
        position = "" if not known else f": the score is read at the token before it, {model.token_name(read)}"
        return Observation(
            "WARN",
            f"{pad}, which is also an end-of-sequence token{position}",
            "rb_core assumes that the model was trained this way; a tool with another pad token reads another position",
        )
    return Observation("PASS", f"{pad}: {'config and tokenizer agree' if tokenizer_pad is not None else 'config only'}")


def inspect_reference(model: InspectedModel) -> Observation:
    """Check that policy and reference read the same tokens. Loading has compared their ids already."""
    if "reference" in model.failures:
        advice = "pass the model that the training started from with --reference"
        return Observation("FAIL", model.failures["reference"], advice)
    reference_tokenizer = model.reference_tokenizer
    if reference_tokenizer is None:
        return Observation("FACT", f"none: {model.spec.options.reference_free} of the log-probabilities")
    policy_ids, reference_ids = model.tokenizer.get_vocab(), reference_tokenizer.get_vocab()
    reference_tokens = {token_id: token for token, token_id in reference_ids.items()}
    renamed = [(token, reference_tokens[i]) for token, i in sorted(policy_ids.items()) if i in reference_tokens]
    renamed = [(token, other) for token, other in renamed if token != other]
    if renamed:
        token, other = renamed[0]
        return Observation(
            "WARN",
            f"{len(renamed)} tokens have another name in the reference: {token!r} is {other!r} there",
            "correct only if the reference was trained with the policy's tokens under its own names",
        )
    extra = len(policy_ids.keys() - reference_ids.keys())
    same = f"the same tokens{f', and {extra} that only the policy has' if extra else ''}"
    if getattr(reference_tokenizer, "chat_template", None) not in (None, model.tokenizer.chat_template):
        advice = "both models read the policy's template; the reference was trained with its own"
        return Observation("WARN", f"{same}, but another chat template", advice)
    name = model.spec.reference.name if model.spec.reference else ""
    return Observation("PASS", f"{name}, beta {model.spec.beta:g}: {same} and no other chat template")
