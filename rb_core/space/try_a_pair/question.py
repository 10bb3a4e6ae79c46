"""A visitor's question, read and checked. It comes from the form, the endpoint, pasted JSON or a link.

Input of any type and size ends as a `Question` or in an InputError that says what to change. No gradio, no torch.
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
MAX_EXCHANGES = 4  # earlier turns: one exchange is a question of the user and its answer
MAX_MODELS = 3
MAX_LINK = 16_000  # characters of `pair=`; servers and messengers refuse longer addresses
MAX_PASTED = 6 * MAX_ALL_CHARACTERS  # JSON may write a character as \uXXXX

JSON_FIELDS = ("model", "models", "system", "turns", "prompt", "completions", "chosen", "rejected")


class EmptyCompletionError(InputError):
    """A completion is empty, and the visitor has not confirmed that this is intended."""


@dataclass(frozen=True)
class Question:
    """A prompt with its earlier turns, and the completions that each of the models scores."""

    models: tuple[str, ...]
    prompt: str
    completions: tuple[str, ...]
    system: str = ""
    exchanges: tuple[tuple[str, str], ...] = ()  # (question, answer) before the prompt

    @property
    def turns(self) -> list[Message]:
        """The earlier turns as messages."""
        return [
            message
            for asked, answered in self.exchanges
            for message in (Message(role="user", content=asked), Message(role="assistant", content=answered))
        ]

    @property
    def conversation(self) -> Conversation:
        """The messages a model reads. A system prompt of white space is left out."""
        system = [Message(role="system", content=self.system)] if self.system.strip() else []
        return (*system, *self.turns, Message(role="user", content=self.prompt))

    def as_json(self) -> dict[str, Any]:
        """Return the content of a link or a downloaded file; `question_from_json` reads it."""
        return {
            "models": list(self.models),
            "system": self.system,
            "turns": self.turns,
            "prompt": self.prompt,
            "completions": list(self.completions),
        }


def make_question(
    models: Any,
    prompt: Any,
    completions: Any,
    system: Any = "",
    turns: Any = (),
    score_empty: Any = False,
    *,
    offered: Sequence[str],
) -> Question:
    """Return the question, checked. Raises InputError for input that cannot be scored.

    Args:
        models: the name of one model, or a list of up to MAX_MODELS names.
        turns: messages with role and content, user and assistant in alternation.
        score_empty: True allows empty completions.
        offered: names of the models that the page scores with.
    """
    question = Question(
        models=checked_models(models, offered),
        prompt=_text("prompt", prompt),
        completions=_completions(completions),
        system=_text("system prompt", "" if system is None else system),
        exchanges=_exchanges([] if turns is None else turns),
    )
    if not question.prompt.strip():
        raise InputError("The prompt is empty. A reward model scores an answer to something.")
    for number, exchange in enumerate(question.exchanges, 1):
        if not all(text.strip() for text in exchange):
            raise InputError(f"Earlier exchange {number} lacks its question or its answer. Fill in both, or remove it.")
    texts = [question.system, question.prompt, *question.completions, *(turn["content"] for turn in question.turns)]
    if (total := sum(map(len, texts))) > MAX_ALL_CHARACTERS:
        raise InputError(
            f"All fields together have {total:,} characters; at most {MAX_ALL_CHARACTERS:,} can be scored."
        )
    empty = [str(number) for number, text in enumerate(question.completions, 1) if not text.strip()]
    if empty and score_empty is not True:
        subject = f"Completion {empty[0]} is" if len(empty) == 1 else f"Completions {', '.join(empty)} are"
        raise EmptyCompletionError(f"{subject} empty. Fill in the text, or tick “Score empty completions”.")
    return question


def checked_models(models: Any, offered: Sequence[str]) -> tuple[str, ...]:
    """Return the chosen models, each once. models: one name or a list. Raises InputError."""
    names = [models] if isinstance(models, str) else models
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InputError("Give models by their names.")
    chosen = tuple(dict.fromkeys(names))
    if not chosen:
        raise InputError(f"No model is chosen. Choose up to {MAX_MODELS} models.")
    if any(name not in offered for name in chosen):
        raise InputError(f"This page scores with {', '.join(offered)}. Choose among these.")
    if len(chosen) > MAX_MODELS:
        raise InputError(f"Choose at most {MAX_MODELS} models; there are {len(chosen)}.")
    return chosen


def _completions(completions: Any) -> tuple[str, ...]:
    if not isinstance(completions, list | tuple):
        raise InputError("Completions must be a list of texts.")
    if not MIN_COMPLETIONS <= len(completions) <= MAX_COMPLETIONS:
        raise InputError(f"Give {MIN_COMPLETIONS} to {MAX_COMPLETIONS} completions; there are {len(completions)}.")
    return tuple(_text(f"completion {number}", text) for number, text in enumerate(completions, 1))


def _exchanges(turns: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(turns, list | tuple):
        raise InputError("Earlier turns must be a list of objects with role and content.")
    if len(turns) > 2 * MAX_EXCHANGES:
        raise InputError(f"Give at most {2 * MAX_EXCHANGES} earlier turns; there are {len(turns)}.")
    texts = []
    for number, turn in enumerate(turns, 1):
        role = "user" if number % 2 else "assistant"
        if not isinstance(turn, Mapping) or turn.get("role") != role:
            raise InputError(f"Earlier turns alternate between user and assistant; turn {number} is not by {role}.")
        texts.append(_text(f"earlier turn {number}", turn.get("content")))
    if len(texts) % 2:
        raise InputError("The earlier turns end with a user's question. Put it into the prompt.")
    return tuple(zip(texts[::2], texts[1::2], strict=True))


def _text(field: str, value: Any) -> str:
    """Return the value if it is text that UTF-8 can encode and that is not too long. Raises InputError."""
    named = field.capitalize() if field[-1].isdigit() else f"The {field}"
    if not isinstance(value, str):
        raise InputError(f"{named} is not text.")
    if len(value) > MAX_CHARACTERS:
        raise InputError(f"{named} has {len(value):,} characters; at most {MAX_CHARACTERS:,} can be scored here.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{named} contains half of a character (a lone surrogate), which no model can read.")
    return value


def question_from_json(text: Any, offered: Sequence[str], default_models: Sequence[str] = ()) -> Question:
    """Read a question from a JSON object: a downloaded file, a link's content, or a row of a preference file.

    The prompt is text, or a conversation that ends with a message of the user. The completions are a list of texts, or
    `chosen` and `rejected`, each a text or a list of texts. Empty completions are allowed, because the form asks about
    them later. Raises InputError.
    """
    values = _json_object(text)
    models = values.get("models", values.get("model")) or list(default_models)
    system, turns, prompt = values.get("system") or "", values.get("turns") or [], values.get("prompt")
    if isinstance(prompt, list):
        if system or turns:
            raise InputError("Give system prompt and earlier turns either in “prompt” or beside it, not both.")
        system, turns, prompt = _split_conversation(prompt)
    completions = values.get("completions")
    if completions is None and "chosen" in values and "rejected" in values:
        lists = (texts if isinstance(texts, list) else [texts] for texts in (values["chosen"], values["rejected"]))
        completions = [text for texts in lists for text in texts]
    return make_question(models, prompt, completions, system, turns, score_empty=True, offered=offered)


def _json_object(text: Any) -> dict[str, Any]:
    if not isinstance(text, str) or not text.strip():
        raise InputError("Paste a JSON object with “prompt” and “completions”.")
    if len(text) > MAX_PASTED:
        raise InputError(f"The JSON has {len(text):,} characters; at most {MAX_PASTED:,} are read.")
    try:
        values = json.loads(text)
    except ValueError as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"This is not JSON{where}.") from error
    except RecursionError as error:
        raise InputError("The JSON is nested too deeply.") from error
    if not isinstance(values, dict):
        raise InputError("The JSON is not an object: it needs “prompt” and “completions”.")
    if not values.keys() & set(JSON_FIELDS):
        raise InputError(f"The JSON has none of the fields {', '.join(JSON_FIELDS)}.")
    return values


def _split_conversation(messages: list[Any]) -> tuple[Any, list[Any], Any]:
    """Return system prompt, earlier turns and the user's last message."""
    if not messages or not all(isinstance(message, Mapping) for message in messages):
        raise InputError("The prompt's messages must be objects with role and content.")
    system, rest = "", messages
    if messages[0].get("role") == "system":
        system, rest = messages[0].get("content"), messages[1:]
    if not rest or rest[-1].get("role") != "user":
        raise InputError("The prompt's last message must have role user.")
    return system, rest[:-1], rest[-1].get("content")


def question_from_link(pair: Any, offered: Sequence[str], default_models: Sequence[str] = ()) -> Question:
    """Read a question from a link's `pair=`, which is base64url of JSON. Raises InputError."""
    if not isinstance(pair, str) or len(pair) > MAX_LINK:
        raise InputError(f"The link is too long: at most {MAX_LINK:,} characters are read.")
    digits = pair.rstrip("=")
    try:
        text = base64.b64decode(digits + "=" * (-len(digits) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InputError("The link is damaged: its part after pair= cannot be read.") from error
    return question_from_json(text, offered, default_models)
