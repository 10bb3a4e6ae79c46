from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rb_core.space.try_a_pair.question import Question
from rb_core.space.try_a_pair.what_if import (
    CHANGES,
    CHANGES_BY_ID,
    ChangeEffect,
    ScoreChange,
    change_effects,
    changed_texts,
)
from tests.space.try_a_pair.conftest import ANSWERS, PROMPT, TINY, bundled_models


@settings(max_examples=50)
@given(st.text(max_size=200))
def test_every_change_applies_to_any_text(text: str) -> None:
    for change in CHANGES:
        assert change.apply(text) == change.apply(text)


def test_a_worse_completion_that_overtakes_a_better_one_is_named() -> None:
    effect = ChangeEffect("m", CHANGES[0], (ScoreChange(1.0, 1.5), ScoreChange(0.0, 1.2), ScoreChange(None, 3.0)))
    assert effect.overtakes == [(1, 0)]
    assert effect.mean == pytest.approx(0.85)


def test_a_change_scores_the_same_as_the_changed_text_typed_in() -> None:
    scorer = bundled_models()
    changes = (CHANGES_BY_ID["polite"], CHANGES_BY_ID["refusal"])
    question = Question((TINY, "baseline/longest"), PROMPT, ANSWERS)
    scores = scorer.score_texts(question, changed_texts(ANSWERS, changes))
    effects = change_effects(question.models, changes, 2, scores)
    assert [(effect.model, effect.change) for effect in effects] == [
        (model, change) for model in question.models for change in changes
    ]
    for effect in effects:
        for completions, values in (
            (ANSWERS, [score.before for score in effect.scores]),
            (tuple(map(effect.change.apply, ANSWERS)), [score.after for score in effect.scores]),
        ):
            typed = scorer.score(Question((effect.model,), PROMPT, completions))[0]
            assert values == pytest.approx([completion.value for completion in typed.completions], abs=1e-5)
