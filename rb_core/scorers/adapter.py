"""PEFT adapters: put on their base so that they can be switched off, and then leave it as it was.

The base without the adapter is the reference of an implicit reward. Whatever else an adapter brings that is not
switched off with it (weights of the base in its file, biases, a start that changes the base) would change that
reference without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rb_core.errors import ModelError, first_line, hub_errors
from rb_core.models.checkpoint import Checkpoint
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.loading import LOADING_ERRORS, check_weights, load_tokenizer

WEIGHTS = "adapter_model.safetensors"
TOKENIZER = "tokenizer_config.json"


def put_adapter(name: str, model: Any, adapter: Checkpoint) -> Any:
    """Put a PEFT adapter into the model; returns the PEFT model around it, which can switch it off.

    Raises ModelError when peft is not installed, the adapter is of a kind that changes its base or the input, does not
    fit, or a weight is missing or left over.
    """
    try:
        import peft
    except ImportError as error:
        raise ModelError(f"{name} is an adapter; it takes peft to put it on its base: pip install peft") from error
    before = _says(model)
    names = {f"base_model.model.{key}" for key in model.state_dict()}
    weights = _read_weights(name, adapter)
    try:
        config = peft.PeftConfig.from_pretrained(adapter.location, revision=adapter.hub_revision)
        _check_kind(name, config)
        saved = tuple(getattr(config, "modules_to_save", None) or ())
        own = [key for key in weights if key in names and not any(f".{module}." in key for module in saved)]
        config.inference_mode = True
        wrapped = peft.get_peft_model(model, config)
        found: Any = peft.set_peft_model_state_dict(wrapped, weights)
    except LOADING_ERRORS as error:
        raise ModelError(f"{name}: the adapter does not fit its base: {first_line(error)}") from error
    missing = [key for key in found.missing_keys if wrapped.base_model.prefix in key]
    check_weights(name, {"missing_keys": missing, "unexpected_keys": [*found.unexpected_keys, *own]})
    with wrapped.disable_adapter():
        if not torch.allclose(before, _says(model), rtol=1e-4, atol=1e-5):
            raise ModelError(
                f"{name}: switched off, the adapter does not give back its base, so that there is nothing to measure "
                "it against: merge it, and give the base with --reference"
            )
    return wrapped


def load_own_tokenizer(spec: ModelSpec) -> Any:
    """The tokenizer that a model is read with: its adapter's, where that brings one, else its checkpoint's.

    Raises ModelError when it cannot be loaded, or the hub cannot be asked for it.
    """
    if spec.adapter is not None and _has_tokenizer(spec.adapter):
        return load_tokenizer(spec.name, spec.adapter)
    return load_tokenizer(spec.name, spec.checkpoint)


def _has_tokenizer(adapter: Checkpoint) -> bool:
    """Whether the adapter brings a tokenizer of its own. Raises ModelError when the hub cannot be asked."""
    if adapter.hub_revision is None:
        return (Path(adapter.location) / TOKENIZER).is_file()
    from huggingface_hub import HfApi

    try:
        return bool(HfApi().file_exists(adapter.location, TOKENIZER, revision=adapter.hub_revision))
    except hub_errors() as error:
        raise ModelError(f"{adapter.name} cannot be reached on the hub ({first_line(error)})") from error


def _check_kind(name: str, config: Any) -> None:
    """Raise ModelError for what is known not to be switched off with the adapter."""
    if config.is_prompt_learning:
        raise ModelError(f"{name}: an adapter of type {config.peft_type} changes the input; it cannot be scored")
    if getattr(config, "bias", "none") != "none":
        raise ModelError(f"{name}: the adapter has biases of its base; merge it, and give the base with --reference")
    start = getattr(config, "init_lora_weights", True)
    if start not in (True, False, "gaussian"):
        raise ModelError(
            f"{name}: an adapter that was started by {start} changes its base; convert it to a plain LoRA adapter, or "
            "merge it and give the base with --reference"
        )


@torch.inference_mode()
def _says(model: Any) -> Tensor:
    """The model's logits for a few tokens."""
    device = model.get_input_embeddings().weight.device
    ids = torch.arange(1, 9, device=device)[None] % model.get_input_embeddings().weight.shape[0]
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits.float().cpu()


def _read_weights(name: str, adapter: Checkpoint) -> dict[str, Tensor]:
    """Raises ModelError when there is no readable safetensors file."""
    from huggingface_hub import hf_hub_download
    from safetensors.torch import load_file

    path = Path(adapter.location) / WEIGHTS
    try:
        if adapter.hub_revision is not None:
            path = Path(hf_hub_download(adapter.location, WEIGHTS, revision=adapter.hub_revision))
        return load_file(path)
    except hub_errors() + LOADING_ERRORS as error:
        raise ModelError(f"{name}: no readable {WEIGHTS} ({first_line(error)}); pickles are not read") from error
