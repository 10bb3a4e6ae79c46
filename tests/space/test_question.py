"""What a question may be, and how it gets into a link, into JSON and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rb_core.results.score_table import Score
from rb_core.space.limits import InputError
from rb_core.space.try_a_pair.agreement import agreements, place
from rb_core.space.try_a_pair.available_models import ALWAYS
from rb_core.space.try_a_pair.question import (
    MAX_ALL_CHARACTERS,
    MAX_COMPLETIONS,
    EmptyCompletionError,
    Question,
    ask,
    from_json,
    from_link,
    to_link,
)
from rb_core.space.try_a_pair.scoring import Outcome, ScoredCompletion, sigmoid
from rb_core.space.try_a_pair.tab import as_question, starter_sets
from rb_core.space.try_a_pair.what_if import CHANGES, Moved, Shift, as_markdown

TINY = "builtin/tiny-rm"
texts = some.text(some.characters(exclude_categories=["Cs"]), max_size=60)
said = texts.filter(lambda text: text.strip())
questions = some.builds(
    Question,
    models=some.lists(some.sampled_from(ALWAYS), min_size=1, max_size=3, unique=True).map(tuple),
    prompt=said,
    completions=some.lists(texts, min_size=2, max_size=MAX_COMPLETIONS).map(tuple),
    system=texts,
    exchanges=some.lists(some.tuples(said, said), max_size=4).map(tuple),
)


@given(questions)
def test_a_link_and_a_file_restore_the_question(question: Question) -> None:
    """Whatever is asked comes back from a link and from JSON as it was."""
    assert from_link(to_link(question), ALWAYS) == question
    assert from_json(json.dumps(question.as_json()), ALWAYS) == question


@given(some.one_of(some.text(), some.binary().map(lambda b: b.decode("latin-1"))))
def test_any_text_as_json_or_link_is_a_question_or_refused(text: str) -> None:
    """Nothing but InputError ever comes out."""
    for read in (from_json, from_link):
        with pytest.raises(InputError):
            read(text, ALWAYS)


nested = some.recursive(
    some.one_of(some.none(), some.booleans(), some.integers(), some.floats(), some.text()),
    lambda inner: some.one_of(some.lists(inner), some.dictionaries(some.text(), inner)),
    max_leaves=8,
)
fields = some.sampled_from(["models", "system", "turns", "prompt", "completions", "chosen", "rejected"])


@given(some.dictionaries(fields, nested))
def test_any_object_is_a_question_or_refused(value: dict[str, Any]) -> None:
    """Fields of any type end in a question or in InputError."""
    try:
        question = from_json(json.dumps(value), ALWAYS, default=[TINY])
    except InputError:
        return
    assert len(question.completions) >= 2


def test_a_row_of_a_preference_file_can_be_pasted() -> None:
    """Chosen and rejected texts become completions in that order; the prompt may be a conversation."""
    row = {
        "prompt": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "Name a prime."},
        ],
        "chosen": "Seven.",
        "rejected": ["Nine.", "Eight."],
    }
    found = from_json(json.dumps(row), ALWAYS, default=[TINY])
    assert found == Question((TINY,), "Name a prime.", ("Seven.", "Nine.", "Eight."), "Be brief.", (("Hi", "Hello."),))
    assert [turn["role"] for turn in found.conversation] == ["system", "user", "assistant", "user"]


def test_all_fields_together_have_a_bound() -> None:
    """Fields that are allowed one by one may be too much together."""
    with pytest.raises(InputError, match=f"All fields together .* at most {MAX_ALL_CHARACTERS:,}"):
        ask(TINY, "Hi", ["x" * 19_000] * 5, offered=ALWAYS)


def test_an_empty_completion_is_asked_about() -> None:
    """Only a plain true says that it is meant."""
    with pytest.raises(EmptyCompletionError, match="Completions 1, 3 are empty"):
        ask(TINY, "Hi", ["", "x", " "], score_empty="true", offered=ALWAYS)
    assert ask(TINY, "Hi", ["", "x"], score_empty=True, offered=ALWAYS).completions == ("", "x")


def test_every_example_of_the_starter_sets_is_a_question() -> None:
    """What fills the form can be scored as it stands, and has its turns in order."""
    for found in starter_sets().values():
        for example in found:
            question = as_question(example)
            assert question.conversation == example.prompt
            assert ask([TINY], question.prompt, question.completions, question.system, question.turns, offered=ALWAYS)
    assert len(starter_sets()) == 13


def outcome(model: str, *values: float) -> Outcome:
    return Outcome(model, True, tuple(ScoredCompletion(Score(value, 1), None) for value in values))


def test_models_agree_and_disagree_by_pairs() -> None:
    """Each pair of completions is in the same order, the reverse, or tied by one of the two models."""
    (found,) = agreements([outcome("a", 3.0, 2.0, 1.0, 1.0), outcome("b", 1.0, 2.0, 0.5, 0.1)])
    assert (found.same, found.opposite, found.tied) == (4, 1, 1)
    assert found.split == ((0, 1),)
    assert len(agreements([outcome("a", 1.0, 2.0), outcome("b", 1.0, 2.0), outcome("c", 2.0, 1.0)])) == 3


def test_a_margin_has_its_place_among_others_by_size() -> None:
    """Smaller ones count, ties half, signs and missing ones not at all."""
    nan = float("nan")
    found = place([-1.0, 2.0, 0.5, -4.0, nan], 2.0, "Starter")
    assert found == ("Starter", (2 + 0.5) / 4, 4)
    assert place([nan], 2.0, "Starter") is None


def test_the_sigmoid_has_no_overflow() -> None:
    """Margins of any size have a probability."""
    assert sigmoid(1e4) == 1
    assert sigmoid(-1e4) == 0
    assert sigmoid(2.0) == pytest.approx(1 - sigmoid(-2.0))


@given(some.text(max_size=200))
def test_changes_are_fixed_and_total(text: str) -> None:
    """Any text can be changed, always in the same way; markdown changes no word."""
    for change in CHANGES:
        assert change.apply(text) == change.apply(text)
    assert as_markdown(text).removeprefix("## Answer").replace("\n- ", " ").split() == text.split()


def test_what_a_change_would_overtake_is_named() -> None:
    """A worse completion that, changed, is above a better one as it stands."""
    move = Moved("m", CHANGES[0], (Shift(1.0, 1.5), Shift(0.0, 1.2), Shift(None, 3.0)))
    assert move.overtakes == ((1, 0),)
    assert move.mean == pytest.approx(0.85)
