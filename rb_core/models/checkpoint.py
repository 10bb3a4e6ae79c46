"""Find a checkpoint on disk or on the hub and read what its config declares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from rb_core.errors import ModelError, first_line, hub_errors, quoted
from rb_core.models.registry import RECORDS, ModelRecord

ADAPTER_CONFIG = "adapter_config.json"
_LOADED_SUFFIXES = (".safetensors", ".json", ".model", ".txt", ".jinja")
MAX_CONFIG_BYTES = 16 << 20
VALUE_HEAD_FILE = "value_head.safetensors"  # as LLaMA-Factory saves it, beside a language model or an adapter
_VALUE_HEADS = ("v_head.summary", "value_head")  # prefixes of value heads within a checkpoint: TRL, OpenRLHF
# Fields of a config that decide how a checkpoint is loaded: their type, and a name for messages.
_FIELD_TYPES: Mapping[str, tuple[type, str]] = {
    "architectures": (list, "a list of names"),
    "model_type": (str, "a name"),
    "auto_map": (dict, "an object"),
    "quantization_config": (dict, "an object"),
    "value_head_prefix": (str, "a name"),
    "text_config": (dict, "an object"),
    "task_type": (str, "a name"),
    "revision": (str, "a commit"),
}
# Fields whose number is built one by one, with several times as many as any published model has.
_LARGEST: Mapping[str, int] = {
    **dict.fromkeys(
        ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "encoder_layers", "decoder_layers"), 1_000
    ),
    "num_labels": 100_000,
}


@dataclass(frozen=True)
class Checkpoint:
    """A place that weights are loaded from."""

    location: str  # hub id or folder
    revision: str | None  # commit on the hub, or "sha256:" and the digest of a folder's files
    config: Mapping[str, Any]  # config.json; of an adapter, adapter_config.json
    value_head: str | None = None  # file beside the weights that holds a value head

    @property
    def hub_revision(self) -> str | None:
        """Commit to load from the hub; None for a folder."""
        return None if Path(self.location).is_dir() else self.revision

    @property
    def name(self) -> str:
        """ORG/NAME on the hub; local/NAME for a folder, without its path, which is private."""
        path = Path(self.location)
        if path.is_dir():
            return "local/" + "".join(c if c.isalnum() or c in "._-+" else "-" for c in path.resolve().name)
        return self.location

    @property
    def architectures(self) -> tuple[str, ...]:
        """Names of the model classes that the config declares."""
        return tuple(self.config.get("architectures") or ())

    @property
    def is_adapter(self) -> bool:
        return "base_model_name_or_path" in self.config


def locate(model: str, record: ModelRecord | None, revision: str | None, flag: str = "--revision") -> Checkpoint:
    """Return the checkpoint of a folder or a hub id. flag: the option that `revision` was given with.

    Raises ModelError when there is none, or its config cannot be read.
    """
    if model.startswith("baseline/") or (record is None and model.startswith("builtin/")):
        names = ", ".join(name for name in RECORDS if name.startswith(("baseline/", "builtin/")))
        raise ModelError(f"unknown model {model!r}: choose one of {names}")
    if record is not None and record.folder is not None:
        package, _, folder = record.folder.partition("/")
        path = Path(str(resources.files(package))) / folder
        if not path.is_dir():  # anyone could own its name on the hub
            raise ModelError(f"{model} is not part of this installation: {path} is missing")
    else:
        path = Path(model).expanduser()
    if path.is_dir():
        if revision is not None:
            raise ModelError(f"{flag} names a commit on the hub; {model!r} is a folder")
        try:
            _check_files(path)
            config = _folder_config(path)
            head = _value_head_file(str(path), {file.name for file in path.iterdir()})
            return Checkpoint(str(path), "sha256:" + _folder_digest(path), config, head)
        except OSError as error:
            raise ModelError(f"{path}: cannot be read: {first_line(error)}") from error
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(f"{model!r} is neither a folder nor a hub id (ORG/NAME)")
    return _locate_on_hub(model, revision)


def base_checkpoint(adapter: Checkpoint) -> Checkpoint:
    """Return the checkpoint that an adapter names as its base, at the revision that it names."""
    base = adapter.config["base_model_name_or_path"]
    if not isinstance(base, str) or not base:
        raise ModelError(f"{adapter.location}: {ADAPTER_CONFIG} names no base model")
    revision = None if Path(base).expanduser().is_dir() else adapter.config.get("revision")
    checkpoint = locate(base, RECORDS.get(base), revision or None)
    if checkpoint.is_adapter:
        raise ModelError(f"{adapter.location}: its base {base} is an adapter as well; merge one of the two")
    return checkpoint


def _locate_on_hub(model: str, revision: str | None) -> Checkpoint:
    from huggingface_hub import HfApi, hf_hub_download

    try:
        info = HfApi().model_info(model, revision=revision)
        files = {sibling.rfilename for sibling in info.siblings or ()}
        file, head = _config_file(model, files), _value_head_file(model, files)
        downloaded = Path(hf_hub_download(model, file, revision=info.sha))
    except hub_errors() as error:
        raise ModelError(
            f"model {model} is not a folder and cannot be reached on the hub ({first_line(error)}): "
            "check the name, the revision and the connection"
        ) from error
    config = _parse_object(f"{model}: {file}", downloaded.read_bytes())
    _check_fields(f"{model}: {file}", config)
    return Checkpoint(model, info.sha, config, head)


def weight_shapes(checkpoint: Checkpoint) -> dict[str, Sequence[int]]:
    """Return the shapes of a checkpoint's weights in the safetensors format by their names, without reading the
    weights; none if they cannot be read."""
    from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

    unreadable: tuple[type[Exception], ...] = (SafetensorError, NotASafetensorsRepoError, SafetensorsParsingError)
    unreadable += hub_errors()
    try:
        if checkpoint.hub_revision is not None:
            from huggingface_hub import HfApi

            metadata = HfApi().get_safetensors_metadata(checkpoint.location, revision=checkpoint.hub_revision)
            files = metadata.files_metadata.values()
            return {name: tensor.shape for file in files for name, tensor in file.tensors.items()}
        shapes: dict[str, Sequence[int]] = {}
        for path in Path(checkpoint.location).glob("*.safetensors"):
            with safe_open(path, framework="np") as weights:
                shapes |= {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118 - no dict
        return shapes
    except unreadable:
        return {}


def value_head_prefix(config: Mapping[str, Any], names: Collection[str]) -> str | None:
    """Return the prefix of a value head among the names of weights: the one that the config declares, or a usual one;
    None without a value head."""
    prefixes = (config.get("value_head_prefix"), *_VALUE_HEADS)
    return next((prefix for prefix in prefixes if prefix and f"{prefix}.weight" in names), None)


def _check_files(path: Path) -> None:
    """Raise ModelError for an entry of a folder whose reading might never end, and for weights outside the folder."""
    for entry in (*path.iterdir(), *path.glob("additional_chat_templates/*")):
        if not entry.is_file() and not entry.is_dir():
            raise ModelError(
                f"{entry} is neither a file nor a folder (a pipe, a device, or a link to a missing file): remove it"
            )
    for index in path.glob("*.safetensors.index.json"):
        files = _read_object(index).get("weight_map")
        for name in files.values() if isinstance(files, dict) else [files]:
            if not isinstance(name, str) or Path(name).name != name:
                raise ModelError(f"{index}: weight_map has {quoted(str(name))}; expected the name of a file")


def _folder_config(path: Path) -> Mapping[str, Any]:
    file = path / _config_file(str(path), {file.name for file in path.iterdir()})
    if not file.is_file():
        raise ModelError(f"{path}: no config.json; this is not the folder of a model")
    config = _read_object(file)
    _check_fields(str(file), config)
    return config


def _config_file(model: str, files: Collection[str]) -> str:
    """Return the name of the config.

    Raises ModelError for a model that has both a config and an adapter's.
    """
    if ADAPTER_CONFIG not in files:
        return "config.json"
    if "config.json" in files:
        raise ModelError(
            f"{model} has a config.json and an {ADAPTER_CONFIG}: transformers would load the model and silently put "
            "the adapter on it; remove one of the two files"
        )
    return ADAPTER_CONFIG


def _value_head_file(model: str, files: Collection[str]) -> str | None:
    """Return the name of the file of a value head, None without one. Raises ModelError for a pickle file."""
    heads = sorted(file for file in files if file.startswith("value_head."))
    if heads and VALUE_HEAD_FILE not in heads:
        raise ModelError(
            f"{model} has its reward head in {heads[0]}, and pickle files are not read: save it as {VALUE_HEAD_FILE}"
        )
    return VALUE_HEAD_FILE if heads else None


def _read_object(file: Path) -> dict[str, Any]:
    if (size := file.stat().st_size) > MAX_CONFIG_BYTES:
        raise ModelError(f"{file}: {size:,} bytes, at most {MAX_CONFIG_BYTES:,} are read")
    return _parse_object(str(file), file.read_bytes())


def _parse_object(place: str, content: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{place}: not readable JSON: {first_line(error)}") from error
    if not isinstance(parsed, dict):
        raise ModelError(f"{place}: expected a JSON object")
    return parsed


def _check_fields(place: str, config: Mapping[str, Any]) -> None:
    """Raise ModelError for a field of the wrong type, and for sizes beyond any model's."""
    for name, (expected_type, expected) in _FIELD_TYPES.items():
        value = config.get(name)
        fits = value is None or isinstance(value, expected_type)
        if not fits or (name == "architectures" and not all(isinstance(each, str) for each in value or ())):
            raise ModelError(f"{place}: {name} is {quoted(str(value))}; expected {expected}")
    for name, largest in _LARGEST.items():
        number = config.get(name)
        if isinstance(number, int | float) and number > largest:
            raise ModelError(f"{place}: {name} is {number}; models with more than {largest:,} are not built")
    if config.get("text_config"):
        _check_fields(f"{place}: text_config", config["text_config"])


def _folder_digest(path: Path) -> str:
    """Return the SHA-256 of the names and contents of the files that a model is loaded from."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.suffix in _LOADED_SUFFIXES and file.is_file():
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                while block := content.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
