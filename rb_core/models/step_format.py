"""Conversations whose answer is read step by step: a separator after each step, and the tokens where steps end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rb_core.benchmarks.example import AssistantTurn, Conversation, Message
from rb_core.errors import ModelError, quoted
from rb_core.models.chat_format import COMPLETION_TOO_LONG, ChatFormat, Encoded

# Reasons in score tables: do not change.
MORE_THAN_TEXT = "is more than text: tool calls, reasoning and several messages have no steps"
SEPARATORS_UNCLEAR = "has another number of step separators than of steps"
_PROMPT = (Message(role="user", content="What is 2 + 3?"),)


def split_steps(text: str) -> list[str]:
    """Return the steps of a completion, which blank lines divide; a completion without text is one step."""
    return [step for step in re.split(r"\n[^\S\n]*\n", text) if step.strip()] or [text]


@dataclass(frozen=True)
class StepFormat(ChatFormat):
    """A chat format that puts `separator` after each step of the completion.

    A step's score is read at the separator's last token that is not white space, or at its last one if all of it is.
    A token that ends with such a separator counts too: tokenizers join a line break with the mark before it.

    Raises ModelError when the separator is not a token of its own.
    """

    separator: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        core, pieces = self.separator.strip(), []
        if core:
            pieces = self.tokenizer(core, add_special_tokens=False)["input_ids"]
        if len(pieces) > 1:
            names = ", ".join(map(quoted, self.tokenizer.convert_ids_to_tokens(pieces)))
            raise ModelError(
                f"the step separator {quoted(core)} is {len(pieces)} tokens of the tokenizer ({names}), and a step's "
                "score is read at one: give the separator that the model was trained with (--step-separator)"
            )
        (probe,) = self.encode(_PROMPT, ("Five.\n\nIt is five.",))
        if probe.reason not in ("", COMPLETION_TOO_LONG):
            raise ModelError(
                f"the step separator {quoted(self.separator)} does not end with a token after each of two steps: "
                "the chat template drops it, or the tokenizer divides it (--chat-template, --step-separator)"
            )

    def encode_all(self, completion_sets: Sequence[tuple[Conversation, tuple[str, ...]]]) -> list[list[Encoded]]:
        separated = [(prompt, tuple(map(self._separated, completions))) for prompt, completions in completion_sets]
        return [
            [self._with_steps(sequence, text) for sequence, text in zip(row, completions, strict=True)]
            for row, (_, completions) in zip(super().encode_all(separated), completion_sets, strict=True)
        ]

    def conversation_text(self, prompt: Conversation, completion: str) -> str:
        return super().conversation_text(prompt, self._separated(completion))

    def _separated(self, completion: str) -> str:
        """Return a completion with the separator after each step."""
        if isinstance(completion, AssistantTurn):
            return completion
        return "".join(step + self.separator for step in split_steps(completion))

    def _with_steps(self, encoded: Encoded, completion: str) -> Encoded:
        """Return the conversation with the indices of the tokens at which its steps end, or the reason why not."""
        if encoded.reason:
            return encoded
        if isinstance(completion, AssistantTurn):
            return encoded._replace(reason=MORE_THAN_TEXT)
        last = len(encoded.ids) - self._num_tokens_after
        steps = tuple(i for i in range(encoded.start, last) if self._ends_step(encoded.ids[i]))
        if len(steps) != len(split_steps(completion)):
            return encoded._replace(reason=SEPARATORS_UNCLEAR)
        return encoded._replace(steps=steps)

    @cached_property
    def _num_tokens_after(self) -> int:
        """The number of tokens that the template writes after the completion."""
        sets = [(_PROMPT, ("A", f"A{self.separator}B"))]
        ((first, second),) = super().encode_all(sets)
        pairs = zip(reversed(first.ids), reversed(second.ids), strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), 0)

    def _ends_step(self, token_id: int) -> bool:
        if token_id not in self._endings:
            text, core = self.tokenizer.decode([token_id]), self.separator.strip()
            self._endings[token_id] = text.strip() == core if core else text.endswith(self.separator)
        return self._endings[token_id]

    @cached_property
    def _endings(self) -> dict[int, bool]:
        return {}
