"""One shape for every benchmark: a prompt, its completions, and how many of the first are chosen.

A pair is 1 of 2, best-of-four 1 of 4, RM-Bench 3 of 6, Ties k of n. Labels stop here: a scorer gets `Candidates`.
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
    """One turn."""

    role: Role
    content: str


Conversation = tuple[Message, ...]


class CompletionSet(NamedTuple):
    """What a scorer may see: a prompt and completions in an order that says nothing about which are chosen.

    graded: the benchmark's measure needs how good each completion is, not only which is better.
    """

    prompt: Conversation
    completions: tuple[str, ...]
    graded: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt with its completions; the first `num_chosen` of them are the chosen ones.

    `id` is unique within a benchmark. `group` names the cluster that is drawn together when intervals are
    bootstrapped: examples about the same prompt are not independent evidence. `authors` are the models that wrote the
    completions, "" where one is not known; empty where none is.

    Raises DataError when there is not at least one chosen and one rejected completion, no prompt, or another number of
    authors than of completions.
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
    """A short name for a prompt's text: 16 hexadecimal digits of its SHA-256."""
    text = "\x1e".join(f"{message['role']}\x1f{message['content']}" for message in prompt)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def completion_order(example: Example, seed: int) -> list[int]:
    """The order in which a scorer sees the completions, fixed by (seed, example id).

    The dataset's own order puts the chosen completion first; no scorer may learn or lean on that.
    """
    digest = hashlib.sha256(f"{seed}:{example.id}".encode("utf-8", "surrogatepass")).digest()
    order = list(range(len(example.completions)))
    random.Random(digest).shuffle(order)
    return order


def blind(example: Example, seed: int, *, graded: bool = False) -> tuple[CompletionSet, list[int]]:
    """Strip the labels: the candidates, and for each the index of the completion it was."""
    order = completion_order(example, seed)
    return CompletionSet(example.prompt, tuple(example.completions[i] for i in order), graded), order
