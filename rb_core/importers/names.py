"""Names of models in others' files and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from rb_core.errors import DataError, ResultError
from rb_core.leaderboard.model_registry import ModelRegistry
from rb_core.results.schema import ModelRef
from rb_core.results.storage import check_model_name

# Names that are not valid paths, and names without their organisation.
NAMES = {
    "Cohere May 2024": "Cohere/Cohere-May-2024",
    "Cohere March 2024": "Cohere/Cohere-March-2024",
    "gemini-1.5-flash-8b": "google/gemini-1.5-flash-8b",
    "my_model/": "unknown/my_model",
}


def plain_name(listed: str) -> str:
    """Return a valid model name: some models were listed under the names of their result files."""
    return NAMES.get(listed) or re.sub(r"\.jsonl?$", "", listed)


def is_model_name(text: str) -> bool:
    try:
        return bool(check_model_name(text))
    except ResultError:
        return False


def safe_name(listed: str) -> str:
    """Return a listed name in the characters of a name; of a path on some machine, the last two parts.

    Raises ResultError for a name without letters or digits.
    """
    plain = re.sub(r"\([^)]*\)", lambda remark: remark[0].replace("/", " "), plain_name(listed))
    safe = [re.sub(r"[^A-Za-z0-9_.+-]+", "-", part).strip(".+-") for part in plain.split("/")]
    return check_model_name("/".join([part for part in safe if part][-2:]))


class ListedModel(NamedTuple):
    """A model of a file or table: its name there, and its record under the canonical name."""

    listed: str
    ref: ModelRef

    @property
    def note(self) -> str:
        return "" if self.ref.name == self.listed else f"listed as {self.listed!r}"


def find_models(listed: Iterable[str], registry: ModelRegistry) -> dict[str, ListedModel]:
    """Return the models by the names that a file or table lists, as the registry knows them.

    Raises DataError when two names are of one model.
    """
    models: dict[str, ListedModel] = {}
    names: dict[str, str] = {}
    for name in dict.fromkeys(listed):
        canonical = registry.canonical_name(safe_name(name))
        if canonical in names:
            raise DataError(f"the models {names[canonical]!r} and {name!r} are both {canonical}; keep one of them")
        names[canonical] = name
        registered = registry.get(canonical)
        models[name] = ListedModel(name, ModelRef(name=canonical, kind=(registered and registered.kind) or "unknown"))
    return models


def names_of_files(places: Iterable[str]) -> dict[str, str]:
    """Return the name of a model for each file, by the file's place in its folder without suffixes.

    That is ORG/NAME or NAME. Where all files of several have the same last part, as in NAME/scores, it is left out.
    """
    parts = {place: place.split("/") for place in dict.fromkeys(places)}
    if len(parts) > 1 and len({place[-1] for place in parts.values()}) == 1:
        parts = {place: names[:-1] for place, names in parts.items()}
    return {place: "/".join(names[-2:]) for place, names in parts.items()}
