"""A hub that is only looked at, and folders that look like checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rb_core.models import checkpoint
from rb_core.models.checkpoint import Checkpoint

ModelFolder = Callable[..., Path]
HubRequests = list[tuple[str, str | None]]


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if the hub is asked for anything."""

    def locate(model: str, revision: str | None) -> Checkpoint:
        raise AssertionError(f"the hub was asked for {model} at {revision}")

    monkeypatch.setattr(checkpoint, "_locate_on_hub", locate)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> HubRequests:
    """A hub that has every model, as a list of what it is asked for.

    Names that end in -lm are language models, those in -adapter adapters of me/base-lm at v7, all others classifiers.
    The commit of a revision is c0ffee-REVISION.
    """
    requests: HubRequests = []

    def locate(model: str, revision: str | None) -> Checkpoint:
        requests.append((model, revision))
        kind = "CausalLM" if model.endswith("-lm") else "SequenceClassification"
        config: dict[str, Any] = {"architectures": [f"LlamaFor{kind}"]}
        if model.endswith("-adapter"):
            config = {"base_model_name_or_path": "me/base-lm", "revision": "v7", "peft_type": "LORA"}
        return Checkpoint(model, f"c0ffee-{revision or 'main'}", config)

    monkeypatch.setattr(checkpoint, "_locate_on_hub", locate)
    return requests


@pytest.fixture
def model_folder(tmp_path: Path) -> ModelFolder:
    """Write a folder with the files of a checkpoint; keywords change its config."""

    def write(name: str = "llama", **config: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        declared = {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]} | config
        (folder / "config.json").write_text(json.dumps(declared))
        for file in ("model.safetensors", "tokenizer.json", "chat_template.jinja"):
            (folder / file).write_text(file)
        return folder

    return write
