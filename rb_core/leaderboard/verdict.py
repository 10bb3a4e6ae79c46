"""The difference of two models in words."""

from __future__ import annotations

from rb_core.results.estimate import Estimate


def verdict(a: str, b: str, difference: Estimate, p: float | None, better: str | None, *, adjusted: bool) -> str:
    """Return the result of a comparison as a sentence.

    Args:
        difference: score of model `a` minus that of `b`.
        better: name of the significantly better model, None without one.
        adjusted: `p` is adjusted for other comparisons.
    """
    value, low, high = difference.value, difference.low, difference.high
    if value is None:
        return f"{a} and {b} cannot be compared overall: they do not have all required sections in common."
    ahead, behind, sign = (a, b, 1) if value >= 0 else (b, a, -1)
    amount = f"{abs(100 * value):.1f} points"
    if p is None:
        return f"{ahead} leads {behind} by {amount}; whether that is noise is unknown."
    interval = ""
    if low is not None and high is not None:
        ends = (points(end).removeprefix("+") for end in sorted((sign * low, sign * high)))
        interval = f"95% interval {' to '.join(ends)}, "
    evidence = f"({interval}{p_text(p)}{' by Holm' if adjusted else ''})"
    if better:
        return f"{ahead} is better than {behind} by {amount} {evidence}."
    if amount == "0.0 points":
        return f"No clear difference: {a} and {b} score the same to a tenth of a point {evidence}."
    return f"No clear difference: {ahead} leads {behind} by {amount}, within noise {evidence}."


def points(value: float) -> str:
    """Return a difference in percentage points with its sign, a typographic minus for negative ones."""
    rounded = round(100 * value, 1)
    return f"{'+' if rounded > 0 else '−' if rounded < 0 else ''}{abs(rounded):.1f}"


def p_text(p: float) -> str:
    """Return a p value as text: three decimals below 0.1, two above."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
