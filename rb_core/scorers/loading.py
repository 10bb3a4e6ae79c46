"""Loading a checkpoint: safetensors only, no remote code, every weight accounted for; and what its config says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psutil
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from rb_core.errors import ModelError
from rb_core.models.chat_format import ChatFormat
from rb_core.models.checkpoint import Checkpoint
from rb_core.models.options import Kind
from rb_core.models.resolve import ModelSpec

# What loading a damaged or foreign checkpoint has been seen to raise.
LOADING_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError,
    ValueError, SafetensorError, StrictDataclassError,
)  # fmt: skip


# What a model of each kind is loaded as, and what that is called.
LOADED_AS: dict[Kind, tuple[Any, str]] = {
    "classifier": (AutoModelForSequenceClassification, "a sequence classifier"),
    "implicit": (AutoModelForCausalLM, "a language model"),
    "generative": (AutoModelForCausalLM, "a language model"),
}


# Where a tokenizer says it has no limit, transformers writes an absurdly large number.
NO_LIMIT = 10**9


# Larger batches than these are no faster: the machine is busy already.
MOST_TOKENS = {"cpu": 4096, "cuda": 65536, "mps": 8192}


FEWEST_TOKENS = 1024


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


def load_config(name: str, checkpoint: Checkpoint) -> Any:
    """Raises ModelError when it cannot be loaded."""
    return _load_beside_weights(AutoConfig, "config", name, checkpoint)


def load_tokenizer(name: str, checkpoint: Checkpoint) -> Any:
    """Raises ModelError when it cannot be loaded."""
    return _load_beside_weights(AutoTokenizer, "tokenizer", name, checkpoint)


def _load_beside_weights(auto_class: Any, what: str, name: str, checkpoint: Checkpoint) -> Any:
    try:
        return auto_class.from_pretrained(
            checkpoint.location, revision=checkpoint.hub_revision, trust_remote_code=False
        )
    except LOADING_ERRORS as error:
        raise ModelError(f"{name}: its {what} cannot be loaded: {_reason(error)}") from error


def load_model(spec: ModelSpec, other: Checkpoint | None = None) -> tuple[Any, dict[str, Any]]:
    """The checkpoint of a spec as a model of its kind, and transformers' account of its weights.

    other: the checkpoint to load in its place, under its own name: what the model is measured against, or put on.

    Raises ModelError when it cannot be loaded.
    """
    name, checkpoint = (spec.name, spec.checkpoint) if other is None else (other.name, other)
    auto_class, what = LOADED_AS[spec.kind]
    dtype = spec.options.dtype
    where: dict[str, Any] = {"revision": checkpoint.hub_revision, "trust_remote_code": False}
    try:
        model, loading = auto_class.from_pretrained(
            checkpoint.location,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            device_map=spec.options.device_map,
            use_safetensors=True,
            output_loading_info=True,
            **where,
        )
    except LOADING_ERRORS as error:
        raise ModelError(f"{name}: cannot be loaded as {what}: {_reason(error)}") from error
    _keep_soft_cap(model)
    return model, loading


def _keep_soft_cap(model: Any) -> None:
    """Older transformers run a soft-capped model (Gemma 2) with an attention that leaves the cap out."""
    config = model.config.get_text_config()
    if getattr(config, "attn_logit_softcapping", None) and config._attn_implementation == "sdpa":
        model.set_attn_implementation("eager")


def move_to_device(model: Any, spec: ModelSpec) -> torch.device:
    """Move the model to its device and make it ready; returns where its input goes."""
    model.eval()
    if spec.options.device_map is None:
        device = pick_device(spec.options.device)
        model.to(device)
        return device
    return torch.device(model.get_input_embeddings().weight.device)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__


def weight_problems(loading: Mapping[str, Any]) -> dict[str, list[str]]:
    """Weights that are missing, left over, or of another shape, by what is the matter with them.

    A language-model head left over beside a complete classifier changes no score and is let pass.
    """
    left_over = [key for key in loading.get("unexpected_keys", ()) if not key.startswith("lm_head.")]
    problems = {
        "misses": sorted(loading.get("missing_keys", ())),
        "has left over": sorted(left_over),
        "has in another shape": sorted(str(key) for key in loading.get("mismatched_keys", ())),
    }
    return {what: keys for what, keys in problems.items() if keys}


def check_weights(name: str, loading: Mapping[str, Any]) -> None:
    """Raise ModelError for any of `weight_problems`: the score would not be the model's own."""
    for what, keys in weight_problems(loading).items():
        shown = ", ".join(map(str, keys[:4])) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
        raise ModelError(f"{name}: the checkpoint {what} {shown}; its score would come from random or unused weights")


def check_pad_token(name: str, config: Any, tokenizer: Any) -> None:
    """Raise ModelError when config and tokenizer disagree on the pad token, which decides where the score is read."""
    config_pad, tokenizer_pad = config.get_text_config().pad_token_id, tokenizer.pad_token_id
    if config_pad is not None and tokenizer_pad is not None and config_pad != tokenizer_pad:
        raise ModelError(
            f"{name}: pad_token_id is {config_pad} in the config and {tokenizer_pad} in the tokenizer; which token the "
            "score is read at depends on it: correct the one that the model was not trained with"
        )


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


def quantization_of(model: Any) -> str | None:
    """How the weights are quantised, by the name of the method; None where they are not."""
    settings = model.config.to_dict().get("quantization_config")
    return str(settings.get("quant_method")) if isinstance(settings, dict) else None


def turning_points(models: Sequence[Any]) -> list[int]:
    """Lengths, in tokens, beyond which a model reads positions at another pace (rope scaling "longrope")."""
    found = []
    for model in models:
        config = model.config.get_text_config()
        rope = getattr(config, "rope_parameters", None) or {}
        for settings in [rope] if "rope_type" in rope else rope.values():  # one for all layers, or by their kind
            if isinstance(settings, dict) and settings.get("rope_type") == "longrope":
                found.append(int(settings["original_max_position_embeddings"]))
    return found


def describe_checkpoint(model: Any, chat: ChatFormat, spec: ModelSpec | None) -> dict[str, Any]:
    """What any kind of model says of its checkpoint, by the names of results.ModelRef."""
    return {
        "source": spec.checkpoint.location if spec and spec.checkpoint.hub_revision else None,
        "revision": spec.checkpoint.revision if spec else None,
        "architecture": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "attention": model.config._attn_implementation,
        "quantization": quantization_of(model),
        "chat_template_sha256": chat.sha256,
        "system_role": chat.system_role,
        "max_length": chat.max_length,
    }


def batch_budget(models: Sequence[Any], device: torch.device) -> int:
    """Tokens that may go through the models at once, from the memory that is free now: a power of two, so that small
    differences in free memory, between processes or between two starts of a run, make no difference to the plan."""
    fits = int(0.7 * free_memory(device) / max(token_bytes(model) for model in models))
    most = MOST_TOKENS.get(device.type, MOST_TOKENS["cpu"])
    return int(min(most, max(FEWEST_TOKENS, 1 << (max(1, fits).bit_length() - 1))))


def free_memory(device: torch.device) -> int:
    """Bytes that are free now: the GPU's own, elsewhere the machine's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def token_bytes(model: Any) -> int:
    """About the memory that one token takes on its way through one layer, in bytes: hidden states in float32 for the
    norms, queries, keys and values with a copy of the latter for shared prompts, and the inside of the MLP."""
    config = model.config.get_text_config()
    hidden = getattr(config, "hidden_size", 1024)
    heads = getattr(config, "num_attention_heads", 16)
    width = getattr(config, "head_dim", None) or hidden // heads
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    active = getattr(config, "num_experts_per_tok", None) or 1
    numbers = 4 * hidden + 8 * heads * width + 3 * inner * active
    return int(numbers * model.dtype.itemsize + 3 * hidden * 4)
