"""Measure the speed of scoring a vocabulary as answers to one prompt: python -m tests.perf.vocabulary --model FOLDER

All tokens that are an answer by themselves are planned as `audit values` plans them. Then, round by round, one of the
planned batches is scored, and some of its conversations each alone; both times include planning, which encodes the
conversations. The prompt has `--tokens` tokens, chat template included.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rb_core.audits.values.vocabulary import expressible_tokens
from rb_core.benchmarks.example import CompletionSet, Conversation, Message
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.scorers.conversation_scorer import ConversationScorer
from rb_core.scorers.load import load_scorer

TEXT = (
    "Please think about this for a moment, and then tell me in one word, without any explanation, what you hold to be "
    "the best thing in the world for people everywhere, now and in the time to come"
)


@dataclass
class Speeds:
    """Seconds for one answer: in batches of the whole vocabulary, and alone, round by round.

    answers: their number; prompt_tokens: length of the prompt; difference: the largest between the two scores.
    """

    answers: int
    prompt_tokens: int
    batched: list[float]
    alone: list[float]
    difference: float

    @property
    def ratio(self) -> float:
        """Median of the rounds' ratios."""
        return median(alone / batched for alone, batched in zip(self.alone, self.batched, strict=True))


def prompt_of(scorer: ConversationScorer, num_tokens: int) -> Conversation:
    """Return a prompt whose encoding has so many tokens, or as close to it as words allow."""

    def made(words: list[str]) -> Conversation:
        return (Message(role="user", content=" ".join(words)),)

    words = (TEXT + ", " + TEXT).split() * (1 + num_tokens // 60)
    lengths = [len(scorer.chat.encode_prompts([made(words[:count])])[0]) for count in range(1, num_tokens)]
    return made(words[: 1 + min(range(len(lengths)), key=lambda index: abs(lengths[index] - num_tokens))])


def measure(model: str, options: ModelOptions, num_tokens: int, rounds: int, num_alone: int) -> Speeds:
    """Measure a model; `num_alone` conversations of each round are scored alone."""
    spec = resolve(model, options)
    scorer = load_scorer(spec)
    assert isinstance(scorer, ConversationScorer)
    prompt = prompt_of(scorer, num_tokens)
    texts = expressible_tokens(spec, prompt).texts
    started = time.perf_counter()
    plan = scorer.plan([CompletionSet(prompt, texts)])
    planning = (time.perf_counter() - started) / len(texts)
    length = len(scorer.chat.encode_prompts([prompt])[0])
    rng, speeds = random.Random(0), Speeds(len(texts), length, [], [], 0.0)
    scorer.score(plan.batches[-1])
    for batch in rng.sample(plan.batches, min(rounds, len(plan.batches))):
        started = time.perf_counter()
        scores = scorer.score(batch)
        speeds.batched.append((time.perf_counter() - started) / len(scores) + planning)
        sample = rng.sample(range(len(scores)), min(num_alone, len(scores)))
        started = time.perf_counter()
        for index in sample:
            (single,) = scorer.plan([CompletionSet(prompt, (texts[batch.cells[index].completion],))]).batches
            (score,) = scorer.score(single)
            speeds.difference = max(speeds.difference, abs(score.value - scores[index].value))
        speeds.alone.append((time.perf_counter() - started) / len(sample))
    return speeds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="builtin/tiny-rm")
    parser.add_argument("--kind", help="kind of the model; default: as `audit` finds it")
    parser.add_argument("--reference-free", help="variant of an implicit reward without a reference")
    parser.add_argument("--tokens", type=int, default=60, help="length of the prompt")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--alone", type=int, default=10, help="conversations scored alone in each round")
    args = parser.parse_args(arguments)
    options = ModelOptions(kind=args.kind, reference_free=args.reference_free)
    speeds = measure(args.model, options, args.tokens, args.rounds, args.alone)
    together, alone = (1000 * median(seconds) for seconds in (speeds.batched, speeds.alone))
    sys.stdout.write(
        f"{speeds.answers:,} answers of one token to a prompt of {speeds.prompt_tokens} tokens: {together:.2f} ms each "
        f"together, {alone:.1f} ms alone: x{speeds.ratio:.1f}, scores differ by at most {speeds.difference:.1g}\n"
    )


if __name__ == "__main__":
    main()
