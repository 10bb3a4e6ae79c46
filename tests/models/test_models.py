"""What a model's name stands for: flag first, then record, then config; and one clear error where nothing fits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rb_core.errors import ModelError
from rb_core.models import checkpoint, options
from rb_core.models.checkpoint import Checkpoint
from rb_core.models.options import DEFAULT_BETA, ModelOptions, Output
from rb_core.models.registry import RECORDS
from rb_core.models.resolve import resolve
from rb_core.scorers.load import load_scorer
from tests.fakes.tiny_models import edit_config, edit_weights

TinyModel = Callable[[str], Path]


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking the hub for anything fails the test."""

    def ask(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"the hub was asked for {args}")

    monkeypatch.setattr(checkpoint, "_locate_on_hub", ask)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """A hub that has every model; what it is asked for is recorded. Names that end in -lm are language models, those
    that end in -adapter adapters of me/base-lm at v7; the commit of a revision is c0ffee and the revision."""
    asked: list[tuple[str, str | None]] = []

    def locate(model: str, revision: str | None) -> Checkpoint:
        asked.append((model, revision))
        kind = "CausalLM" if model.endswith("-lm") else "SequenceClassification"
        config: dict[str, Any] = {"architectures": [f"LlamaFor{kind}"]}
        if model.endswith("-adapter"):
            config = {"base_model_name_or_path": "me/base-lm", "revision": "v7", "peft_type": "LORA"}
        return Checkpoint(model, f"c0ffee-{revision or 'main'}", config)

    monkeypatch.setattr(checkpoint, "_locate_on_hub", locate)
    return asked


# ---- records


@pytest.mark.parametrize("name", [name for name in RECORDS if name.startswith("baseline/")])
@pytest.mark.usefixtures("no_hub")
def test_a_baseline_is_resolved_without_a_checkpoint(name: str) -> None:
    """Its record is all there is to know."""
    spec = resolve(name)
    assert (spec.name, spec.kind) == (name, "baseline")
    assert spec.checkpoint == Checkpoint(name, None, {})


def test_records_are_keyed_by_their_whole_names() -> None:
    """A record is found under its own name, and a name that merely contains it has none."""
    assert all(record.name == name for name, record in RECORDS.items())
    assert all(record.kind in options.KINDS for record in RECORDS.values())


def test_a_records_settings_are_used_and_flags_go_before_them(hub: list[tuple[str, str | None]]) -> None:
    """What the checkpoint does not say comes from the record; what the user says goes first."""
    name = "OpenAssistant/reward-model-deberta-v3-large-v2"
    spec = resolve(name)
    record = RECORDS[name]
    assert (spec.chat_template, spec.system_role, spec.max_length) == (record.chat_template, "fold", 512)
    where = spec.checkpoint
    assert (where.location, where.revision, where.hub_revision) == (name, "c0ffee-main", "c0ffee-main")
    said = resolve(name, ModelOptions(chat_template="mine", max_length=100, name="me/mine", revision="v2"))
    assert (said.chat_template, said.max_length, said.name) == ("mine", 100, "me/mine")
    assert hub == [(name, None), (name, "v2")]


def test_nothing_is_decided_by_a_part_of_a_name(hub: list[tuple[str, str | None]]) -> None:
    """A model whose name contains a record's name gets none of its settings."""
    for name in ("me/Skywork-Reward-Gemma-2-27B-v0.2", "Skywork/Skywork-Reward-Gemma-2-27B-v0.2-awq-4bit"):
        spec = resolve(name)
        plain = resolve("me/model")
        assert spec.system_role == plain.system_role == "native"
        assert (spec.max_length, spec.chat_template, spec.output) == (None, None, Output())
        assert (spec.options.dtype, spec.lower_is_better) == ("auto", False)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", ["baseline/shiniest", "baseline/", "builtin/none"])
def test_an_unknown_baseline_lists_the_known_ones(name: str) -> None:
    """The message names what there is."""
    with pytest.raises(ModelError, match=r"unknown model .*baseline/longest"):
        resolve(name)


@pytest.mark.usefixtures("no_hub")
def test_a_builtin_model_that_is_not_installed_is_not_looked_for_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A name that belongs to this package is never asked of the hub, where anybody could have it."""
    monkeypatch.setattr("rb_core.models.checkpoint.resources.files", lambda package: tmp_path)
    with pytest.raises(ModelError, match="builtin/tiny-rm"):
        resolve("builtin/tiny-rm")


# ---- folders


@pytest.mark.usefixtures("no_hub")
def test_a_folder_is_a_local_model(tiny_model: TinyModel) -> None:
    """Kind and config come from the folder; name and revision say that it is local, and which weights it has."""
    folder = tiny_model("llama")
    spec = resolve(str(folder))
    assert (spec.name, spec.kind, spec.checkpoint.location) == ("local/llama", "classifier", str(folder))
    assert spec.checkpoint.config["model_type"] == "llama"
    assert spec.checkpoint.revision is not None
    assert spec.checkpoint.revision.startswith("sha256:")
    assert len(spec.checkpoint.revision) == len("sha256:") + 64
    assert spec.checkpoint.hub_revision is None
    assert resolve(str(folder), ModelOptions(name="me/mine")).name == "me/mine"


@pytest.mark.usefixtures("no_hub")
def test_a_relative_folder_and_one_in_the_home_folder_are_found(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """. and ~ lead to the same model as the whole path."""
    folder = tiny_model("llama")
    whole = resolve(str(folder))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder.parent))
    for name in (".", "~/llama", f"{folder}/"):
        spec = resolve(name)
        assert (spec.name, spec.checkpoint.revision) == (whole.name, whole.checkpoint.revision)


@pytest.mark.usefixtures("no_hub")
def test_a_folder_with_unusual_characters_gets_a_name_for_a_path(tiny_model: TinyModel, tmp_path: Path) -> None:
    """The name fits the pattern of names in results."""
    from rb_core.results.storage import check_model_name

    folder = shutil.copytree(tiny_model("llama"), tmp_path / "my model, (v2)")
    assert check_model_name(resolve(str(folder)).name) == "local/my-model---v2-"


@pytest.mark.usefixtures("no_hub")
def test_the_digest_changes_with_each_file_that_is_loaded(tiny_copy: TinyModel) -> None:
    """Another weight, config, tokenizer or template is another revision; a file that is not loaded is not."""
    folder = tiny_copy("llama")
    seen = [resolve(str(folder)).checkpoint.revision]
    (folder / "README.md").write_text("words")
    assert resolve(str(folder)).checkpoint.revision == seen[0]

    def nudge(weights: dict[str, Any]) -> None:
        weights["score.weight"][0, 0] += 1e-3

    edit_weights(folder, nudge)
    seen.append(resolve(str(folder)).checkpoint.revision)
    edit_config(folder, pad_token_id=1)
    seen.append(resolve(str(folder)).checkpoint.revision)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    seen.append(resolve(str(folder)).checkpoint.revision)
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    seen.append(resolve(str(folder)).checkpoint.revision)
    (folder / "tokenizer.json").rename(folder / "tokenizer_2.json")
    seen.append(resolve(str(folder)).checkpoint.revision)
    assert len(set(seen)) == len(seen)


@pytest.mark.usefixtures("no_hub")
def test_the_digest_does_not_depend_on_the_place(tiny_copy: TinyModel, tiny_model: TinyModel) -> None:
    """A copy of a folder is the same revision."""
    assert resolve(str(tiny_copy("llama"))).checkpoint.revision == resolve(str(tiny_model("llama"))).checkpoint.revision


@pytest.mark.usefixtures("no_hub")
def test_a_revision_does_not_go_with_a_folder(tiny_model: TinyModel) -> None:
    """--revision names a commit; a folder has none."""
    with pytest.raises(ModelError, match=r"--revision.*is a folder"):
        resolve(str(tiny_model("llama")), ModelOptions(revision="main"))


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no config.json"), (b"{", "not readable JSON"), (b"[]", "a JSON object"), (b"\xff", "not readable")],
)
def test_a_folder_without_a_config_is_no_model(tmp_path: Path, content: bytes | None, message: str) -> None:
    """The message says which file is missing or bad."""
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=rf"config.json.*{message}|{message}"):
        resolve(str(tmp_path))


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("architectures", [["Qwen2ForRewardModel"], ["LlamaModel"], [], None])
def test_what_is_no_classifier_needs_its_kind_said(tiny_copy: TinyModel, architectures: list[str] | None) -> None:
    """A config that names another architecture is an error with the way out, and the way out works."""
    folder = tiny_copy("llama")
    edit_config(folder, architectures=architectures)
    found = architectures[0] if architectures else "no architecture"
    with pytest.raises(ModelError, match=rf"{found}.*--kind classifier"):
        resolve(str(folder))
    assert resolve(str(folder), ModelOptions(kind="classifier")).kind == "classifier"


@pytest.mark.usefixtures("no_hub")
def test_a_local_folder_does_not_pass_for_a_published_model(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that happens to have the path of a model with a record is named as the local folder that it is."""
    name = "Skywork/Skywork-Reward-V2-Qwen3-0.6B"
    shutil.copytree(tiny_model("llama"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert resolve(name).name.startswith("local/")


# ---- neither


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", ["model", "a/b/c", "./none", "/none/at/all", "~/none", "../x/y"])
def test_what_is_neither_folder_nor_hub_id_is_an_error(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    """The message says what was expected, and the hub is not asked."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"neither a folder nor a hub id|no config.json"):
        resolve(name)


def test_a_hub_that_cannot_be_reached_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, cause and what to check, in one line."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    for error in (OfflineModeIsEnabled("offline mode\nis on"), OSError("no route"), HFValidationError("bad id")):

        def fail(*args: Any, error: Exception = error, **kwargs: Any) -> Any:
            raise error

        monkeypatch.setattr(HfApi, "model_info", fail)
        with pytest.raises(ModelError, match=r"me/model.*cannot be reached.*check the name") as caught:
            resolve("me/model")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[]", '"text"', "3"])
def test_a_hub_config_that_is_no_object_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    """A config.json from elsewhere can hold anything."""
    from types import SimpleNamespace

    (tmp_path / "config.json").write_text(content)
    monkeypatch.setattr(
        "huggingface_hub.HfApi.model_info", lambda *args, **kwargs: SimpleNamespace(sha="c0ffee", siblings=None)
    )
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *args, **kwargs: str(tmp_path / "config.json"))
    with pytest.raises(ModelError, match="me/model"):
        resolve("me/model")


def test_the_hubs_commit_becomes_the_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A branch is resolved to the commit once, and that commit's config is read."""
    from types import SimpleNamespace

    asked: list[Any] = []

    def info(self: Any, model: str, revision: str | None = None) -> Any:
        asked.append((model, revision))
        return SimpleNamespace(sha="c0ffee", siblings=[SimpleNamespace(rfilename="config.json")])

    def download(model: str, file: str, revision: str | None = None) -> str:
        asked.append((model, file, revision))
        return str(tmp_path / "config.json")

    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["GPT2ForSequenceClassification"]}))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", info)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    spec = resolve("me/model", ModelOptions(revision="main"))
    assert (spec.checkpoint.revision, spec.checkpoint.hub_revision, spec.name) == ("c0ffee", "c0ffee", "me/model")
    assert asked == [("me/model", "main"), ("me/model", "config.json", "c0ffee")]


# ---- options


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int4"}, "unknown dtype 'int4'.*auto, float32, bfloat16, float16"),
        ({"device": "tpu"}, "unknown device 'tpu'.*auto, cuda, mps, cpu"),
        ({"device": "cuda:first"}, "device 'cuda:first'"),
        ({"max_length": 0}, "--max-length is 0"),
        ({"max_length": -5}, "--max-length is -5"),
        ({"batch_tokens": 0}, "--batch-tokens is 0"),
        ({"kind": "oracle"}, "unknown kind 'oracle'.*classifier"),
        ({"output_index": 0, "output_weights": (1.0,)}, "either --output-index or --output-weights"),
        ({"output_index": -1}, "--output-index is -1; it must be at least 0"),
        ({"output_weights": (1.0, float("nan"))}, "--output-weights"),
        ({"reference_free": "max"}, "unknown reference-free 'max'.*sum, mean, norm"),
        ({"device_map": "balanced"}, "unknown device-map 'balanced'.*auto"),
        ({"device_map": "auto", "device": "cuda:1"}, "--device-map auto.*leave --device out"),
        ({"beta": 0.0}, "--beta is 0; it must be greater than 0"),
        ({"beta": -0.1}, "--beta is -0.1"),
        ({"beta": float("nan")}, "--beta is nan"),
        ({"beta": float("inf")}, "--beta is inf"),
    ],
)
def test_an_option_that_does_not_fit_is_named(tiny_model: TinyModel, options: dict[str, Any], message: str) -> None:
    """The message names the option, what was given, and what may be."""
    with pytest.raises(ModelError, match=message):
        resolve(str(tiny_model("llama")), ModelOptions(**options))


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    "options",
    [
        {"revision": "main"},
        {"kind": "classifier"},
        {"max_length": 100},
        {"chat_template": "x"},
        {"fold_system": True},
        {"output_index": 0},
        {"lower_is_better": True},
        {"reference": "me/base-lm"},
        {"reference_revision": "v1"},
        {"reference_free": "sum"},
        {"beta": 0.1},
        {"device_map": "auto"},
    ],
)
def test_an_option_that_a_baseline_cannot_use_is_refused(options: dict[str, Any]) -> None:
    """A flag is never ignored in silence."""
    (flag,) = options
    with pytest.raises(ModelError, match="--" + flag.replace("_", "-")):
        resolve("baseline/longest", ModelOptions(**options))


@pytest.mark.usefixtures("no_hub")
def test_a_folder_is_no_baseline(tiny_model: TinyModel) -> None:
    """Saying --kind baseline of a checkpoint is an error about the kind."""
    with pytest.raises(ModelError, match="baseline"):
        load_scorer(resolve(str(tiny_model("llama")), ModelOptions(kind="baseline")))


@pytest.mark.usefixtures("no_hub")
def test_options_reach_the_spec(tiny_model: TinyModel) -> None:
    """Each option is where the scorer looks for it."""
    options = ModelOptions(fold_system=True, max_length=64, lower_is_better=True, output_weights=(0.5, 1.0))
    spec = resolve(str(tiny_model("llama")), options)
    assert (spec.system_role, spec.max_length, spec.lower_is_better) == ("fold", 64, True)
    assert spec.output == Output((0.5, 1.0))
    assert str(spec.output) == "weights 0.5,1"
    assert spec.options == options


@pytest.mark.usefixtures("no_hub")
def test_an_index_is_one_weight(tiny_model: TinyModel) -> None:
    """An output index is the weight 1 at its place; without a declaration there is a single output."""
    folder = str(tiny_model("llama"))
    assert resolve(folder, ModelOptions(output_index=2)).output.weights == (0.0, 0.0, 1.0)
    assert resolve(folder).output.weights is None
    assert str(resolve(folder).output) == "single"


# ---- implicit rewards


def test_a_language_model_with_a_reference_is_implicit(hub: list[tuple[str, str | None]]) -> None:
    """Saying what it is measured against says the kind; each model has its own revision, and beta its default."""
    spec = resolve("me/policy-lm", ModelOptions(reference="me/base-lm", revision="v2", reference_revision="v1"))
    assert (spec.kind, spec.name, spec.beta) == ("implicit", "me/policy-lm", DEFAULT_BETA)
    assert (spec.checkpoint.location, spec.checkpoint.hub_revision) == ("me/policy-lm", "c0ffee-v2")
    assert spec.reference is not None
    assert (spec.reference.location, spec.reference.hub_revision) == ("me/base-lm", "c0ffee-v1")
    assert spec.adapter is None
    assert hub == [("me/policy-lm", "v2"), ("me/base-lm", "v1")]
    assert resolve("me/policy-lm", ModelOptions(reference="me/base-lm", beta=0.5)).beta == 0.5


@pytest.mark.parametrize("variant", ["sum", "mean", "norm"])
def test_a_variant_without_a_reference_is_implicit(hub: list[tuple[str, str | None]], variant: Any) -> None:
    """A reference-free variant says the kind as well, and looks for no other model."""
    spec = resolve("me/policy-lm", ModelOptions(reference_free=variant))
    assert (spec.kind, spec.reference, spec.beta) == ("implicit", None, 1.0)
    assert spec.options.reference_free == variant
    assert hub == [("me/policy-lm", None)]


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("options", [{}, {"kind": "implicit"}, {"beta": 0.1}, {"reference_revision": "v1"}])
def test_a_language_model_alone_is_no_reward_model(options: dict[str, Any]) -> None:
    """Without a reference or a variant it is refused, with both ways out."""
    with pytest.raises(ModelError, match=r"--reference.*--reference-free sum, mean or norm"):
        resolve("me/policy-lm", ModelOptions(**options))


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("options", [{}, {"reference": "me/base-lm", "beta": 0.5, "reference_revision": "v1"}])
@pytest.mark.parametrize("option", ["output_index", "output_weights", "lower_is_better"])
def test_an_option_for_a_reward_head_is_refused_for_a_language_model(options: dict[str, Any], option: str) -> None:
    """A log-ratio has one output and a direction; what says otherwise is not ignored."""
    given = {"output_index": 0, "output_weights": (1.0,), "lower_is_better": True}[option]
    options = options or {"reference_free": "sum"}
    with pytest.raises(ModelError, match=f"--{option.replace('_', '-')} applies only to classifiers"):
        resolve("me/policy-lm", ModelOptions(**options, **{option: given}))


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    "options", [{"reference": "me/base-lm"}, {"reference_revision": "v1"}, {"beta": 0.1}, {"reference_free": "sum"}]
)
def test_an_option_for_a_language_model_is_refused_for_a_classifier(options: dict[str, Any]) -> None:
    """A classifier has neither a reference nor a beta."""
    (option,) = options
    with pytest.raises(ModelError, match=f"--{option.replace('_', '-')} .*this is a classifier"):
        resolve("me/model", ModelOptions(**options))


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("options", [{"reference": "me/base-lm"}, {"reference_revision": "v1"}, {"beta": 0.1}])
def test_a_variant_without_a_reference_takes_no_reference(options: dict[str, Any]) -> None:
    """Reference and beta beside --reference-free contradict it."""
    (option,) = options
    with pytest.raises(ModelError, match=f"--{option.replace('_', '-')}.*without"):
        resolve("me/policy-lm", ModelOptions(reference_free="mean", **options))


def test_an_adapter_brings_its_base(hub: list[tuple[str, str | None]]) -> None:
    """--revision is the adapter's; the base is at the revision that the adapter names, and it is the reference."""
    spec = resolve("me/dpo-adapter", ModelOptions(kind="implicit", revision="v2"))
    assert (spec.name, spec.kind) == ("me/dpo-adapter", "implicit")
    assert spec.adapter is not None
    assert (spec.adapter.location, spec.adapter.hub_revision) == ("me/dpo-adapter", "c0ffee-v2")
    assert (spec.checkpoint.location, spec.checkpoint.hub_revision) == ("me/base-lm", "c0ffee-v7")
    assert spec.reference == spec.checkpoint
    assert hub == [("me/dpo-adapter", "v2"), ("me/base-lm", "v7")]


@pytest.mark.usefixtures("hub")
def test_an_adapter_may_have_another_reference_or_none() -> None:
    """What is said goes before the adapter's own base."""
    other = resolve("me/dpo-adapter", ModelOptions(reference="me/other-lm", reference_revision="v3"))
    assert other.reference is not None
    assert (other.reference.location, other.reference.hub_revision) == ("me/other-lm", "c0ffee-v3")
    assert other.checkpoint.location == "me/base-lm"
    free = resolve("me/dpo-adapter", ModelOptions(reference_free="sum"))
    assert (free.reference, free.checkpoint.location) == (None, "me/base-lm")
    assert free.adapter is not None


@pytest.mark.usefixtures("hub")
def test_adapters_where_none_can_be_are_refused() -> None:
    """A classifier is scored as one checkpoint, and a reference is one as well."""
    with pytest.raises(ModelError, match=r"adapter.*merge"):
        resolve("me/dpo-adapter", ModelOptions(kind="classifier"))
    with pytest.raises(ModelError, match=r"--reference me/dpo-adapter is an adapter"):
        resolve("me/policy-lm", ModelOptions(reference="me/dpo-adapter"))


@pytest.mark.usefixtures("no_hub")
def test_an_adapter_in_a_folder_is_found_with_its_base_in_another(tiny_model: TinyModel, tmp_path: Path) -> None:
    """Each has a digest of its own files; a base that is named nowhere is one clear error."""
    from tests.fakes.tiny_models import adapter

    base = tiny_model("llama-lm")
    folder = adapter(base, tmp_path / "dpo")
    spec = resolve(str(folder), ModelOptions(kind="implicit"))
    assert spec.name == "local/dpo"
    assert (spec.checkpoint, spec.reference) == (resolve_reference(base), resolve_reference(base))
    assert spec.adapter is not None
    assert spec.adapter.revision not in {None, spec.checkpoint.revision}
    for nothing in (None, "", 7):
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": nothing}))
        with pytest.raises(ModelError, match="names no base model"):
            resolve(str(folder), ModelOptions(kind="implicit"))


def resolve_reference(folder: Path) -> Checkpoint | None:
    return resolve(str(folder), ModelOptions(reference=str(folder))).reference


def test_an_adapter_on_the_hub_is_told_by_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A repository without config.json and with adapter_config.json is an adapter; with both it is a checkpoint."""
    from types import SimpleNamespace

    held = {
        "me/dpo": {"adapter_config.json": {"base_model_name_or_path": "me/base"}},
        "me/base": {"config.json": {"architectures": ["LlamaForCausalLM"]}},
        "me/both": {
            "config.json": {"architectures": ["LlamaForCausalLM"]},
            "adapter_config.json": {"base_model_name_or_path": "me/base"},
        },
    }

    def info(self: Any, model: str, revision: str | None = None) -> Any:
        return SimpleNamespace(sha=f"sha-of-{model}", siblings=[SimpleNamespace(rfilename=f) for f in held[model]])

    def download(model: str, file: str, revision: str | None = None) -> str:
        assert revision == f"sha-of-{model}"
        path = tmp_path / "file.json"
        path.write_text(json.dumps(held[model][file]))
        return str(path)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", info)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    spec = resolve("me/dpo", ModelOptions(kind="implicit"))
    assert spec.adapter is not None
    assert (spec.adapter.location, spec.adapter.revision) == ("me/dpo", "sha-of-me/dpo")
    assert (spec.checkpoint.location, spec.checkpoint.revision) == ("me/base", "sha-of-me/base")
    with pytest.raises(ModelError, match=r"config\.json and an adapter_config"):
        resolve("me/both", ModelOptions(reference_free="sum"))


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", ["baseline/longest", "builtin/none"])
def test_a_name_of_this_package_is_no_reference_from_the_hub(tiny_model: TinyModel, name: str) -> None:
    """A baseline is no language model, and its name is never asked of the hub, where anybody could have it."""
    with pytest.raises(ModelError):
        resolve(str(tiny_model("llama-lm")), ModelOptions(reference=name))


@pytest.mark.usefixtures("no_hub")
def test_a_reference_that_is_no_model_is_named_with_its_flag(tiny_model: TinyModel) -> None:
    """A folder has no revision, and what is neither folder nor hub id is no reference."""
    folder = str(tiny_model("llama-lm"))
    with pytest.raises(ModelError, match=r"--reference-revision.*is a folder"):
        resolve(folder, ModelOptions(reference=folder, reference_revision="main"))
    with pytest.raises(ModelError, match="neither a folder nor a hub id"):
        resolve(folder, ModelOptions(reference="nowhere"))


@pytest.mark.usefixtures("no_hub")
def test_a_model_may_be_spread_over_the_devices_that_are_there(tiny_model: TinyModel) -> None:
    """--device-map auto reaches the scorer, which scores as ever and sends its input where the model begins."""
    from rb_core.benchmarks.example import CompletionSet
    from rb_core.evaluation.score import score_completion_sets

    asked = [CompletionSet(({"role": "user", "content": "Hi"},), ("Hello.", "?"))]
    for name, extra in (("llama", {}), ("llama-lm", {"reference": str(tiny_model("mistral-lm"))})):
        spec = resolve(str(tiny_model(name)), ModelOptions(device_map="auto", **extra))
        spread: Any = load_scorer(spec)
        plain = load_scorer(resolve(str(tiny_model(name)), ModelOptions(**extra)))
        found, wanted = score_completion_sets(spread, asked)[0], score_completion_sets(plain, asked)[0]
        assert [s.value for s in found] == pytest.approx([s.value for s in wanted], rel=1e-4)
        assert spread.device == spread.model.get_input_embeddings().weight.device
