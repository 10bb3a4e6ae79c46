"""The card of a benchmark that is not registered: where its rows are, what they are, and how they are scored.

A card is a YAML file. It stands beside a data file as `NAME.card.yaml`, or by itself and names its data.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from rb_core.errors import LONGEST_QUOTE, DataError, as_text, first_line
from rb_core.stats.metrics import ACCURACY, METRICS
from rb_core.stats.metrics.base import Metric, TieCredit

SUFFIX = ".card.yaml"
FILE_SUFFIXES = (".yaml", ".yml")
MAX_CARD_BYTES = 200_000
METRICS_OF_CARDS: Mapping[str, Metric] = {"all": ACCURACY, **METRICS}


def _metric_name(name: str) -> str:
    if name not in METRICS_OF_CARDS:
        raise ValueError(f"input should be one of {', '.join(METRICS_OF_CARDS)}")
    return "all" if METRICS_OF_CARDS[name] is ACCURACY else name


def _named_parts(value: Any) -> Any:
    """Return subsets or sections as a list, whose order no JSON writer changes; they may be written by name.

    Of a part, only its description, the list of its subsets, or nothing may be written.
    """
    if isinstance(value, list):
        return [{"name": part} if isinstance(part, str) else part for part in value]
    return [_part(fields) | {"name": name} for name, fields in value.items()] if isinstance(value, dict) else value


def _part(fields: Any) -> dict[Any, Any]:
    match fields:
        case None:
            return {}
        case dict():
            return fields
        case list():
            return {"subsets": fields}
        case _:
            return {"description": fields}


Text = Annotated[str, Field(max_length=2000)]
# A subset without a name of its own has that of its file, which may be long; MAX_CARD_BYTES bounds the whole.
Name = Annotated[str, Field(min_length=1, max_length=100_000)]
Weight = Annotated[float, Field(gt=0, lt=1e9)]
MetricName = Annotated[str, AfterValidator(_metric_name)]
RecordType = TypeVar("RecordType", bound=BaseModel)


class _Fields(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class CardSubset(_Fields):
    """A part of the data. chance: what random choice is expected to score on it, None if not known."""

    name: Name
    description: Text = ""
    chance: Annotated[float, Field(ge=0, le=1)] | None = None


class CardSection(_Fields):
    """Subsets averaged into one number; the fields are those of `Section`.

    subsets: they weigh the same, or with `pooled` as much as they have examples; weights: subset -> weight, instead.
    metric: default: that of the card.
    """

    name: Name
    description: Text = ""
    subsets: list[Name] = []
    weights: dict[Name, Weight] = {}
    metric: MetricName | None = None
    headline_weight: Weight = 1.0
    required: bool = True
    pooled: bool = False
    harmonic: bool = False

    @property
    def subset_names(self) -> list[str]:
        return [*self.subsets, *self.weights]

    @model_validator(mode="after")
    def _check(self) -> CardSection:
        if bool(self.subsets) == bool(self.weights):
            raise ValueError("give the section either subsets, a list, or weights, a number for each subset")
        return self


class Card(_Fields):
    """Description and scoring rules of a benchmark that is not registered.

    id: names the board, together with a digest of data and rules; alone if `sha256` is the digest of the examples.
    data: file or folder with the rows, relative to the card; hub: instead, a dataset ORG/NAME on the hub with its
        configuration, splits and revision.
    columns: for fields of a layout, the columns of the data that hold them.
    subsets: the values that the field `subset` may have; default: those in the data.
    sections: default: one section over all examples, each with the same weight.
    metric: what an example earns, by the name of a metric. `all` (also `accuracy`): 1 if every chosen completion scores
        above every rejected one; `pairs`: the share of (chosen, rejected) pairs in which the chosen one scores higher;
        `best`: 1 if the best chosen one scores above every rejected one.
    ties: what a tie earns. `none`: 0; `half`: 1/2; `split`: 1/k for k completions with the top score, 1/2 for a pair.
    pooled: the headline weighs sections by their numbers of examples.
    groupings: other divisions of the subsets, beside the sections, by name: parts that each weigh their subsets by
        numbers of examples. They are shown, and are not part of the headline.
    style_levels: for the metric `matrix`, names of the styles of an example's completions, in their order.
    """

    id: Annotated[str, Field(max_length=60, pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.\-]*)?$")] = ""
    title: Text = ""
    description: Text = ""
    url: Annotated[str, Field(max_length=2000, pattern=r"^(https?://\S*)?$")] = ""
    licence: Text = ""
    citation: Text = ""
    data: Text = ""
    hub: Annotated[str, Field(max_length=200, pattern=r"^([\w.\-]+/[\w.\-]+)?$")] = ""
    config: Name | None = None
    splits: list[Name] = []
    revision: Name = "main"
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    columns: dict[Name, Name] = {}
    subsets: Annotated[list[CardSubset], BeforeValidator(_named_parts)] = []
    sections: Annotated[list[CardSection], BeforeValidator(_named_parts)] = []
    metric: MetricName = "all"
    ties: TieCredit = "split"
    pooled: bool = False
    groupings: dict[Name, dict[Name, list[Name]]] = {}
    style_levels: list[Name] = []

    @model_validator(mode="after")
    def _check(self) -> Card:
        """Raise ValueError, beginning with the field, for fields that contradict each other."""
        place = PurePosixPath(self.data)
        if place.is_absolute() or ".." in place.parts or "\\" in self.data:
            raise ValueError("data: name a file or folder beside the card or below it, relative to the card")
        if self.data and self.hub:
            raise ValueError("hub: the card names data already; keep one of the two")
        if not self.hub and (self.config or self.splits or self.revision != "main"):
            raise ValueError("hub: is missing; config, splits and revision belong to a dataset on the hub")
        if self.sha256 and not self.id:
            raise ValueError("sha256: needs an id, which it makes the whole name of the board")
        self._check_parts()
        return self

    def _check_parts(self) -> None:
        for field, names in (("subsets", self.subset_names), ("sections", [each.name for each in self.sections])):
            if repeated := next((name for name, count in Counter(names).items() if count > 1), None):
                raise ValueError(f"{field}: {repeated!r} is repeated")
        placed: dict[str, str] = {}
        for section in self.sections:
            for name in section.subset_names:
                if self.subsets and name not in self.subset_names:
                    raise ValueError(f"sections.{section.name}: there is no subset {name!r} among the card's subsets")
                if name in placed:
                    raise ValueError(f"sections.{section.name}: the subset {name!r} is in {placed[name]!r} already")
                placed[name] = section.name

        for grouping, parts in self.groupings.items():
            self._check_grouping(f"groupings.{grouping}", parts)

    def _check_grouping(self, field: str, parts: Mapping[str, list[str]]) -> None:
        names = Counter(name for members in parts.values() for name in members)
        if repeated := next((name for name, count in names.items() if count > 1), None):
            raise ValueError(f"{field}: the subset {repeated!r} is in two parts")
        if unknown := next((name for name in names if self.subsets and name not in self.subset_names), None):
            raise ValueError(f"{field}: there is no subset {unknown!r} among the card's subsets")
        taken = {*self.subset_names, *(section.name for section in self.sections)}
        if common := next((name for name in parts if name in taken), None):
            raise ValueError(f"{field}: {common!r} is the name of a subset or section already")

    @property
    def subset_names(self) -> list[str]:
        return [subset.name for subset in self.subsets]

    def settings(self) -> list[str]:
        """Return the settings that differ from the defaults; those with structure as one digest."""
        default = Card()
        words = [value for name in ("metric", "ties") if (value := getattr(self, name)) != getattr(default, name)]
        structured = ("sections", "pooled", "style_levels")
        return [*words, *([self.rules] if any(getattr(self, n) != getattr(default, n) for n in structured) else [])]

    @cached_property
    def rules(self) -> str:
        """Return a digest of everything that decides which examples are scored, and how; of fields that are set only,
        so that a new field does not change it."""
        scoring = {"sha256", "metric", "ties", "pooled", "style_levels", "sections"}
        unused = {"sections": {"__all__": {"description"}}}
        fields = self.model_dump(include=scoring, exclude=unused, exclude_defaults=True)
        fields["sections"] = sorted(fields.get("sections", []), key=lambda section: str(section["name"]))
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]

    def to_yaml(self) -> str:
        """Return the text of a card file; the same card gives the same text."""
        return str(yaml.safe_dump(self.model_dump(exclude_defaults=True), sort_keys=False, allow_unicode=True))


def read_card_beside(data: Path) -> Card:
    """Return the card of a file or folder, `NAME.card.yaml` beside it; the default card without such a file.

    Raises DataError as `read_card`, and for a card that names other data.
    """
    path = data.with_name(data.name + SUFFIX)
    if not os.path.isfile(path):  # noqa: PTH113 - False as well for a name that is too long
        return Card()
    card = read_card(path)
    if card.hub or card.data not in ("", data.name):
        field = "hub" if card.hub else "data"
        raise DataError(f"{as_text(path.name)}: {field}: must be left out, the card stands beside its data")
    return card


def read_card(path: Path) -> Card:
    """Return the card in a file. Raises DataError, naming file and field, for one that cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CARD_BYTES + 1)
    except OSError as error:
        raise DataError(f"{as_text(path.name)}: cannot be read: {error.strerror}") from error
    return parse_card(content, as_text(path.name))


def parse_card(content: bytes, name: str) -> Card:
    """Return the card in a file's content. Raises DataError, naming file and field, for any other content."""
    return parse_card_fields(parse_yaml(content, name, "metric: pairs"), f"{name}: ")


def parse_yaml(content: bytes, name: str, field: str) -> dict[Any, Any]:
    """Return the fields in a small YAML file. field: one of those that it may have, for the message.

    Raises DataError, naming the file, for any other content.
    """
    if len(content) > MAX_CARD_BYTES:
        raise DataError(f"{name}: such a file has at most {MAX_CARD_BYTES:,} bytes")
    try:
        fields = yaml.load(content.decode("utf-8-sig"), _CardLoader)  # noqa: S506 - a kind of SafeLoader
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{name}: not readable YAML: {first_line(error)}") from error
    if not isinstance(fields, dict):
        raise DataError(f"{name}: expected fields such as {field!r}")
    return fields


def read_yaml(path: Path, record: type[RecordType], field: str) -> RecordType:
    """Return the record in a small YAML file. field: as for `parse_yaml`.

    Raises DataError, naming file and field, for any other content.
    """
    name = as_text(path.name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}") from error
    try:
        return record.model_validate(parse_yaml(content, name, field))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise DataError(f"{name}: {f'{place}: ' if place else ''}{message}") from error


def with_options(card: Card, metric: str | None, ties: str | None) -> Card:
    """Return the card with the settings that are given as options. Raises DataError for an unknown one."""
    options = {"metric": metric, "ties": ties}
    given = {name: value for name, value in options.items() if value is not None}
    return parse_card_fields(card.model_dump() | given, "--")


class _CardLoader(yaml.SafeLoader):  # type: ignore[misc]  # pyyaml has no types
    """The safe loader without references, which let a small file expand without bound, and without repeated fields."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"line {self.peek_event().start_mark.line + 1}: a card has no references (*NAME)")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if repeated := next((name for name, count in counts.items() if count > 1), None):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {repeated!r} is repeated")
        return super().construct_mapping(node, deep)


def parse_card_fields(fields: Mapping[Any, Any], place: str) -> Card:
    """Return the card with these fields. Raises DataError whose message begins with `place`, then names the field."""
    try:
        return Card.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        location = [str(part) for part in first["loc"]]
        if len(location) > 1 and isinstance(by_name := fields.get(location[0]), dict) and location[1].isdigit():
            location[1] = str(list(by_name)[int(location[1])])
        name, message = ".".join(location), first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            parts: dict[str, type[BaseModel]] = {"sections": CardSection, "subsets": CardSubset}
            owner = parts.get(location[0] if len(location) > 1 else "", Card)
            raise DataError(f"{place}{name}: unknown field; the fields are {', '.join(owner.model_fields)}") from error
        field = f"{name}: {_shown(first['input'])}" if name else ""
        raise DataError(f"{place}{field}{message[0].lower()}{message[1:]}") from error


def _shown(value: Any) -> str:
    """Return a wrong value for a message, "" for one that is not short."""
    is_short = isinstance(value, str | float | bool | None) or (isinstance(value, int) and value.bit_length() < 64)
    return f"is {repr(value)[:LONGEST_QUOTE]}: " if is_short else ""
