"""The accuracy at equal style in words, and as JSON for pages and endpoints."""

from __future__ import annotations

import math
from typing import Any

from rb_core.results.estimate import StyleControl, StyleEffect


def style_sentences(style: StyleControl) -> list[str]:
    """Return the controlled and the plain accuracy, and the effects of the features; or why they are not known."""
    if style.value is None or style.low is None or style.high is None:
        return [f"The accuracy at equal style is not known: {style.reason}."]
    controlled, low, high, plain = (f"{100 * value:.1f}" for value in (style.value, style.low, style.high, style.plain))
    effects = (f"{name}: {_effect_text(effect)}" for name, effect in style.effects.items())
    return [
        f"Accuracy at equal {' and '.join(style.effects)}: {controlled} ({low} to {high}); plain {plain}, both on "
        f"{style.examples:,} examples.",
        f"Odds of being preferred with twice the {'; with twice the '.join(effects)}.",
    ]


def _effect_text(effect: StyleEffect) -> str:
    ends = odds_text(effect.low), odds_text(effect.high)
    return f"{odds_text(effect.value)} times" + (f" ({' to '.join(ends)})" if len(set(ends)) > 1 else "")


def style_json(style: StyleControl | None) -> dict[str, Any] | None:
    """Return the record with its sentences as `text`; None without a record."""
    return None if style is None else style.model_dump(mode="json") | {"text": " ".join(style_sentences(style))}


def odds_text(log_odds: float) -> str:
    """Return the odds ratio with two decimals; a limit for one that is too extreme to be measured."""
    if abs(log_odds) > math.log(100):
        return ">100" if log_odds > 0 else "<0.01"
    return f"{math.exp(log_odds):.2f}"
