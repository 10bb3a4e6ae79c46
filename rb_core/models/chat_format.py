"""Convert conversations to the token ids that a reward model reads.

A conversation is rendered and tokenised in one `apply_chat_template` call, so a template that writes a BOS token
writes exactly one. The completion starts at the first token in which the rendered conversation differs from the
rendered prompt. What was written must be in the rendered conversation: a template that drops a text is refused.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

from jinja2 import TemplateError

from rb_core.benchmarks.example import Conversation, Message, messages_of
from rb_core.errors import ModelError, first_line, quoted
from rb_core.models.time_limit import SECONDS, within_time_limit

SystemRole = Literal["native", "fold"]
PromptCompletions = tuple[Conversation, tuple[str, ...]]
Written = str | int | float  # what a message says; numbers are arguments of tool calls
# A chat template is a foreign program: it raises errors of its own, and a faulty one makes the renderer raise.
TEMPLATE_ERRORS = (
    TemplateError, ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
COMPLETION_TOO_LONG = "completion alone exceeds the maximum length"
# Conversations per call of the tokenizer: enough to keep every core busy, few enough to hold twice in memory.
MAX_TOKENIZED = 1024
# Characters per second that a slow tokenizer reads: long inputs have more time.
SLOW_TOKENIZER = 20_000
MAX_ADDED = 1_000_000  # characters that a template may add to a conversation, beside ten times its length
_NO_ROLES: frozenset[str] = frozenset()
# Fields of messages, tool calls and tools that a template need not write out.
_NOT_WRITTEN = ("role", "type", "id", "tool_call_id", "required")
_NAMED = ("arguments", "properties")  # fields whose own fields have names of a user's choice

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
    num_closing: int = 0  # last tokens, of the question and of the header of the next turn
    steps: tuple[int, ...] = ()  # indices of the tokens at which the steps of the completion end, see `step_format`
    prompt: tuple[int, ...] = ()  # tokens of the prompt alone, the same for all its completions


class Treatment(NamedTuple):
    """The effect of a template on conversations of one form.

    with_parts: roles whose content it reads as a list of parts, not as a string; dropped: roles whose text it drops.
    """

    with_parts: frozenset[str]
    dropped: frozenset[str]


class TemplateInput(NamedTuple):
    """A conversation as a chat template takes it: messages, and the tools that the model may call."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None


@dataclass(frozen=True)
class ChatFormat:
    """Tokenizer, chat template, treatment of system messages and maximum length of a model.

    Raises ModelError when there is no template, several and none is chosen, or a variable that the template lacks.
    """

    tokenizer: Any
    max_length: int
    template: str | None = None  # Jinja source, in place of the tokenizer's template
    system_role: SystemRole = "native"  # "fold" moves system messages into the first user turn
    # Encode control tokens in a message's text as ordinary text: for visitors' input. Benchmark runs keep the raw text.
    sanitize: bool = False
    template_name: str | None = None  # of one of the tokenizer's templates
    variables: Mapping[str, Any] = field(default_factory=dict)  # passed to the template
    # What follows a completion that is scored: a user's question, and the header of the assistant's next turn.
    question: str | None = None
    generation_prompt: bool = False

    def __post_init__(self) -> None:
        named = getattr(self.tokenizer, "chat_template", None)
        if self.template_name is not None and not isinstance(named, dict):
            raise ModelError(
                f"the tokenizer has no chat template named {self.template_name!r}: it has "
                f"{'one without a name' if named else 'none'}; leave --template-name out"
            )
        if not self.source and isinstance(named, dict):
            raise ModelError(
                f"the tokenizer has the chat templates {', '.join(sorted(named))}, and none of the name {self._name}: "
                "choose the one that the model was trained with (--template-name NAME)"
            )
        if not self.source:
            raise ModelError(
                "the tokenizer has no chat template, and guessing one would change the scores: "
                "give the template the model was trained with (--chat-template FILE)"
            )
        for variable in self.variables:
            if not re.search(rf"\b{re.escape(variable)}\b", self.source):
                raise ModelError(f"--template-vars {variable}: the chat template has no such variable")

    @cached_property
    def source(self) -> str:
        """Jinja source of the template as published, before its date is frozen."""
        source = self.template or getattr(self.tokenizer, "chat_template", None)
        return str((source.get(self._name) if isinstance(source, dict) else source) or "")

    @property
    def _name(self) -> str:
        return "default" if self.template_name is None else self.template_name

    @property
    def sha256(self) -> str:
        """SHA-256 of `source`."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def text(self, messages: Conversation, *, generation_prompt: bool = False) -> str:
        """Return the conversation as text, for people to read. Scores never pass through it."""
        return str(self._apply([messages], tokenize=False, add_generation_prompt=generation_prompt)[0])

    def conversation(self, prompt: Conversation, completion: str) -> Conversation:
        """Return the turns in which a completion is scored: prompt, completion, and the question if there is one."""
        question = () if self.question is None else (Message(role="user", content=self.question),)
        return (*prompt, *messages_of(completion), *question)

    def conversation_text(self, prompt: Conversation, completion: str) -> str:
        """Return the whole text in which a completion is scored, for people to read."""
        return self.text(self.conversation(prompt, completion), generation_prompt=self.generation_prompt)

    def encode(self, prompt: Conversation, completions: tuple[str, ...]) -> list[Encoded]:
        """Return the conversation with each completion, encoded.

        Raises ModelError when the template refuses a conversation, or drops a text.
        """
        return self.encode_all([(prompt, completions)])[0]

    def encode_all(self, completion_sets: Sequence[PromptCompletions]) -> list[list[Encoded]]:
        """Encode many prompts with their completions at once: the tokenizer spreads them over the processor's cores."""
        rows: list[list[Encoded]] = [[] for _ in completion_sets]
        for part in _parts(completion_sets):
            indices, pieces = zip(*part, strict=True)
            for index, row in zip(indices, self._encode_part(pieces), strict=True):
                rows[index] += row
        return rows

    def _encode_part(self, completion_sets: Sequence[PromptCompletions]) -> list[list[Encoded]]:
        prompts = [prompt for prompt, _ in completion_sets]
        conversations = [
            self.conversation(prompt, completion)
            for prompt, completions in completion_sets
            for completion in completions
        ]
        prompt_texts = self._texts(prompts, generation_prompt=True)
        texts = self._texts(conversations, generation_prompt=self.generation_prompt)
        for conversation, text in zip(conversations, texts, strict=True):
            self._check_written(conversation, text)
        prompt_ids = map(tuple, self._tokenize(prompts, generation_prompt=True))
        rendered = zip(texts, self._scored_ids(conversations), strict=True)
        encoded = []
        for (prompt, completions), prompt_text, ids_of_prompt in zip(
            completion_sets, prompt_texts, prompt_ids, strict=True
        ):
            row = []
            for completion in completions:
                text, ids = next(rendered)
                row.append(self._encoded(ids_of_prompt, ids, self._rewrites(prompt, prompt_text, completion, text)))
            encoded.append(row)
        return encoded

    def encode_prompts(self, conversations: Sequence[Conversation]) -> list[list[int]]:
        """Return the token ids of each conversation with the header of the next turn, however long.

        Raises ModelError when the template refuses a conversation, or drops a text.
        """
        ids: list[list[int]] = []
        for first in _starts(conversations):
            part = conversations[first : first + MAX_TOKENIZED]
            for conversation, text in zip(part, self._texts(part, generation_prompt=True), strict=True):
                self._check_written(conversation, text)
            ids += self._tokenize(part, generation_prompt=True)
        return ids

    def answer_header(self) -> tuple[int, ...]:
        """Return the tokens that end a prompt: its own last token, and what the template puts before an answer.

        Raises ModelError for a template that puts nothing there.
        """
        prompt: Conversation = (Message(role="user", content="A question"),)
        (prompt_ids,), (ids,) = self._tokenize([prompt]), self._tokenize([prompt], generation_prompt=True)
        if not prompt_ids or len(ids) <= len(prompt_ids) or ids[: len(prompt_ids)] != prompt_ids:
            raise ModelError(
                "the chat template puts no header before an answer, so the end of the prompt cannot be found: give the "
                "template that the model was trained with (--chat-template FILE)"
            )
        return tuple(ids[len(prompt_ids) - 1 :])

    def _rewrites(self, prompt: Conversation, prompt_text: str, completion: str, text: str) -> bool:
        """Return True if the template does not put the completion as it is behind the prompt."""
        if not completion:  # what the template adds to a text shows only with a text
            completion = "-"
            text = self.conversation_text(prompt, completion)
        return not text.startswith(prompt_text + completion)

    def _encoded(self, prompt_ids: tuple[int, ...], ids: Sequence[int], rewritten: bool) -> Encoded:
        """Drop the oldest prompt tokens if need be; keep the special token at the front, which encoders read."""
        pairs = enumerate(zip(prompt_ids, ids, strict=False))
        start = next((i for i, (left, right) in pairs if left != right), min(len(prompt_ids), len(ids)))
        num_closing = min(self._num_closing, len(ids) - start)
        ids = (*prompt_ids[:start], *ids[start:])  # all completions of a prompt refer to the same numbers
        whole = Encoded(ids, start, rewritten=rewritten, num_closing=num_closing, prompt=prompt_ids)
        excess = len(ids) - self.max_length
        if excess <= 0:
            return whole
        head = 1 if start > 0 and ids[0] in self.special_ids else 0
        if excess > start - head:
            return whole._replace(reason=COMPLETION_TOO_LONG)
        kept = whole.ids[:head] + whole.ids[head + excess :]
        return whole._replace(ids=kept, start=start - excess, dropped=excess)

    @cached_property
    def _num_closing(self) -> int:
        """Number of tokens that follow the turn of the completion, in a short conversation; 0 where the template
        refuses to end with that turn."""
        if self.question is None and not self.generation_prompt:
            return 0
        prompt, plain = (Message(role="user", content="Hi"),), replace(self, question=None, generation_prompt=False)
        try:
            whole, without = (chat._scored_ids([chat.conversation(prompt, "-")])[0] for chat in (self, plain))
        except ModelError:
            return 0
        return max(0, len(whole) - len(without))

    # ---- what was written is in the rendered conversation

    def _check_written(self, conversation: Conversation, text: str) -> None:
        """Raise ModelError if a text of the conversation is not in the rendered text, white space aside."""
        turns = self._folded(conversation)
        if dropped := self._treatment(turns).dropped:
            advice = "give a template that keeps them (--chat-template FILE)"
            if "system" in dropped:
                advice = "--fold-system moves them into the first user turn"
            raise ModelError(
                f"the chat template drops {' and '.join(sorted(dropped))} messages in a conversation of "
                f"({_roles(turns)}), so the model would not read them: {advice}"
            )
        texts = _written_texts(turns)
        if len(text) > MAX_ADDED + 10 * sum(len(written) for _, written in texts):
            raise ModelError(f"the chat template makes {len(text):,} characters of a conversation of ({_roles(turns)})")
        without_space = ""
        for role, written in texts:
            if written.strip() in text:
                continue
            without_space = without_space or "".join(text.split())
            as_json = json.dumps(written, ensure_ascii=False)[1:-1]
            if not any("".join(form.split()) in without_space for form in (written, as_json)):
                raise ModelError(
                    f"the chat template drops a part of the {role} message {quoted(written)}, so the model would read "
                    "another text: give a template that keeps it (--chat-template FILE)"
                )

    def _treatment(self, turns: Conversation) -> Treatment:
        """Return how the template treats conversations of this form: equal but for the words of their texts."""
        markers: list[tuple[str, str]] = []

        def mark(role: str, written: Written) -> Written:
            if not str(written).strip():
                return written
            marker = f"ZXQ{len(markers)}Z" if isinstance(written, str) else 8_190_000 + len(markers)
            markers.append((role, str(marker)))
            return marker

        probe = tuple(_with_texts(turn, mark) for turn in turns)
        key = json.dumps(probe, sort_keys=True)
        if key not in self._treatments:
            self._treatments[key] = self._probe(probe, markers)
        return self._treatments[key]

    @cached_property
    def _treatments(self) -> dict[str, Treatment]:
        return {}

    def _probe(self, probe: Conversation, markers: Sequence[tuple[str, str]]) -> Treatment:
        """Render markers in place of the texts, with strings as content and then with lists of parts."""
        dropped = self._dropped(probe, markers, _NO_ROLES)
        with_parts = frozenset(role for role, _ in markers) if dropped is None else dropped
        if with_parts and self._dropped(probe, markers, with_parts) == _NO_ROLES:
            return Treatment(with_parts, _NO_ROLES)
        # what the template refuses is reported when the conversation itself is rendered
        return Treatment(_NO_ROLES, dropped or _NO_ROLES)

    def _dropped(
        self, probe: Conversation, markers: Sequence[tuple[str, str]], with_parts: frozenset[str]
    ) -> frozenset[str] | None:
        """Return the roles of which a marker is not in the rendered text; None if the template refuses the probe."""
        try:
            text = str(self._render([_template_input(probe, with_parts)], tokenize=False)[0])
        except TEMPLATE_ERRORS:
            return None
        return frozenset(
            role
            for role, marker in markers
            if marker not in text or str(_part(marker)) in text  # a list, printed
        )

    # ---- render and tokenise

    def _texts(self, conversations: Sequence[Conversation], *, generation_prompt: bool = False) -> list[str]:
        return list(self._apply(conversations, tokenize=False, add_generation_prompt=generation_prompt))

    def _tokenize(self, conversations: Sequence[Conversation], *, generation_prompt: bool = False) -> list[list[int]]:
        options = {"add_generation_prompt": generation_prompt, "return_dict": False}
        return list(self._apply(conversations, tokenize=True, **options))

    def _scored_ids(self, conversations: Sequence[Conversation]) -> list[list[int]]:
        return self._tokenize(conversations, generation_prompt=self.generation_prompt)

    def _folded(self, turns: Conversation) -> Conversation:
        return fold_system(turns) if self.system_role == "fold" else turns

    def _apply(self, conversations: Sequence[Conversation], *, tokenize: bool, **options: Any) -> Any:
        """Apply the chat template to all conversations in one call; to each by itself if one brings its tools."""
        if not conversations:
            return []
        folded = [self._folded(turns) for turns in conversations]
        inputs = [_template_input(turns, self._treatment(turns).with_parts) for turns in folded]
        if self.sanitize and tokenize:
            options |= self._sanitize_option([turn for turns in folded for turn in turns])
        try:
            return self._render(inputs, tokenize=tokenize, **options)
        except TEMPLATE_ERRORS as error:
            if len(folded) > 1:  # name the one that is refused
                return [self._apply([turns], tokenize=tokenize, **options)[0] for turns in conversations]
            roles = _roles(folded[0])
            hint = "; --fold-system moves system messages into the first user turn" if "system" in roles else ""
            refusing = "tokenizer" if tokenize else "chat template"  # a text is rendered before it is tokenised
            raise ModelError(
                f"the {refusing} refuses a conversation of ({roles}): {first_line(error)}{hint}"
            ) from error

    def _render(self, inputs: Sequence[TemplateInput], *, tokenize: bool, **options: Any) -> Any:
        if len(inputs) > 1 and any(each.tools for each in inputs):
            return [self._render([each], tokenize=tokenize, **options)[0] for each in inputs]
        template = _FROZEN_DATE_MACRO + self.source if "strftime_now" in self.source else self.source
        messages = [each.messages for each in inputs]
        length = sum(len(text) for turns in messages for turn in turns for _, text in _written_texts([turn]))
        return within_time_limit(
            lambda: self.tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=tokenize, tools=inputs[0].tools, **self.variables, **options
            ),
            f"{'tokenising' if tokenize else 'the chat template with'} {len(inputs)} conversations of {length:,} "
            "characters",
            SECONDS + length / SLOW_TOKENIZER,
        )

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
            if token.special or (token.content in self.source and not token.content.isspace())
        )

    def control_tokens(self, *texts: str) -> list[str]:
        """Return the special tokens, and other added tokens of the template, that any of the texts spells out."""
        return [token for token in self._control_tokens if any(token in text for text in texts)]

    def check_system_role(self) -> None:
        """Raise ModelError when the template silently drops a system message, or refuses it."""
        messages = (Message(role="system", content="Be brief."), Message(role="user", content="Hi"))
        self._check_written(messages, self.text(messages))


def fold_system(messages: Conversation) -> Conversation:
    """Put the system messages in front of the first user turn, separated by blank lines.

    Raises ModelError when the other messages do not begin with a user turn.
    """
    system = [message for message in messages if message["role"] == "system"]
    rest = [message for message in messages if message["role"] != "system"]
    if not system:
        return messages
    if not rest or rest[0]["role"] != "user":
        raise ModelError("cannot fold a system message: no user turn follows it")
    folded = rest[0].copy()
    folded["content"] = "\n\n".join(message["content"] for message in (*system, rest[0]))
    if tools := next((message["tools"] for message in system if "tools" in message), None):
        folded["tools"] = tools
    return (folded, *rest[1:])


def _starts(items: Sequence[Any]) -> range:
    return range(0, len(items), MAX_TOKENIZED)


def _parts(completion_sets: Sequence[PromptCompletions]) -> Iterator[list[tuple[int, PromptCompletions]]]:
    """Yield the completion sets with their indices in parts of at most MAX_TOKENIZED conversations; a set of more
    completions is in several parts."""
    part: list[tuple[int, PromptCompletions]] = []
    size = 0
    for index, (prompt, completions) in enumerate(completion_sets):
        for first in range(0, max(len(completions), 1), MAX_TOKENIZED):
            piece = completions[first : first + MAX_TOKENIZED]
            if size + len(piece) > MAX_TOKENIZED:
                yield part
                part, size = [], 0
            part.append((index, (prompt, piece)))
            size += len(piece)
    if part:
        yield part


def _roles(turns: Conversation) -> str:
    return ", ".join(turn["role"] for turn in turns)


def _part(text: Any) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _template_input(turns: Sequence[Mapping[str, Any]], with_parts: frozenset[str]) -> TemplateInput:
    """Return the messages with the content of some roles as a list of parts, and the tools that a message brings."""
    messages: list[dict[str, Any]] = [{k: v for k, v in turn.items() if k != "tools"} for turn in turns]
    for message in messages:
        if message["role"] in with_parts and isinstance(message.get("content"), str):
            message["content"] = [_part(message["content"])]
    tools = next((turn["tools"] for turn in turns if turn.get("tools")), None)
    return TemplateInput(messages, tools)


def _with_texts(turn: Mapping[str, Any], replace: Callable[[str, Written], Written]) -> Any:
    """Return a message with `replace(role, text)` in place of each text that a template has to write out: content,
    reasoning, tools, names of tool calls, and their arguments by name, numbers included. A tool's answer names a call
    again."""
    role = str(turn["role"])

    def replaced(value: Any, kinds: tuple[type, ...], *, is_named: bool = False) -> Any:
        if type(value) in kinds:
            return replace(role, value)
        if isinstance(value, Mapping):
            return {
                replace(role, k) if is_named else k: v
                if k in _NOT_WRITTEN and not is_named
                else replaced(v, kinds, is_named=k in _NAMED)
                for k, v in value.items()
            }
        return [replaced(each, kinds) for each in value] if isinstance(value, list | tuple) else value

    written = {k: v for k, v in turn.items() if k not in _NOT_WRITTEN and (role, k) != ("tool", "name")}
    return {**turn, **{k: replaced(v, (str, int, float) if k == "tool_calls" else (str,)) for k, v in written.items()}}


def _written_texts(turns: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return (role, text) of each text that a template has to write out."""
    texts: list[tuple[str, str]] = []

    def collect(role: str, written: Written) -> Written:
        texts.append((role, str(written)))
        return written

    for turn in turns:
        _with_texts(turn, collect)
    return texts
