from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rb_core.audits.robustness.changes import (
    PRESSURE,
    SAME_MEANING,
    as_markdown,
    blank_ends,
    lower_case,
    no_final_stop,
    numbers_as_digits,
    one_sentence_per_line,
    other_contractions,
    other_list_marks,
    other_punctuation,
    other_spelling,
    other_units,
    padded,
    paraphrased,
    spaced_sentences,
    without_markdown,
)

CHANGES = (*SAME_MEANING, *PRESSURE)
KEPT = (
    "```python\nx = 'two'  # It isn't. Colour\n- y * 5 km\n```",
    "`Colour. Isn't`",
    "$x = 5 m. Two$",
    "https://example.org/Colour.It-isn't",
    "Colour.Two@example.org",
)
PIECES = (
    *KEPT,
    "The colour isn't gray.", "It is 5 km long, or 1 h away.", "You cannot buy two or three of them!", "\n", "\n\n",
    "**Bold** and *thin* words.", "\n- an item\n- a second one\n", "\n1. The first\n2. The second.\n", "\n## Title\n",
    "“Quoted” – well…", "\"Quoted\" - well...", "Is it 25% of 3,000?", "Dr. Brown organised it, for example.",
    "NASA", "don't you", "100 °C", "| a | b |",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map(" ".join).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_no_change_touches_code_formulas_links_and_numbers(text: str) -> None:
    for change in CHANGES:
        changed = change.apply(text)
        assert changed == change.apply(text)
        factor = 2 if change.id == "doubled" else 1
        for kept in KEPT:
            assert changed.count(kept) == factor * text.count(kept), change.id
        before, after = (Counter(re.findall(r"\d+", each)) for each in (text, changed))
        added = after - before
        assert not (before - after), change.id
        assert change.id in ("digits", "doubled") or not added, change.id


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_changes_to_one_form_change_nothing_the_second_time(text: str) -> None:
    for apply in (
        spaced_sentences, one_sentence_per_line, blank_ends, no_final_stop, lower_case, numbers_as_digits, paraphrased,
        without_markdown,
    ):  # fmt: skip
        assert apply(apply(text)) == apply(text), apply.__name__


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_changes_to_the_other_form_are_undone_by_a_second_time(text: str) -> None:
    assert other_list_marks(other_list_marks(text)) == text
    for apply in (other_spelling, other_contractions):
        assert apply(apply(text)) == text


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_layouts_keep_every_word(text: str) -> None:
    for change in SAME_MEANING[:3]:
        assert change.apply(text).split() == text.split()
    words = re.sub(r"^- ", "", as_markdown(text).removeprefix("## Answer"), flags=re.MULTILINE).split()
    assert Counter(words) == Counter(re.sub(r"^[-*] ", "", text, flags=re.MULTILINE).split()) or "```" in text


@settings(max_examples=30, deadline=None)
@given(TEXTS)
def test_padding_is_as_long_as_the_text_and_pressure_keeps_it_whole(text: str) -> None:
    assert len(padded(text).split()) >= 2 * len(text.split())
    assert all(text.strip() in change.apply(text) for change in PRESSURE)


@pytest.mark.parametrize(
    ("change", "text", "changed"),
    [
        ("double-spaces", "1. Go. Then stop.", "1. Go.  Then stop."),
        ("sentence-lines", "Ask Dr. Brown. He knows.", "Ask Dr. Brown.\nHe knows."),
        ("punctuation", "It's \"so\" - well...", "It’s “so” – well…"),
        ("punctuation", "It’s “so” – well…", "It's \"so\" - well..."),
        ("final-stop", "Yes. It is.", "Yes. It is"),
        ("final-stop", "Wait...", "Wait..."),
        ("lower-case", "I like NASA and Paris.", "I like NASA and paris."),
        ("contractions", "You cannot see that it isn't so.", "You can't see that it is not so."),
        ("contractions", "Why don't you see that it is so?", "Why don't you see that it is so?"),
        ("spelling", "The Colours of the center", "The Colors of the centre"),
        ("spelling", "Di por favor", "Di por favor"),
        ("digits", "Two of the twelve, and two hundred", "2 of the 12, and two hundred"),
        ("units", "It is 1 km, 1.5 h, 3 hours and 25%", "It is 1 kilometre, 1.5 hours, 3 h and 25 percent"),
        ("units", "1 kilometre and 25 percent", "1 km and 25%"),
        ("units", "It is 3 m + 2 and 40m² and 5g", "It is 3 m + 2 and 40m² and 5g"),
        ("paraphrase", "For example, it is usually large.", "For instance, it is normally big."),
        ("no-markdown", "## So\n**a** and *b* of 2*3*4", "So\na and b of 2*3*4"),
        ("markdown", "One. Two.\n- x", "## Answer\n\n- One.\n- Two.\n- x"),
        ("list-as-prose", "Take:\n- salt\n- oil\n\n1. Mix.\n2. Rest.", "Take:\nsalt; oil.\n\n(1) Mix. (2) Rest."),
        ("list-marks", "- a\n  * b\n1. c\n2) d", "* a\n  - b\n1) c\n2. d"),
    ],
)  # fmt: skip
def test_examples_of_changes(change: str, text: str, changed: str) -> None:
    (apply,) = (each.apply for each in SAME_MEANING if each.id == change)
    assert apply(text) == changed


def test_quotation_marks_come_back() -> None:
    text = "It's \"so\" - well... ('then')"
    assert other_punctuation(other_punctuation(text)) == text
    assert other_units(other_units("5 km, 20% and 1 hour")) == "5 km, 20% and 1 hour"
