"""Apply a PEFT adapter to its base model so that switching it off restores the base exactly.

The base without the adapter is the reference of an implicit reward. Anything else in an adapter that is not switched
off with it (weights of the base in its file, biases, an initialisation that changes the base) would silently change
that reference.
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


def apply_adapter(name: str, model: Any, adapter: Checkpoint) -> Any:
    """Apply an adapter to the model; return the PEFT model around it, which can switch the adapter off.

    Raises ModelError when peft is not installed, the adapter is of a kind that changes its base or the input, does not
    fit, or a weight is missing or unexpected.
    """
    try:
        import peft
    except ImportError as error:
        raise ModelError(f"{name} is an adapter, which needs peft: pip install peft") from error
    before = _sample_logits(model)
    base_names = {f"base_model.model.{key}" for key in model.state_dict()}
    weights = _read_weights(name, adapter)
    try:
        config = peft.PeftConfig.from_pretrained(adapter.location, revision=adapter.hub_revision)
        _check_kind(name, config)
        saved = tuple(getattr(config, "modules_to_save", None) or ())
        of_base = [key for key in weights if key in base_names and not any(f".{module}." in key for module in saved)]
        config.inference_mode = True
        wrapped = peft.get_peft_model(model, config)
        loading: Any = peft.set_peft_model_state_dict(wrapped, weights)
    except LOADING_ERRORS as error:
        raise ModelError(f"{name}: the adapter does not fit its base: {first_line(error)}") from error
    missing = [key for key in loading.missing_keys if wrapped.base_model.prefix in key]
    check_weights(name, {"missing_keys": missing, "unexpected_keys": [*loading.unexpected_keys, *of_base]})
    with wrapped.disable_adapter():
        if not torch.allclose(before, _sample_logits(model), rtol=1e-4, atol=1e-5):
            raise ModelError(
                f"{name}: with the adapter switched off, the model is not its base, so it has no reference: merge the "
                "adapter, and give the base with --reference"
            )
    return wrapped


def load_own_tokenizer(spec: ModelSpec) -> Any:
    """Load the tokenizer of a model: its adapter's if it has one, else its checkpoint's.

    Raises ModelError when it cannot be loaded, or the hub cannot be reached.
    """
    if spec.adapter is not None and _has_tokenizer(spec.adapter):
        return load_tokenizer(spec.name, spec.adapter)
    return load_tokenizer(spec.name, spec.checkpoint)


def _has_tokenizer(adapter: Checkpoint) -> bool:
    if adapter.hub_revision is None:
        return (Path(adapter.location) / TOKENIZER).is_file()
    from huggingface_hub import HfApi

    try:
        return bool(HfApi().file_exists(adapter.location, TOKENIZER, revision=adapter.hub_revision))
    except hub_errors() as error:
        raise ModelError(f"{adapter.name} cannot be reached on the hub ({first_line(error)})") from error


def _check_kind(name: str, config: Any) -> None:
    """Raise ModelError for anything that is known not to be switched off with the adapter."""
    if config.is_prompt_learning:
        raise ModelError(f"{name}: an adapter of type {config.peft_type} changes the input; it cannot be scored")
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


def _read_weights(name: str, adapter: Checkpoint) -> dict[str, Tensor]:
    """Raise ModelError unless there is a readable safetensors file."""
    from huggingface_hub import hf_hub_download
    from safetensors.torch import load_file

    path = Path(adapter.location) / WEIGHTS
    try:
        if adapter.hub_revision is not None:
            path = Path(hf_hub_download(adapter.location, WEIGHTS, revision=adapter.hub_revision))
        return load_file(path)
    except hub_errors() + LOADING_ERRORS as error:
        raise ModelError(f"{name}: no readable {WEIGHTS} ({first_line(error)}); pickle files are not read") from error
