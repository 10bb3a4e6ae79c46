"""From messages to the token ids a reward model reads, and nothing else in between.

A conversation is rendered and tokenised in one `apply_chat_template` call, so a template that writes a BOS token
writes exactly one. The completion starts where the rendered prompt and the rendered conversation part ways.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from jinja2 import TemplateError

from rb_core.benchmarks.example import Conversation, Message
from rb_core.errors import ModelError

# A chat template is a program from elsewhere: its own refusals, and what a faulty one raises inside the renderer.
TEMPLATE_ERRORS = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


SystemRole = Literal["native", "fold"]


# Conversations in one call of the tokenizer: enough to keep every core busy, few enough to hold twice.
AT_ONCE = 1024


COMPLETION_TOO_LONG = "completion alone exceeds the maximum length"


# Templates of the Llama 3 family write today's date. A macro of the same name shadows transformers' function, so that
# a conversation renders alike on every day (the date is the one those templates fall back to).
_FROZEN = {
    "%-d": "26",
    "%F": "2024-07-26",
    "%D": "07/26/24",
    "%T": "00:00:00",
    "%d": "26",
    "%b": "Jul",
    "%B": "July",
    "%m": "07",
    "%Y": "2024",
    "%y": "24",
    "%A": "Friday",
    "%a": "Fri",
}


_FROZEN |= {"%H": "00", "%M": "00", "%S": "00", "%j": "208", "%e": "26", "%p": "AM", "%I": "12"}


_FROZEN_DATE = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('{code}', '{text}')" for code, text in _FROZEN.items())
    + " }}{%- endmacro %}\n"  # a dropped newline: the template begins at the start of a line, as before
)


class Encoded(NamedTuple):
    """A conversation as the model is fed it.

    ids: token ids; start: index of the first completion token; dropped: prompt tokens removed to fit the maximum
    length, oldest first; reason: why it cannot be scored, or ""; rewritten: the template did not put the completion's
    own text straight after the prompt.
    """

    ids: tuple[int, ...]
    start: int
    dropped: int = 0
    reason: str = ""
    rewritten: bool = False


@dataclass(frozen=True)
class ChatFormat:
    """How one model wants its conversations: tokenizer, template, what becomes of a system message, and the length.

    template: a Jinja chat template, used in place of the tokenizer's; a tokenizer without one needs it.
    system_role: "native" hands system messages to the template; "fold" puts them in front of the first user turn.
    sanitize: encode control tokens that stand in a message's text as ordinary text (for what visitors type; benchmark
    runs keep the raw text).

    Raises ModelError when there is no template.
    """

    tokenizer: Any
    max_length: int
    template: str | None = None
    system_role: SystemRole = "native"
    sanitize: bool = False
    _source: str = field(init=False, repr=False, default="")
    _frozen: str = field(init=False, repr=False, default="")

    def __post_init__(self) -> None:
        source = self.template or getattr(self.tokenizer, "chat_template", None)
        if isinstance(source, dict):
            source = source.get("default")
        if not source:
            raise ModelError(
                "the tokenizer has no chat template, and guessing one would change the scores: "
                "give the template the model was trained with (--chat-template FILE)"
            )
        object.__setattr__(self, "_source", source)
        object.__setattr__(self, "_frozen", _FROZEN_DATE + source if "strftime_now" in source else source)

    @property
    def sha256(self) -> str:
        """The hash of the template as published (before the date is frozen)."""
        return hashlib.sha256(self._source.encode()).hexdigest()

    def text(self, messages: Conversation, *, generation_prompt: bool = False) -> str:
        """The conversation as text, for people to read. Scores never pass through it."""
        return str(self._apply([messages], tokenize=False, add_generation_prompt=generation_prompt)[0])

    def encode(self, prompt: Conversation, completions: tuple[str, ...]) -> list[Encoded]:
        """Token ids of the prompt answered by each of the completions.

        Raises ModelError when the template refuses the conversation.
        """
        return self.encode_all([(prompt, completions)])[0]

    def encode_all(self, asked: Sequence[tuple[Conversation, tuple[str, ...]]]) -> list[list[Encoded]]:
        """As `encode`, for many prompts at once, which the tokenizer spreads over the processor's cores."""
        answered = [(*prompt, _answer(completion)) for prompt, completions in asked for completion in completions]
        prompt_ids = self._ids([prompt for prompt, _ in asked], generation_prompt=True)
        ids = iter(self._ids(answered))
        encoded = []
        for (prompt, completions), start in zip(asked, prompt_ids, strict=True):
            text = self.text(prompt, generation_prompt=True)
            encoded.append([self._encoded(next(ids), start, self._rewrites(prompt, text, c)) for c in completions])
        return encoded

    def prompts(self, conversations: Sequence[Conversation]) -> list[list[int]]:
        """Token ids of each conversation as a model is fed it to go on with, however long.

        Raises ModelError when the template refuses one.
        """
        return self._ids(conversations, generation_prompt=True)

    def _encoded(self, ids: list[int], prompt_ids: list[int], rewritten: bool) -> Encoded:
        encoded = Encoded(tuple(ids), _common_prefix(prompt_ids, ids), rewritten=rewritten)
        return encoded if len(ids) <= self.max_length else self._truncate(encoded)

    def _rewrites(self, prompt: Conversation, prompt_text: str, completion: str) -> bool:
        """Whether the template puts something else after the prompt than the completion as it is."""
        completion = completion or "-"
        return not self.text((*prompt, _answer(completion))).startswith(prompt_text + completion)

    def _truncate(self, encoded: Encoded) -> Encoded:
        """Drop the oldest prompt tokens; keep the special token at the front, which encoders read."""
        excess = len(encoded.ids) - self.max_length
        head = 1 if encoded.ids and encoded.ids[0] in self.special_ids and encoded.start > 0 else 0
        if excess > encoded.start - head:
            return encoded._replace(reason=COMPLETION_TOO_LONG)
        ids = encoded.ids[:head] + encoded.ids[head + excess :]
        return encoded._replace(ids=ids, start=encoded.start - excess, dropped=excess)

    def _ids(self, conversations: Sequence[Conversation], *, generation_prompt: bool = False) -> list[list[int]]:
        """Token ids of each conversation: rendered and tokenised in one call."""
        found: list[list[int]] = []
        for first in range(0, len(conversations), AT_ONCE):
            some = conversations[first : first + AT_ONCE]
            found += self._apply(some, tokenize=True, add_generation_prompt=generation_prompt, return_dict=False)
        return found

    def _apply(self, conversations: Sequence[Conversation], *, tokenize: bool, **options: Any) -> Any:
        every = [fold_system(each) if self.system_role == "fold" else each for each in conversations]
        if self.sanitize and tokenize:
            options |= self._sanitize_option([turn for each in every for turn in each])
        turns = [[dict(turn) for turn in each] for each in every]
        try:
            return self.tokenizer.apply_chat_template(turns, chat_template=self._frozen, tokenize=tokenize, **options)
        except TEMPLATE_ERRORS as error:
            if len(every) > 1:  # find the one that is refused
                return [each for one in conversations for each in self._apply([one], tokenize=tokenize, **options)]
            roles = ", ".join(turn["role"] for turn in every[0])
            hint = "; --fold-system puts system messages into the first user turn" if "system" in roles else ""
            raise ModelError(f"the chat template refuses a conversation of ({roles}): {error}{hint}") from error

    def _sanitize_option(self, messages: Sequence[Message]) -> dict[str, bool]:
        # An older transformers would hand the unknown option to the template and say nothing.
        if "sanitize_control_tokens" in inspect.signature(self.tokenizer.apply_chat_template).parameters:
            return {"sanitize_control_tokens": True}
        if found := self.control_tokens(*(turn["content"] for turn in messages)):
            raise ModelError(
                f"the text contains control tokens of this model ({', '.join(found)}), which the installed "
                "transformers cannot encode as ordinary text: take them out, or upgrade transformers"
            )
        return {}

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of the tokenizer's special tokens, those without a name of their own among them."""
        return frozenset(i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special)

    @cached_property
    def _control_tokens(self) -> tuple[str, ...]:
        added = self.tokenizer.added_tokens_decoder.values()
        return tuple(
            token.content
            for token in added
            if token.special or (token.content in self._source and not token.content.isspace())
        )

    def control_tokens(self, *texts: str) -> list[str]:
        """The model's special tokens, and others its template writes, that are spelled out in any of the texts."""
        return [token for token in self._control_tokens if any(token in text for text in texts)]

    def check_system_role(self) -> None:
        """Raise ModelError when the template drops a system message without a word, or refuses it."""
        marker = "ZXQ7"
        messages = (Message(role="system", content=marker), Message(role="user", content="Hi"))
        if marker not in self.text(messages):
            raise ModelError(
                "the chat template drops system messages, and this benchmark has some: "
                "--fold-system puts them into the first user turn"
            )


def fold_system(messages: Conversation) -> Conversation:
    """Put the system messages in front of the first user turn, separated by blank lines.

    Raises ModelError when the rest does not begin with a user turn.
    """
    system = [m["content"] for m in messages if m["role"] == "system"]
    rest = [m for m in messages if m["role"] != "system"]
    if not system:
        return messages
    if not rest or rest[0]["role"] != "user":
        raise ModelError("cannot fold a system message: the conversation does not go on with a user turn")
    first = Message(role="user", content="\n\n".join([*system, rest[0]["content"]]))
    return (first, *rest[1:])


def _answer(completion: str) -> Message:
    return Message(role="assistant", content=completion)


def _common_prefix(left: list[int], right: list[int]) -> int:
    """How many leading ids two sequences share."""
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))
