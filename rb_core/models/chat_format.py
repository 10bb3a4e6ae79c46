"""Convert conversations to the token ids that a reward model reads.

A conversation is rendered and tokenised in one `apply_chat_template` call, so a template that writes a BOS token
writes exactly one. The completion starts at the first token in which the rendered conversation differs from the
rendered prompt.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from jinja2 import TemplateError

from rb_core.benchmarks.example import Conversation, Message
from rb_core.errors import ModelError

SystemRole = Literal["native", "fold"]
# A chat template is a foreign program: it raises errors of its own, and a faulty one makes the renderer raise.
TEMPLATE_ERRORS = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
COMPLETION_TOO_LONG = "completion alone exceeds the maximum length"
# Conversations per call of the tokenizer: enough to keep every core busy, few enough to hold twice in memory.
MAX_TOKENIZED = 1024

# Templates of the Llama 3 family write today's date. A macro of the same name shadows transformers' function, so that
# a conversation renders alike on every day (the date is the one those templates fall back to).
_FROZEN_DATE = {
    "%-d": "26", "%F": "2024-07-26", "%D": "07/26/24", "%T": "00:00:00", "%d": "26", "%b": "Jul", "%B": "July",
    "%m": "07", "%Y": "2024", "%y": "24", "%A": "Friday", "%a": "Fri", "%H": "00", "%M": "00", "%S": "00",
    "%j": "208", "%e": "26", "%p": "AM", "%I": "12",
}  # fmt: skip
_FROZEN_DATE_MACRO = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('{code}', '{text}')" for code, text in _FROZEN_DATE.items())
    + " }}{%- endmacro %}\n"  # the newline is dropped: the template begins at the start of a line, as before
)


class Encoded(NamedTuple):
    """A conversation as the model gets it."""

    ids: tuple[int, ...]
    start: int  # index of the first token of the completion
    dropped: int = 0  # prompt tokens removed to fit the maximum length, oldest first
    reason: str = ""  # why the completion cannot be scored, or ""
    rewritten: bool = False  # the template did not put the completion's own text straight after the prompt


@dataclass(frozen=True)
class ChatFormat:
    """Tokenizer, chat template, treatment of system messages and maximum length of a model.

    Raises ModelError when there is no template.
    """

    tokenizer: Any
    max_length: int
    template: str | None = None  # Jinja source, in place of the tokenizer's template
    system_role: SystemRole = "native"  # "fold" moves system messages into the first user turn
    # Encode control tokens in a message's text as ordinary text: for visitors' input. Benchmark runs keep the raw text.
    sanitize: bool = False

    def __post_init__(self) -> None:
        if not self._source:
            raise ModelError(
                "the tokenizer has no chat template, and guessing one would change the scores: "
                "give the template the model was trained with (--chat-template FILE)"
            )

    @cached_property
    def _source(self) -> str:
        source = self.template or getattr(self.tokenizer, "chat_template", None)
        return str((source.get("default") if isinstance(source, dict) else source) or "")

    @property
    def sha256(self) -> str:
        """SHA-256 of the template as published, before its date is frozen."""
        return hashlib.sha256(self._source.encode()).hexdigest()

    def text(self, messages: Conversation, *, generation_prompt: bool = False) -> str:
        """Return the conversation as text, for people to read. Scores never pass through it."""
        return str(self._apply([messages], tokenize=False, add_generation_prompt=generation_prompt)[0])

    def encode(self, prompt: Conversation, completions: tuple[str, ...]) -> list[Encoded]:
        """Return the conversation with each completion, encoded.

        Raises ModelError when the template refuses a conversation.
        """
        return self.encode_all([(prompt, completions)])[0]

    def encode_all(self, completion_sets: Sequence[tuple[Conversation, tuple[str, ...]]]) -> list[list[Encoded]]:
        """Encode many prompts with their completions at once: the tokenizer spreads them over the processor's cores."""
        prompt_ids = self.encode_prompts([prompt for prompt, _ in completion_sets])
        conversations = [
            (*prompt, _as_message(completion)) for prompt, completions in completion_sets for completion in completions
        ]
        conversation_ids = iter(self._tokenize(conversations))
        encoded = []
        for (prompt, completions), ids_of_prompt in zip(completion_sets, prompt_ids, strict=True):
            prompt_text = self.text(prompt, generation_prompt=True)
            encoded.append(
                [
                    self._encoded(
                        ids_of_prompt, next(conversation_ids), self._rewrites(prompt, prompt_text, completion)
                    )
                    for completion in completions
                ]
            )
        return encoded

    def encode_prompts(self, conversations: Sequence[Conversation]) -> list[list[int]]:
        """Return the token ids of each conversation with the header of the next turn, however long.

        Raises ModelError when the template refuses a conversation.
        """
        return self._tokenize(conversations, generation_prompt=True)

    def _rewrites(self, prompt: Conversation, prompt_text: str, completion: str) -> bool:
        completion = completion or "-"
        return not self.text((*prompt, _as_message(completion))).startswith(prompt_text + completion)

    def _encoded(self, prompt_ids: Sequence[int], ids: Sequence[int], rewritten: bool) -> Encoded:
        """Drop the oldest prompt tokens if need be; keep the special token at the front, which encoders read."""
        pairs = enumerate(zip(prompt_ids, ids, strict=False))
        start = next((i for i, (left, right) in pairs if left != right), min(len(prompt_ids), len(ids)))
        whole, excess = Encoded(tuple(ids), start, rewritten=rewritten), len(ids) - self.max_length
        if excess <= 0:
            return whole
        head = 1 if start > 0 and ids[0] in self.special_ids else 0
        if excess > start - head:
            return whole._replace(reason=COMPLETION_TOO_LONG)
        kept = whole.ids[:head] + whole.ids[head + excess :]
        return whole._replace(ids=kept, start=start - excess, dropped=excess)

    def _tokenize(self, conversations: Sequence[Conversation], *, generation_prompt: bool = False) -> list[list[int]]:
        ids: list[list[int]] = []
        for first in range(0, len(conversations), MAX_TOKENIZED):
            part = conversations[first : first + MAX_TOKENIZED]
            ids += self._apply(part, tokenize=True, add_generation_prompt=generation_prompt, return_dict=False)
        return ids

    def _apply(self, conversations: Sequence[Conversation], *, tokenize: bool, **options: Any) -> Any:
        """Apply the chat template to all conversations in one call."""
        folded = [fold_system(turns) if self.system_role == "fold" else turns for turns in conversations]
        if self.sanitize and tokenize:
            options |= self._sanitize_option([turn for turns in folded for turn in turns])
        template = _FROZEN_DATE_MACRO + self._source if "strftime_now" in self._source else self._source
        messages = [[dict(turn) for turn in turns] for turns in folded]
        try:
            return self.tokenizer.apply_chat_template(messages, chat_template=template, tokenize=tokenize, **options)
        except TEMPLATE_ERRORS as error:
            if len(folded) > 1:  # name the one that is refused
                return [self._apply([turns], tokenize=tokenize, **options)[0] for turns in conversations]
            roles = ", ".join(turn["role"] for turn in folded[0])
            hint = "; --fold-system moves system messages into the first user turn" if "system" in roles else ""
            raise ModelError(f"the chat template refuses a conversation of ({roles}): {error}{hint}") from error

    def _sanitize_option(self, messages: Sequence[Message]) -> dict[str, bool]:
        # An older transformers would silently hand the unknown option to the template.
        if "sanitize_control_tokens" in inspect.signature(self.tokenizer.apply_chat_template).parameters:
            return {"sanitize_control_tokens": True}
        if tokens := self.control_tokens(*(turn["content"] for turn in messages)):
            raise ModelError(
                f"the text contains control tokens of this model ({', '.join(tokens)}), which the installed "
                "transformers cannot encode as ordinary text: remove them, or upgrade transformers"
            )
        return {}

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of the tokenizer's special tokens, including those without a name such as `bos_token`."""
        return frozenset(i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special)

    @cached_property
    def _control_tokens(self) -> tuple[str, ...]:
        return tuple(
            token.content
            for token in self.tokenizer.added_tokens_decoder.values()
            if token.special or (token.content in self._source and not token.content.isspace())
        )

    def control_tokens(self, *texts: str) -> list[str]:
        """Return the special tokens, and other added tokens of the template, that any of the texts spells out."""
        return [token for token in self._control_tokens if any(token in text for text in texts)]

    def check_system_role(self) -> None:
        """Raise ModelError when the template silently drops a system message, or refuses it."""
        marker = "ZXQ7"
        messages = (Message(role="system", content=marker), Message(role="user", content="Hi"))
        if marker not in self.text(messages):
            raise ModelError(
                "the chat template drops system messages, and this benchmark has some: "
                "--fold-system moves them into the first user turn"
            )


def fold_system(messages: Conversation) -> Conversation:
    """Put the system messages in front of the first user turn, separated by blank lines.

    Raises ModelError when the other messages do not begin with a user turn.
    """
    system = [message["content"] for message in messages if message["role"] == "system"]
    rest = [message for message in messages if message["role"] != "system"]
    if not system:
        return messages
    if not rest or rest[0]["role"] != "user":
        raise ModelError("cannot fold a system message: no user turn follows it")
    return (Message(role="user", content="\n\n".join([*system, rest[0]["content"]])), *rest[1:])


def _as_message(completion: str) -> Message:
    return Message(role="assistant", content=completion)
