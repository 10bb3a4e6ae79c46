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


@dataclass(frozen=True)
class Checkpoint:
    """Where weights come from.

    location: hub id or folder; revision: hub commit, or `sha256:` and the digest of a folder's files; config: its
    config.json (of an adapter: adapter_config.json).
    """

    location: str
    revision: str | None
    config: Mapping[str, Any]

    @property
    def hub_revision(self) -> str | None:
        """The commit to load from the hub; None for a folder."""
        return None if Path(self.location).is_dir() else self.revision

    @property
    def name(self) -> str:
        """ORG/NAME on the hub; local/NAME for a folder, whose place on this machine is nobody's business."""
        return name_of(self.location)


def locate(model: str, record: ModelRecord | None, revision: str | None, flag: str = "--revision") -> Checkpoint:
    """Where the checkpoint of that name is, at which revision, and its config."""
    if model.startswith("baseline/") or (record is None and model.startswith("builtin/")):
        known = ", ".join(name for name in RECORDS if name.startswith(("baseline/", "builtin/")))
        raise ModelError(f"unknown model {model!r}: choose one of {known}")
    if record is not None and record.folder is not None:
        package, _, folder = record.folder.partition("/")
        path = Path(str(resources.files(package))) / folder
        if not path.is_dir():  # its name must never be looked up on the hub
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


def base_checkpoint(model: str, adapter: Checkpoint) -> Checkpoint:
    """The checkpoint that an adapter says it belongs to."""
    base = adapter.config["base_model_name_or_path"]
    if not isinstance(base, str) or not base:
        raise ModelError(f"{model}: {ADAPTER_CONFIG} names no base model")
    revision = None if Path(base).expanduser().is_dir() else adapter.config.get("revision")
    return locate(base, RECORDS.get(base), revision or None)


def _locate_on_hub(model: str, revision: str | None) -> Checkpoint:
    from huggingface_hub import HfApi, hf_hub_download

    try:
        info = HfApi().model_info(model, revision=revision)
        files = {sibling.rfilename for sibling in info.siblings or ()}
        file = _config_file(model, files)
        config = json.loads(Path(hf_hub_download(model, file, revision=info.sha)).read_text(encoding="utf-8"))
    except hub_errors() as error:
        raise ModelError(
            f"model {model} is no folder here and cannot be reached on the hub ({first_line(error)}): "
            "check the name, the revision and the connection"
        ) from error
    return Checkpoint(model, info.sha, _checked_config(f"{model}: {file}", config))


def _config_file(model: str, files: Collection[str]) -> str:
    """Which of its files says what it is. Raises ModelError when it says to be a whole model and an adapter."""
    if ADAPTER_CONFIG not in files:
        return "config.json"
    if "config.json" in files:
        raise ModelError(
            f"{model} has a config.json and an {ADAPTER_CONFIG}: transformers would load the one and put the other on "
            "it without a word; take one of them away"
        )
    return ADAPTER_CONFIG


def _checked_config(place: str, config: Any) -> Mapping[str, Any]:
    if not isinstance(config, dict):
        raise ModelError(f"{place}: expected an object")
    return config


def _folder_config(path: Path) -> Mapping[str, Any]:
    file = path / _config_file(str(path), {each.name for each in path.iterdir()})
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: no config.json; this is not the folder of a model") from None
    except ValueError as error:
        raise ModelError(f"{file}: not readable JSON: {error}") from error
    return _checked_config(str(file), config)


def _folder_digest(path: Path) -> str:
    """SHA-256 over names and contents of the files a model is loaded from."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.suffix in (".safetensors", ".json", ".model", ".txt", ".jinja"):
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                while block := content.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def name_of(model: str) -> str:
    path = Path(model).expanduser()
    if path.is_dir():
        return "local/" + "".join(c if c.isalnum() or c in "._-+" else "-" for c in path.resolve().name)
    return model
