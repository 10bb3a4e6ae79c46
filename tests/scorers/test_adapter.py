"""Adapters with a reward head: scored like PEFT's own model, or refused, naming the missing part."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rb_core.errors import ModelError
from rb_core.evaluation.score import score_completion_sets
from rb_core.scorers.classifier import ClassifierScorer
from tests.fakes.prompts import CANDIDATES, turn, values
from tests.fakes.scorers import load_copy
from tests.fakes.tiny_models import adapter, causal, changed_adapter, classifier

HEAD = "base_model.model.score.weight"


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return causal("llama-lm", tmp_path_factory.mktemp("adapters") / "base", seed=8)


@pytest.fixture(scope="module")
def published(language_model: Path) -> Path:
    return adapter(language_model, language_model.parent / "reward", task="SEQ_CLS")


@pytest.fixture
def changed(published: Path, tmp_path: Path) -> Callable[..., Path]:
    return partial(changed_adapter, published, tmp_path / "changed")


def own_scores(base: Path, folder: Path, num_labels: int = 1) -> list[list[float]]:
    """Score with PEFT's own model, one unpadded conversation at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=num_labels)
    adapted = PeftModel.from_pretrained(model, str(folder)).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    scores = []
    for prompt, completions, _ in CANDIDATES:
        rows = [
            tokenizer.apply_chat_template([*prompt, turn("assistant", text)], return_dict=False, return_tensors="pt")
            for text in completions
        ]
        with torch.no_grad():
            scores.append([float(adapted(input_ids=row).logits[0, 0]) for row in rows])
    return scores


def assert_own_scores(scorer: ClassifierScorer, wanted: list[list[float]]) -> None:
    for batching in ("packed", "bucketed", "bucketed-own-forward"):
        scorer.batching = batching
        for left, right in zip(values(score_completion_sets(scorer, CANDIDATES)), wanted, strict=True):
            assert left == pytest.approx(right, abs=1e-5, rel=1e-5)


def test_an_adapter_with_its_head_scores_like_pefts_own_model(language_model: Path, published: Path) -> None:
    scorer = load_copy(published)
    assert (scorer.kind, scorer.batching) == ("classifier", "packed")
    described = scorer.describe()
    assert (described["adapter"], described["architecture"]) == ("local/reward", "LlamaForSequenceClassification")
    assert described["adapter_revision"] != described["revision"]
    assert described["loading"] == ["weights that the score does not use: lm_head.weight"]
    assert_own_scores(scorer, own_scores(language_model, published))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_head_of_an_adapter_keeps_its_precision(published: Path, dtype: str) -> None:
    scorer = load_copy(published, dtype=dtype)
    saved = load_file(published / "adapter_model.safetensors")[HEAD]
    assert torch.equal(scorer.model.score.weight, saved)
    assert scorer.batching == "packed"


def test_an_adapter_without_its_head_is_refused_by_the_heads_name(changed: Callable[..., Path]) -> None:
    folder = changed(lambda weights: weights.pop(HEAD))
    with pytest.raises(ModelError, match=r"without its reward head: score.weight is neither in .* nor in its base"):
        load_copy(folder)


def test_the_base_may_have_the_head(tmp_path: Path) -> None:
    base = classifier("llama", tmp_path / "base")
    folder = adapter(base, tmp_path / "adapter", task="SEQ_CLS")
    file = folder / "adapter_model.safetensors"
    weights = load_file(file) | {HEAD: load_file(base / "model.safetensors")["score.weight"]}
    save_file(weights, file, metadata={"format": "pt"})
    wanted = own_scores(base, folder)
    del weights[HEAD]
    save_file(weights, file, metadata={"format": "pt"})
    assert_own_scores(load_copy(folder), wanted)


def test_a_head_in_an_adapter_replaces_that_of_the_base(tmp_path: Path) -> None:
    base = classifier("llama", tmp_path / "base")
    folder = adapter(base, tmp_path / "adapter", task="SEQ_CLS")
    head = load_file(folder / "adapter_model.safetensors")[HEAD]
    assert not torch.equal(head, load_file(base / "model.safetensors")["score.weight"])
    scorer = load_copy(folder)
    assert torch.equal(scorer.model.score.weight, head)
    assert_own_scores(scorer, own_scores(base, folder))


def test_a_head_of_several_outputs_has_to_be_declared(language_model: Path, changed: Callable[..., Path]) -> None:
    folder = changed(lambda weights: weights.update({HEAD: torch.cat([weights[HEAD], torch.ones(1, 32)])}))
    with pytest.raises(ModelError, match="2 outputs"):
        load_copy(folder)
    assert_own_scores(load_copy(folder, output_index=0), own_scores(language_model, folder, num_labels=2))


def rename(weights: dict[str, torch.Tensor], name: str, other: str) -> None:
    weights[other] = weights.pop(name)


@pytest.mark.parametrize(
    ("edit", "settings", "message"),
    [
        (lambda w: w.update({HEAD: torch.ones(1, 16)}), {}, r"score.weight of the adapter has the shape \[1, 16\]"),
        (lambda w: w.update({"base_model.model.score.bias": torch.ones(1)}), {}, "unexpected score.bias"),
        (lambda w: rename(w, HEAD, "base_model.model.classifier.weight"), {}, "without its reward head: score.weight"),
        (lambda w: w.pop(min(w)), {}, "misses .*lora_A"),
        (lambda w: w.update({"base_model.model.v.weight": torch.ones(1)}), {}, "unexpected .*v.weight"),
        (len, {"target_modules": ["no_such_layer"]}, "does not fit its base"),
        (len, {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}, "changes the input"),
        (len, {"peft_type": "NOVEL"}, "adapter_config.json cannot be used"),
    ],
)
def test_an_adapter_that_does_not_fit_is_one_clear_error(
    changed: Callable[..., Path], edit: Callable[[dict[str, torch.Tensor]], Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load_copy(changed(edit, **settings))


@pytest.mark.parametrize("file", ["tokenizer.json", "chat_template.jinja"])
def test_a_part_of_a_tokenizer_beside_an_adapter_is_refused(changed: Callable[..., Path], file: str) -> None:
    folder = changed()
    for path in folder.glob("tokenizer*"):
        path.unlink()
    (folder / "chat_template.jinja").unlink()
    load_copy(folder)  # the base's own
    (folder / file).write_text("{}")
    with pytest.raises(ModelError, match=rf"the adapter has {file}, but no tokenizer_config.json"):
        load_copy(folder)


@pytest.mark.parametrize("task", [None, "CAUSAL_LM"])
def test_a_reward_head_is_not_scored_as_an_implicit_reward(changed: Callable[..., Path], task: str | None) -> None:
    with pytest.raises(ModelError, match=r"unexpected .*score"):
        load_copy(changed(task_type=task))
