"""Parameter counts of models."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

from rb_core.results.schema import Result


def parameters(result: Result) -> int | None:
    """The model's number of parameters: as loaded by a run, else as `sizes` has it; None where not known."""
    return result.model.parameters or sizes().get(result.model.name)


@lru_cache(maxsize=1)
def sizes() -> Mapping[str, int]:
    """Numbers of parameters of published models, as the name or the card says, by the model's name."""
    text = resources.files(__package__).joinpath("sizes.csv").read_text(encoding="utf-8")
    return {row["model"]: int(float(row["parameters"])) for row in csv.DictReader(io.StringIO(text))}
