"""Classifiers as guards: p is what transformers' own pipeline for texts says."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from rb_core.errors import ModelError
from rb_core.evaluation.guard_probabilities import guard_probabilities
from rb_core.scorers.guards.load import load_guard
from rb_core.scorers.guards.spec import parse_guard
from tests.fakes.tiny_models import causal, classifier
from tests.fakes.tiny_tokenizers import pair_tokenizer
from tests.scorers.guards.test_load import prompt_with, values

TEXTS = ("I will not help.", "Take this and that.", "A", "No.")
LABELS = {"num_labels": 3, "id2label": {0: "ok", 1: "toxic", 2: "spam"}, "label2id": {"ok": 0, "toxic": 1, "spam": 2}}
MULTI = {"problem_type": "multi_label_classification"}
FIRST = "Name two rivers."


def by_pipeline(folder: Path, label: str, texts: tuple[str, ...] = TEXTS) -> list[float]:
    classify: Any = pipeline("text-classification", model=str(folder), device="cpu", top_k=None)
    return [score["score"] for text in texts for score in classify([text])[0] if score["label"] == label]


@pytest.mark.parametrize("changes", [LABELS, LABELS | MULTI], ids=["one label", "several labels"])
def test_p_is_that_of_transformers_pipeline(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = classifier("deberta", tmp_path / "deberta", pair_tokenizer(), **changes)
    expected = by_pipeline(folder, "toxic")
    sets = [prompt_with(*TEXTS[:2]), prompt_with(*TEXTS[2:], prompt="Another prompt.")]
    found = values(f"classifier:{folder}", sets, "label=toxic,device=cpu")
    assert [*chain(*found)] == pytest.approx(expected, abs=1e-5)
    of_safe = values(f"classifier:{folder}", sets, "safe_label=toxic,device=cpu")
    assert [*chain(*of_safe)] == pytest.approx([1 - p for p in expected], abs=1e-5)


def test_a_single_output_is_read_by_its_sigmoid(tmp_path: Path) -> None:
    folder = classifier("gpt2", tmp_path / "gpt2")
    (found,) = values(f"classifier:{folder}", [prompt_with(*TEXTS)], "device=cpu")
    assert found == pytest.approx(by_pipeline(folder, "LABEL_0"), abs=1e-5)


def test_a_classifier_with_a_chat_template_reads_the_conversation_unless_told(tmp_path: Path) -> None:
    folder = classifier("llama", tmp_path / "llama", **LABELS)
    sets = [prompt_with("No."), prompt_with("No.", prompt=FIRST)]
    (first,), (second,) = values(f"classifier:{folder}", sets, "label=toxic,device=cpu")
    assert first != pytest.approx(second, abs=1e-6)
    (first,), (second,) = values(f"classifier:{folder}", sets, "label=toxic,device=cpu,reads=completion")
    assert first == pytest.approx(second, abs=1e-6)


def test_a_language_model_is_read_at_two_tokens(tmp_path: Path) -> None:
    folder = causal("llama-lm", tmp_path / "lm")
    arguments = {"tokens": "A,B", "generation_prompt": True, "device": "cpu"}
    guard = load_guard(parse_guard(f"classifier:{folder}", arguments))
    ((found,),) = guard_probabilities(guard, [prompt_with("No.", prompt=FIRST)])
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    turns = [{"role": "user", "content": FIRST}, {"role": "assistant", "content": "No."}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([ids])).logits[0, -1]
    pair = logits[tokenizer.convert_tokens_to_ids(["A", "B"])].softmax(0)
    assert found.value == pytest.approx(float(pair[0]), abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "which label means unsafe\\? give label=L or safe_label=L, with L one of ok, toxic, spam"),
        ("label=Toxic", "no label 'Toxic'; give label=L"),
    ],
)
def test_a_label_that_is_not_there_is_named_with_the_labels(tmp_path: Path, arguments: str, problem: str) -> None:
    folder = classifier("gpt2", tmp_path / "gpt2", **LABELS)
    with pytest.raises(ModelError, match=problem):
        load_guard(parse_guard(f"classifier:{folder}", arguments))


def test_what_gives_no_probability_is_refused(tmp_path: Path) -> None:
    folder = classifier("gpt2", tmp_path / "regression", problem_type="regression")
    with pytest.raises(ModelError, match="is a regression, whose output is no probability"):
        load_guard(parse_guard(f"classifier:{folder}"))
    with pytest.raises(ModelError, match="of the kind baseline, whose score is no probability"):
        load_guard(parse_guard("classifier:baseline/longest"))
