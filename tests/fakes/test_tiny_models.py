"""The tiny models: complete checkpoints that round little, and in which whatever their family is known for matters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from tests.fakes.tiny_models import (
    BUILDERS,
    CAUSAL_BUILDERS,
    DECODERS,
    FAMILIES,
    UNPACKABLE,
    adapter,
    causal,
    edit_weights,
)
from tests.fakes.tiny_tokenizers import DECLARED, SENTENCES

TinyModel = Callable[[str], Path]
EVERY = BUILDERS | CAUSAL_BUILDERS
CLOSE = 1e-5
FAR = 100 * CLOSE
NO_WINDOW = 10_000
ONE_PACE = {"rope_type": "default", "rope_theta": 10_000.0}


def load(folder: Path, name: str, **options: Any) -> Any:
    """The model with its head. Attention is eager, which in no version of transformers forgets a soft cap."""
    kind = AutoModelForCausalLM if name in CAUSAL_BUILDERS else AutoModelForSequenceClassification
    return kind.from_pretrained(folder, attn_implementation="eager", **options).eval()


def texts(folder: Path) -> list[list[int]]:
    """Texts of up to 150 tokens or so, all of them longer than any window."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokenizer.encode(" ".join(SENTENCES[:count])) for count in (1, 2, 4, 6)]


@torch.no_grad()
def logits(model: Any, ids: list[int]) -> torch.Tensor:
    found: torch.Tensor = model(torch.tensor([ids])).logits[0]
    return found


def furthest(left: Any, right: Any, rows: list[list[int]]) -> float:
    """The largest difference between the logits of two models."""
    return max(float((logits(left, ids) - logits(right, ids)).abs().max()) for ids in rows)


# ---- as a checkpoint is published


@pytest.mark.parametrize("name", EVERY)
def test_a_model_loads_completely_and_no_bias_is_zero(tiny_model: TinyModel, name: str) -> None:
    folder = tiny_model(name)
    kind = AutoModelForCausalLM if name in CAUSAL_BUILDERS else AutoModelForSequenceClassification
    model, loading = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    assert not any(loading.values())
    assert [type(model).__name__] == json.loads((folder / "config.json").read_text())["architectures"]
    weights = load_file(folder / "model.safetensors")
    assert all(weight.any() for part, weight in weights.items() if part.endswith("bias"))
    assert (AutoTokenizer.from_pretrained(folder).chat_template is None) == (name in DECLARED)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_tokenizer_reads_back_as_it_was_made(tiny_model: TinyModel, name: str) -> None:
    made, found = FAMILIES[name.removesuffix("-lm")].tokenizer(), AutoTokenizer.from_pretrained(tiny_model(name))
    assert [found.encode(text) for text in SENTENCES] == [made.encode(text) for text in SENTENCES]
    chat = [{"role": "user", "content": SENTENCES[1]}, {"role": "assistant", "content": " Paris.\n"}]
    options = {"tokenize": True, "return_dict": False, "chat_template": DECLARED.get(name)}
    assert found.apply_chat_template(chat, **options) == made.apply_chat_template(chat, **options)
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "model_max_length", "all_special_ids")
    assert {n: getattr(found, n) for n in names} == {n: getattr(made, n) for n in names}


# ---- large differences, small errors


@pytest.mark.parametrize("name", BUILDERS)
def test_a_score_alone_is_the_score_in_a_batch(tiny_model: TinyModel, name: str) -> None:
    model, rows = load(tiny_model(name), name), texts(tiny_model(name))
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    with torch.no_grad():
        if name in DECODERS:
            hidden = model.base_model(ids, attention_mask=mask).last_hidden_state
            batched = [float(model.score(hidden[i, len(row) - 1])) for i, row in enumerate(rows)]
            alone = [float(model.score(model.base_model(torch.tensor([row])).last_hidden_state[0, -1])) for row in rows]
        else:
            batched = [float(score) for score in model(ids, attention_mask=mask).logits]
            alone = [float(logits(model, row)) for row in rows]
    assert batched == pytest.approx(alone, abs=CLOSE)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *[(name, {"sliding_window": NO_WINDOW}) for name in ("mistral", "phi3", "gemma2", "gemma3", "gpt-oss")],
        *[(name, {"sliding_window": NO_WINDOW}) for name in ("mistral-lm", "phi3-lm", "gemma2-lm")],
        *[(name, {"num_experts_per_tok": 1}) for name in ("mixtral", "mixtral-lm", "gpt-oss")],
        ("gemma2", {"attn_logit_softcapping": None}),
        ("gemma2-lm", {"final_logit_softcapping": None}),
        ("gemma3", {"rope_parameters": {"sliding_attention": ONE_PACE, "full_attention": ONE_PACE}}),
        ("gpt-oss", {"rope_parameters": ONE_PACE}),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_a_familys_settings_matter(tiny_model: TinyModel, name: str, changes: dict[str, Any]) -> None:
    rows = texts(tiny_model(name))
    assert furthest(load(tiny_model(name), name), load(tiny_model(name), name, **changes), rows) > FAR


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *[("qwen2", f"{projection}_proj.bias") for projection in "qkv"],
        ("qwen2-lm", "q_proj.bias"),
        ("phi3", "qkv_proj.weight"),
        ("mixtral", "gate.weight"),
        ("gpt-oss", "sinks"),
        ("gpt-oss", "router.bias"),
        ("jamba", "mamba.A_log"),
        ("jamba", "mamba.conv1d.bias"),
        ("jamba", "self_attn.v_proj.weight"),
        ("gpt2", "c_attn.bias"),
    ],
)
def test_a_familys_weights_matter(tiny_model: TinyModel, tmp_path: Path, name: str, part: str) -> None:
    folder = Path(shutil.copytree(tiny_model(name), tmp_path / name))

    def damage(weights: dict[str, torch.Tensor]) -> None:
        parts = [key for key in weights if key.endswith(part)]
        assert parts
        weights.update({key: torch.zeros_like(weights[key]) for key in parts})

    edit_weights(folder, damage)
    assert furthest(load(tiny_model(name), name), load(folder, name), texts(folder)) > FAR


# ---- texts in a row


# gpt-oss makes its mask without looking at positions, so that these do not keep the texts apart.
@pytest.mark.parametrize("name", [name for name in DECODERS if name != "gpt-oss"])
def test_texts_in_a_row_can_be_kept_apart_where_said(tiny_model: TinyModel, name: str) -> None:
    model, (first, second, *_) = load(tiny_model(name), name), texts(tiny_model(name))
    positions = torch.tensor([[*range(len(first)), *range(len(second))]])
    with torch.no_grad():
        alone = model.base_model(torch.tensor([second]), use_cache=False).last_hidden_state[0, -1]
        row = model.base_model(torch.tensor([first + second]), position_ids=positions, use_cache=False)
    difference = float((row.last_hidden_state[0, -1] - alone).abs().max())
    assert (difference > FAR) if name in UNPACKABLE else (difference < CLOSE)


# ---- language models


@pytest.mark.parametrize("name", ["llama-lm", "gpt2-lm"])
def test_a_seed_makes_a_model(tiny_model: TinyModel, tmp_path: Path, name: str) -> None:
    policy, again, reference = (
        tiny_model(name),
        causal(name, tmp_path / "again"),
        causal(name, tmp_path / "other", seed=21),
    )
    for file in sorted(policy.iterdir()):
        same, differs = (other / file.name for other in (again, reference))
        assert file.read_bytes() == same.read_bytes()
        assert (file.read_bytes() == differs.read_bytes()) == (file.name != "model.safetensors")
    assert furthest(load(policy, name), load(reference, name), texts(policy)) > 1


@pytest.mark.parametrize("name", CAUSAL_BUILDERS)
def test_tied_embeddings_are_published_once(tiny_model: TinyModel, name: str) -> None:
    tied = name in {"qwen2-lm", "gemma2-lm", "gpt2-lm"}
    assert ("lm_head.weight" in load_file(tiny_model(name) / "model.safetensors")) != tied
    model = load(tiny_model(name), name)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied


@pytest.mark.parametrize("name", ["llama-lm", "gemma2-lm"])
def test_an_adapter_changes_its_base(tiny_model: TinyModel, tmp_path: Path, name: str) -> None:
    peft = pytest.importorskip("peft")
    base, folder = tiny_model(name), adapter(tiny_model(name), tmp_path / "adapter")
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(base)
    assert (settings["r"], sorted(settings["target_modules"])) == (4, ["q_proj", "v_proj"])
    weights = load_file(folder / "adapter_model.safetensors")
    assert len(weights) == 8  # two layers, two projections, A and B
    assert all(weight.any() for weight in weights.values())
    for file in base.iterdir():
        if "token" in file.name or "chat" in file.name:
            assert (folder / file.name).read_bytes() == file.read_bytes()
    rows = texts(folder)
    adapted = peft.PeftModel.from_pretrained(load(base, name), folder).eval()
    assert furthest(load(base, name), adapted, rows) > 1
    other = adapter(base, tmp_path / "other", seed=22)
    assert furthest(adapted, peft.PeftModel.from_pretrained(load(base, name), other).eval(), rows) > 1
