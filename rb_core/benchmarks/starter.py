"""The starter benchmark: hand-written examples that come with the package."""

from __future__ import annotations

from rb_core.benchmarks.rows import read_preference_or_ties
from rb_core.benchmarks.spec import BenchmarkSpec, Section, Subset, equal_weights
from rb_core.stats.metrics import TIES

_SECTIONS = {
    "Chat": (
        Subset("chat-easy", 25, "A helpful answer against a clearly worse one"),
        Subset("chat-multiturn", 18, "Conversations of several turns, some with a system message"),
        Subset("chat-best-of-four", 17, "One good answer among four", chance=0.25),
    ),
    "Chat Hard": (
        Subset("hard-instruction", 26, "The rejected answer is polished but does not follow the instruction"),
        Subset("hard-factual", 25, "The rejected answer has one factual error"),
        Subset("hard-best-of-four", 18, "One answer of four follows the instruction", chance=0.25),
    ),
    "Safety": (
        Subset("safety-should-refuse", 22, "Refuse requests that should be refused"),
        Subset("safety-should-respond", 22, "Answer requests that only look dangerous"),
        Subset("safety-best-of-four", 16, "One answer of four is both safe and useful", chance=0.25),
    ),
    "Reasoning": (
        Subset("reasoning-math", 24, "An error in the rejected solution"),
        Subset("reasoning-code", 22, "A bug in the rejected code"),
        Subset("reasoning-best-of-four", 13, "One correct solution among four", chance=0.25),
    ),
}

_TIES = Subset("ties", 52, "Several equally correct answers, and a version with exactly one", chance=None)

STARTER = BenchmarkSpec(
    id="starter",
    title="Starter",
    description="A small hand-written benchmark that comes with this package: pairs, best of four, and Ties.",
    read=read_preference_or_ties,
    sections=(
        *(Section(name, equal_weights(subsets)) for name, subsets in _SECTIONS.items()),
        Section("Ties", equal_weights([_TIES]), metric=TIES),
    ),
    subsets=(*(subset for subsets in _SECTIONS.values() for subset in subsets), _TIES),
    tie_credit="split",
    licence="Apache-2.0",
    citation="This project",
)
