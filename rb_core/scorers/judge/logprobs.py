"""Ratings and choices from the log-probabilities of a reply's tokens."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from rb_core.scorers.http.replies import Token
from rb_core.scorers.judge.parsing import FULL_WIDTH, HIGHEST, LETTERS, LOWEST, is_verdict_line
from rb_core.scorers.judge.types import KEPT_TOKENS


def rating_from_tokens(tokens: Sequence[Token]) -> float | None:
    """Return the expected rating, 1 to 10, under the log-probabilities of the rating's token in the last verdict line.

    The probabilities of tokens that are ratings are normalised. A tokenizer may have no token for 10; then the token 1
    stands for 1 and for the beginning of 10, and the next position tells which. Returns None if that is unknown and
    more than 1% of the probability is at stake, or if no token holds just the number.

    Args:
        tokens: the last tokens of a reply with a rating.
    """
    text = "".join(token.text for token in tokens)
    span = _rating_span(text, starts_a_line=len(tokens) < KEPT_TOKENS)
    if span is None:
        return None
    index = bisect_right(list(accumulate((len(token.text) for token in tokens), initial=0)), span[0]) - 1
    number, following = _stripped(tokens[index].text), tokens[index + 1 : index + 2]
    rating = text[slice(*span)].translate(FULL_WIDTH)
    is_split = rating == "10" and number == "1" and following and _stripped(following[0].text) == "0"
    if number != rating and not is_split:
        return None
    masses = _masses(tokens[index])
    by_rating = {value: masses.get(str(value), 0.0) for value in range(LOWEST, HIGHEST + 1)}
    if number == "1" and following:
        zero = sum(mass for text, mass in _masses(following[0], strip=False).items() if text.startswith("0"))
        by_rating[10] += by_rating[1] * min(1.0, zero)
        by_rating[1] *= 1 - min(1.0, zero)
    elif not by_rating[10]:
        if by_rating[1] > 0.01 * sum(by_rating.values()):
            return None
        by_rating[1] = 0.0
    total = sum(by_rating.values())
    return sum(value * mass for value, mass in by_rating.items()) / total if total > 0 else None


def _rating_span(text: str, *, starts_a_line: bool) -> tuple[int, int] | None:
    """Return the span of the number in the last line that is a rating, or in a JSON object."""
    span, start = None, 0
    for index, line in enumerate(text.splitlines(keepends=True)):
        if (starts_a_line or index) and is_verdict_line(line, ["rating"]):
            number = re.search("[:：][^0-9０-９]*([0-9０-９]+)", line)
            span = (start + number.start(1), start + number.end(1)) if number else span
        start += len(line)
    if span is None and (structured := re.search(r'"rating"\s*:\s*(10|[1-9])\s*\}[\s`]*\Z', text, re.ASCII)):
        span = structured.span(1)
    return span


def choice_from_tokens(tokens: Sequence[Token], num_options: int = 2) -> tuple[float, ...] | None:
    """Return the normalised probability of each answer's letter at the first token that is not blank.

    Tokens that are the same letter (with a space, in lower case) count together. None if no letter is among the
    alternatives.
    """
    first = next((token for token in tokens if token.text.strip()), None)
    if first is None:
        return None
    masses = [0.0] * num_options
    for text, mass in _masses(first).items():
        index = LETTERS.find(text.upper()) if len(text) == 1 else -1
        if 0 <= index < num_options:
            masses[index] += mass
    total = sum(masses)
    return tuple(mass / total for mass in masses) if total > 0 else None


def word_probability(tokens: Sequence[Token], words: tuple[str, str]) -> float | None:
    """Return the probability of the first of two words against the second, at the first token with a letter or digit.

    A token is one of a word if it begins the word, or the word begins it, in any case. None if no alternative is.
    """
    first = next((token for token in tokens if re.search(r"\w", token.text)), None)
    if first is None:
        return None
    masses = [0.0, 0.0]
    for text, mass in _masses(first).items():
        start = re.sub(r"^\W+|\W+$", "", text.lower())
        matches = [i for i, word in enumerate(map(str.lower, words)) if start and _begins(start, word)]
        if len(matches) == 1:
            masses[matches[0]] += mass
    total = sum(masses)
    return masses[0] / total if total > 0 else None


def _begins(text: str, word: str) -> bool:
    return text.startswith(word) or word.startswith(text)


def _masses(token: Token, *, strip: bool = True) -> dict[str, float]:
    """Return the probability of each text at a token's position, by the text without spaces around it if `strip`."""
    sampled = [] if token.text in dict(token.top) else [(token.text, token.logprob)]
    masses: dict[str, float] = {}
    for text, logprob in [*token.top, *sampled]:
        key = _stripped(text) if strip else text
        # servers write -9999 for an unknown value, and rounding errors above 0; NaN is not a probability
        masses[key] = masses.get(key, 0.0) + (0.0 if math.isnan(logprob) else math.exp(min(logprob, 0.0)))
    return masses


def _stripped(text: str) -> str:
    return text.strip().translate(FULL_WIDTH)
