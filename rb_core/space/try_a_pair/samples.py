"""Samples that fill the form: four hand-written ones, and the examples of the starter benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.load import load_benchmark
from rb_core.space.try_a_pair.question import MAX_COMPLETIONS, MAX_EXCHANGES, Question

# By the label of the button that fills in the sample.
SAMPLES: Mapping[str, Question] = {
    "Helpful or rude": Question(
        (),
        "How do I keep basil alive on a kitchen windowsill?",
        (
            "Give it at least six hours of light, water it when the top of the soil feels dry, and pinch off the tips "
            "every week or two so that it grows bushy instead of tall.",
            "Why would I know? Plants are stupid. Buy a plastic one and stop bothering me.",
        ),
    ),
    "On topic or not": Question(
        (),
        "What should I pack for a weekend of hiking in the rain?",
        (
            "Pack a waterproof jacket and trousers, two pairs of wool socks, and a dry bag for spare clothes, so that "
            "the rain does not spoil your hiking.",
            "The first pianos were built in Italy around the year 1700. Their hammers strike the strings.",
        ),
    ),
    "Four answers": Question(
        (),
        "Explain in two sentences why the sky is blue.",
        (
            "Air scatters short wavelengths of sunlight much more strongly than long ones. So blue light reaches us "
            "from every direction of the sky, while red light mostly passes straight through.",
            "The sky is blue because it reflects the colour of the oceans.",
            "Blue blue blue blue blue blue blue blue blue blue blue blue.",
            "I don't know.",
        ),
    ),
    "A tie": Question((), "Name a river.", ("The Danube.", "The Danube.")),
}


@cache
def starter_subsets() -> Mapping[str, list[Example]]:
    """Return the starter benchmark's examples that fit into the form, by subset."""
    examples: dict[str, list[Example]] = {}
    for example in load_benchmark("starter").examples:
        exchanges = sum(message["role"] != "system" for message in example.prompt) // 2
        if len(example.completions) <= MAX_COMPLETIONS and exchanges <= MAX_EXCHANGES:
            examples.setdefault(example.subset, []).append(example)
    return examples


def example_question(example: Example) -> Question:
    """Return a benchmark's example as a question to no model yet."""
    system = "\n\n".join(message["content"] for message in example.prompt if message["role"] == "system")
    *turns, prompt = [message["content"] for message in example.prompt if message["role"] != "system"]
    return Question((), prompt, example.completions, system, tuple(zip(turns[::2], turns[1::2], strict=True)))
