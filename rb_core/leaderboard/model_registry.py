"""The registry of models: what is known of a model beyond its results, and the names that it goes by.

A results root may hold one as `models.yaml`. Results refer to it by the model's name or one of its aliases. A model
that it does not list is shown as its results name it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rb_core.errors import DataError, first_line
from rb_core.results.schema import ModelKind, ModelName, Result
from rb_core.results.storage import reason_not_to_replace

REGISTRY_FILE = "models.yaml"
MAX_REGISTRY_BYTES = 4_000_000

Text = Annotated[str, Field(min_length=1, max_length=500)]


class Recipe(BaseModel):
    """Training of a development checkpoint, as far as its name says; None where it does not.

    base: the model or stage that training started from; data: the mix of preference data; flipped: share of the
    training labels that were exchanged on purpose; seed: of the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: Text
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    epochs: Annotated[int, Field(gt=0)] | None = None
    data: Text
    flipped: Annotated[float, Field(ge=0, le=1)] = 0.0
    seed: int

    def without_seed(self) -> Recipe:
        """Return the recipe that all runs with other seeds share."""
        return self.model_copy(update={"seed": 0})


class RegisteredModel(BaseModel):
    """A model. None means not known.

    Args:
        aliases: other names that results and published tables give it.
        organisation: the name shown for whoever made it; one spelling for each organisation.
        kind: of a DPO model `implicit`, with and without its reference.
        base_model: the language model that it was trained from.
        parameters: their number; `parameters_source` says where it is stated: "name", or a card or an announcement.
        context_length: in tokens.
        training_data: preference data that its makers declare.
        access: "weights" can be downloaded, or the model is only reached through an "api".
        sweep: of a development checkpoint, the name of the sweep it is part of. Such models are shown, but not ranked.
        recipe: of a development checkpoint, how it was trained.
        sources: where the facts come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ModelName
    aliases: tuple[ModelName, ...] = ()
    organisation: Text | None = None
    kind: ModelKind | None = None
    base_model: Text | None = None
    parameters: Annotated[int, Field(gt=0)] | None = None
    parameters_source: Text | None = None
    licence: Text | None = None
    released: date | None = None
    context_length: Annotated[int, Field(gt=0)] | None = None
    training_data: tuple[Text, ...] | None = None
    access: Literal["weights", "api"] | None = None
    sweep: Text | None = None
    recipe: Recipe | None = None
    sources: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _check_sources(self) -> RegisteredModel:
        if (self.parameters is None) != (self.parameters_source is None):
            raise ValueError("parameters and parameters_source are needed together")
        facts = ("base_model", "licence", "released", "context_length", "training_data", "access")
        if any(getattr(self, fact) is not None for fact in facts) and not self.sources:
            raise ValueError(f"{', '.join(facts[:-1])} and {facts[-1]} need sources")
        return self


class ModelRegistry:
    """The models of a registry by name and alias. Raises DataError for a name or organisation that is there twice."""

    def __init__(self, models: Iterable[RegisteredModel] = ()) -> None:
        self.models = tuple(models)
        names = [name for model in self.models for name in (model.name, *model.aliases)]
        if repeated := _first_repeated(names):
            raise DataError(f"{REGISTRY_FILE}: the name {repeated} stands for two models")
        spellings = dict.fromkeys(model.organisation for model in self.models if model.organisation)
        if repeated := _first_repeated(map(_letters, spellings)):
            same = ", ".join(name for name in spellings if _letters(name) == repeated)
            raise DataError(f"{REGISTRY_FILE}: one organisation is spelled in two ways: {same}")

    @cached_property
    def _by_name(self) -> Mapping[str, RegisteredModel]:
        return {name: model for model in self.models for name in (model.name, *model.aliases)}

    def get(self, name: str) -> RegisteredModel | None:
        """Return the model of a name or alias."""
        return self._by_name.get(name)

    def canonical_name(self, name: str) -> str:
        """Return the name that a model is shown by."""
        model = self.get(name)
        return name if model is None else model.name

    def organisation_of(self, name: str) -> str | None:
        """Return a model's organisation: as registered, else the first part of its name."""
        model = self.get(name)
        if model is not None and model.organisation is not None:
            return model.organisation
        return name.split("/", maxsplit=1)[0] if "/" in name else None

    def best_results(self, results: Iterable[Result]) -> dict[tuple[str, str], Result]:
        """Return one result for each benchmark and canonical name, as it was read.

        Of two results of one model on one benchmark the better documented one is kept: a run before a published
        number, a whole one before a partial one, a later one before an earlier one.
        """
        best: dict[tuple[str, str], Result] = {}
        for result in results:
            key = result.benchmark.id, self.canonical_name(result.model.name)
            if key not in best or reason_not_to_replace(result, best[key]) is None:
                best[key] = result
        return best

    def merge_aliases(self, results: Iterable[Result]) -> list[Result]:
        """Return the best results under their models' canonical names."""
        return [renamed(result, name) for (_, name), result in self.best_results(results).items()]


def openness(model: RegisteredModel | None, *, has_weights: bool = False) -> str | None:
    """Return how open a model is, in words; None where not known. has_weights: they are known to be on the hub."""
    if model is not None and model.access == "api":
        return "API only"
    if not has_weights and (model is None or model.access is None):
        return None
    return "Weights and training data" if model is not None and model.training_data else "Weights"


def renamed(result: Result, name: str) -> Result:
    """Return a result under another name of its model."""
    return result.model_copy(update={"model": result.model.model_copy(update={"name": name})})


def read_registry(root: Path) -> ModelRegistry:
    """Return the registry of a results root; an empty one if it has none. Raises DataError for an unreadable one."""
    path = root / REGISTRY_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ModelRegistry()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return parse_registry(content, str(path))


def parse_registry(content: bytes, name: str = REGISTRY_FILE) -> ModelRegistry:
    """Return the registry in a file's content. Raises DataError, naming file, model and field."""
    if len(content) > MAX_REGISTRY_BYTES:
        raise DataError(f"{name}: {len(content):,} bytes; a registry has at most {MAX_REGISTRY_BYTES:,}")
    try:
        entries = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{name}: not readable YAML: {first_line(error)}") from error
    if not isinstance(entries, list):
        raise DataError(f"{name}: expected a list of models, each with 'name: ORG/NAME'")
    return ModelRegistry(_parse_models(entries, name))


def _parse_models(entries: Iterable[Any], file: str) -> Iterator[RegisteredModel]:
    for number, entry in enumerate(entries, 1):
        try:
            yield RegisteredModel.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            model = entry.get("name", f"entry {number}") if isinstance(entry, dict) else f"entry {number}"
            field = ".".join(map(str, first["loc"]))
            raise DataError(f"{file}: {model}: {field + ': ' if field else ''}{first['msg']}") from error


def _first_repeated(names: Iterable[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _letters(name: str) -> str:
    """Return a name without what spellings of one name differ in: capitals, spaces and marks."""
    return "".join(character for character in name.casefold() if character.isalnum())


NO_MODELS = ModelRegistry()
