"""What a judge is asked in each mode, and how its answers become scores."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.models.options import MODES, Mode
from rb_core.scorers.judge import protocols
from rb_core.scorers.judge.prompt_templates import load_template
from rb_core.scorers.judge.protocols import Answer, Ask, Wording
from rb_core.scorers.judge.types import CUT, NO_LOGPROBS, TOP_LOGPROBS, UNREADABLE, Decoding, Reply, Token

PROMPT = (Message(role="user", content="Name a prime."),)


def candidates(number: int, *, graded: bool = False) -> CompletionSet:
    return CompletionSet(PROMPT, tuple(f"Answer number {i}." for i in range(number)), graded)


def wording(**options: bool) -> Wording:
    return Wording({mode: load_template(mode) for mode in MODES}, Decoding(max_tokens=99), **options)


@pytest.mark.parametrize("number", [2, 3, 4, 6])
def test_pairs_are_asked_in_both_orders(number: int) -> None:
    """Every two completions, each once before and once after the other."""
    for mode in ("pairwise", "logprob"):
        orders = [ask.order for ask in protocols.asks(mode, candidates(number))]
        assert len(orders) == len(set(orders)) == number * (number - 1)
        assert all((a, b) in orders and (b, a) in orders for a, b in combinations(range(number), 2))


@pytest.mark.parametrize("number", [2, 4, 5])
def test_a_list_is_rotated_through_every_place(number: int) -> None:
    """Each completion stands once in each place."""
    orders = [ask.order for ask in protocols.asks("listwise", candidates(number))]
    assert len(orders) == number
    for place in range(number):
        assert sorted(order[place] for order in orders) == list(range(number))


def test_each_completion_is_rated_alone() -> None:
    """One ask a completion, which shows nothing else."""
    assert [ask.order for ask in protocols.asks("ratings", candidates(3))] == [(0,), (1,), (2,)]


@pytest.mark.parametrize("mode", MODES)
def test_what_has_to_be_graded_is_rated_in_every_mode(mode: Mode) -> None:
    """Ties need how good each answer is, which a comparison does not say."""
    assert {ask.mode for ask in protocols.asks(mode, candidates(4, graded=True))} == {"ratings"}


def test_requests_ask_for_what_the_mode_needs() -> None:
    """One token with alternatives for logprob; a schema where it is asked for; probabilities for expected ratings."""
    pair, alone = Ask("pairwise", (1, 0)), Ask("ratings", (1,))
    plain = protocols.question(pair, candidates(2), wording()).request
    assert (plain.max_tokens, plain.top_logprobs, plain.schema) == (99, 0, None)
    text = plain.messages[-1]["content"]
    assert text.index("Answer number 1.") < text.index("Answer number 0.")
    letter = protocols.question(pair._replace(mode="logprob"), candidates(2), wording(structured=True)).request
    assert (letter.max_tokens, letter.top_logprobs, letter.schema) == (1, TOP_LOGPROBS, None)
    structured = protocols.question(pair, candidates(2), wording(structured=True)).request
    assert structured.schema is not None
    assert protocols.question(alone, candidates(2), wording(expected=True)).request.top_logprobs == TOP_LOGPROBS
    assert protocols.question(pair, candidates(2), wording(expected=True)).request.top_logprobs == 0


def test_equal_requests_have_equal_hashes_and_others_not() -> None:
    """The hash covers messages, length, alternatives and schema."""
    request = protocols.question(Ask("pairwise", (0, 1)), candidates(2), wording()).request
    same = protocols.question(Ask("pairwise", (0, 1)), candidates(2), wording()).request
    others = [
        request._replace(max_tokens=98),
        request._replace(top_logprobs=3),
        request._replace(schema={"type": "object"}),
        protocols.question(Ask("pairwise", (1, 0)), candidates(2), wording()).request,
    ]
    assert same.sha256 == request.sha256
    assert len({request.sha256, *(other.sha256 for other in others)}) == 5


def test_an_answer_says_what_each_completion_got() -> None:
    """A verdict gives all to one; a rating is itself; probabilities are shared; a problem is a reason."""
    pair = Ask("pairwise", (1, 0))
    assert protocols.answer(pair, Reply("Verdict: B")) == Answer((0.0, 1.0))
    assert protocols.answer(pair, Reply("Verdict: C")) == Answer(reason=UNREADABLE)
    assert protocols.answer(pair, Reply("Verdict: B", problem=CUT)) == Answer(reason=CUT)
    assert protocols.answer(Ask("ratings", (0,)), Reply("Rating: 10")) == Answer((10.0,))
    token = Token("A", math.log(0.6), (("A", math.log(0.6)), ("B", math.log(0.2))))
    assert protocols.answer(Ask("logprob", (0, 1)), Reply("A", tokens=(token,))).shares == pytest.approx((0.75, 0.25))
    assert protocols.answer(Ask("logprob", (0, 1)), Reply("A")) == Answer(reason=NO_LOGPROBS)
    assert protocols.answer(pair, Reply('{"verdict": "A"}'), structured=True) == Answer((1.0, 0.0))


def test_an_expected_rating_is_exact_and_a_plain_one_is_not() -> None:
    """With probabilities of the number the rating is their mean; without, the number."""
    top = (("7", math.log(0.5)), ("8", math.log(0.5)))
    tokens = (Token("Rating", 0.0), Token(":", 0.0), Token(" ", 0.0), Token("7", math.log(0.5), top), Token("\n", 0.0))
    found = protocols.answer(Ask("ratings", (0,)), Reply("Rating: 7\n", tokens=tokens))
    assert (found.shares, found.exact) == (pytest.approx((7.5,)), True)
    assert not protocols.answer(Ask("ratings", (0,)), Reply("Rating: 7\n")).exact


def scored(mode: Mode, number: int, answers: list[Answer]) -> list[float]:
    found = candidates(number)
    return [score.value for score in protocols.scores(found, protocols.asks(mode, found), answers)]


def test_agreement_wins_and_disagreement_ties() -> None:
    """Both orders for one completion: 1 and 0. One each: a half each."""
    first, second = Answer((1.0, 0.0)), Answer((0.0, 1.0))
    assert scored("pairwise", 2, [first, second]) == [1.0, 0.0]  # (0, 1) and (1, 0): both for 0
    assert scored("pairwise", 2, [first, first]) == [0.5, 0.5]


@given(st.permutations(range(5)))
def test_a_consistent_judge_is_scored_by_its_ranking(ranking: list[int]) -> None:
    """Whatever the ranking, the score is the share of the others that a completion beats."""
    place = {completion: ranking.index(completion) for completion in range(5)}
    answers = [
        Answer((1.0, 0.0) if place[ask.order[0]] < place[ask.order[1]] else (0.0, 1.0))
        for ask in protocols.asks("pairwise", candidates(5))
    ]
    assert scored("pairwise", 5, answers) == [(4 - place[c]) / 4 for c in range(5)]


@given(st.floats(0, 1))
def test_probabilities_of_equals_tie_exactly(p: float) -> None:
    """A judge that looks at places alone gives all completions one score, whatever its preference."""
    for number in (2, 3, 5):
        asked = protocols.asks("logprob", candidates(number))
        assert len(set(scored("logprob", number, [Answer((p, 1 - p)) for _ in asked]))) == 1


def test_a_missing_answer_leaves_those_unscored_that_it_showed() -> None:
    """Of three completions one comparison failed: its two have no score, with the reason; the third has."""
    found = candidates(3)
    asked = protocols.asks("pairwise", found)
    answers = [Answer(reason=UNREADABLE) if ask.order == (0, 2) else Answer((1.0, 0.0)) for ask in asked]
    scores = protocols.scores(found, asked, answers)
    assert [score.reason for score in scores] == [UNREADABLE, "", UNREADABLE]
    assert [math.isnan(score.value) for score in scores] == [True, False, True]


def test_a_missing_rotation_leaves_all_unscored() -> None:
    """Without one rotation the places are no longer even."""
    answers = [Answer((1.0, 0.0, 0.0)), Answer(reason=CUT), Answer((1.0, 0.0, 0.0))]
    assert all(math.isnan(value) for value in scored("listwise", 3, answers))


def test_lengths_are_those_of_other_models_without_a_tokenizer() -> None:
    """Words and marks of the completion, and of prompt and completion together."""
    found = candidates(2)
    (score, _) = protocols.scores(found, protocols.asks("ratings", found), [Answer((3.0,)), Answer((4.0,))])
    assert (score.num_completion_tokens, score.num_tokens) == (4, 8)
