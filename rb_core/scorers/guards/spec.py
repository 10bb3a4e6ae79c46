"""The name of a guard with its arguments, checked before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from rb_core.errors import ModelError, RewardBenchError
from rb_core.models.options import JudgeOptions, ModelOptions, check_options, option_specs, parse_assignments

GuardKind = Literal["words", "classifier", "moderation", "judge", "function"]
Reads = Literal["completion", "conversation"]  # what a guard is shown
Question = Literal["own", "template"]  # who asks a judge: our own prompt, or the chat template of its server

T = TypeVar("T")

_FUNCTION = re.compile(r"(?:[\w.]+|.+\.py):[\w.]+")
_FORMS = "words:FILE, classifier:MODEL, moderation:MODEL@URL, judge:MODEL@URL, or a function as FILE.py:NAME"
# Arguments by kind of guard: its own, and options of a model by their names.
_CHECKPOINT = ("revision", "dtype", "device", "max_length", "batch_tokens", "chat_template", "template_name")
_REQUESTS = ("concurrency", "deadline")
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "words": ("reads",),
    "classifier": (
        "label", "safe_label", "reads", *_CHECKPOINT, "pad_token", "fold_system", "ignore_auto_map", "tokens",
        "question", "generation_prompt",
    ),
    "moderation": ("label", "reads", *_REQUESTS),
    "judge": (
        "words", "asked_by", "provider", "extra_body", "max_tokens_total", *_REQUESTS, *_CHECKPOINT, "fold_system",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class GuardSpec:
    """A guard that is ready to be loaded.

    target: file, model or function; url: of its server, "" without one; label, safe_label: output of a classifier that
    means unsafe, or safe; for a moderation endpoint, the category that counts; reads: None for the kind's default;
    words: a judge's answers for unsafe and safe; options: of the model; arguments: of a class.
    """

    kind: GuardKind
    target: str
    url: str = ""
    label: str | None = None
    safe_label: str | None = None
    reads: Reads | None = None
    words: tuple[str, str] = ("unsafe", "safe")
    asked_by: Question = "own"
    options: ModelOptions = field(default_factory=ModelOptions)
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name without folders and addresses, which are private."""
        if self.kind == "function":
            location, _, target = self.target.rpartition(":")
            return f"{Path(location).name}:{target}"
        is_path = self.kind == "words" or Path(self.target).is_dir()
        return f"{self.kind}:{Path(self.target).name if is_path else self.target}"


def parse_guard(text: str, arguments: Mapping[str, Any] | str = "") -> GuardSpec:
    """Return the guard of KIND:TARGET with its arguments, a mapping or the text NAME=VALUE,...

    Raises ModelError for an unknown kind, a missing file, and an argument that the kind does not have or that has
    another value than allowed.
    """
    kind, _, target = text.partition(":")
    try:
        values = _assignments(arguments) if isinstance(arguments, str) else dict(arguments)
    except ValueError as error:
        raise ModelError(f"--guard-args: {error}") from error
    if kind not in _ARGUMENTS:
        if not _FUNCTION.fullmatch(text):
            raise ModelError(f"--guard {text}: expected {_FORMS}")
        return GuardSpec("function", text, arguments=values)
    if not target:
        raise ModelError(f"--guard {text}: nothing after the colon; expected {_FORMS}")
    try:
        return _spec(TypeAdapter(GuardKind).validate_python(kind), target, values)
    except RewardBenchError as error:
        raise ModelError(f"--guard {kind}:{target.partition('@')[0]}: {error}") from error


def _assignments(text: str) -> dict[str, Any]:
    return parse_assignments(text) if text else {}


def _spec(kind: GuardKind, target: str, values: Mapping[str, Any]) -> GuardSpec:
    if unknown := sorted(values.keys() - set(_ARGUMENTS[kind])):
        raise ModelError(f"no argument {unknown[0]!r}; it takes {', '.join(_ARGUMENTS[kind])}")
    target, url = _split_address(kind, target, values)
    if kind == "words" and not Path(target).is_file():
        raise ModelError(f"no file {target}")
    own = {name: value for name, value in values.items() if name in _OWN}
    if isinstance(own.get("words"), str):
        own["words"] = tuple(word.strip() for word in own["words"].split(","))
    spec = _validated(GuardSpec, {"kind": kind, "target": target, "url": url, **own})
    if spec.label is not None and spec.safe_label is not None:
        raise ModelError("give either label or safe_label, not both")
    unsafe, safe = (word.strip().lower() for word in spec.words)
    if not unsafe or not safe or unsafe.startswith(safe) or safe.startswith(unsafe):
        raise ModelError("words: expected two words of which neither begins the other, UNSAFE,SAFE")
    return replace(spec, options=_options({name: value for name, value in values.items() if name not in _OWN}))


def _split_address(kind: GuardKind, target: str, values: Mapping[str, Any]) -> tuple[str, str]:
    """Return model and address of MODEL@URL. Raises ModelError where a server is needed and has no address."""
    model, at, address = target.partition("@http")
    if kind not in ("moderation", "judge"):
        return target, ""
    if kind == "moderation" and not at:
        raise ModelError("give the server's address: moderation:MODEL@URL")
    if at and "provider" in values:
        raise ModelError("give either an address or a provider, not both")
    if not model:
        raise ModelError("give the model's name before the address: MODEL@URL")
    return model, f"http{address}" if at else ""


def _options(values: Mapping[str, Any]) -> ModelOptions:
    """Return the options of a model, those of requests among the options of judges."""
    specs = {**option_specs(ModelOptions), **option_specs(JudgeOptions)}
    parsed = {}
    for name, value in values.items():
        parse = specs[name].parse
        try:
            parsed[name] = parse(value) if parse is not None and isinstance(value, str) else value
        except (OSError, ValueError) as error:
            raise ModelError(f"{name}: {error}") from error
    of_judge = {name: value for name, value in parsed.items() if name in option_specs(JudgeOptions)}
    of_model = {name: value for name, value in parsed.items() if name not in of_judge}
    options = _validated(ModelOptions, of_model)
    options = replace(options, judge=_validated(JudgeOptions, of_judge))
    check_options(options)
    return options


def _validated(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return a dataclass of these values. Raises ModelError that names the field with a value of another type."""
    try:
        validated: T = TypeAdapter(kind).validate_python(dict(values))
        return validated
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(f"{'.'.join(map(str, first['loc'][:1]))}: {first['msg']}") from error


_OWN = {each.name for each in fields(GuardSpec)} - {"kind", "target", "url", "options", "arguments"}
