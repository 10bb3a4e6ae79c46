"""How fast local judges are, side by side: python -m tests.perf.generation

Replies of a model with random weights to prompts of 100 to 1,000 characters, in two ways that take turns: one prompt
at a time by `generate`, as `transformers serve` does it, and by LocalGenerator. Both give the same texts, which is
checked. The ratio is of the medians over the rounds; nothing else of the machine enters it than hits both alike.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from transformers import AutoModelForCausalLM

from rb_core.benchmarks.example import Message
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.scorers.judge import generation
from rb_core.scorers.judge.local_backend import LocalGenerator
from rb_core.scorers.judge.types import Decoding, Request
from tests.fakes.tiny_models import FAMILIES
from tests.fakes.tiny_tokenizers import SENTENCES, llama_tokenizer


def build(folder: Path, hidden: int, layers: int) -> Path:
    """A Llama of that size."""
    tokenizer = llama_tokenizer(model_max_length=4096)
    family = FAMILIES["llama"]
    sizes = {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers, "head_dim": 64}
    sizes |= {"num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 64, "max_position_embeddings": 4096}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = family.config(**sizes, **ids, vocab_size=len(tokenizer), initializer_range=0.1)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def prompts(number: int) -> list[Request]:
    drawn = random.Random(0)
    texts = [" ".join(drawn.choices(SENTENCES, k=drawn.randint(2, 16))) for _ in range(number)]
    return [Request((Message(role="user", content=text),), 0) for text in texts]


def one_at_a_time(generator: LocalGenerator, asked: list[Request]) -> list[str]:
    found = []
    for request in asked:
        (ids,) = generator.chat.encode_prompts([request.messages])
        row = torch.tensor([ids], device=generator.device)
        config = generation.generation_config(
            generator.model.generation_config, request.max_tokens, generator.end_tokens, generator.end_tokens[0]
        )
        out = generator.model.generate(row, attention_mask=torch.ones_like(row), generation_config=config)
        found.append(generator.chat.tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True))
    return found


def local(generator: LocalGenerator, asked: list[Request]) -> list[str]:
    return [reply.text for _, reply in sorted(generator.generate(asked))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("requests", 32), ("max-tokens", 32), ("hidden", 256), ("layers", 6), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        where = build(Path(folder) / "model", given.hidden, given.layers)
        options = ModelOptions(kind="generative", device=given.device, dtype=given.dtype)
        generator = LocalGenerator.load(resolve(str(where), options), Decoding())
        asked = [request._replace(max_tokens=given.max_tokens) for request in prompts(given.requests)]
        times: dict[str, list[float]] = {"one at a time": [], "local": []}
        texts: dict[str, list[str]] = {}
        for _ in range(given.rounds + 1):
            for name, way in (("one at a time", one_at_a_time), ("local", local)):
                start = time.perf_counter()
                texts[name] = way(generator, asked)
                times[name].append(time.perf_counter() - start)
    alike = sum(a == b for a, b in zip(*texts.values(), strict=True))
    medians = {name: median(each[1:]) for name, each in times.items()}  # the first round warms up
    shown = generator.describe()
    print(f"{shown['batching']}, {shown['dtype']}, {generator.device}, {shown['parameters']:,} parameters")
    print(f"{given.requests} replies of at most {given.max_tokens} tokens, {alike} alike, {given.rounds} rounds")
    for name, seconds in medians.items():
        spread = (max(times[name][1:]) - min(times[name][1:])) / seconds
        print(f"{name}: {seconds:.2f} s (range {spread:.0%})")
    print(f"ratio {medians['one at a time'] / medians['local']:.2f}")


if __name__ == "__main__":
    main()
