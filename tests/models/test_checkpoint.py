"""Checkpoints: found in a folder or on the hub, with a revision and a config."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import NotASafetensorsRepoError

from rb_core.errors import ModelError
from rb_core.models.checkpoint import Checkpoint, base_checkpoint, locate, weight_shapes
from rb_core.models.registry import RECORDS
from rb_core.models.resolve import resolve
from rb_core.results.storage import check_model_name
from tests.models.conftest import ModelFolder


def in_folder(path: Path | str) -> Checkpoint:
    return locate(str(path), None, None)


# ---- names


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", ["baseline/shiniest", "baseline/", "builtin/none"])
def test_an_unknown_name_of_this_package_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ModelError, match=r"unknown model .*baseline/longest"):
        locate(name, None, None)


@pytest.mark.usefixtures("no_hub")
def test_a_builtin_model_that_is_not_installed_is_not_looked_up_on_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("rb_core.models.checkpoint.resources.files", lambda package: tmp_path)
    with pytest.raises(ModelError, match="builtin/tiny-rm is not part of this installation"):
        locate("builtin/tiny-rm", RECORDS["builtin/tiny-rm"], None)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", ["model", "a/b/c", "./none", "/none/at/all", "~/none", "../x/y"])
def test_a_name_that_is_neither_folder_nor_hub_id_is_an_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="neither a folder nor a hub id"):
        locate(name, None, None)


# ---- folders


def test_a_folder_has_a_local_name_and_a_digest_as_its_revision(model_folder: ModelFolder) -> None:
    folder = model_folder()
    checkpoint = in_folder(folder)
    assert (checkpoint.name, checkpoint.location, checkpoint.hub_revision) == ("local/llama", str(folder), None)
    assert checkpoint.config["model_type"] == "llama"
    kind, _, digest = str(checkpoint.revision).partition(":")
    assert (kind, len(digest)) == ("sha256", 64)


def test_relative_folders_and_those_in_the_home_folder_are_found(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_folder()
    checkpoint = in_folder(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder.parent))
    for name in (".", "~/llama", f"{folder}/"):
        same = in_folder(name)
        assert (same.name, same.revision) == (checkpoint.name, checkpoint.revision)


def test_a_folder_with_unusual_characters_gets_a_name_that_is_a_safe_path(model_folder: ModelFolder) -> None:
    assert check_model_name(in_folder(model_folder("my model, (v2)")).name) == "local/my-model---v2-"


def test_the_digest_changes_with_each_file_that_is_loaded_and_with_no_other(model_folder: ModelFolder) -> None:
    folder = model_folder()
    revisions = [in_folder(folder).revision]
    (folder / "README.md").write_text("words")
    assert in_folder(folder).revision == revisions[0]
    for name in ("model.safetensors", "config.json", "chat_template.jinja", "tokenizer.json"):
        (folder / name).write_text((folder / name).read_text() + " ")
        revisions.append(in_folder(folder).revision)
    (folder / "tokenizer.json").rename(folder / "tokenizer_2.json")
    revisions.append(in_folder(folder).revision)
    assert len(set(revisions)) == len(revisions) == 6


def test_a_copy_of_a_folder_has_the_same_digest(model_folder: ModelFolder, tmp_path: Path) -> None:
    folder = model_folder()
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert in_folder(folder).revision == in_folder(copy).revision


def test_a_revision_of_a_folder_is_an_error_that_names_the_option(model_folder: ModelFolder) -> None:
    with pytest.raises(ModelError, match=r"--reference-revision names a commit.*is a folder"):
        locate(str(model_folder()), None, "main", "--reference-revision")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no config.json"), (b"{", "not readable JSON"), (b"[]", "a JSON object"), (b"\xff", "not readable JSON")],
)
def test_a_folder_without_a_valid_config_is_an_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        in_folder(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": 5}, "architectures is '5'; expected a list of names"),
        ({"architectures": [None]}, "architectures is .*; expected a list of names"),
        ({"model_type": []}, "model_type is .*; expected a name"),
        ({"auto_map": "x"}, "auto_map is 'x'; expected an object"),
        ({"quantization_config": 4}, "quantization_config is '4'; expected an object"),
        ({"num_hidden_layers": 100_000}, "num_hidden_layers is 100000"),
        ({"text_config": {"n_layer": 100_000}}, "text_config: n_layer is 100000"),
    ],
)
def test_a_field_of_the_wrong_type_or_size_is_named(
    model_folder: ModelFolder, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=rf"config\.json.*{message}"):
        in_folder(model_folder(**config))


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": ' + "9" * 6000 + "}"], ids=["deep", "long number"])
def test_json_that_python_cannot_read_is_an_error(model_folder: ModelFolder, content: str) -> None:
    folder = model_folder()
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelError, match="not readable JSON"):
        in_folder(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "notes", "additional_chat_templates/a.jinja"])
@pytest.mark.parametrize("kind", ["pipe", "device", "nowhere"])
def test_what_is_no_file_is_refused_by_name(model_folder: ModelFolder, name: str, kind: str) -> None:
    path = model_folder() / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "nowhere")
    with pytest.raises(ModelError, match=rf"{name} is neither a file nor a folder"):
        in_folder(path.parent if "/" not in name else path.parent.parent)


def test_folders_within_a_checkpoint_are_left_alone(model_folder: ModelFolder) -> None:
    folder = model_folder()
    revision = in_folder(folder).revision
    (folder / "checkpoint.json").mkdir()
    assert in_folder(folder).revision == revision


@pytest.mark.parametrize("file", ["../model.safetensors", "/dev/zero", 7])
def test_weights_outside_the_folder_are_refused(model_folder: ModelFolder, file: object) -> None:
    folder = model_folder()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"score.weight": file}}))
    with pytest.raises(ModelError, match=r"weight_map has .*; expected the name of a file"):
        in_folder(folder)


def test_a_config_beyond_all_sizes_is_refused(model_folder: ModelFolder) -> None:
    folder = model_folder()
    with (folder / "config.json").open("wb") as file:
        file.truncate(1 << 40)  # a file with a hole
    with pytest.raises(ModelError, match="bytes, at most"):
        in_folder(folder)


def test_a_value_head_beside_a_language_model_is_read_from_safetensors_only(model_folder: ModelFolder) -> None:
    folder = model_folder(architectures=["LlamaForCausalLM"])
    assert in_folder(folder).value_head is None
    (folder / "value_head.bin").write_text("")
    with pytest.raises(ModelError, match=r"reward head in value_head.bin, and pickle files are not read"):
        in_folder(folder)
    (folder / "value_head.safetensors").write_text("")
    assert in_folder(folder).value_head == "value_head.safetensors"


# ---- the hub


def serve_files(monkeypatch: pytest.MonkeyPatch, folder: Path, models: Mapping[str, Mapping[str, str]]) -> list[Any]:
    """Let the hub's client find these files of models, at the commit sha-of-MODEL; return what it is asked for."""
    requests: list[Any] = []

    def info(self: Any, model: str, revision: str | None = None) -> Any:
        requests.append((model, revision))
        return SimpleNamespace(sha=f"sha-of-{model}", siblings=[SimpleNamespace(rfilename=f) for f in models[model]])

    def download(model: str, file: str, revision: str | None = None) -> str:
        requests.append((model, file, revision))
        (folder / "file.json").write_text(models[model][file])
        return str(folder / "file.json")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", info)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    return requests


def test_a_branch_is_resolved_to_a_commit_whose_config_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = {"architectures": ["GPT2ForSequenceClassification"]}
    requests = serve_files(monkeypatch, tmp_path, {"me/model": {"config.json": json.dumps(config)}})
    checkpoint = locate("me/model", None, "main")
    assert checkpoint == Checkpoint("me/model", "sha-of-me/model", config)
    assert (checkpoint.name, checkpoint.hub_revision) == ("me/model", "sha-of-me/model")
    assert requests == [("me/model", "main"), ("me/model", "config.json", "sha-of-me/model")]


def test_a_value_head_on_the_hub_is_recognised_by_files_or_names_of_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = json.dumps({"architectures": ["LlamaForCausalLM"]})
    models = {
        "me/beside": {"config.json": config, "value_head.safetensors": "x"},
        "me/inside": {"config.json": config},
        "me/none": {"config.json": config},
    }
    serve_files(monkeypatch, tmp_path, models)

    def metadata(self: Any, model: str, revision: str) -> Any:
        assert revision == f"sha-of-{model}"
        if model == "me/none":
            raise NotASafetensorsRepoError("no weights")
        tensor = SimpleNamespace(shape=[1, 32])
        return SimpleNamespace(files_metadata={"a": SimpleNamespace(tensors={"v_head.summary.weight": tensor})})

    monkeypatch.setattr("huggingface_hub.HfApi.get_safetensors_metadata", metadata)
    assert locate("me/beside", None, None).value_head == "value_head.safetensors"
    assert weight_shapes(locate("me/inside", None, None)) == {"v_head.summary.weight": [1, 32]}
    assert weight_shapes(locate("me/none", None, None)) == {}
    assert [resolve(name).kind for name in ("me/beside", "me/inside")] == ["value-head"] * 2
    with pytest.raises(ModelError, match="me/none: its config names LlamaForCausalLM, a language model"):
        resolve("me/none")


@pytest.mark.parametrize("content", ["[]", "3", "{"])
def test_a_config_on_the_hub_that_is_no_object_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    serve_files(monkeypatch, tmp_path, {"me/model": {"config.json": content}})
    with pytest.raises(ModelError, match=r"me/model: config\.json"):
        locate("me/model", None, None)


def test_an_unreachable_hub_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    for error in (OfflineModeIsEnabled("offline mode\nis on"), OSError("no route"), HFValidationError("bad id")):

        def fail(*args: Any, error: Exception = error, **kwargs: Any) -> Any:
            raise error

        monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
        with pytest.raises(ModelError, match=r"^model me/model is not a folder and cannot be reached.*check the name"):
            locate("me/model", None, None)


# ---- adapters


def test_an_adapter_on_the_hub_is_recognised_by_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    adapter, model = '{"base_model_name_or_path": "me/base", "revision": "v7"}', '{"architectures": []}'
    models = {
        "me/dpo": {"adapter_config.json": adapter},
        "me/base": {"config.json": model},
        "me/both": {"config.json": model, "adapter_config.json": adapter},
    }
    requests = serve_files(monkeypatch, tmp_path, models)
    dpo = locate("me/dpo", None, None)
    assert dpo.is_adapter
    base = base_checkpoint(dpo)
    assert (base.location, base.revision, base.is_adapter) == ("me/base", "sha-of-me/base", False)
    assert ("me/base", "v7") in requests
    with pytest.raises(ModelError, match=r"config\.json and an adapter_config"):
        locate("me/both", None, None)


@pytest.mark.parametrize("base", [None, "", 7])
def test_an_adapter_without_a_base_is_an_error(base: object) -> None:
    with pytest.raises(ModelError, match=r"me/dpo: adapter_config\.json names no base model"):
        base_checkpoint(Checkpoint("me/dpo", None, {"base_model_name_or_path": base}))
