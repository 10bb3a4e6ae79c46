"""From a name and options to a model that can be loaded: options first, then record, then config."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rb_core.errors import ModelError
from rb_core.models.checkpoint import Checkpoint
from rb_core.models.options import DEFAULT_BETA, JudgeOptions, ModelOptions, Output
from rb_core.models.registry import RECORDS
from rb_core.models.resolve import resolve
from tests.models.conftest import HubRequests, ModelFolder

SERVER = "http://127.0.0.1:9/v1"

# ---- records


@pytest.mark.usefixtures("no_hub")
def test_a_baseline_needs_no_checkpoint() -> None:
    for name in (name for name in RECORDS if name.startswith("baseline/")):
        spec = resolve(name)
        assert (spec.name, spec.kind, spec.checkpoint) == (name, "baseline", Checkpoint(name, None, {}))
    with pytest.raises(ModelError, match="--beta applies only to implicit-reward models"):
        resolve("baseline/longest", ModelOptions(beta=0.1))


def test_options_override_a_record_which_overrides_the_checkpoint(hub: HubRequests) -> None:
    name = "OpenAssistant/reward-model-deberta-v3-large-v2"
    spec, record = resolve(name), RECORDS[name]
    assert (spec.chat_template, spec.system_role, spec.max_length) == (record.chat_template, "fold", 512)
    assert (spec.checkpoint.location, spec.checkpoint.hub_revision) == (name, "c0ffee-main")
    spec = resolve(name, ModelOptions(chat_template="mine", max_length=100, name="me/mine", revision="v2"))
    assert (spec.chat_template, spec.max_length, spec.name) == ("mine", 100, "me/mine")
    assert hub == [(name, None), (name, "v2")]


@pytest.mark.usefixtures("hub")
def test_nothing_is_decided_by_a_part_of_a_name() -> None:
    for name in ("me/Skywork-Reward-Gemma-2-27B-v0.2", "Skywork/Skywork-Reward-Gemma-2-27B-v0.2-awq-4bit"):
        spec = resolve(name)
        assert (spec.system_role, spec.max_length, spec.chat_template, spec.output) == ("native", None, None, Output())
        assert (spec.options, spec.lower_is_better) == (ModelOptions(), False)


@pytest.mark.usefixtures("no_hub")
def test_the_builtin_model_keeps_its_name() -> None:
    spec = resolve("builtin/tiny-rm")
    assert (spec.name, spec.kind, Path(spec.checkpoint.location).is_dir()) == ("builtin/tiny-rm", "classifier", True)


@pytest.mark.usefixtures("no_hub")
def test_a_local_folder_does_not_pass_for_a_published_model(
    model_folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "Skywork/Skywork-Reward-V2-Qwen3-0.6B"
    model_folder(name)
    monkeypatch.chdir(tmp_path)
    assert resolve(name).name == "local/Skywork-Reward-V2-Qwen3-0.6B"


# ---- classifiers


@pytest.mark.parametrize("architectures", [["Qwen2ForRewardModel"], ["LlamaModel"], [], None])
def test_another_architecture_needs_the_option_kind(model_folder: ModelFolder, architectures: list[str] | None) -> None:
    folder = str(model_folder(architectures=architectures))
    with pytest.raises(ModelError, match=rf"{architectures[0] if architectures else 'no architecture'}.*--kind class"):
        resolve(folder)
    assert resolve(folder, ModelOptions(kind="classifier")).kind == "classifier"


@pytest.mark.usefixtures("hub")
def test_options_reach_the_spec() -> None:
    options = ModelOptions(fold_system=True, max_length=64, lower_is_better=True, output_weights=(0.5, 1.0))
    spec = resolve("me/model", options)
    assert (spec.system_role, spec.max_length, spec.lower_is_better) == ("fold", 64, True)
    assert (spec.output, spec.options) == (Output((0.5, 1.0)), options)
    assert resolve("me/model", ModelOptions(output_index=2)).output.weights == (0.0, 0.0, 1.0)
    assert resolve("me/model").output.weights is None


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("me/model", {"beta": 0.1}),
        ("me/model", {"judge": JudgeOptions(expected=True)}),
        ("me/policy-lm", {"reference": "me/base-lm", "lower_is_better": True}),
        ("me/policy-lm", {"reference_free": "sum", "output_index": 0}),
        ("me/judge-lm", {"kind": "generative", "reference": "me/base-lm"}),
        ("me/judge-lm", {"kind": "generative", "judge": JudgeOptions(structured=True)}),
        ("me/judge", {"judge": JudgeOptions(base_url=SERVER), "dtype": "float32"}),
        ("me/judge", {"judge": JudgeOptions(base_url=SERVER), "lower_is_better": True}),
    ],
)
def test_an_option_without_effect_on_the_kind_is_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="applies only to"):
        resolve(name, ModelOptions(**options))


# ---- implicit rewards


def test_a_language_model_with_a_reference_is_implicit(hub: HubRequests) -> None:
    spec = resolve("me/policy-lm", ModelOptions(reference="me/base-lm", revision="v2", reference_revision="v1"))
    assert (spec.kind, spec.name, spec.beta, spec.adapter) == ("implicit", "me/policy-lm", DEFAULT_BETA, None)
    assert (spec.checkpoint.location, spec.checkpoint.hub_revision) == ("me/policy-lm", "c0ffee-v2")
    assert spec.reference is not None
    assert (spec.reference.location, spec.reference.hub_revision) == ("me/base-lm", "c0ffee-v1")
    assert hub == [("me/policy-lm", "v2"), ("me/base-lm", "v1")]
    assert resolve("me/policy-lm", ModelOptions(reference="me/base-lm", beta=0.5)).beta == 0.5


def test_a_language_model_without_a_reference_is_implicit_if_the_options_say_so(hub: HubRequests) -> None:
    spec = resolve("me/policy-lm", ModelOptions(reference_free="mean"))
    assert (spec.kind, spec.reference, spec.beta) == ("implicit", None, 1.0)
    assert hub == [("me/policy-lm", None)]


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("options", [{}, {"kind": "implicit"}, {"beta": 0.1}, {"reference_revision": "v1"}])
def test_a_language_model_alone_is_an_error_that_names_the_options(options: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"--reference.*--reference-free sum, mean or norm"):
        resolve("me/policy-lm", ModelOptions(**options))


def test_an_adapter_brings_its_base_which_is_its_reference(hub: HubRequests) -> None:
    spec = resolve("me/dpo-adapter", ModelOptions(kind="implicit", revision="v2"))
    assert (spec.name, spec.kind) == ("me/dpo-adapter", "implicit")
    assert spec.adapter is not None
    assert (spec.adapter.location, spec.adapter.hub_revision) == ("me/dpo-adapter", "c0ffee-v2")
    assert (spec.checkpoint.location, spec.checkpoint.hub_revision) == ("me/base-lm", "c0ffee-v7")
    assert spec.reference == spec.checkpoint
    assert hub == [("me/dpo-adapter", "v2"), ("me/base-lm", "v7")]


@pytest.mark.usefixtures("hub")
def test_an_adapter_may_have_another_reference_or_none() -> None:
    spec = resolve("me/dpo-adapter", ModelOptions(reference="me/other-lm", reference_revision="v3"))
    assert spec.reference is not None
    assert (spec.reference.location, spec.reference.hub_revision) == ("me/other-lm", "c0ffee-v3")
    assert spec.checkpoint.location == "me/base-lm"
    spec = resolve("me/dpo-adapter", ModelOptions(reference_free="sum"))
    assert (spec.reference, spec.checkpoint.location) == (None, "me/base-lm")
    assert spec.adapter is not None


@pytest.mark.usefixtures("hub")
def test_an_adapter_cannot_be_a_judge_or_a_reference() -> None:
    with pytest.raises(ModelError, match=r"adapter.*merge"):
        resolve("me/dpo-adapter", ModelOptions(kind="generative"))
    with pytest.raises(ModelError, match=r"--reference me/dpo-adapter is an adapter"):
        resolve("me/policy-lm", ModelOptions(reference="me/dpo-adapter"))


def adapter_folder(base: Path, folder: Path, **config: Any) -> str:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)} | config))
    return str(folder)


@pytest.mark.usefixtures("no_hub")
def test_the_task_of_an_adapter_decides_its_kind(model_folder: ModelFolder, tmp_path: Path) -> None:
    language_model = model_folder("lm", architectures=["LlamaForCausalLM"])
    reward = adapter_folder(language_model, tmp_path / "reward", task_type="SEQ_CLS")
    spec = resolve(reward)
    assert (spec.name, spec.kind, spec.reference) == ("local/reward", "classifier", None)
    assert spec.adapter is not None
    assert resolve(adapter_folder(language_model, tmp_path / "dpo", task_type="CAUSAL_LM")).kind == "implicit"
    untold = adapter_folder(language_model, tmp_path / "untold", task_type=None)
    assert (resolve(untold).kind, resolve(untold, ModelOptions(kind="classifier")).kind) == ("implicit", "classifier")
    assert resolve(adapter_folder(model_folder("rm"), tmp_path / "on-rm")).kind == "classifier"


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("SEQ_CLS", {"kind": "implicit"}, "declares the task SEQ_CLS, which is not of the kind implicit"),
        ("CAUSAL_LM", {"kind": "classifier"}, "declares the task CAUSAL_LM, which is not of the kind classifier"),
        ("SEQ_CLS", {"beta": 0.1}, "--beta applies only to implicit-reward models"),
        ("TOKEN_CLS", {}, "declares the task 'TOKEN_CLS'; only adapters for SEQ_CLS and CAUSAL_LM"),
        (7, {}, "task_type is '7'; expected a name"),
    ],
)
def test_options_that_contradict_the_task_of_an_adapter_are_refused(
    model_folder: ModelFolder, tmp_path: Path, task: object, options: dict[str, Any], message: str
) -> None:
    base = model_folder(architectures=["LlamaForCausalLM"])
    folder = adapter_folder(base, tmp_path / "adapter", task_type=task)
    with pytest.raises(ModelError, match=message):
        resolve(folder, ModelOptions(**options))


@pytest.mark.usefixtures("no_hub")
def test_an_adapter_on_an_adapter_is_refused(model_folder: ModelFolder, tmp_path: Path) -> None:
    first = adapter_folder(model_folder(), tmp_path / "first")
    with pytest.raises(ModelError, match="is an adapter as well"):
        resolve(adapter_folder(Path(first), tmp_path / "second"))


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("options", [{}, {"kind": "classifier"}, {"kind": "implicit"}])
def test_a_process_reward_model_is_of_no_other_kind_and_needs_a_separator(
    model_folder: ModelFolder, options: dict[str, Any]
) -> None:
    folder = model_folder(architectures=["Qwen2ForTokenClassification"])
    with pytest.raises(ModelError, match="process reward model"):
        resolve(str(folder), ModelOptions(**options))
    assert resolve(str(folder), ModelOptions(step_separator="<extra_0>")).kind == "process"


@pytest.mark.usefixtures("no_hub")
def test_an_adapter_in_a_folder_has_its_base_in_another(model_folder: ModelFolder, tmp_path: Path) -> None:
    base = model_folder("base", architectures=["LlamaForCausalLM"])
    folder = Path(shutil.copytree(base, tmp_path / "dpo"))
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    spec = resolve(str(folder))
    assert (spec.name, spec.kind) == ("local/dpo", "implicit")
    assert spec.checkpoint == spec.reference == resolve(str(base), ModelOptions(reference=str(base))).reference
    assert spec.adapter is not None
    assert spec.adapter.revision not in {None, spec.checkpoint.revision}


@pytest.mark.usefixtures("no_hub")
def test_a_reference_that_is_no_model_is_an_error(model_folder: ModelFolder) -> None:
    folder = str(model_folder(architectures=["LlamaForCausalLM"]))
    for options, message in (
        ({"reference": folder, "reference_revision": "main"}, r"--reference-revision.*is a folder"),
        ({"reference": "nowhere"}, "neither a folder nor a hub id"),
        ({"reference": "baseline/longest"}, "unknown model"),
        ({"reference": "builtin/none"}, "unknown model"),
    ):
        with pytest.raises(ModelError, match=message):
            resolve(folder, ModelOptions(**options))  # type: ignore[arg-type]


# ---- judges


@pytest.mark.usefixtures("hub")
def test_a_language_model_with_an_option_of_judges_is_a_local_judge() -> None:
    spec = resolve("me/judge-lm", ModelOptions(judge=JudgeOptions(expected=True)))
    assert (spec.kind, spec.options.kind, spec.options.judge.mode) == ("generative", "generative", "pairwise")
    assert resolve("me/judge-lm", ModelOptions(kind="generative")).kind == "generative"


@pytest.mark.usefixtures("no_hub")
def test_a_judge_on_a_server_is_only_a_name() -> None:
    spec = resolve("any:name", ModelOptions(name="me/judge", judge=JudgeOptions(base_url=SERVER, mode="ratings")))
    assert (spec.name, spec.kind, spec.options.judge.mode) == ("me/judge", "generative", "ratings")
    assert spec.checkpoint == Checkpoint("any:name", None, {})
    for name, kind, message in (
        ("baseline/longest", None, "the name of a model of this package"),
        ("me/judge", "classifier", "--kind is classifier"),
    ):
        with pytest.raises(ModelError, match=message):
            resolve(name, ModelOptions(kind=kind, judge=JudgeOptions(base_url=SERVER)))  # type: ignore[arg-type]


@pytest.mark.usefixtures("hub")
def test_a_panel_has_its_judges_each_with_its_own_server() -> None:
    judge = JudgeOptions(judges=(f"a/one@{SERVER}", "b/two-lm"), temperature=0.5)
    spec = resolve("", ModelOptions(judge=judge))
    assert (spec.name, spec.options.judge.vote, spec.checkpoint.revision) == ("panel/one+two-lm", "majority", None)
    one, two = spec.members
    assert (one.name, one.options.judge.base_url, two.name, two.options.judge.base_url) == (
        *("a/one", SERVER),
        *("b/two-lm", None),
    )
    assert {member.options.judge.temperature for member in spec.members} == {0.5}
    assert {member.options.judge.judges for member in spec.members} == {()}


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("", {}, "give --model, --scorer, --ensemble, or at least two --judges"),
        ("builtin/tiny-rm", {"scorer": "mine:f"}, "either --model or --scorer"),
        ("a/b", {"ensemble": ("a/b", "c/d")}, "either --model or --ensemble"),
        ("", {"ensemble": ("a/b",), "scale_by": "starter"}, "at least two models"),
        ("", {"ensemble": ("a/b", "c/d")}, "--ensemble needs --scale-by"),
        ("", {"ensemble": ("baseline/longest",) * 2, "scale_by": "starter"}, "names baseline/longest twice"),
        ("", {"ensemble": ("a/b", "c/d"), "scale_by": "starter", "revision": "v1"}, "--revision applies to a single"),
        (
            *("", {"ensemble": ("a/b", "c/d"), "scale_by": "starter", "judge": JudgeOptions(base_url=SERVER)}),
            "a/b is a judge: combine judges with --judges",
        ),
        (
            *("", {"ensemble": ("a/b", "c/d"), "scale_by": "starter", "judge": JudgeOptions(judges=("e/f", "g/h"))}),
            "either --ensemble or --judges",
        ),
        (
            *("", {"ensemble": ("baseline/longest", "baseline/random"), "scale_by": "starter", "beta": 0.2}),
            r"--beta applies only to implicit-reward models \(this is a baseline\)",
        ),
        ("", {"scorer": "mine:f", "dtype": "float32"}, "--dtype applies only to .*custom scorer"),
        ("", {"judge": JudgeOptions(judges=("a/b",))}, "at least two --judges"),
        ("a/b", {"judge": JudgeOptions(judges=("a/b", "c/d"))}, "either --model or --judges"),
        ("", {"judge": JudgeOptions(judges=("a/b-lm", "a/b-lm"))}, "a/b-lm twice"),
        ("", {"judge": JudgeOptions(judges=("a/b-lm", f"@{SERVER}"))}, "a server without a model"),
        ("", {"judge": JudgeOptions(judges=("a/b-lm", "c/d-lm"), author="x")}, "--author applies to a single model"),
        ("", {"judge": JudgeOptions(judges=("a/b-lm", "c/d-lm")), "revision": "v1"}, "--revision applies to a single"),
        ("", {"judge": JudgeOptions(judges=("a/b-lm", "c/d-lm")), "kind": "implicit"}, "--kind is implicit"),
    ],
)
def test_a_panel_that_makes_no_sense_is_refused(model: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve(model, ModelOptions(**options))
