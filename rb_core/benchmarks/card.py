"""The card of a user's own data: what they are, and how they are scored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rb_core.errors import DataError, first_line
from rb_core.stats.metrics import ACCURACY, BEST, PAIRS
from rb_core.stats.metrics.base import Metric, TieCredit

MetricName = Literal["all", "pairs", "best"]
METRICS_OF_CARDS: Mapping[MetricName, Metric] = {"all": ACCURACY, "pairs": PAIRS, "best": BEST}
SUFFIX = ".card.yaml"

Text = Annotated[str, Field(max_length=2000)]


class Card(BaseModel):
    """Description and settings of a user's own data.

    metric: what an example earns. `all`: 1 if every chosen completion scores above every rejected one; `pairs`: the
        share of (chosen, rejected) pairs in which the chosen one scores higher; `best`: 1 if the best chosen one scores
        above every rejected one.
    ties: what a tie earns. `none`: 0; `half`: 1/2; `split`: 1/k for k completions with the top score, 1/2 for a pair.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    title: Text = ""
    description: Text = ""
    url: Annotated[str, Field(max_length=2000, pattern=r"^(https?://\S*)?$")] = ""
    licence: Text = ""
    citation: Text = ""
    metric: MetricName = "all"
    ties: TieCredit = "split"

    def settings(self) -> list[str]:
        """Return the settings that differ from the defaults."""
        return [value for name in ("metric", "ties") if (value := getattr(self, name)) != getattr(Card(), name)]


def read_card(data: Path) -> Card:
    """Return the card of a file or folder, `NAME.card.yaml` beside it; the default card without such a file.

    Raises DataError, naming file and field, for a card that cannot be read.
    """
    path = data.with_name(data.name + SUFFIX)
    if not os.path.isfile(path):  # noqa: PTH113 - False as well for a name that is too long
        return Card()
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path.name}: not readable YAML: {first_line(error)}") from error
    if not isinstance(fields, dict):
        raise DataError(f"{path.name}: expected fields such as 'metric: pairs'")
    return _check(fields, f"{path.name}: ")


def with_options(card: Card, metric: str | None, ties: str | None) -> Card:
    """Return the card with the settings that are given as options. Raises DataError for an unknown one."""
    given = {"metric": metric, "ties": ties}
    return _check(card.model_dump() | {name: value for name, value in given.items() if value is not None}, "--")


def _check(fields: Mapping[Any, Any], place: str) -> Card:
    try:
        return Card.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise DataError(f"{place}{name}: unknown field; the fields are {', '.join(Card.model_fields)}") from error
        raise DataError(f"{place}{name}: is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}") from error
