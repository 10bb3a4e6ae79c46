"""Damages that checkpoints have: of config, tokenizer, chat template, weights, files and adapter.

A damage changes a folder, by chance where it has a choice. `FATAL` are those after which no score is the model's own.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Damage = Callable[[Path, random.Random], None]

JUNK: tuple[Any, ...] = (
    None, -1, 0, 1, 2, 5, 10**5, 10**9, 10**12, 1.5, -0.5, 1e300, True, False, "", "x", "\ud800", "32", [], [1, "a"],
    {}, {"a": 1}, {"rope_type": "x"}, [[]],
)  # fmt: skip
OTHER_TYPES = (
    "gpt2",
    "bert",
    "mistral",
    "t5",
    "vit",
    "whisper",
    "mamba",
    "deberta-v2",
    "xlnet",
    "llama4",
    "gemma2",
)
TEMPLATES: Mapping[str, str] = {
    "parts": (
        "{{ bos_token }}{% for turn in messages %}[{{ turn['role'] }}]"
        "{% for part in turn['content'] %}{{ part['text'] }}{% endfor %}{% endfor %}"
    ),
    "parts of one role": (
        "{% for turn in messages %}[{{ turn['role'] }}]{% if turn['role'] == 'assistant' %}"
        "{{ turn['content'][0]['text'] }}{% else %}{{ turn['content'] }}{% endif %}{% endfor %}"
    ),
    "drops the answer": "{% for turn in messages if turn['role'] != 'assistant' %}{{ turn['content'] }}{% endfor %}",
    "drops the question": "{{ messages[-1]['content'] }}",
    "drops the end": "{% for turn in messages %}{{ turn['content'][:9] }}{% endfor %}",
    "drops thoughts": "{% for turn in messages %}{{ turn['content'].split('</think>')[-1] }}{% endfor %}",
    "constant": "Hello",
    "white space": " \n ",
    "recursion": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "loop": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "long": "{{ 'a' * 20000000 }}{% for turn in messages %}{{ turn['content'] }}{% endfor %}",
    "syntax": "{% for %}",
    "undefined": "{{ nothing.at.all }}",
    "zero": "{{ 1 // 0 }}",
    "refuses": "{{ raise_exception('no\nway') }}",
    "private": "{{ messages.__class__.__mro__ }}",
    "range": "{% for i in range(10**12) %}x{% endfor %}",
    "surrogate": "\\ud800{% for turn in messages %}{{ turn['content'] }}{% endfor %}",
}
REFUSED_TEMPLATES = frozenset(TEMPLATES) - {"parts", "parts of one role", "drops thoughts", "surrogate"}
PATTERNS = (r"(a+)+$", r"(a|a)*b", r"((a*)*)*$", r"(?=(\w+)+!)x", "(", r"\p{Foo}", "", r"(\s+)+x", r"(?<=a{1,9}b*)c")


def edit_json(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def edit_tensors(folder: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = weights_file(folder)
    weights = load_file(path)
    edit(weights)
    save_file(weights, path, metadata={"format": "pt"})


def weights_file(folder: Path) -> Path:
    adapter = folder / "adapter_model.safetensors"
    return adapter if adapter.exists() else folder / "model.safetensors"


def config_file(folder: Path) -> Path:
    adapter = folder / "adapter_config.json"
    return adapter if adapter.exists() else folder / "config.json"


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) of every value in a JSON document, the vocabulary left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    places = []
    for key, child in items:
        places.append((value, key))
        if key not in ("vocab", "merges"):
            places += _places(child)
    return places


def _change_value(name: str) -> Damage:
    def damage(folder: Path, rng: random.Random) -> None:
        def edit(content: dict[str, Any]) -> None:
            container, key = rng.choice(_places(content))
            if rng.random() < 0.2:
                del container[key]
            else:
                container[key] = rng.choice(JUNK)

        path = config_file(folder) if name == "config" else folder / name
        edit_json(path, edit)

    return damage


def _set(changes: Mapping[str, Any]) -> Damage:
    return lambda folder, rng: edit_json(config_file(folder), lambda content: content.update(changes))


def _set_template(text: str) -> Damage:
    return lambda folder, rng: _write(folder / "chat_template.jinja", text.encode("utf-8", "surrogatepass"))


def _write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def _any_file(folder: Path, rng: random.Random) -> Path:
    return rng.choice(sorted(path for path in folder.iterdir() if path.is_file()))


def cut_file(folder: Path, rng: random.Random) -> None:
    path = _any_file(folder, rng)
    content = path.read_bytes()
    path.write_bytes(content[: rng.choice([0, 1, len(content) // 2, len(content) - 1])])


def flip_bits(folder: Path, rng: random.Random) -> None:
    path = _any_file(folder, rng)
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 8])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def remove_file(folder: Path, rng: random.Random) -> None:
    _any_file(folder, rng).unlink()


def irregular_file(folder: Path, rng: random.Random) -> None:
    path = rng.choice([_any_file(folder, rng), folder / "extra.json", folder / "notes"])
    path.unlink(missing_ok=True)
    kind = rng.choice(["pipe", "zero", "random", "self", "nowhere"])
    if kind == "pipe":
        os.mkfifo(path)
    else:
        target = {"zero": "/dev/zero", "random": "/dev/urandom", "self": path.name, "nowhere": "nowhere"}[kind]
        path.symlink_to(target)


def swap_file_for_folder(folder: Path, rng: random.Random) -> None:
    path = _any_file(folder, rng)
    path.unlink()
    path.mkdir()


def bad_index(folder: Path, rng: random.Random) -> None:
    names = [7, "../../../dev/zero", "/dev/zero", None, "x/../model.safetensors"]
    content = {"weight_map": {"score.weight": rng.choice(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


def drop_tensor(folder: Path, rng: random.Random) -> None:
    edit_tensors(folder, lambda weights: weights.pop(rng.choice(sorted(weights))))


def rename_tensor(folder: Path, rng: random.Random) -> None:
    edit_tensors(folder, lambda weights: weights.update({"renamed.weight": weights.pop(rng.choice(sorted(weights)))}))


def reshape_tensor(folder: Path, rng: random.Random) -> None:
    def edit(weights: dict[str, torch.Tensor]) -> None:
        name = rng.choice(sorted(weights))
        weights[name] = torch.cat([weights[name], weights[name]])

    edit_tensors(folder, edit)


def add_tensor(folder: Path, rng: random.Random) -> None:
    name = rng.choice(
        ["v_head.summary.weight", "value_head.weight", "score.extra", "model.layers.7.mlp.up_proj.weight"]
    )
    edit_tensors(folder, lambda weights: weights.update({name: torch.ones(1, 32)}))


def unused_head(folder: Path, rng: random.Random) -> None:
    name = rng.choice(["embed_out.weight", "cls.predictions.bias", "h.0.attn.masked_bias", "lm_predictions.bias"])
    edit_tensors(folder, lambda weights: weights.update({name: torch.ones(3)}))


def spoil_tensor(folder: Path, rng: random.Random) -> None:
    def edit(weights: dict[str, torch.Tensor]) -> None:
        name = rng.choice(sorted(weights))
        change = rng.choice(
            [lambda w: w * float("nan"), lambda w: w / 0, torch.zeros_like, lambda w: w.to(torch.int32)]
        )
        weights[name] = change(weights[name])

    edit_tensors(folder, edit)


def other_type(folder: Path, rng: random.Random) -> None:
    name = rng.choice(OTHER_TYPES)
    edit_json(config_file(folder), lambda content: content.update(model_type=name))


def tokens_beyond(folder: Path, rng: random.Random) -> None:
    """Give tokens of one character, which every conversation has, ids that the model has no embeddings for."""

    def edit(content: dict[str, Any]) -> None:
        vocabulary = content["model"]["vocab"]
        vocabulary.update({token: i + 10**6 for token, i in vocabulary.items() if len(token) == 1})

    edit_json(folder / "tokenizer.json", edit)


def tokenizer_pattern(folder: Path, rng: random.Random) -> None:
    split = {"type": "Split", "pattern": {"Regex": rng.choice(PATTERNS)}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    both = {"type": "Sequence", "pretokenizers": [split, level]}
    edit_json(folder / "tokenizer.json", lambda content: content.update(pre_tokenizer=both))


def deep_json(folder: Path, rng: random.Random) -> None:
    path = rng.choice([config_file(folder), folder / "tokenizer_config.json", folder / "tokenizer.json"])
    path.write_text(
        rng.choice(["[" * 100_000, '{"a":' * 50_000, '{"a": ' + "9" * 6000 + "}", "[]", "5", "null", "\ufeff{}"])
    )


def named_templates(folder: Path, rng: random.Random) -> None:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    templates = [{"name": "rag", "template": "x"}, {"name": "tool_use", "template": "y"}]
    edit_json(folder / "tokenizer_config.json", lambda content: content.update(chat_template=templates))


ANY: Mapping[str, Damage] = {
    "config value": _change_value("config"),
    "tokenizer value": _change_value("tokenizer.json"),
    "tokenizer config value": _change_value("tokenizer_config.json"),
    "cut file": cut_file,
    "flipped bits": flip_bits,
    "missing file": remove_file,
    "file for folder": swap_file_for_folder,
    "model type": other_type,
    "spoilt tensor": spoil_tensor,
    "unused head": unused_head,
    "pattern": tokenizer_pattern,
    "unknown quantisation": _set({"quantization_config": {"quant_method": "novel"}}),
    "no pad token": _set({"pad_token_id": -1}),
    "outputs": _set({"num_labels": 10**9}),
    **{f"template {name}": _set_template(text) for name, text in TEMPLATES.items() if name not in REFUSED_TEMPLATES},
}
FATAL: Mapping[str, Damage] = {
    "irregular file": irregular_file,
    "index": bad_index,
    "deep json": deep_json,
    "dropped tensor": drop_tensor,
    "renamed tensor": rename_tensor,
    "reshaped tensor": reshape_tensor,
    "added tensor": add_tensor,
    "token beyond": tokens_beyond,
    "layers": _set({"num_hidden_layers": 10**5, "n_layer": 10**5, "text_config": {"num_layers": 10**5}}),
    "architectures": _set({"architectures": 5, "base_model_name_or_path": 5}),
    "named templates": named_templates,
    "task": _set({"task_type": "TOKEN_CLS", "architectures": ["LlamaForTokenClassification"]}),
    **{f"template {name}": _set_template(TEMPLATES[name]) for name in sorted(REFUSED_TEMPLATES)},
}
