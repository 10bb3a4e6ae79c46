"""Find a checkpoint on disk or on the hub and read what its config declares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from rb_core.errors import ModelError, first_line, hub_errors
from rb_core.models.registry import RECORDS, ModelRecord

ADAPTER_CONFIG = "adapter_config.json"
_LOADED_SUFFIXES = (".safetensors", ".json", ".model", ".txt", ".jinja")


@dataclass(frozen=True)
class Checkpoint:
    """A place that weights are loaded from."""

    location: str  # hub id or folder
    revision: str | None  # commit on the hub, or "sha256:" and the digest of a folder's files
    config: Mapping[str, Any]  # config.json; of an adapter, adapter_config.json

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
        return Checkpoint(str(path), "sha256:" + _folder_digest(path), _folder_config(path))
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(f"{model!r} is neither a folder nor a hub id (ORG/NAME)")
    return _locate_on_hub(model, revision)


def base_checkpoint(adapter: Checkpoint) -> Checkpoint:
    """Return the checkpoint that an adapter names as its base, at the revision that it names."""
    base = adapter.config["base_model_name_or_path"]
    if not isinstance(base, str) or not base:
        raise ModelError(f"{adapter.location}: {ADAPTER_CONFIG} names no base model")
    revision = None if Path(base).expanduser().is_dir() else adapter.config.get("revision")
    return locate(base, RECORDS.get(base), revision or None)


def _locate_on_hub(model: str, revision: str | None) -> Checkpoint:
    from huggingface_hub import HfApi, hf_hub_download

    try:
        info = HfApi().model_info(model, revision=revision)
        file = _config_file(model, {sibling.rfilename for sibling in info.siblings or ()})
        content = Path(hf_hub_download(model, file, revision=info.sha)).read_text(encoding="utf-8")
    except hub_errors() as error:
        raise ModelError(
            f"model {model} is not a folder and cannot be reached on the hub ({first_line(error)}): "
            "check the name, the revision and the connection"
        ) from error
    return Checkpoint(model, info.sha, _parse_config(f"{model}: {file}", content))


def _folder_config(path: Path) -> Mapping[str, Any]:
    file = path / _config_file(str(path), {file.name for file in path.iterdir()})
    try:
        content = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ModelError(f"{path}: no config.json; this is not the folder of a model") from None
    except UnicodeDecodeError as error:
        raise ModelError(f"{file}: not readable JSON: {error}") from error
    return _parse_config(str(file), content)


def _config_file(model: str, files: Collection[str]) -> str:
    """Return the name of the config. Raises ModelError for a model that has both a config and an adapter's."""
    if ADAPTER_CONFIG not in files:
        return "config.json"
    if "config.json" in files:
        raise ModelError(
            f"{model} has a config.json and an {ADAPTER_CONFIG}: transformers would load the model and silently put "
            "the adapter on it; remove one of the two files"
        )
    return ADAPTER_CONFIG


def _parse_config(place: str, content: str) -> Mapping[str, Any]:
    try:
        config = json.loads(content)
    except ValueError as error:
        raise ModelError(f"{place}: not readable JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{place}: expected a JSON object")
    return config


def _folder_digest(path: Path) -> str:
    """Return the SHA-256 of the names and contents of the files that a model is loaded from."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.suffix in _LOADED_SUFFIXES:
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                while block := content.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
