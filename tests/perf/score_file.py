"""Speed of `rb_core.score` beside transformers' pipeline: python -m tests.perf.score_file

Both get the same rows, prompts with eight completions, and start from text: their time includes the chat template, the
tokenizer and the batches. The model has random weights, eight layers of width 512 in the style of Llama, and the
tokenizer of the built-in model; both run it in float32 on the CPU. Prompts have 100 to 400 words and completions 10 to
120, drawn uniformly. The pipeline pads batches of 8, or runs one conversation at a time; the faster of the two counts.
The ways take turns within a round, and a ratio is one of medians: of seconds, and of processor seconds, which other
programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from rb_core import load_benchmark, load_model, score
from tests.perf.scoring import SHAPES, TOKENIZER

NUM_COMPLETIONS = 8
PROMPT_WORDS, COMPLETION_WORDS = (100, 400), (10, 120)

Row = dict[str, Any]


class Seconds(NamedTuple):
    """Time of one run of one way. cpu: of all threads of this process."""

    wall: float
    cpu: float


def make_rows(num_prompts: int, seed: int = 8) -> list[Row]:
    """Return prompts with eight completions, put together from the words of the starter benchmark."""
    rng = random.Random(seed)
    examples = load_benchmark("starter").examples
    words = [word for example in examples for text in example.completions for word in text.split()]

    def draw(limits: tuple[int, int]) -> str:
        return " ".join(rng.choices(words, k=rng.randint(*limits)))

    return [
        {"prompt": draw(PROMPT_WORDS), "completions": [draw(COMPLETION_WORDS) for _ in range(NUM_COMPLETIONS)]}
        for _ in range(num_prompts)
    ]


def write_model(folder: Path, shape: dict[str, Any]) -> None:
    """Write a checkpoint with random weights."""
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokens = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(**shape | tokens, num_labels=1, max_position_embeddings=1 << 14)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForSequenceClassification.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def by_pipeline(folder: Path, batch_size: int) -> Callable[[Sequence[Row]], list[float]]:
    """Return a function that scores rows with transformers' pipeline."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    classify = pipeline("text-classification", model=str(folder), tokenizer=tokenizer, batch_size=batch_size)

    def scores(rows: Sequence[Row]) -> list[float]:
        conversations = [
            [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": text}]
            for row in rows
            for text in row["completions"]
        ]
        texts = tokenizer.apply_chat_template(conversations, tokenize=False)
        return [each["score"] for each in classify(texts, function_to_apply="none", add_special_tokens=False)]

    return scores


def by_rb_core(folder: Path) -> Callable[[Sequence[Row]], list[float]]:
    """Return a function that scores rows with this package."""
    scorer = load_model(str(folder))
    return lambda rows: list(score(scorer, rows)["score"])


def compare(folder: Path, rows: Sequence[Row], rounds: int) -> dict[str, list[Seconds]]:
    """Return the seconds of each way in each round. Raises AssertionError if their scores differ."""
    ways = {"pipeline, 8": by_pipeline(folder, 8), "pipeline, 1": by_pipeline(folder, 1), "rb_core": by_rb_core(folder)}
    seconds: dict[str, list[Seconds]] = {name: [] for name in ways}
    for run in ways.values():
        run(rows[:1])
    for number in range(rounds):
        results = {}
        for name in [*ways][number % len(ways) :] + [*ways][: number % len(ways)]:
            begin, cpu_begin = time.perf_counter(), time.process_time()
            results[name] = ways[name](rows)
            seconds[name].append(Seconds(time.perf_counter() - begin, time.process_time() - cpu_begin))
        for own, other in zip(results["rb_core"], results["pipeline, 1"], strict=True):
            assert abs(own - other) < 1e-3 * max(map(abs, results["pipeline, 1"])), "the scores differ"
    return seconds


def ratios(seconds: dict[str, list[Seconds]]) -> Seconds:
    """Return how many times as fast rb_core is as the faster pipeline, by both kinds of time."""
    medians = {name: Seconds(*map(median, zip(*times, strict=True))) for name, times in seconds.items()}
    own, eight, one = (medians[name] for name in ("rb_core", "pipeline, 8", "pipeline, 1"))
    return Seconds(min(eight.wall, one.wall) / own.wall, min(eight.cpu, one.cpu) / own.cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model-shape", choices=SHAPES, default="tiny")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), SHAPES[args.model_shape])
        seconds = compare(Path(folder), make_rows(args.prompts), args.rounds)
    for name, times in seconds.items():
        wall, cpu = zip(*times, strict=True)
        print(f"{name:12} {median(wall):7.2f} s ({min(wall):.2f} to {max(wall):.2f}), processor {median(cpu):.2f} s")
    ratio = ratios(seconds)
    print(f"rb_core is x{ratio.wall:.2f} as fast as the faster pipeline, by processor time x{ratio.cpu:.2f}")


if __name__ == "__main__":
    main()
