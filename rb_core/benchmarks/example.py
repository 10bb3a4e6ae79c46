"""The one shape of all benchmarks: a prompt, its completions, and how many of the first are chosen.

A pair is 1 of 2, best-of-four 1 of 4, RM-Bench 3 of 6, Ties k of n. A scorer never sees the labels: it gets a
`CompletionSet`.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from rb_core.errors import DataError

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")


class Message(TypedDict):
    """One turn of a conversation, with the fields that chat templates read.

    reasoning_content, tool_calls: of an assistant turn; name, tool_call_id: of a tool's turn; tools: the functions that
    the assistant may call, in the first message of a conversation.
    """

    role: Role
    content: str
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[Any]]
    name: NotRequired[str]
    tool_call_id: NotRequired[str]
    tools: NotRequired[list[Any]]


Conversation = tuple[Message, ...]


def message_text(message: Message) -> str:
    """Return everything that a message says as one text: reasoning, content, and tools and calls as JSON."""
    texts = [f"<think>\n{message['reasoning_content']}\n</think>"] if "reasoning_content" in message else []
    texts += [message["content"]] if message["content"] else []
    structures: list[Any] = message.get("tools", []) + message.get("tool_calls", [])
    return "\n".join(texts + [json.dumps(each, ensure_ascii=False) for each in structures])


class AssistantTurn(str):
    """A completion that is more than text: with tool calls or reasoning, or with several messages.

    messages: one of the assistant, or an agent's calls and the tools' results up to the assistant's last message, for
    chat templates. As text, for scorers that read text, the turn is what they say.
    """

    messages: Conversation

    def __new__(cls, *messages: Message) -> AssistantTurn:
        texts = [message_text(message) for message in messages]
        if len(messages) > 1:
            texts = [f"{message['role']}: {text}" for message, text in zip(messages, texts, strict=True)]
        turn = super().__new__(cls, "\n".join(texts))
        turn.messages = messages
        return turn

    def __getnewargs__(self) -> Conversation:  # type: ignore[override]
        return self.messages


def messages_of(completion: str) -> Conversation:
    """Return a completion as messages; one that is more than text brings its own."""
    if isinstance(completion, AssistantTurn):
        return completion.messages
    return (Message(role="assistant", content=completion),)


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
    by_threshold: completions are compared with a threshold and not with each other, so that all of them may be chosen,
    or none (see `rb_core.stats.metrics.first_error`).

    Raises DataError for an empty prompt, without completions, without a chosen and a rejected one unless they are
    compared with a threshold, or when the numbers of authors and completions differ.
    """

    id: str
    subset: str
    prompt: Conversation
    completions: tuple[str, ...]
    num_chosen: int = 1
    group: str = ""
    authors: tuple[str, ...] = ()
    by_threshold: bool = False

    def __post_init__(self) -> None:
        if not self.prompt:
            raise DataError(f"example {self.id!r}: the prompt is empty")
        if not self.completions:
            raise DataError(f"example {self.id!r}: has no completions")
        if not self.by_threshold and not 0 < self.num_chosen < len(self.completions):
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
    text = "\x1e".join(f"{message['role']}\x1f{message_text(message)}" for message in prompt)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def completion_order(example: Example, seed: int) -> list[int]:
    """Return the order in which a scorer sees the completions, a permutation fixed by (seed, example id).

    A dataset's own order puts the chosen completion first; no scorer may depend on that.
    """
    return shuffled_order(len(example.completions), f"{seed}:{example.id}")


def shuffled_order(count: int, key: str) -> list[int]:
    """Return a permutation of 0 to count - 1 that the key fixes."""
    order = list(range(count))
    random.Random(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()).shuffle(order)
    return order


def blind(example: Example, seed: int, *, needs_ratings: bool = False) -> tuple[CompletionSet, list[int]]:
    """Strip the labels: return the shuffled completions, and for each its index in the example."""
    order = completion_order(example, seed)
    return CompletionSet(example.prompt, tuple(example.completions[i] for i in order), needs_ratings), order
