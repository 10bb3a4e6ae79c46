"""Spelling noise: typing errors of the same edit distance as a rewritten text, to tell dialect from distance.

A text in a dialect differs from the original, and a model may dislike any text that differs from what it was trained
on. The control has the same edit distance from the original and the same length as the text in dialect, in as many
words where they have room, and no dialect. So a loss beyond that of the control is not explained by edit distance.
"""

from __future__ import annotations

import hashlib
import random
import re
import string
from collections import Counter
from typing import NamedTuple

MIN_LETTERS = 2  # of a word that may get an error
_TRIES = 10


class TextChange(NamedTuple):
    """The change from one text to another.

    distance: edits of characters (Levenshtein); growth: characters that the second text has more; words: that differ.
    """

    distance: int
    growth: int
    words: int


def measure_change(original: str, changed: str) -> TextChange:
    before, after = Counter(original.split()), Counter(changed.split())
    words = max((before - after).total(), (after - before).total())
    return TextChange(edit_distance(original, changed), len(changed) - len(original), words)


def edit_distance(first: str, second: str) -> int:
    """Return the edit distance of Levenshtein, by Myers's bit vectors (1999, doi:10.1145/316542.316550).

    A column of the table of distances is two integers with a bit per character of `first`: where it rises, and where it
    falls (Hyyrö 2003, doi:10.1007/978-3-540-39984-1_8 has the form for whole texts).
    """
    if not first or not second:
        return len(first) + len(second)
    places: dict[str, int] = {}
    for index, letter in enumerate(first):
        places[letter] = places.get(letter, 0) | 1 << index
    every, last = (1 << len(first)) - 1, 1 << (len(first) - 1)
    rises, falls, distance = every, 0, len(first)
    for letter in second:
        same = places.get(letter, 0)
        level = (((same & rises) + rises) ^ rises) | same
        right_rises, right_falls = falls | (every & ~(level | rises)), rises & level
        distance += bool(right_rises & last) - bool(right_falls & last)
        right_rises, right_falls = (right_rises << 1) | 1, right_falls << 1
        rises = (right_falls | ~(same | falls | right_rises)) & every
        falls = right_rises & (same | falls) & every
    return distance


def add_noise(text: str, change: TextChange, key: str) -> str:
    """Return the text with typing errors of the same distance and growth, at places that the key fixes.

    Errors are in letters of words, never in the first letter of a word, in digits or in punctuation. A text whose words
    have less room gets as many as fit.
    """
    best, best_gap = text, change.distance
    for attempt in range(_TRIES):
        if best_gap == 0:
            break
        digest = hashlib.sha256(f"{key}\x1f{attempt}".encode("utf-8", "surrogatepass")).digest()
        noisy = _with_errors(text, change, random.Random(digest))
        gap = abs(edit_distance(text, noisy) - change.distance)
        if gap < best_gap:
            best, best_gap = noisy, gap
    return best


def _with_errors(text: str, change: TextChange, rng: random.Random) -> str:
    words = [match.span() for match in re.finditer(r"[A-Za-z]+", text) if match.end() - match.start() >= MIN_LETTERS]
    rng.shuffle(words)
    places = _places(words, change.words, rng)[: change.distance]
    of_length = set(rng.sample(places, min(abs(change.growth), len(places))))
    letters = list(text)
    for place in places:
        other = _foreign_letter(text, place, rng)
        if place not in of_length:
            letters[place] = other
        else:
            letters[place] = text[place] + other if change.growth > 0 else ""
    return "".join(letters)


def _places(words: list[tuple[int, int]], num_words: int, rng: random.Random) -> list[int]:
    """Return the indices of all letters that may get an error, in the order in which they get one.

    First up to half of the letters of `num_words` words in turn, so that they stay recognisable, then those of further
    words, then the rest.
    """
    shuffled = [rng.sample(range(start + 1, end), end - start - 1) for start, end in words]
    halves = [places[: max(1, len(places) // 2)] for places in shuffled]
    in_turn = [
        half[turn]
        for turn in range(max(map(len, halves), default=0))
        for half in halves[:num_words]
        if turn < len(half)
    ]
    further = [place for half in halves[num_words:] for place in half]
    chosen = {*in_turn, *further}
    return in_turn + further + [place for places in shuffled for place in places if place not in chosen]


def _foreign_letter(text: str, place: int, rng: random.Random) -> str:
    """Return a letter that the text has not near the place, so that no shorter way of edits leads back."""
    nearby = text[max(0, place - 6) : place + 7].lower()
    return rng.choice([letter for letter in string.ascii_lowercase if letter not in nearby])
