"""Edit distance against the table of Wagner and Fischer; noise of a given distance."""

from __future__ import annotations

import random

import pytest

from rb_core.audits.fairness.dialect_rules import AFRICAN_AMERICAN_ENGLISH, rewrite
from rb_core.audits.fairness.own_texts import own_items
from rb_core.audits.fairness.spelling_noise import TextChange, add_noise, edit_distance, measure_change

EVERYDAY = [item for item in own_items() if item.group == "as written"]
TEXTS = [text for item in EVERYDAY for text in (item.prompt[0]["content"], *item.completions)]


def table_distance(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for index, letter in enumerate(first, 1):
        previous, row = row, [index]
        for column, other in enumerate(second, 1):
            row.append(min(previous[column] + 1, row[-1] + 1, previous[column - 1] + (letter != other)))
    return row[-1]


def test_edit_distance_is_that_of_the_table() -> None:
    rng = random.Random(0)
    for _ in range(300):
        first, second = ("".join(rng.choices("abc ", k=rng.randrange(14))) for _ in range(2))
        assert edit_distance(first, second) == table_distance(first, second)
    long = TEXTS[0] * 3
    assert edit_distance(long, long[5:] + "x") == table_distance(long, long[5:] + "x")


def test_the_control_of_each_own_text_has_the_distance_and_length_of_its_dialect() -> None:
    changed = 0
    for text in TEXTS:
        dialect = rewrite(text, AFRICAN_AMERICAN_ENGLISH)
        change = measure_change(text, dialect)
        noisy = measure_change(text, add_noise(text, change, "key"))
        assert (noisy.distance, noisy.growth) == (change.distance, change.growth), text
        changed += dialect != text
    assert changed == len(TEXTS)


def test_noise_keeps_first_letters_digits_and_punctuation() -> None:
    text = "Meet me at 10:45, by gate B-12 (not the old one)!"
    noisy = add_noise(text, TextChange(distance=6, growth=0, words=4), "key")
    assert noisy != text
    assert [letter for letter in noisy if not letter.isalpha()] == [letter for letter in text if not letter.isalpha()]
    assert [word[0] for word in noisy.split()] == [word[0] for word in text.split()]


def test_the_key_fixes_the_noise() -> None:
    change = TextChange(distance=5, growth=-2, words=3)
    noisy = add_noise(TEXTS[0], change, "one")
    assert add_noise(TEXTS[0], change, "one") == noisy != add_noise(TEXTS[0], change, "two")


@pytest.mark.parametrize("text", ["", "7", "a b"])
def test_a_text_without_room_gets_what_fits(text: str) -> None:
    assert add_noise(text, TextChange(distance=9, growth=3, words=2), "key") == text
