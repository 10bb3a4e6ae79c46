"""Each feature in the contexts in which its source attests it, and not in others."""

from __future__ import annotations

import pytest

from rb_core.audits.fairness.dialect_rules import (
    AFRICAN_AMERICAN_ENGLISH,
    Feature,
    features_named,
    rewrite,
)
from rb_core.errors import DataError


@pytest.mark.parametrize("feature", AFRICAN_AMERICAN_ENGLISH, ids=lambda feature: feature.name)
def test_a_feature_makes_its_own_example_and_nothing_else_of_it(feature: Feature) -> None:
    original, changed = feature.example
    assert feature.rewrite(original) == changed
    assert feature.rewrite(changed) == changed


@pytest.mark.parametrize(
    ("feature", "text"),
    [
        ("copula-absence", "I'm late. That's who she is. It's cold. She was here. They've left. She's been here."),
        ("habitual-be", "There's always a way. She's always been kind."),
        ("negative-concord", "I don't mind, and anyone can come. If anyone calls, say so."),
        ("aint", "Didn't you call? They didn't, did they?"),
        ("third-person-s-absence", "He was here. She saw us. It is his. They bus tables. She is serious."),
        ("possessive-s-absence", "The bag is my sister's. The city's office is open."),
        ("in-for-ing", "Bring the thing to the king in spring. Anything goes."),
        ("existential-it", "There he is. Put it there."),
        ("completive-done", "I have paid already. He has already been there."),
    ],
)
def test_a_feature_leaves_other_contexts_alone(feature: str, text: str) -> None:
    assert rewrite(text, features_named([feature])) == text


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("She doesn't tell anyone anything.", "She don't tell nobody nothin'."),
        ("They aren't going anywhere anymore.", "They ain't goin' nowhere no more."),
        ("Isn't she coming?", "Ain't she comin'?"),
        ("Why are you waiting? He's tired.", "Why you waitin'? He tired."),
        ("My mother's garden always grows.", "My mother garden always grows."),
        ("She tries, watches, misses and goes.", "She try, watches, misses and goes."),
        ("He goes. She has time. My boss says no.", "He go. She have time. My boss say no."),
    ],
)
def test_features_work_together(text: str, changed: str) -> None:
    assert rewrite(text, AFRICAN_AMERICAN_ENGLISH) == changed


def test_only_the_chosen_features_are_applied() -> None:
    text = "She isn't working."
    assert rewrite(text, features_named(["in-for-ing"])) == "She isn't workin'."
    assert rewrite(text, ()) == text


def test_an_unknown_feature_is_named_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"--features: 'slang' is not a feature; the features are negative-concord, .*"):
        features_named(["slang"])
