"""Render a recommendation. Names come from results that others wrote: the template escapes all of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from rb_core.leaderboard.comparison import MAX_MODELS
from rb_core.space.html import Plain, render
from rb_core.space.model.report import size_text


def recommendation_html(answer: Plain) -> Markup:
    """Return the whole recommendation."""
    return render(
        "choose/report.html",
        answer=answer,
        axis=score_axis(answer["group"]),
        summary=summary_text(answer),
        size_text=size_text,
        model_address=lambda name: _address(answer, tab="model", model=name),
        compare_address=_address(
            answer, tab="compare", models=",".join(entry["model"] for entry in answer["group"][:MAX_MODELS])
        ),
    )


def _address(answer: Plain, **fields: str) -> str:
    return "?" + urlencode(fields | {"board": answer["benchmark"]})


def summary_text(answer: Plain) -> str:
    """Return the recommendation in one sentence."""
    tied, candidates = answer["tied"], answer["candidates"]
    if not candidates:
        return "No model fits: allow more sizes, licences or degrees of openness."
    if not tied:
        return f"None of the {candidates} candidates has an interval, so that no group can be named."
    if candidates == 1:
        return "One model fits."
    if tied == 1:
        return f"One of {candidates} candidates is significantly better than all others."
    return f"{tied} of {candidates} candidates cannot be told apart: no candidate is significantly better than these."


def score_axis(group: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the ends of an axis that holds the scores of a group and their intervals, as fractions."""
    ends = [end for entry in group for name in ("value", "low", "high") if (end := entry["score"][name]) is not None]
    return (min(ends), max(ends)) if ends and max(ends) > min(ends) else (0.0, 1.0)
