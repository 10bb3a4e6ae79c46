"""What a visitor asks, from whatever came in: the form, the endpoint, pasted JSON or a link. No gradio, no torch.

Everything that comes in may be of any type and any size. What goes out is checked, or InputError says what to change.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rb_core.benchmarks.example import Conversation, Message
from rb_core.space.limits import InputError

MIN_COMPLETIONS = 2


MAX_COMPLETIONS = 8


MAX_CHARACTERS = 20_000  # of one field


MAX_ALL_CHARACTERS = 80_000  # of all fields together


MAX_EXCHANGES = 4  # earlier turns: a question of the user's and its answer each


MAX_MODELS = 3


MAX_LINK = 16_000  # characters of `pair=`: what servers and messengers let through


MAX_PASTED = 6 * MAX_ALL_CHARACTERS  # JSON may write a character as \uXXXX


Exchange = tuple[str, str]


_NAMED_FIELDS = ("model", "models", "system", "turns", "prompt", "completions", "chosen", "rejected")


class EmptyCompletionError(InputError):
    """A completion is empty, and nobody has said that this is meant."""


@dataclass(frozen=True)
class Question:
    """A prompt with its earlier turns, and the completions that are to be scored by each of the models."""

    models: tuple[str, ...]
    prompt: str
    completions: tuple[str, ...]
    system: str = ""
    exchanges: tuple[Exchange, ...] = ()

    @property
    def conversation(self) -> Conversation:
        """What the models are asked. A system prompt of nothing but spaces is none."""
        messages = [Message(role="system", content=self.system)] if self.system.strip() else []
        for asked, answered in self.exchanges:
            messages += [Message(role="user", content=asked), Message(role="assistant", content=answered)]
        return (*messages, Message(role="user", content=self.prompt))

    @property
    def turns(self) -> list[dict[str, str]]:
        """The earlier turns as the endpoint takes them."""
        return [
            {"role": role, "content": text}
            for exchange in self.exchanges
            for role, text in zip(("user", "assistant"), exchange, strict=True)
        ]

    def as_json(self) -> dict[str, Any]:
        """The question as a link and a downloaded file hold it; `from_json` reads it back."""
        return {
            "models": list(self.models),
            "system": self.system,
            "turns": self.turns,
            "prompt": self.prompt,
            "completions": list(self.completions),
        }


def ask(
    models: Any,
    prompt: Any,
    completions: Any,
    system: Any = "",
    turns: Any = (),
    score_empty: Any = False,
    *,
    offered: Sequence[str],
) -> Question:
    """The question, checked. Raises InputError, with a message for the visitor, for anything that cannot be scored."""
    question = Question(
        models=_models(models, offered),
        prompt=_text("prompt", prompt),
        completions=_completions(completions),
        system=_text("system prompt", "" if system is None else system),
        exchanges=_exchanges(turns),
    )
    if not MIN_COMPLETIONS <= len(question.completions) <= MAX_COMPLETIONS:
        count = len(question.completions)
        raise InputError(f"Give {MIN_COMPLETIONS} to {MAX_COMPLETIONS} completions; there are {count}.")
    if not question.prompt.strip():
        raise InputError("The prompt is empty. A reward model scores an answer to something.")
    for number, exchange in enumerate(question.exchanges, 1):
        if not all(text.strip() for text in exchange):
            raise InputError(f"Earlier exchange {number} lacks its question or its answer. Fill in both, or remove it.")
    _check_size(question)
    _check_empty(question, score_empty is True)
    return question


def _models(models: Any, offered: Sequence[str]) -> tuple[str, ...]:
    names = [models] if isinstance(models, str) else models
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InputError("Models are given by their names.")
    chosen = tuple(dict.fromkeys(names))
    if not chosen:
        raise InputError("No model is chosen. Tick one to three models.")
    if any(name not in offered for name in chosen):
        raise InputError(f"This page scores with {', '.join(offered)}.")
    if len(chosen) > MAX_MODELS:
        raise InputError(f"Choose at most {MAX_MODELS} models; there are {len(chosen)}.")
    return chosen


def _completions(completions: Any) -> tuple[str, ...]:
    if not isinstance(completions, list | tuple):
        raise InputError("Completions are a list of texts.")
    # What is far too many is counted below, and not looked at one by one.
    shown = completions[: MAX_COMPLETIONS + 1]
    texts = tuple(_text(f"completion {i}", text) for i, text in enumerate(shown, 1))
    if len(completions) > MAX_COMPLETIONS:
        raise InputError(f"Give {MIN_COMPLETIONS} to {MAX_COMPLETIONS} completions; there are {len(completions)}.")
    return texts


def _exchanges(turns: Any) -> tuple[Exchange, ...]:
    if turns is None:
        return ()
    if not isinstance(turns, list | tuple):
        raise InputError("Earlier turns are a list of objects with role and content.")
    if len(turns) > 2 * MAX_EXCHANGES:
        raise InputError(f"At most {2 * MAX_EXCHANGES} earlier turns can be given here; there are {len(turns)}.")
    texts = []
    for number, turn in enumerate(turns):
        role = ("user", "assistant")[number % 2]
        if not isinstance(turn, Mapping) or turn.get("role") != role:
            raise InputError(f"Earlier turns go user, assistant, user, assistant; turn {number + 1} is not of {role}.")
        texts.append(_text(f"earlier turn {number + 1}", turn.get("content")))
    if len(texts) % 2:
        raise InputError("The earlier turns end with a question. It belongs into the prompt.")
    return tuple(zip(texts[::2], texts[1::2], strict=True))


def _text(name: str, value: Any) -> str:
    """The value if it is text that can be written down as UTF-8 and is not too long."""
    if not isinstance(value, str):
        raise InputError(f"Prompt, system prompt and completions are text; the {name} is none.")
    if len(value) > MAX_CHARACTERS:
        named = name[0].upper() + name[1:] if name[-1].isdigit() else f"The {name}"
        raise InputError(f"{named} has {len(value):,} characters; at most {MAX_CHARACTERS:,} can be scored here.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"The {name} has half of a character (a lone surrogate), which no model can be fed.")
    return value


def _check_size(question: Question) -> None:
    texts = [question.system, question.prompt, *question.completions, *(t for pair in question.exchanges for t in pair)]
    if (total := sum(map(len, texts))) > MAX_ALL_CHARACTERS:
        raise InputError(
            f"All fields together have {total:,} characters; at most {MAX_ALL_CHARACTERS:,} can be scored."
        )


def _check_empty(question: Question, score_empty: bool) -> None:
    empty = [str(i) for i, text in enumerate(question.completions, 1) if not text.strip()]
    if empty and not score_empty:
        which = "Completion " + empty[0] + " is" if len(empty) == 1 else "Completions " + ", ".join(empty) + " are"
        raise EmptyCompletionError(f"{which} empty. Fill in the text, or tick “Score empty completions”.")


# Pasted JSON, and links


def from_json(text: Any, offered: Sequence[str], default: Sequence[str] = ()) -> Question:
    """The question that a JSON object holds: what a link and a downloaded file have, or a row of a preference file.

    prompt: text, or messages with role and content, of which the first may be the system's and the last is the user's;
    completions: a list of texts, or `chosen` and `rejected`, each a text or a list of them. default: the models where
    the object names none. Raises InputError. An empty completion is let through: the form asks about it.
    """
    found = _object(text)
    models = found.get("models", found.get("model")) or list(default)
    system, turns, prompt = found.get("system") or "", found.get("turns") or [], found.get("prompt")
    if isinstance(prompt, list):
        if system or turns:
            raise InputError("Give system prompt and earlier turns either in “prompt” or beside it, not both.")
        system, turns, prompt = _messages(prompt)
    completions = found.get("completions")
    if completions is None and "chosen" in found and "rejected" in found:
        completions = [*_several(found["chosen"]), *_several(found["rejected"])]
    return ask(models, prompt, completions, system, turns, score_empty=True, offered=offered)


def _object(text: Any) -> dict[str, Any]:
    if not isinstance(text, str) or not text.strip():
        raise InputError("Paste a JSON object with “prompt” and “completions”.")
    if len(text) > MAX_PASTED:
        raise InputError(f"The JSON has {len(text):,} characters; at most {MAX_PASTED:,} are read.")
    try:
        found = json.loads(text)
    except ValueError as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"This is not JSON{where}.") from error
    except RecursionError as error:
        raise InputError("The JSON is nested too deeply.") from error
    if not isinstance(found, dict):
        raise InputError("The JSON is not an object: it needs “prompt” and “completions”.")
    if not found.keys() & set(_NAMED_FIELDS):
        raise InputError(f"The JSON has none of the fields {', '.join(_NAMED_FIELDS)}.")
    return found


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _messages(messages: list[Any]) -> tuple[Any, list[Any], Any]:
    """System prompt, earlier turns and the last question of a conversation."""
    if not messages or not all(isinstance(message, Mapping) for message in messages):
        raise InputError("The prompt's messages are objects with role and content.")
    system = messages[0].get("content") if messages[0].get("role") == "system" else ""
    rest = messages[1:] if messages[0].get("role") == "system" else messages
    if not rest or rest[-1].get("role") != "user":
        raise InputError("The prompt's last message is the user's.")
    return system, rest[:-1], rest[-1].get("content")


def to_link(question: Question) -> str:
    """What `pair=` holds for this question. Raises InputError where that is too long for a link."""
    packed = json.dumps(question.as_json(), ensure_ascii=False, separators=(",", ":")).encode()
    link = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    if len(link) > MAX_LINK:
        raise InputError(f"This is too long for a link: {len(link):,} characters, and at most {MAX_LINK:,} are read.")
    return link


def from_link(pair: Any, offered: Sequence[str], default: Sequence[str] = ()) -> Question:
    """The question in a link's `pair=`. Raises InputError for one that is damaged or too long."""
    if not isinstance(pair, str) or len(pair) > MAX_LINK:
        raise InputError(f"The link is too long: at most {MAX_LINK:,} characters are read.")
    try:
        packed = base64.b64decode(pair.rstrip("=") + "=" * (-len(pair.rstrip("=")) % 4), altchars=b"-_", validate=True)
        text = packed.decode()
    except (binascii.Error, ValueError) as error:
        raise InputError("The link is damaged: its part after pair= cannot be read.") from error
    return from_json(text, offered, default)
