"""Results made by hand."""

from __future__ import annotations

from typing import Any

from rb_core.results.estimate import Estimate
from rb_core.results.schema import BenchmarkRef, ModelRef, Published, Result


def published(name: str = "org/model", **changes: Any) -> Result:
    """Return a published result on `starter` with a headline of 0.5, or with the fields in `changes`."""
    fields: dict[str, Any] = {
        "status": "published",
        "benchmark": BenchmarkRef(id="starter", title="Starter", source="somewhere"),
        "model": ModelRef(name=name, kind="classifier"),
        "headline": Estimate(value=0.5),
        "published": Published(source="a paper"),
    }
    return Result(**fields | changes)
