"""Expected ratings and probabilities of choices from tokens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb_core.scorers.http.replies import Token
from rb_core.scorers.judge.logprobs import choice_from_tokens, rating_from_tokens
from rb_core.scorers.judge.types import KEPT_TOKENS


def token(text: str, probability: float = 1.0, **top: float) -> Token:
    """Return a token with its alternatives by probability. In names, "_" stands for a space, and "t" is dropped."""
    named = {name.replace("_", " ").replace("t", ""): p for name, p in top.items()}
    return Token(text, math.log(probability), tuple((name, math.log(p)) for name, p in named.items()))


LINE = [token("Fine"), token(".\n"), token("Rating"), token(":")]


@pytest.mark.parametrize(
    ("tokens", "rating"),
    [
        # one token, sure
        ([*LINE, token(" 7")], 7.0),
        # weighed, what is no rating left out: (7 x .6 + 8 x .2) / .8
        ([*LINE, token(" 7", 0.6, _7=0.6, _8=0.2, _good=0.2)], 7.25),
        # with and without a space
        ([*LINE, token(" "), token("7", 0.5, t7=0.5, _7=0.25, t3=0.25)], 6.0),
        # the sampled token is not among the alternatives
        ([*LINE, token(" 7", 0.25, _3=0.75)], 4.0),
        # 10 is a token of its own: 1 means 1
        ([*LINE, token(" 10", 0.5, _10=0.5, _1=0.5)], 5.5),
        ([*LINE, token(" 7", 0.5, _7=0.5, _1=0.25, _10=0.25)], 6.25),
        # 10 in two tokens: the second says how 1 goes on
        ([*LINE, token(" "), token("1", 0.8, t1=0.8, t9=0.2), token("0", 0.75, t0=0.75)], 10 * 0.6 + 0.2 + 9 * 0.2),
        # 1 was meant, and 10 could have been
        ([*LINE, token(" "), token("1"), token("\n", 0.75, t0=0.25)], 10 * 0.25 + 0.75),
        ([*LINE, token(" 1"), token("/", 1.0), token("10")], 1.0),
        # not known how 1 goes on
        ([*LINE, token(" "), token("1")], None),
        ([*LINE, token(" "), token("9", 0.98, t9=0.98, t1=0.02)], None),
        # too little to matter
        ([*LINE, token(" "), token("9", 0.995, t9=0.995, t1=0.005)], 9.0),
        # what follows on the line
        ([*LINE, token(" 7"), token("/"), token("10"), token("\n"), token("Bye")], 7.0),
        # emphasis, in tokens of its own
        ([token("**"), token("Rating"), token(":**"), token(" 7"), token("\n")], 7.0),
        # the last line counts
        ([*LINE, token(" 3"), token("\n"), *LINE, token(" 7")], 7.0),
        # a structured reply
        ([token('{"rating":'), token(" "), token("7", 0.5, t7=0.5, t9=0.5), token("}")], 8.0),
        # a full-width digit
        ([*LINE, token("７")], 7.0),
        # no line, no number, more than the number in a token
        ([token("7")], None),
        ([*LINE, token(" good")], None),
        ([token("Rating: 7")], None),
        ([*LINE, token(" 11")], None),
        ([], None),
        # probability of nothing
        ([*LINE, Token(" 7", -math.inf)], None),
        ([*LINE, Token(" 7", math.nan)], None),
    ],
)
def test_the_expected_rating(tokens: list[Token], rating: float | None) -> None:
    assert rating_from_tokens(tokens) == (None if rating is None else pytest.approx(rating))


def test_a_line_that_may_have_begun_earlier_is_no_line() -> None:
    """Only the last tokens of a long reply are kept, and they may begin in the middle of a line."""
    tail = [token("Rating"), token(":"), token(" 7"), token("\n")]
    assert rating_from_tokens([*tail, *[token("x")] * (KEPT_TOKENS - 4)]) is None
    assert rating_from_tokens([*tail, *[token("x")] * (KEPT_TOKENS - 5)]) == pytest.approx(7)


@pytest.mark.parametrize(
    ("tokens", "num_options", "probabilities"),
    [
        # renormalised over letters
        ([token("A", 0.6, A=0.6, B=0.2, The=0.2)], 2, (0.75, 0.25)),
        # variants add up
        ([token("A", 0.4, A=0.4, _A=0.1, a=0.1, B=0.3, _b=0.1)], 2, (0.6, 0.4)),
        # the sampled token is not among the alternatives
        ([token("A", 0.25, B=0.25)], 2, (0.5, 0.5)),
        # no alternatives at all
        ([token("B")], 2, (0.0, 1.0)),
        # blank tokens first
        ([token(" "), token("\n"), token("B", 0.5, B=0.5, A=0.5)], 2, (0.5, 0.5)),
        # a letter beyond the options
        ([token("C", 0.5, C=0.5, B=0.5)], 2, (0.0, 1.0)),
        ([token("C", 0.5, C=0.5, B=0.5)], 4, (0.0, 0.5, 0.5, 0.0)),
        # another word was likelier
        ([token("Both", 0.8, Both=0.8, A=0.1, B=0.1)], 2, (0.5, 0.5)),
        # no letter
        ([token("Both", 0.8, Both=0.8)], 2, None),
        ([token("А")], 2, None),  # Cyrillic
        ([token("AB")], 2, None),
        ([token(" ")], 2, None),
        ([], 2, None),
        ([Token("A", -math.inf)], 2, None),
    ],
)
def test_the_probability_of_each_letter(
    tokens: list[Token], num_options: int, probabilities: tuple[float, ...] | None
) -> None:
    assert choice_from_tokens(tokens, num_options) == (None if probabilities is None else pytest.approx(probabilities))


LOGPROBS = st.floats(allow_nan=True, allow_infinity=True)
TOKENS = st.lists(
    st.builds(
        Token,
        st.sampled_from(["Rating", ":", " 7", "1", "0", "10", "\n", "A", " b", "", '{"rating":', "}"]) | st.text(),
        LOGPROBS,
        st.lists(st.tuples(st.sampled_from(["7", "1", "10", "A", "B"]) | st.text(), LOGPROBS), max_size=5).map(tuple),
    ),
    max_size=10,
)


@given(TOKENS, st.integers(1, 30))
def test_tokens_give_numbers_in_range_or_none(tokens: list[Token], num_options: int) -> None:
    rating = rating_from_tokens(tokens)
    assert rating is None or 1 - 1e-9 <= rating <= 10 + 1e-9
    choice = choice_from_tokens(tokens, num_options)
    assert choice is None or (len(choice) == num_options and math.isclose(sum(choice), 1.0))
