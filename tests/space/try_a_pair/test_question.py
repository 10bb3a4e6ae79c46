"""Questions from JSON and links: what is accepted, and the messages for what is not."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rb_core.space.limits import InputError
from rb_core.space.try_a_pair.available_models import ALWAYS_AVAILABLE
from rb_core.space.try_a_pair.question import (
    MAX_ALL_CHARACTERS,
    MAX_COMPLETIONS,
    MAX_LINK,
    EmptyCompletionError,
    Question,
    make_question,
    question_from_json,
    question_from_link,
)
from tests.space.try_a_pair.conftest import TINY

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
visible_texts = texts.filter(lambda text: text.strip())
questions = st.builds(
    Question,
    models=st.lists(st.sampled_from(ALWAYS_AVAILABLE), min_size=1, max_size=3, unique=True).map(tuple),
    prompt=visible_texts,
    completions=st.lists(texts, min_size=2, max_size=MAX_COMPLETIONS).map(tuple),
    system=texts,
    exchanges=st.lists(st.tuples(visible_texts, visible_texts), max_size=4).map(tuple),
)


def pack(value: Any) -> str:
    """Return JSON as a link holds it; bytes are taken for the JSON."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@settings(max_examples=40)
@given(questions)
def test_a_link_and_a_file_restore_the_question(question: Question) -> None:
    assert question_from_link(pack(question.as_json()), ALWAYS_AVAILABLE) == question
    assert question_from_json(json.dumps(question.as_json()), ALWAYS_AVAILABLE) == question


@settings(max_examples=40)
@given(st.one_of(st.text(), st.binary().map(lambda b: b.decode("latin-1"))))
def test_text_that_is_no_question_raises_only_input_error(text: str) -> None:
    for read in (question_from_json, question_from_link):
        with pytest.raises(InputError):
            read(text, ALWAYS_AVAILABLE)


nested = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)
fields = st.sampled_from(["models", "system", "turns", "prompt", "completions", "chosen", "rejected"])


@settings(max_examples=60)
@given(st.dictionaries(fields, nested))
def test_an_object_with_fields_of_any_type_raises_only_input_error(value: dict[str, Any]) -> None:
    try:
        question = question_from_json(json.dumps(value), ALWAYS_AVAILABLE, [TINY])
    except InputError:
        return
    assert len(question.completions) >= 2


BAD_LINKS: dict[str, Any] = {
    "none": None,
    "empty": "",
    "no-base64": "%%%",
    "one-character": "A",
    "no-utf8": pack(b"\xff\xfe\xfa"),
    "no-json": pack(b"{prompt}"),
    "number": pack(5),
    "list": pack([1, 2]),
    "null": pack(None),
    "empty-object": pack({}),
    "deep": pack(b"[" * 9000),
    "huge": "A" * (MAX_LINK + 1),
    "no-completions": pack({"prompt": "Hi"}),
    "completions-text": pack({"prompt": "Hi", "completions": "ab"}),
    "unlisted": pack({"models": ["org/other"], "prompt": "Hi", "completions": ["a", "b"]}),
    "models-number": pack({"models": 5, "prompt": "Hi", "completions": ["a", "b"]}),
    "surrogate": pack({"prompt": "\ud800", "completions": ["a", "b"]}),
    "prompt-of-numbers": pack({"prompt": [1, 2], "completions": ["a", "b"]}),
    "prompt-of-nothing": pack({"prompt": [], "completions": ["a", "b"]}),
    "prompt-ends-wrong": pack({"prompt": [{"role": "assistant", "content": "a"}], "completions": ["a", "b"]}),
    "turns-number": pack({"prompt": "Hi", "turns": 7, "completions": ["a", "b"]}),
    "chosen-object": pack({"prompt": "Hi", "chosen": {"a": 1}, "rejected": "b"}),
    "not-a-number": pack(b'{"prompt": NaN, "completions": [Infinity, 1]}'),
}


@pytest.mark.parametrize("name", BAD_LINKS)
def test_a_bad_link_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(InputError, match=r"\w+ .*\."):
        question_from_link(BAD_LINKS[name], ALWAYS_AVAILABLE, [TINY])


def test_json_that_is_too_large_is_not_parsed() -> None:
    with pytest.raises(InputError, match="at most"):
        question_from_json('{"prompt": "' + "x" * 1_000_000 + '"}', ALWAYS_AVAILABLE)


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
    question = question_from_json(json.dumps(row), ALWAYS_AVAILABLE, [TINY])
    completions = ("Seven.", "Nine.", "Eight.")
    assert question == Question((TINY,), "Name a prime.", completions, "Be brief.", (("Hi", "Hello."),))
    assert [turn["role"] for turn in question.conversation] == ["system", "user", "assistant", "user"]


def test_all_fields_together_have_a_limit() -> None:
    with pytest.raises(InputError, match=f"All fields together .* at most {MAX_ALL_CHARACTERS:,}"):
        make_question(TINY, "Hi", ["x" * 19_000] * 5, offered=ALWAYS_AVAILABLE)


def test_empty_completions_need_a_confirmation_that_is_exactly_true() -> None:
    with pytest.raises(EmptyCompletionError, match="Completions 1, 3 are empty"):
        make_question(TINY, "Hi", ["", "x", " "], score_empty="true", offered=ALWAYS_AVAILABLE)
    question = make_question(TINY, "Hi", ["", "x"], score_empty=True, offered=ALWAYS_AVAILABLE)
    assert question.completions == ("", "x")
