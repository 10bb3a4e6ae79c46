"""Apply a PEFT adapter to its base model.

Of an implicit reward, the base without the adapter is the reference: switching the adapter off has to restore it
exactly. Anything in an adapter that is not switched off with it (weights of the base in its file, biases, an
initialisation that changes the base) would silently change that reference.

Of a classifier, the adapter brings the reward head, unless its base has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rb_core.errors import ModelError, first_line, hub_errors
from rb_core.models.checkpoint import Checkpoint
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.loading import LOADING_ERRORS, check_weights, load_pretrained, load_tokenizer, read_safetensors

WEIGHTS = "adapter_model.safetensors"
TOKENIZER = "tokenizer_config.json"
_PREFIX = "base_model.model."  # of the names of the base's weights in an adapter's file
_HEADS = ("score.", "classifier.")  # reward heads of transformers' sequence classifiers


def apply_adapter(name: str, model: Any, adapter: Checkpoint) -> Any:
    """Apply an adapter to the model; return the PEFT model around it, which can switch the adapter off.

    Raises ModelError when peft is not installed, the adapter is of a kind that changes its base or the input, does not
    fit, or a weight is missing or unexpected.
    """
    before = _sample_logits(model)
    base_names = {f"{_PREFIX}{key}" for key in model.state_dict()}
    weights = read_safetensors(name, adapter, WEIGHTS)
    config = _read_config(name, adapter)
    _check_reference_kept(name, config)
    saved = tuple(getattr(config, "modules_to_save", None) or ())
    of_base = [key for key in weights if key in base_names and not any(f".{module}." in key for module in saved)]
    wrapped, loading = _wrap(name, model, config, weights)
    check_weights(name, loading | {"unexpected_keys": [*loading["unexpected_keys"], *of_base]})
    with wrapped.disable_adapter():
        if not torch.allclose(before, _sample_logits(model), rtol=1e-4, atol=1e-5):
            raise ModelError(
                f"{name}: with the adapter switched off, the model is not its base, so it has no reference: merge the "
                "adapter, and give the base with --reference"
            )
    return wrapped


def load_adapted(spec: ModelSpec, adapter: Checkpoint) -> tuple[Any, dict[str, Any]]:
    """Load the base of an adapter and apply the adapter, whose head is loaded elsewhere.

    Return the model and a report on its weights as `load_pretrained` does. Raises ModelError as `apply_adapter`.
    """
    weights = read_safetensors(spec.name, adapter, WEIGHTS)
    config = _read_config(spec.name, adapter)
    model, base_loading = load_pretrained(spec)
    _, loading = _wrap(spec.name, model, config, weights)
    return model, {key: [*base_loading[key], *loading[key]] for key in ("missing_keys", "unexpected_keys")}


def load_adapted_classifier(spec: ModelSpec, adapter: Checkpoint) -> tuple[Any, dict[str, Any]]:
    """Load the base of an adapter as a classifier and apply the adapter with its reward head.

    Return the model, whose head is a plain layer, and a report on its weights as `load_pretrained` does. Raises
    ModelError when neither the adapter nor its base has the head, and as `apply_adapter`.
    """
    weights = read_safetensors(spec.name, adapter, WEIGHTS)
    config = _read_config(spec.name, adapter)
    names = [key for key in weights if key.removeprefix(_PREFIX).startswith(_HEADS)]
    head = {key.removeprefix(_PREFIX): weights.pop(key) for key in names}
    # the last layer of a head has as many rows as there are outputs
    num_labels = min((len(weight) for key, weight in head.items() if key.endswith("weight")), default=None)
    model, base_loading = load_pretrained(spec, num_labels=num_labels)
    if missing := sorted(set(base_loading["missing_keys"]) - head.keys()):
        raise ModelError(
            f"{spec.name}: an adapter of a sequence classifier without its reward head: {', '.join(missing[:4])} is "
            f"neither in {WEIGHTS} nor in its base {spec.checkpoint.name}"
        )
    saved = getattr(config, "modules_to_save", None) or ()
    config.modules_to_save = [each for each in saved if f"{each}." not in _HEADS] or None
    _, loading = _wrap(spec.name, model, config, weights)
    unexpected = [*loading["unexpected_keys"], *base_loading["unexpected_keys"]]
    parameters = dict(model.named_parameters())
    for key, weight in head.items():
        if key not in parameters:
            unexpected.append(key)
        elif parameters[key].shape != weight.shape:
            shapes = f"{list(weight.shape)}, in its base {list(parameters[key].shape)}"
            raise ModelError(f"{spec.name}: {key} of the adapter has the shape {shapes}")
        else:
            parameters[key].data = weight.to(parameters[key].device)  # in the dtype that it was trained in
    return model, {"missing_keys": loading["missing_keys"], "unexpected_keys": unexpected}


def _wrap(name: str, model: Any, config: Any, weights: Mapping[str, Tensor]) -> tuple[Any, dict[str, Any]]:
    """Return the PEFT model around a model, with the adapter's weights, and the keys missing and unexpected."""
    import peft

    config.inference_mode = True
    try:
        wrapped: Any = peft.PeftModel(model, config)
        loading: Any = peft.set_peft_model_state_dict(wrapped, weights)
    except LOADING_ERRORS as error:
        raise ModelError(f"{name}: the adapter does not fit its base: {first_line(error)}") from error
    missing = [key for key in loading.missing_keys if wrapped.base_model.prefix in key]
    return wrapped, {"missing_keys": missing, "unexpected_keys": loading.unexpected_keys}


def _read_config(name: str, adapter: Checkpoint) -> Any:
    """Raise ModelError when peft is not installed, cannot read the config, or would change the input."""
    try:
        import peft
    except ImportError as error:
        raise ModelError(f"{name} is an adapter, which needs peft: pip install peft") from error
    try:
        config = peft.PeftConfig.from_pretrained(adapter.location, revision=adapter.hub_revision)
    except LOADING_ERRORS as error:
        raise ModelError(f"{name}: its adapter_config.json cannot be used: {first_line(error)}") from error
    if config.is_prompt_learning:
        raise ModelError(f"{name}: an adapter of type {config.peft_type} changes the input; it cannot be scored")
    return config


def load_own_tokenizer(spec: ModelSpec) -> Any:
    """Load the tokenizer of a model: its adapter's if it has one, else its checkpoint's.

    Raises ModelError when it cannot be loaded, or the hub cannot be reached.
    """
    if spec.adapter is None:
        return load_tokenizer(spec)
    files = _files(spec.adapter)
    if TOKENIZER in files:
        return load_tokenizer(spec, spec.adapter)
    if own := sorted(files & {"tokenizer.json", "tokenizer.model", "chat_template.jinja"}):
        raise ModelError(
            f"{spec.name}: the adapter has {own[0]}, but no {TOKENIZER}: complete its tokenizer, or remove it"
        )
    return load_tokenizer(spec)


def _files(adapter: Checkpoint) -> set[str]:
    if adapter.hub_revision is None:
        return {path.name for path in Path(adapter.location).iterdir() if path.is_file()}
    from huggingface_hub import HfApi

    try:
        return set(HfApi().list_repo_files(adapter.location, revision=adapter.hub_revision))
    except hub_errors() as error:
        raise ModelError(f"{adapter.name} cannot be reached on the hub ({first_line(error)})") from error


def _check_reference_kept(name: str, config: Any) -> None:
    """Raise ModelError for anything that is known not to be switched off with the adapter."""
    if getattr(config, "bias", "none") != "none":
        raise ModelError(
            f"{name}: the adapter changes biases of its base; merge it, and give the base with --reference"
        )
    initialisation = getattr(config, "init_lora_weights", True)
    if initialisation not in (True, False, "gaussian"):
        raise ModelError(
            f"{name}: an adapter that is initialised by {initialisation} changes its base; convert it to a plain LoRA "
            "adapter, or merge it and give the base with --reference"
        )


@torch.inference_mode()
def _sample_logits(model: Any) -> Tensor:
    """Return the model's logits for a few tokens."""
    device = model.get_input_embeddings().weight.device
    ids = torch.arange(1, 9, device=device)[None] % model.get_input_embeddings().weight.shape[0]
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits.float().cpu()
