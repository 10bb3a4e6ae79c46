"""Render a comparison: verdicts, scores side by side, disagreements, and views of the score files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from rb_core.leaderboard.style_text import odds_text
from rb_core.leaderboard.verdict import p_text, points
from rb_core.space.compare import charts
from rb_core.space.html import render

Plain = Mapping[str, Any]

ALL_EXAMPLES = "All examples"


def comparison_html(comparison: Plain) -> Markup:
    """Return the whole report of a comparison."""
    names = short_names([model["name"] for model in comparison["models"]])
    return render(
        "compare/report.html",
        comparison=comparison,
        names=names,
        row_groups=row_groups(comparison["rows"]),
        axis=charts.difference_axis(comparison["pairs"]),
        tick_text=lambda difference: points(difference).removesuffix(".0"),
        disagreements=[
            (pair, disagreement_rows(comparison["rows"], i, pair)) for i, pair in enumerate(comparison["pairs"])
        ],
        model_address=lambda name: "?" + urlencode({"tab": "model", "model": name, "board": comparison["benchmark"]}),
        examples_address=partial(_examples_address, comparison["benchmark"]),
        quantile_labels=lambda quantiles: [f"{100 * float(level):.0f}%" for level in quantiles],
        points=points,
        odds_text=odds_text,
        p_text=p_text,
        charts=charts,
    )


def _examples_address(benchmark: str, pair: Plain, name: str, subset: str) -> str:
    """Return the address of the examples of a subset, or of all, that a filter with two models selects."""
    fields = {"tab": "examples", "board": benchmark, "subset": subset, "filter": name}
    fields |= {"a": pair["a"], "b": pair["b"]}
    return "?" + urlencode({field: value for field, value in fields.items() if value})


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return each name without its organisation, or in full if two models have the same short name."""
    counts = Counter(name.rpartition("/")[2] for name in names)
    return {name: short if counts[short := name.rpartition("/")[2]] == 1 else name for name in names}


def row_groups(rows: Sequence[Plain]) -> list[tuple[str, list[Plain], float]]:
    """Return (title, rows, reach of their differences): score and sections, then each section's subsets."""
    groups = {"": [row for row in rows if row["level"] != "subset"]}
    for row in rows:
        if row["level"] == "subset":
            title = f"Subsets of {row['section']}" if row["section"] else "Subsets in no section"
            groups.setdefault(title, []).append(row)
    return [(title, members, reach_of(members)) for title, members in groups.items() if members]


def reach_of(rows: Sequence[Plain]) -> float:
    """Return the largest absolute value of the rows' differences and of their intervals' ends."""
    differences = [pair["difference"] for row in rows for pair in row["pairs"]]
    ends = [difference[name] for difference in differences for name in ("value", "low", "high")]
    return max((abs(end) for end in ends if end is not None), default=0.0)


def disagreement_rows(rows: Sequence[Plain], pair_index: int, pair: Plain) -> list[tuple[str, Plain]]:
    """Return (name, counts) of all examples and of each subset; empty without outcomes of single examples."""
    if pair["agreement"] is None:
        return []
    subsets = [(row["name"], row["pairs"][pair_index]["agreement"]) for row in rows if row["level"] == "subset"]
    return [(ALL_EXAMPLES, pair["agreement"]), *((name, counts) for name, counts in subsets if counts)]
