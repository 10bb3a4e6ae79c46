"""The difference of two models in words."""

from __future__ import annotations

from rb_core.results.estimate import Estimate

MAX_FURTHER = 1_000_000  # examples that somebody may collect


def verdict(
    a: str,
    b: str,
    difference: Estimate,
    p: float | None,
    better: str | None,
    *,
    adjusted: bool,
    unscored: int | None = None,
) -> str:
    """Return the result of a comparison as a sentence.

    Args:
        difference: score of model `a` minus that of `b`.
        better: name of the significantly better model, None without one.
        adjusted: `p` is adjusted for other comparisons.
        unscored: number of examples that one of the models did not score, None where not known.
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
    number = "unscored examples" if unscored is None else f"{unscored:,} unscored example{'s' * (unscored != 1)}"
    reasons = ["within noise"] if low is None or high is None or low <= 0 <= high else []
    reasons += [f"the {number} could change it"] if can_turn(difference) else []
    if amount == "0.0 points":
        reasons[:1] = ["to a tenth of a point"]
        return f"No clear difference: {a} and {b} score the same {' and '.join(reasons)} {evidence}."
    return f"No clear difference: {ahead} leads {behind} by {amount}, {' and '.join(reasons)} {evidence}."


def can_turn(difference: Estimate) -> bool:
    """Return True if unscored examples could give the other model the lead, by the bounds of the difference."""
    value, floor, ceiling = difference.value or 0.0, difference.floor, difference.ceiling
    return (floor is not None and floor < 0 <= value) or (ceiling is not None and value <= 0 < ceiling)


def power_text(detectable: float | None, further: int | None = None) -> str:
    """Return the smallest detectable difference, and how many more examples would settle this one; empty if not known.

    further: see `PairedDifference`.
    """
    if detectable is None:
        return ""
    sentence = f"Smallest detectable difference: {abs(100 * detectable):.1f} points (80% power)."
    if not further:
        return sentence
    if further > MAX_FURTHER:
        return f"{sentence} This lead is too small to be settled."
    more = f"{round(further, min(2 - len(str(further)), 0)):,}"
    return f"{sentence} About {more} more example{'s' * (further != 1)} would settle this lead."


def points(value: float) -> str:
    """Return a difference in percentage points with its sign, a typographic minus for negative ones."""
    rounded = round(100 * value, 1)
    return f"{'+' if rounded > 0 else '−' if rounded < 0 else ''}{abs(rounded):.1f}"


def p_text(p: float) -> str:
    """Return a p value as text: three decimals below 0.1, two above."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
