"""Load checkpoints with transformers: safetensors only, no remote code, every weight accounted for.

And read what scoring needs from their configs: limits of length, switches of rope scaling, memory per token.
"""

from __future__ import annotations

import copy
import inspect
import logging
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers import __version__ as transformers_version
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from rb_core.errors import ModelError, first_line, hub_errors, quoted
from rb_core.models.chat_format import ChatFormat
from rb_core.models.checkpoint import Checkpoint, weight_shapes
from rb_core.models.options import Kind
from rb_core.models.resolve import TWO_LAYER_PROCESS, ModelSpec
from rb_core.models.time_limit import within_time_limit

# Raised by transformers for damaged or foreign checkpoints.
LOADING_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError, OSError, RuntimeError,
    TypeError, ValueError, SafetensorError, StrictDataclassError,
)  # fmt: skip
# Their messages that speak of arguments and classes of transformers instead of the checkpoint.
_INTERNALS = re.compile(
    r"trust_remote_code|from_pretrained|AutoModel|ignore_mismatched|<class |--upgrade|https?://| object "
)
_INVALID_FIELD = re.compile(r"Validation error for field '(\w+)'")
LOADING_SECONDS = 120.0  # for a config or tokenizer: converting a large vocabulary takes half a minute
# Texts on which a regular expression that tries every division of a text does not end.
_TRIAL_TEXTS = tuple(run * 40 + end for run in ("a", "1", " ", "a b ") for end in ("!", ""))
# Weights that change no score of another head: the heads of language models, masked or not, and of ELECTRA and ALBERT
# pretraining, and constants of attention.
_UNUSED = re.compile(
    r"^(lm_head|embed_out|cls\.predictions|cls\.seq_relationship|generator_predictions|generator_lm_head|predictions"
    r"|discriminator_predictions|sop_classifier|lm_predictions|mask_predictions|vocab_transform|vocab_layer_norm"
    r"|vocab_projector)\.|\.(attn|attention)\.masked_bias$|\.rotary_emb\.inv_freq$"
)
# The class that loads a model of each kind, and a name for messages.
LOADED_AS: dict[Kind, tuple[Any, str]] = {
    "classifier": (AutoModelForSequenceClassification, "a sequence classifier"),
    "value-head": (AutoModelForCausalLM, "a language model"),
    "gated": (AutoModelForCausalLM, "a language model"),
    "token": (AutoModelForCausalLM, "a language model"),
    "process": (AutoModelForCausalLM, "a language model"),
    "implicit": (AutoModelForCausalLM, "a language model"),
    "generative": (AutoModelForCausalLM, "a language model"),
}
# Types of models that count positions from the one after their pad token's id (RoBERTa and its relatives).
_COUNT_FROM_PAD = (
    "camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip
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


def load_config(spec: ModelSpec, other: Checkpoint | None = None) -> Any:
    """Load the config of a spec's checkpoint. other: a checkpoint to load instead, under its own name.

    Raises ModelError when transformers has no class for the model, the checkpoint names code of its own, or its config
    cannot be read.
    """
    name, checkpoint = _named(spec, other)
    declared = checkpoint.config
    # in place of the checkpoint's own code
    brings_class = spec.kind == "gated" or (spec.kind == "process" and TWO_LAYER_PROCESS in checkpoint.architectures)
    ignored = spec.options.ignore_auto_map or brings_class
    check_own_code(name, "config.json", declared.get("auto_map"), ignored=ignored)
    if (model_type := declared.get("model_type")) not in CONFIG_MAPPING:
        raise ModelError(
            f"{name}: config.json declares the model type {quoted(str(model_type))}, which transformers "
            f"{transformers_version} does not know"
        )
    quantization = declared.get("quantization_config") or {}
    if quantization and not any(quantization.get(key) for key in ("quant_method", "load_in_8bit", "load_in_4bit")):
        raise ModelError(f"{name}: quantization_config in config.json names no quant_method")
    config = _load(lambda: AutoConfig.from_pretrained(checkpoint.location, **_source(checkpoint)), name, "config")
    auto_class, what = LOADED_AS.get(spec.kind, (None, ""))  # nothing is loaded of a remote model
    if auto_class is not None and type(config) not in auto_class._model_mapping:
        raise ModelError(
            f"{name}: transformers {transformers_version} has no class for {what} of the type {model_type}"
        )
    return config


def load_tokenizer(spec: ModelSpec, other: Checkpoint | None = None) -> Any:
    """Load the tokenizer of a spec's checkpoint. other: a checkpoint to load it from instead, under its own name.

    Raises ModelError when it cannot be loaded, or the checkpoint names code of its own for it.
    """
    name, checkpoint = _named(spec, other)

    def load() -> Any:
        settings = get_tokenizer_config(checkpoint.location, revision=checkpoint.hub_revision)
        own_code = settings.get("auto_map")
        check_own_code(name, "tokenizer_config.json", own_code, ignored=spec.options.ignore_auto_map)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.location, **_source(checkpoint))
        tokenizer(list(_TRIAL_TEXTS))
        return tokenizer

    return _load(load, name, "tokenizer")


def check_own_code(name: str, file: str, auto_map: Any, *, ignored: bool) -> None:
    """Raise ModelError for a checkpoint that names code of its own, which is never run, unless that is ignored."""
    if auto_map and not ignored:
        names = ", ".join(map(str, auto_map)) if isinstance(auto_map, Mapping) else str(auto_map)
        raise ModelError(
            f"{name}: {file} names code of its own (auto_map: {names}), which is never run, and transformers' own "
            "class may give other scores: pass --ignore-auto-map if it is known to give the same"
        )


def _named(spec: ModelSpec, other: Checkpoint | None) -> tuple[str, Checkpoint]:
    return (spec.name, spec.checkpoint) if other is None else (other.name, other)


def _source(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"revision": checkpoint.hub_revision, "trust_remote_code": False}


def _load(load: Callable[[], Any], name: str, what: str) -> Any:
    try:
        return within_time_limit(load, f"{name}: loading its {what}", LOADING_SECONDS)
    except LOADING_ERRORS as error:
        raise ModelError(f"{name}: its {what} cannot be loaded: {_reason(error)}") from error


def load_pretrained(
    spec: ModelSpec, other: Checkpoint | None = None, *, num_labels: int | None = None
) -> tuple[Any, dict[str, Any]]:
    """Load the checkpoint of a spec as a model of its kind. Return it with transformers' report on its weights.

    other: a checkpoint to load instead, under its own name: a reference, or the base of an adapter.
    num_labels: number of outputs of a head that the checkpoint does not have.

    Raises ModelError when it cannot be loaded.
    """
    name, checkpoint = _named(spec, other)
    auto_class, what = LOADED_AS[spec.kind]
    dtype = spec.options.dtype
    config = load_config(spec, other)
    if num_labels is not None:
        config.num_labels = num_labels
    try:
        building = f"{name}: building the model that its config declares"
        declared = within_time_limit(lambda: _declared_shapes(auto_class, config), building)
        if num_labels is None and spec.kind == "classifier" and not declares_outputs(checkpoint):
            config.num_labels = _rows_of_head(auto_class, config, checkpoint) or config.num_labels
            declared = _declared_shapes(auto_class, config)
    except LOADING_ERRORS as error:
        raise ModelError(f"{name}: the model that its config declares cannot be built: {_reason(error)}") from error
    if checkpoint.hub_revision is None:
        _check_size(name, declared, Path(checkpoint.location))
    try:
        with _without_load_report():
            model, loading = auto_class.from_pretrained(
                checkpoint.location,
                **_source(checkpoint),
                config=config,
                dtype=dtype if dtype == "auto" else getattr(torch, dtype),
                device_map=spec.options.device_map,
                use_safetensors=True,
                output_loading_info=True,
            )
    except LOADING_ERRORS as error:
        reason = _weights_reason(error, declared, checkpoint)
        raise ModelError(f"{name}: cannot be loaded as {what}: {reason}") from error
    config = model.config.get_text_config()
    # Older transformers run a soft-capped model (Gemma 2) with an attention that leaves the cap out.
    if getattr(config, "attn_logit_softcapping", None) and config._attn_implementation == "sdpa":
        model.set_attn_implementation("eager")
    return model, loading


@contextmanager
def _without_load_report() -> Iterator[None]:
    """Keep transformers from printing a report on the weights, whose advice does not apply: `check_weights` refuses
    weights that are missing, and a head of ours is unexpected to transformers."""
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(_is_no_load_report)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_load_report)


def _is_no_load_report(record: logging.LogRecord) -> bool:
    return "LOAD REPORT" not in record.getMessage()


def _declared_shapes(auto_class: Any, config: Any) -> dict[str, list[int]]:
    """Return the shape of every weight of the model that a config declares, without memory for them."""
    with torch.device("meta"):
        return {name: list(weight.shape) for name, weight in auto_class.from_config(config).state_dict().items()}


def declares_outputs(checkpoint: Checkpoint) -> bool:
    """Return True if a config says how many outputs the head has."""
    return any(field in checkpoint.config for field in ("num_labels", "id2label", "label2id"))


def _rows_of_head(auto_class: Any, config: Any, checkpoint: Checkpoint) -> int | None:
    """Return the number of outputs by the head's weights: those that change their shape with it. None without them."""
    other = copy.deepcopy(config)
    other.num_labels = config.num_labels + 1
    shapes, other_shapes = _declared_shapes(auto_class, config), _declared_shapes(auto_class, other)
    stored = weight_shapes(checkpoint)
    return next((stored[name][0] for name in shapes if name in stored and shapes[name] != other_shapes[name]), None)


def _check_size(name: str, declared: Mapping[str, Sequence[int]], folder: Path) -> None:
    """Raise ModelError for weight files with less than a bit for each declared parameter: filling up takes forever."""
    parameters = sum(math.prod(shape) for shape in declared.values())
    num_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors") if file.is_file())
    if 0 < 8 * num_bytes < parameters:
        raise ModelError(
            f"{name}: config.json declares a model of {parameters:,} parameters, and the weights have {num_bytes:,} "
            "bytes: one of the two belongs to another model"
        )


def _weights_reason(error: Exception, declared: Mapping[str, Sequence[int]], checkpoint: Checkpoint) -> str:
    """Return in our own words why weights cannot be loaded."""
    if isinstance(error, OSError) and ".safetensors" in str(error):
        return "it has no weights in the safetensors format (pickle files are not read)"
    if "ignore_mismatched_sizes" in str(error):
        differences = _differing_shapes(declared, checkpoint)
        return "its weights do not have the shapes that its config declares: " + "; ".join(differences[:4])
    return _reason(error)


def _differing_shapes(declared: Mapping[str, Sequence[int]], checkpoint: Checkpoint) -> list[str]:
    differences = []
    for file in _weight_files(checkpoint):
        with safe_open(file, framework="pt") as weights:
            for name in declared.keys() & set(weights.keys()):
                if (shape := weights.get_slice(name).get_shape()) != declared[name]:
                    differences.append(f"{name} is {shape}, by the config {declared[name]}")
    return sorted(differences)


def _weight_files(checkpoint: Checkpoint) -> list[Path]:
    """Return the weight files of a checkpoint that transformers has loaded."""
    folder = Path(checkpoint.location)
    if checkpoint.hub_revision is not None:
        folder = Path(snapshot_download(checkpoint.location, revision=checkpoint.hub_revision, local_files_only=True))
    return sorted(folder.glob("*.safetensors"))


def read_tensors(checkpoint: Checkpoint, names: Collection[str]) -> dict[str, Tensor]:
    """Return weights by their names, those that a checkpoint has, after transformers has loaded it."""
    tensors: dict[str, Tensor] = {}
    for file in _weight_files(checkpoint) if names else ():
        with safe_open(file, framework="pt") as weights:
            tensors |= {name: weights.get_tensor(name) for name in set(names).intersection(weights.keys())}
    return tensors


def read_safetensors(name: str, checkpoint: Checkpoint, file: str) -> dict[str, Tensor]:
    """Return all tensors of a file beside a checkpoint, or beside an adapter. name: of the model, for messages.

    Raises ModelError unless it can be read.
    """
    path = Path(checkpoint.location) / file
    try:
        if checkpoint.hub_revision is not None:
            path = Path(hf_hub_download(checkpoint.location, file, revision=checkpoint.hub_revision))
        return load_file(path)
    except hub_errors() + LOADING_ERRORS as error:
        raise ModelError(f"{name}: no readable {file} ({first_line(error)}); pickle files are not read") from error


def _reason(error: Exception) -> str:
    """Return an error of transformers in one line, without advice on its own arguments."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        return f"transformers does not know the value {text}"
    if isinstance(error, ArithmeticError | AttributeError | TypeError) and "expected" not in text:
        return f"a field has a value of the wrong type or size ({text[:300]})"
    if "retry-limit" in text:
        return "a pattern in it tries every division of a text, which may never end"
    if "backend tokenizer" in text:
        return "it has none that can be read (tokenizer.json)"
    if field := _INVALID_FIELD.search(text):
        return f"its field {field[1]} has a value of the wrong type or size"
    if not text or _INTERNALS.search(text):
        return f"transformers {transformers_version} cannot read it ({type(error).__name__})"
    return text[:300]


def move_to_device(model: Any, spec: ModelSpec) -> torch.device:
    """Move the model to its device and prepare it for inference. Return the device of its input."""
    model.eval()
    if spec.options.device_map is None:
        device = pick_device(spec.options.device)
        model.to(device)
        return device
    return torch.device(model.get_input_embeddings().weight.device)


def check_weights(name: str, loading: Mapping[str, Any]) -> tuple[str, ...]:
    """Raise ModelError for missing or unexpected weights: the score would not be the model's own.

    Return the unexpected weights that change no score: heads that the model was pretrained with, and constants that
    older versions of transformers saved.
    """
    unexpected = sorted(loading.get("unexpected_keys", ()))
    unused = tuple(key for key in unexpected if _UNUSED.search(key))
    unexpected = [key for key in unexpected if key not in unused]
    if value_heads := [key for key in unexpected if key.startswith(("v_head.", "value_head."))]:
        raise ModelError(
            f"{name}: the checkpoint has a value head ({value_heads[0]}), which the score would not use: pass --kind "
            "value-head to score with it"
        )
    problems = {"misses": sorted(loading.get("missing_keys", ())), "has unexpected": unexpected}
    for problem, keys in problems.items():
        if keys:
            shown = ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
            raise ModelError(
                f"{name}: the checkpoint {problem} {shown}; its score would come from random or unused weights"
            )
    return unused


def pad_token_of(config: Any) -> int | None:
    """Return the config's pad token; None if it has none, which old Llama checkpoints write as -1."""
    pad: int | None = config.get_text_config().pad_token_id
    return None if pad is None or pad < 0 else pad


def check_pad_token(name: str, config: Any, tokenizer: Any, declared: str | None) -> None:
    """Raise ModelError if config and tokenizer disagree on the pad token, which decides where the score is read, and
    neither is declared to be right; or if the declared one has none."""
    config_pad, tokenizer_pad = pad_token_of(config), tokenizer.pad_token_id
    if declared == "tokenizer" and tokenizer_pad is None:
        raise ModelError(f"{name}: --pad-token is tokenizer, and the tokenizer has no pad token")
    if declared is None and config_pad is not None and tokenizer_pad is not None and config_pad != tokenizer_pad:
        raise ModelError(
            f"{name}: pad_token_id is {config_pad} in the config and {tokenizer_pad} in the tokenizer; it decides at "
            "which token the score is read: pass --pad-token config or tokenizer, the one that it was trained with"
        )


def check_token_ids(model: Any, tokenizer: Any, rows: Iterable[Sequence[int]]) -> None:
    """Raise ModelError for a token id that the model has no embedding for."""
    embeddings = model.get_input_embeddings().weight.shape[0]
    if (largest := max((max(row, default=0) for row in rows), default=0)) >= embeddings:
        token = quoted(str(tokenizer.convert_ids_to_tokens(largest)))
        raise ModelError(
            f"the tokenizer has the id {largest} for {token}, but the model has only {embeddings} embeddings: "
            "is this the tokenizer of the model?"
        )


def pair_separator(name: str, model: Any, tokenizer: Any) -> int | None:
    """Return the token between the texts of a pair, for an encoder that tells them apart by token types 0 and 1 (BERT,
    ELECTRA, ALBERT); None for other models.

    Raises ModelError for a model with other token types.
    """
    takes_types = "token_type_ids" in inspect.signature(model.forward).parameters
    if not takes_types or (getattr(model.config, "type_vocab_size", None) or 0) < 2:
        return None
    # asked for explicitly: some classes of tokenizers for these models leave the types out by default
    types = tokenizer("a", "b", return_token_type_ids=True)["token_type_ids"]
    if not any(types):
        return None
    if sorted(set(types)) != [0, 1] or types != sorted(types):
        raise ModelError(f"{name}: its tokenizer gives a pair of texts the types {types}; only 0 and 1 are supported")
    separator: int | None = tokenizer.sep_token_id
    return separator


def max_length_of(spec: ModelSpec, config: Any, tokenizer: Any) -> int:
    """Return the limit in tokens: --max-length, or the model's own. Raises ModelError beyond the model's own."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    if positions and config.model_type in _COUNT_FROM_PAD:
        positions -= (pad_token_of(config) or 0) + 1
    limits = (positions, tokenizer.model_max_length)
    own = [int(limit) for limit in limits if limit and 0 < limit < NO_LIMIT]
    if spec.max_length is None and not own:
        raise ModelError(f"{spec.name}: neither config nor tokenizer has a limit of length: give --max-length")
    # if the config has a limit, the tokenizer's is only a default; without one it is the only limit
    if spec.max_length is not None and own and spec.max_length > own[0]:
        raise ModelError(f"{spec.name}: --max-length is {spec.max_length}, but the model's own limit is {own[0]}")
    return spec.max_length or min(own)


def quantization_of(model: Any) -> str | None:
    """Return the name of the quantisation that was applied to the weights; None without quantisation."""
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is None:
        return None
    method = quantizer.quantization_config.quant_method
    return str(getattr(method, "value", method))


def loading_notes(spec: ModelSpec, model: Any, unused: Sequence[str]) -> list[str]:
    """Return what was left out of a checkpoint, in words: unused weights, code, a quantisation, a pad token."""
    checkpoint, declared = spec.checkpoint, spec.checkpoint.config
    notes = []
    if unused:
        shown = ", ".join(unused[:4]) + (f" and {len(unused) - 4} more" if len(unused) > 4 else "")
        notes.append(f"weights that the score does not use: {shown}")
    if spec.kind != "value-head" and (file := (spec.adapter or checkpoint).value_head):
        notes.append(f"the value head in {file} was not used")
    if declared.get("auto_map"):
        ours = "" if isinstance(model, PreTrainedModel) else f": {type(model).__name__} of rb_core stands in for it"
        notes.append(f"code of its own (auto_map) was not run{ours}")
    if (quantization := declared.get("quantization_config")) and quantization_of(model) is None:
        method = quoted(str(quantization.get("quant_method")))
        notes.append(f"declared quantisation {method} was not applied: the weights are used as they are in the file")
    outputs = model.config.num_labels
    is_whole_classifier = (
        "SequenceClassification" in (name := type(model).__name__) and name in checkpoint.architectures
    )
    if is_whole_classifier and outputs != 2 and not declares_outputs(checkpoint):
        notes.append(f"num_labels is not in config.json: {outputs} by the weights of the head")
    if (pad := model.config.get_text_config().pad_token_id) is not None and pad < 0:
        notes.append(f"pad_token_id {pad} is no token: the last token is read")
    return notes


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


def describe_checkpoint(
    model: Any, chat: ChatFormat, spec: ModelSpec | None, unused: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the description of a checkpoint of any kind, as fields of results.schema.ModelRef.

    unused: its weights that the score does not use.
    """
    adapter = spec.adapter if spec else None
    return {
        "adapter": adapter.name if adapter else None,
        "adapter_revision": adapter.revision if adapter else None,
        "loading": (loading_notes(spec, model, unused) or None) if spec else None,
        "source": spec.checkpoint.location if spec and spec.checkpoint.hub_revision else None,
        "revision": spec.checkpoint.revision if spec else None,
        "architecture": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "attention": model.config._attn_implementation,
        "quantization": quantization_of(model),
        "chat_template_sha256": chat.sha256,
        "template_name": chat.template_name,
        "template_vars": dict(chat.variables) or None,
        "tokens": (list(spec.options.reward_tokens) or None) if spec else None,
        "question": chat.question,
        "generation_prompt": chat.generation_prompt or None,
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
