"""Faults of a checkpoint: each is named, and nothing else fails."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rb_core.doctor import examine
from rb_core.models.options import ModelOptions
from tests.doctor.reports import TinyModel, diagnose, failures, result_of
from tests.fakes import tiny_models
from tests.fakes.tiny_models import edit_config, edit_weights


def test_pad_tokens_of_config_and_tokenizer_that_differ(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    edit_config(folder, pad_token_id=0)
    report = diagnose(folder)
    assert failures(report) == ["pad"]
    assert "0 ('<|begin_of_text|>')" in result_of(report, "pad").found
    assert "4 ('<|pad|>')" in result_of(report, "pad").found
    assert result_of(report, "batched").status == "PASS"  # the scores are examined all the same


def test_without_a_head_no_score_is_made_of_a_random_head(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    edit_weights(folder, lambda weights: weights.__delitem__("score.weight"))
    report = diagnose(folder)
    assert failures(report) == ["weights"]
    assert "score.weight" in result_of(report, "weights").found
    for skipped in ("head", "finite", "dtype"):
        assert result_of(report, skipped).status == "SKIP"
        assert result_of(report, skipped).found.startswith("not checked: ")
    assert result_of(report, "bos").status == "PASS"


def test_two_outputs_need_a_declaration(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    edit_config(folder, id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1})
    edit_weights(folder, lambda weights: weights.update({"score.weight": torch.randn(2, 32)}))
    report = diagnose(folder)
    assert failures(report) == ["output"]
    assert "--output-index" in result_of(report, "output").found
    assert "--output-weights" in result_of(report, "output").found
    assert result_of(report, "head").found.startswith("score: 32 inputs, 2 output(s)")
    assert failures(diagnose(folder, output_index=1)) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_weight_that_is_not_finite_is_named_with_the_scores_it_spoils(tiny_copy: TinyModel, value: float) -> None:
    folder = tiny_copy("llama")
    edit_weights(folder, lambda weights: weights.update({"score.weight": torch.full((1, 32), value)}))
    report = diagnose(folder)
    assert failures(report) == ["weights", "finite"]
    assert "score.weight" in result_of(report, "weights").found
    assert "16 of 16 scores" in result_of(report, "finite").found
    assert result_of(report, "dtype").status == "SKIP"


def test_a_head_of_zeros_fails_with_the_pairs_that_it_cannot_tell_apart(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    edit_weights(folder, lambda weights: weights.update({"score.weight": torch.zeros(1, 32)}))
    report = diagnose(folder)
    assert failures(report) == ["head", "pairs"]
    assert "all zero" in result_of(report, "head").found


def test_unused_weights_and_weights_of_another_shape_are_named(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    edit_weights(folder, lambda weights: weights.update({"v_head.weight": torch.ones(1, 32)}))
    report = diagnose(folder)
    assert failures(report) == ["weights"]
    assert "v_head.weight" in result_of(report, "weights").found
    edit_weights(folder, lambda weights: weights.__delitem__("v_head.weight"))
    edit_weights(folder, lambda weights: weights.update({"score.weight": torch.ones(3, 32)}))
    report = diagnose(folder)
    assert failures(report) == ["kind"]
    assert "score.weight is [3, 32]" in result_of(report, "kind").found


@pytest.mark.parametrize(("missing", "failed"), [("model.safetensors", "kind"), ("tokenizer.json", "tokenizer")])
def test_a_missing_file_fails_one_check_and_skips_those_that_need_it(
    tiny_copy: TinyModel, missing: str, failed: str
) -> None:
    folder = tiny_copy("llama")
    (folder / missing).unlink()
    report = diagnose(folder)
    assert failures(report) == [failed]
    assert result_of(report, "finite").status == "SKIP"
    assert all(check.found for check in report.checks)


def test_a_missing_template_is_the_fault_and_the_option_is_named(tiny_model: TinyModel) -> None:
    report = examine(str(tiny_model("gpt2")), ModelOptions(device="cpu"))
    assert failures(report) == ["template"]
    assert "--chat-template" in result_of(report, "template").found
    assert report.conversation is None


def test_code_of_its_own_fails_and_is_a_warning_where_it_is_ignored(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    edit_config(folder, auto_map={"AutoModel": "modeling_x.X"})
    report = diagnose(folder)
    assert failures(report) == ["kind"]
    assert "--ignore-auto-map" in result_of(report, "kind").found
    report = diagnose(folder, ignore_auto_map=True)
    assert not report.failed
    assert (result_of(report, "kind").status, "was not run" in result_of(report, "kind").found) == ("WARN", True)


# ---- implicit rewards


@pytest.fixture(scope="module")
def policy(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("llama-lm")


def test_policy_and_reference_pass_and_the_completion_is_read(policy: Path, tmp_path: Path) -> None:
    report = diagnose(policy, reference=str(tiny_models.causal("llama-lm", tmp_path, 21)))
    assert failures(report) == []
    assert report.count("SKIP") == 0
    assert report.conversation is not None
    assert report.conversation.read == (report.conversation.start - 1, len(report.conversation.ids) - 2)
    assert "head" not in {check.id for check in report.checks}
    assert failures(diagnose(policy, reference_free="mean")) == []


def test_a_policy_that_is_its_own_reference_gives_a_constant(policy: Path) -> None:
    report = diagnose(policy, reference=str(policy))
    assert failures(report) == ["pairs"]
    assert "policy and reference are equal" in result_of(report, "pairs").found


def test_a_reference_with_other_token_ids_fails_once_and_shows_no_local_path(
    policy: Path, tiny_copy: TinyModel
) -> None:
    reference = tiny_copy("llama-lm")
    content = json.loads((reference / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (reference / "tokenizer.json").write_text(json.dumps(content))
    report = diagnose(policy, reference=str(reference))
    assert failures(report) == ["reference"]
    assert result_of(report, "finite").status == "SKIP"
    assert str(reference.parent) not in json.dumps(report.to_json()["checks"])


def test_a_reference_with_other_token_names_is_a_warning(policy: Path, tiny_copy: TinyModel) -> None:
    reference = tiny_copy("llama-lm")
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        text = (reference / file).read_text()
        (reference / file).write_text(text.replace("<|begin_of_text|>", "<pad>"))
    result = result_of(diagnose(policy, reference=str(reference)), "reference")
    assert result.status == "WARN"
    assert "'<|begin_of_text|>' is '<pad>' there" in result.found


def test_an_adapter_is_examined_against_its_base_with_or_without_a_tokenizer(policy: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    folder = tiny_models.adapter(policy, tmp_path / "adapter")
    report = diagnose(folder, kind="implicit")
    assert failures(report) == []
    assert report.count("SKIP") == 0
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / file).unlink()
    assert diagnose(folder, kind="implicit") == report
