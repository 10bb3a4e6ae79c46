"""Load checkpoints with transformers: safetensors only, no remote code, every weight accounted for.

And read what scoring needs from their configs: limits of length, switches of rope scaling, memory per token.
"""

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

# Raised by transformers for damaged or foreign checkpoints.
LOADING_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError,
    ValueError, SafetensorError, StrictDataclassError,
)  # fmt: skip
# The class that loads a model of each kind, and a name for messages.
LOADED_AS: dict[Kind, tuple[Any, str]] = {
    "classifier": (AutoModelForSequenceClassification, "a sequence classifier"),
    "implicit": (AutoModelForCausalLM, "a language model"),
    "generative": (AutoModelForCausalLM, "a language model"),
}
NO_LIMIT = 10**9  # transformers writes a larger number for a tokenizer without a limit
MAX_BATCH_TOKENS = {"cpu": 4096, "cuda": 65536, "mps": 8192}  # larger batches keep the device no busier
MIN_BATCH_TOKENS = 1024


def pick_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is cuda, else mps, else cpu. Raises ModelError if it is not available."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = name.partition(":")
    available = torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available() or kind == "cpu"
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        available = False
    if not available:
        raise ModelError(f"device {name!r} is not available on this machine; --device auto takes one that is")
    return torch.device(name)


def load_config(name: str, checkpoint: Checkpoint) -> Any:
    """Load a checkpoint's config. Raises ModelError when it cannot be loaded."""
    return _load_beside_weights(AutoConfig, "config", name, checkpoint)


def load_tokenizer(name: str, checkpoint: Checkpoint) -> Any:
    """Load a checkpoint's tokenizer. Raises ModelError when it cannot be loaded."""
    return _load_beside_weights(AutoTokenizer, "tokenizer", name, checkpoint)


def _load_beside_weights(auto_class: Any, what: str, name: str, checkpoint: Checkpoint) -> Any:
    try:
        return auto_class.from_pretrained(
            checkpoint.location, revision=checkpoint.hub_revision, trust_remote_code=False
        )
    except LOADING_ERRORS as error:
        raise ModelError(f"{name}: its {what} cannot be loaded: {_reason(error)}") from error


def load_pretrained(spec: ModelSpec, other: Checkpoint | None = None) -> tuple[Any, dict[str, Any]]:
    """Load the checkpoint of a spec as a model of its kind. Return it with transformers' report on its weights.

    other: a checkpoint to load instead, under its own name: a reference, or the base of an adapter.

    Raises ModelError when it cannot be loaded.
    """
    name, checkpoint = (spec.name, spec.checkpoint) if other is None else (other.name, other)
    auto_class, what = LOADED_AS[spec.kind]
    dtype = spec.options.dtype
    try:
        model, loading = auto_class.from_pretrained(
            checkpoint.location,
            revision=checkpoint.hub_revision,
            trust_remote_code=False,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            device_map=spec.options.device_map,
            use_safetensors=True,
            output_loading_info=True,
        )
    except LOADING_ERRORS as error:
        raise ModelError(f"{name}: cannot be loaded as {what}: {_reason(error)}") from error
    config = model.config.get_text_config()
    # Older transformers run a soft-capped model (Gemma 2) with an attention that leaves the cap out.
    if getattr(config, "attn_logit_softcapping", None) and config._attn_implementation == "sdpa":
        model.set_attn_implementation("eager")
    return model, loading


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__


def move_to_device(model: Any, spec: ModelSpec) -> torch.device:
    """Move the model to its device and prepare it for inference. Return the device of its input."""
    model.eval()
    if spec.options.device_map is None:
        device = pick_device(spec.options.device)
        model.to(device)
        return device
    return torch.device(model.get_input_embeddings().weight.device)


def check_weights(name: str, loading: Mapping[str, Any]) -> None:
    """Raise ModelError for missing, unexpected or misshapen weights: the score would not be the model's own.

    An unexpected language-model head beside a complete classifier changes no score and is accepted.
    """
    problems = {
        "misses": loading.get("missing_keys", ()),
        "has unexpected": [key for key in loading.get("unexpected_keys", ()) if not key.startswith("lm_head.")],
        "has in another shape": map(str, loading.get("mismatched_keys", ())),
    }
    for problem, names in problems.items():
        if keys := sorted(names):
            shown = ", ".join(map(str, keys[:4])) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
            raise ModelError(
                f"{name}: the checkpoint {problem} {shown}; its score would come from random or unused weights"
            )


def check_pad_token(name: str, config: Any, tokenizer: Any) -> None:
    """Raise ModelError if config and tokenizer disagree on the pad token, which decides where the score is read."""
    config_pad, tokenizer_pad = config.get_text_config().pad_token_id, tokenizer.pad_token_id
    if config_pad is not None and tokenizer_pad is not None and config_pad != tokenizer_pad:
        raise ModelError(
            f"{name}: pad_token_id is {config_pad} in the config and {tokenizer_pad} in the tokenizer; it decides at "
            "which token the score is read: correct the one that the model was not trained with"
        )


def max_length_of(spec: ModelSpec, config: Any, tokenizer: Any) -> int:
    """Return the limit in tokens: --max-length, or the model's own. Raises ModelError beyond the model's own."""
    limits = (getattr(config.get_text_config(), "max_position_embeddings", None), tokenizer.model_max_length)
    own = [int(limit) for limit in limits if limit and 0 < limit < NO_LIMIT]
    if spec.max_length is None and not own:
        raise ModelError(f"{spec.name}: neither config nor tokenizer has a limit of length: give --max-length")
    # if the config has a limit, the tokenizer's is only a default; without one it is the only limit
    if spec.max_length is not None and own and spec.max_length > own[0]:
        raise ModelError(f"{spec.name}: --max-length is {spec.max_length}, but the model's own limit is {own[0]}")
    return spec.max_length or min(own)


def quantization_of(model: Any) -> str | None:
    """Return the name of the quantisation method of the weights; None without quantisation."""
    settings = model.config.to_dict().get("quantization_config")
    return str(settings.get("quant_method")) if isinstance(settings, dict) else None


def rope_switch_lengths(models: Sequence[Any]) -> list[int]:
    """Return the lengths, in tokens, beyond which a model scales its positions differently (rope type "longrope")."""
    lengths = []
    for model in models:
        config = model.config.get_text_config()
        rope = getattr(config, "rope_parameters", None) or {}
        for settings in [rope] if "rope_type" in rope else rope.values():  # one for all layers, or one per layer type
            if isinstance(settings, dict) and settings.get("rope_type") == "longrope":
                lengths.append(int(settings["original_max_position_embeddings"]))
    return lengths


def describe_checkpoint(model: Any, chat: ChatFormat, spec: ModelSpec | None) -> dict[str, Any]:
    """Return the description of a checkpoint of any kind, as fields of results.schema.ModelRef."""
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
    """Return the number of tokens that may go through the models at once, from the memory that is free now.

    It is a power of two, so that small differences in free memory, between processes or between two starts of a run,
    do not change the plan.
    """
    fits = int(0.7 * free_memory(device) / max(token_bytes(model) for model in models))
    largest = MAX_BATCH_TOKENS.get(device.type, MAX_BATCH_TOKENS["cpu"])
    return int(min(largest, max(MIN_BATCH_TOKENS, 1 << (max(1, fits).bit_length() - 1))))


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free now: of the GPU, or else of the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def token_bytes(model: Any) -> int:
    """Estimate the memory of one token on its way through one layer, in bytes.

    Hidden states in float32 for the norms; queries, keys and values, with a copy of the latter for shared prompts; and
    the inner states of the MLP.
    """
    config = model.config.get_text_config()
    hidden = getattr(config, "hidden_size", 1024)
    heads = getattr(config, "num_attention_heads", 16)
    width = getattr(config, "head_dim", None) or hidden // heads
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    active = getattr(config, "num_experts_per_tok", None) or 1
    numbers = 4 * hidden + 8 * heads * width + 3 * inner * active
    return int(numbers * model.dtype.itemsize + 3 * hidden * 4)
