from __future__ import annotations

import pytest

from rb_core.space.try_a_pair.available_models import ALWAYS_AVAILABLE
from rb_core.space.try_a_pair.question import make_question
from rb_core.space.try_a_pair.samples import SAMPLES, example_question, starter_subsets
from tests.space.try_a_pair.conftest import TINY, score_text


@pytest.mark.parametrize("label", SAMPLES)
def test_the_built_in_model_ranks_the_samples_as_their_labels_promise(label: str) -> None:
    sample = SAMPLES[label]
    ranks = [completion.rank for completion in score_text(TINY, sample.prompt, sample.completions).completions]
    assert ranks == ([1, 1] if label == "A tie" else sorted(ranks))
    assert len(set(sample.completions)) == len(set(ranks))


def test_every_starter_example_is_a_valid_question_with_its_turns_in_order() -> None:
    for examples in starter_subsets().values():
        for example in examples:
            asked = example_question(example)
            assert asked.conversation == example.prompt
            assert make_question(
                TINY, asked.prompt, asked.completions, asked.system, asked.turns, offered=ALWAYS_AVAILABLE
            )
    assert len(starter_subsets()) == 13
