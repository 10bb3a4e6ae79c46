"""All layouts, the most specific first, and reading rows with them."""

from __future__ import annotations

from rb_core.benchmarks.layouts import comparisons, grouped, lists, pairs
from rb_core.benchmarks.layouts.base import Layout

LAYOUTS: tuple[Layout, ...] = (
    comparisons.NAMED_CHOICE,
    *pairs.LAYOUTS,
    *grouped.LAYOUTS,
    *lists.LAYOUTS,
    *comparisons.LAYOUTS,
)
