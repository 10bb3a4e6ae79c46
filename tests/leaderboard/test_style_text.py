from __future__ import annotations

import math

import pytest

from rb_core.leaderboard.style_text import odds_text, style_json, style_sentences
from rb_core.results.estimate import StyleControl, StyleEffect


def test_accuracy_and_effects_are_said_in_two_sentences() -> None:
    effects = {
        "length": StyleEffect(value=math.log(1.5), low=math.log(1.2), high=math.log(1.875)),
        "markdown": StyleEffect(value=0.0, low=-9.0, high=9.0),
    }
    style = StyleControl(value=0.612, stderr=0.02, low=0.57, high=0.653, plain=0.63, examples=1843, effects=effects)
    assert style_sentences(style) == [
        "Accuracy at equal length and markdown: 61.2 (57.0 to 65.3); plain 63.0, both on 1,843 examples.",
        "Odds of being preferred with twice the length: 1.50 times (1.20 to 1.88); with twice the markdown: 1.00 times "
        "(<0.01 to >100).",
    ]


def test_without_a_value_there_is_the_reason() -> None:
    style = StyleControl(plain=0.97, examples=100, reason="3 of 100 examples are wrong; at least 10 are needed")
    text = "The accuracy at equal style is not known: 3 of 100 examples are wrong; at least 10 are needed."
    assert style_sentences(style) == [text]
    assert style_json(style) == style.model_dump(mode="json") | {"text": text}
    assert style_json(None) is None


@pytest.mark.parametrize(
    ("log_odds", "text"), [(0.0, "1.00"), (-0.7, "0.50"), (4.6, "99.48"), (4.7, ">100"), (-800.0, "<0.01")]
)
def test_odds_that_cannot_be_measured_are_limits(log_odds: float, text: str) -> None:
    assert odds_text(log_odds) == text


def test_an_effect_beyond_all_limits_has_no_interval() -> None:
    effects = {"length": StyleEffect(value=40.0, low=9.0, high=80.0)}
    style = StyleControl(value=0.3, low=0.1, high=0.6, plain=0.5, examples=142, effects=effects)
    assert style_sentences(style)[1] == "Odds of being preferred with twice the length: >100 times."
