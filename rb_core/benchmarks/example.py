"""The one shape of all benchmarks: a prompt, its completions, and how many of the first are chosen.

A pair is 1 of 2, best-of-four 1 of 4, RM-Bench 3 of 6, Ties k of n. A scorer never sees the labels: it gets a
`CompletionSet`.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypedDict

from rb_core.errors import DataError

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


Conversation = tuple[Message, ...]


class CompletionSet(NamedTuple):
    """A prompt and its completions, in an order that is independent of which are chosen.

    needs_ratings: the benchmark's metric needs a rating of each completion, not only the best one.
    """

    prompt: Conversation
    completions: tuple[str, ...]
    needs_ratings: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt with its completions; the first `num_chosen` of them are the chosen ones.

    id: unique within a benchmark.
    group: cluster of examples that are not independent, by default a digest of the prompt.
    authors: the model that wrote each completion, "" for unknown; empty if none is known.

    Raises DataError for an empty prompt, without a chosen and a rejected completion, or when the numbers of authors and
    completions differ.
    """

    id: str
    subset: str
    prompt: Conversation
    completions: tuple[str, ...]
    num_chosen: int = 1
    group: str = ""
    authors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.prompt:
            raise DataError(f"example {self.id!r}: the prompt is empty")
        if not 0 < self.num_chosen < len(self.completions):
            raise DataError(
                f"example {self.id!r}: needs at least one chosen and one rejected completion, "
                f"has {self.num_chosen} chosen of {len(self.completions)}"
            )
        if len(self.authors) not in (0, len(self.completions)):
            raise DataError(f"example {self.id!r}: {len(self.authors)} authors for {len(self.completions)} completions")
        if not self.group:
            object.__setattr__(self, "group", prompt_digest(self.prompt))


def prompt_digest(prompt: Conversation) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a prompt's roles and texts."""
    text = "\x1e".join(f"{message['role']}\x1f{message['content']}" for message in prompt)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def completion_order(example: Example, seed: int) -> list[int]:
    """Return the order in which a scorer sees the completions, a permutation fixed by (seed, example id).

    A dataset's own order puts the chosen completion first; no scorer may depend on that.
    """
    digest = hashlib.sha256(f"{seed}:{example.id}".encode("utf-8", "surrogatepass")).digest()
    order = list(range(len(example.completions)))
    random.Random(digest).shuffle(order)
    return order


def blind(example: Example, seed: int, *, needs_ratings: bool = False) -> tuple[CompletionSet, list[int]]:
    """Strip the labels: return the shuffled completions, and for each its index in the example."""
    order = completion_order(example, seed)
    return CompletionSet(example.prompt, tuple(example.completions[i] for i in order), needs_ratings), order
