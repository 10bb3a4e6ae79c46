"""The audit's own items: everyday questions in a dialect, and people with first names and pronouns of several groups.

All texts were written for this project. A completion has the same content in all versions, so a difference of scores
comes from the version alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import Field

from rb_core.audits.fairness.dialect_rules import AFRICAN_AMERICAN_ENGLISH, Feature, rewrite
from rb_core.audits.fairness.spelling_noise import add_noise, measure_change
from rb_core.audits.model_audit import ORIGINAL, AuditItem
from rb_core.benchmarks.card import read_yaml
from rb_core.benchmarks.example import AssistantTurn, Conversation, Example, Message
from rb_core.errors import DataError, as_text
from rb_core.results.estimate import Record

DIALECT, CONTROL = "dialect", "control"
AS_WRITTEN = "as written"  # the group of original versions
PLACES = {"prompt": (True, False), "answers": (False, True), "both": (True, True)}
LABELS = ("chosen", "rejected")

Change = Callable[[str], str]


class NameGroup(Record):
    """First names that people associate with a group, and the pronoun that goes with them in texts."""

    pronoun: str
    names: list[str] = Field(min_length=1)


class Names(Record):
    """First names by group. source: where the association of names and groups was measured."""

    source: str
    groups: dict[str, NameGroup] = Field(min_length=2)


class _Version(NamedTuple):
    """The texts of an example in one version."""

    prompt: Conversation
    completions: tuple[str, ...]


def own_items(features: Sequence[Feature] = AFRICAN_AMERICAN_ENGLISH, names: Names | None = None) -> list[AuditItem]:
    """Return the items of the parts dialect, names and pronouns."""
    everyday = [
        Example(row["id"], "everyday", _asked(row["prompt"]), (row["chosen"], row["rejected"]), 1, row["id"])
        for row in _rows("everyday.jsonl")
    ]
    return [*rewritten_items(everyday, features), *name_items(names or read_names(None)), *pronoun_items()]


# ---- dialect


def rewritten_items(examples: Sequence[Example], features: Sequence[Feature]) -> list[AuditItem]:
    """Return the examples in the dialect of these features, as `dialect_items`."""

    def in_dialect(text: str) -> str:
        return rewrite(text, features)

    versions = [(example, _map_version(example.prompt, example.completions, in_dialect)) for example in examples]
    return dialect_items([(example, *version) for example, version in versions])


def dialect_items(translated: Sequence[tuple[Example, Conversation, tuple[str, ...]]]) -> list[AuditItem]:
    """Return the original and, for each place, the version in dialect and its control.

    translated: examples with their prompt and completions in dialect. Left out are completions that are more than text,
    and places in which the dialect changes nothing.
    """
    items: list[AuditItem] = []
    for example, prompt, completions in translated:
        if any(isinstance(completion, AssistantTurn) for completion in example.completions):
            continue
        dialect = _Version(prompt, completions)
        control = _noisy(example, dialect)
        original = _Version(example.prompt, example.completions)
        of_places = [
            _item(example, place, variant, _mixed(original, version, *parts))
            for place, parts in PLACES.items()
            if _mixed(original, dialect, *parts) != original
            for variant, version in ((DIALECT, dialect), (CONTROL, control))
        ]
        if of_places:
            items += [_item(example, AS_WRITTEN, ORIGINAL, original), *of_places]
    return items


def _mixed(original: _Version, other: _Version, prompt: bool, completions: bool) -> _Version:
    """Return the other version's prompt, completions or both, and the original's rest."""
    return _Version(
        other.prompt if prompt else original.prompt, other.completions if completions else original.completions
    )


def _item(example: Example, group: str, variant: str, version: _Version) -> AuditItem:
    rejected = len(example.completions) - example.num_chosen
    return AuditItem(
        id=f"dialect/{example.id}/{group}/{variant}",
        unit=example.group,
        group=group,
        prompt=version.prompt,
        completions=version.completions,
        labels=(*("chosen",) * example.num_chosen, *("rejected",) * rejected),
        variant=variant,
        base=f"dialect/{example.id}",
    )


def _map_version(prompt: Conversation, completions: Sequence[str], change: Change) -> _Version:
    """Return the texts with the user's messages and the completions changed; an assistant's earlier turns are kept."""
    messages = tuple(
        Message(**(message | {"content": change(message["content"])})) if message["role"] == "user" else message
        for message in prompt
    )
    return _Version(messages, tuple(map(change, completions)))


def _noisy(example: Example, dialect: _Version) -> _Version:
    """Return the example with spelling noise of the same edit distances as its version in dialect."""
    texts = [*(message["content"] for message in example.prompt), *example.completions]
    others = [*(message["content"] for message in dialect.prompt), *dialect.completions]
    noisy = [
        add_noise(text, measure_change(text, other), f"{example.id}/{place}")
        for place, (text, other) in enumerate(zip(texts, others, strict=True))
    ]
    messages = zip(example.prompt, noisy, strict=False)
    prompt = tuple(Message(**(message | {"content": text})) for message, text in messages)
    return _Version(prompt, tuple(noisy[len(prompt) :]))


# ---- people


def name_items(names: Names) -> list[AuditItem]:
    """Return each template with a name of each group. Templates with the same names are one unit."""
    templates, pronouns = _rows("people.jsonl"), _pronouns()
    bundles = min(len(group.names) for group in names.groups.values())
    return [
        _person_item("names", template, group, names_of.names[place % bundles], pronouns[names_of.pronoun], unit)
        for place, template in enumerate(templates)
        for unit in [f"names/{place % bundles}"]
        for group, names_of in names.groups.items()
    ]


def pronoun_items() -> list[AuditItem]:
    """Return each template about a person without a name, with each set of pronouns."""
    return [
        _person_item("pronouns", template, f"{pronoun}/{forms['them']}", template["person"], forms, template["id"])
        for template in _rows("people.jsonl")
        for pronoun, forms in _pronouns().items()
    ]


def _person_item(
    part: str, template: Mapping[str, str], group: str, person: str, forms: Mapping[str, Any], unit: str
) -> AuditItem:
    prompt, *completions = (fill(template[field], person, forms) for field in ("prompt", *LABELS))
    base = f"{part}/{template['id']}"
    return AuditItem(
        f"{base}/{group}", unit, group, _asked(prompt), tuple(completions), LABELS, variant=person, base=base
    )


def fill(template: str, person: str, forms: Mapping[str, Any]) -> str:
    """Return a template's text with a person: `{person}`, a form such as `{their}` or `{Their}`, `{is/are}`."""

    def word(match: re.Match[str]) -> str:
        name = match[1]
        if "/" in name:
            singular, plural = name.split("/")
            return plural if forms.get("plural") else singular
        value = person if name == "person" else str(forms[name.lower()])
        return value[0].upper() + value[1:] if name[0].isupper() else value

    text = re.sub(r"\{([^{}]+)\}", word, template)
    return text[0].upper() + text[1:]


def read_names(path: Path | None) -> Names:
    """Return the names in a file, by default the audit's own. Raises DataError, naming the field, for other content."""
    if path is None:
        return Names.model_validate(yaml.safe_load(_text("names.yaml")))
    names = read_yaml(path, Names, "source: where the names are from")
    pronouns = _pronouns()
    for group, fields in names.groups.items():
        if fields.pronoun not in pronouns:
            known = ", ".join(pronouns)
            raise DataError(f"{as_text(path.name)}: groups.{group}.pronoun: {fields.pronoun!r} is unknown; use {known}")
    return names


def _pronouns() -> dict[str, dict[str, Any]]:
    forms: dict[str, dict[str, Any]] = yaml.safe_load(_text("pronouns.yaml"))
    return forms


def _rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in _text(name).splitlines()]


def _text(name: str) -> str:
    return (resources.files(__package__) / "texts" / name).read_text(encoding="utf-8")


def _asked(text: str) -> Conversation:
    return (Message(role="user", content=text),)


def edits_of(items: Sequence[AuditItem]) -> Iterator[int]:
    """Yield for each completion its edit distance from the original version, with that of its prompt; 0 without one."""
    originals = {item.base: item for item in items if item.variant == ORIGINAL}
    for item in items:
        original = originals.get(item.base, item)
        in_prompt = sum(
            measure_change(before["content"], after["content"]).distance
            for before, after in zip(original.prompt, item.prompt, strict=True)
        )
        for before, after in zip(original.completions, item.completions, strict=True):
            yield in_prompt + measure_change(before, after).distance
