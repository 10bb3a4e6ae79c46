"""Parameter counts of models."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

from rb_core.results.schema import Result


def num_parameters(result: Result) -> int | None:
    """Return the model's number of parameters: as its run counted them, else from sizes.csv, else None."""
    return result.model.parameters or sizes().get(result.model.name)


@lru_cache(maxsize=1)
def sizes() -> Mapping[str, int]:
    """Return the parameter counts of published models by name, as the name or the model card states them."""
    text = resources.files(__package__).joinpath("sizes.csv").read_text(encoding="utf-8")
    return {row["model"]: int(float(row["parameters"])) for row in csv.DictReader(io.StringIO(text))}
