"""Queries of each mode, and scores from verdicts."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.models.options import MODES, Mode
from rb_core.scorers.http.replies import Reply, Token
from rb_core.scorers.judge.parsing import LETTERS
from rb_core.scorers.judge.prompt_templates import load_template
from rb_core.scorers.judge.protocols import PromptConfig, make_queries, make_request, scores_from_records, with_verdict
from rb_core.scorers.judge.types import (
    CUT,
    NO_LOGPROBS,
    NOTHING_TO_COMPARE,
    TOO_MANY,
    TOP_LOGPROBS,
    UNREADABLE,
    Decoding,
    JudgeQuery,
    JudgeRecord,
)

PROMPT = (Message(role="user", content="Name a prime."),)
PAIR, RATING = JudgeQuery("pairwise", (1, 0)), JudgeQuery("ratings", (0,))


def completion_set(number: int, *, needs_ratings: bool = False) -> CompletionSet:
    return CompletionSet(PROMPT, tuple(f"Answer number {i}." for i in range(number)), needs_ratings)


def config(**options: bool) -> PromptConfig:
    return PromptConfig({mode: load_template(mode) for mode in MODES}, Decoding(max_tokens=99), **options)


def judged(query: JudgeQuery, reply: Reply, *, structured: bool = False) -> JudgeRecord:
    return with_verdict(JudgeRecord("judge", *query, reply), structured=structured)


def decided(query: JudgeQuery, points: tuple[float, ...] = (), error: str = "") -> JudgeRecord:
    return JudgeRecord("judge", *query, Reply(), points, error)


@pytest.mark.parametrize("mode", ["pairwise", "logprob"])
def test_pairs_are_queried_in_both_orders(mode: Mode) -> None:
    for number in (2, 3, 6):
        orders = [query.order for query in make_queries(mode, completion_set(number))]
        assert len(orders) == len(set(orders)) == number * (number - 1)
        assert all((a, b) in orders and (b, a) in orders for a, b in combinations(range(number), 2))


def test_a_list_is_rotated_through_every_position() -> None:
    for number in (2, 5):
        orders = [query.order for query in make_queries("listwise", completion_set(number))]
        assert len(orders) == number
        for position in range(number):
            assert sorted(order[position] for order in orders) == list(range(number))


def test_each_completion_is_rated_alone() -> None:
    assert [query.order for query in make_queries("ratings", completion_set(3))] == [(0,), (1,), (2,)]


@pytest.mark.parametrize("mode", MODES)
def test_graded_completions_are_rated_in_every_mode(mode: Mode) -> None:
    assert {query.mode for query in make_queries(mode, completion_set(4, needs_ratings=True))} == {"ratings"}


def test_requests_ask_for_what_the_mode_needs() -> None:
    """One token with alternatives for logprob; a schema if structured; log-probabilities for expected ratings."""
    two = completion_set(2)
    plain = make_request(PAIR, two, config())
    assert (plain.max_tokens, plain.top_logprobs, plain.schema) == (99, 0, None)
    text = plain.messages[-1]["content"]
    assert text.index("Answer number 1.") < text.index("Answer number 0.")
    letter = make_request(PAIR._replace(mode="logprob"), two, config(structured=True))
    assert (letter.max_tokens, letter.top_logprobs, letter.schema) == (1, TOP_LOGPROBS, None)
    assert make_request(PAIR, two, config(structured=True)).schema is not None
    assert make_request(RATING, two, config(expected=True)).top_logprobs == TOP_LOGPROBS
    assert make_request(PAIR, two, config(expected=True)).top_logprobs == 0


def test_the_hash_covers_messages_length_alternatives_and_schema() -> None:
    request = make_request(PAIR, completion_set(2), config())
    assert make_request(PAIR, completion_set(2), config()).sha256 == request.sha256
    different = [
        request._replace(max_tokens=98),
        request._replace(top_logprobs=3),
        request._replace(schema={"type": "object"}),
        make_request(JudgeQuery("pairwise", (0, 1)), completion_set(2), config()),
    ]
    assert len({request.sha256, *(other.sha256 for other in different)}) == 5


def test_a_verdict_gives_points_to_each_completion_shown() -> None:
    """A choice gives all to one; a rating is itself; probabilities are shared; an error gives none."""
    assert judged(PAIR, Reply("Verdict: B")).points == (0.0, 1.0)
    assert judged(PAIR, Reply('{"verdict": "A"}'), structured=True).points == (1.0, 0.0)
    assert judged(RATING, Reply("Rating: 10")).points == (10.0,)
    for reply, error in ((Reply("Verdict: C"), UNREADABLE), (Reply("Verdict: B", error=CUT), CUT)):
        record = judged(PAIR, reply)
        assert (record.points, record.error) == ((), error)
    token = Token("A", math.log(0.6), (("A", math.log(0.6)), ("B", math.log(0.2))))
    query = JudgeQuery("logprob", (0, 1))
    assert judged(query, Reply("A", tokens=(token,))).points == pytest.approx((0.75, 0.25))
    assert judged(query, Reply("A")).error == NO_LOGPROBS


def test_the_winner_has_the_most_points() -> None:
    assert decided(PAIR, (0.0, 1.0)).winner == 0
    assert decided(PAIR, (0.5, 0.5)).winner is None
    assert decided(PAIR, error=CUT).winner is None
    assert decided(RATING, (7.0,)).winner is None


def test_a_rating_with_log_probabilities_is_their_mean() -> None:
    top = (("7", math.log(0.5)), ("8", math.log(0.5)))
    tokens = (Token("Rating", 0.0), Token(":", 0.0), Token(" ", 0.0), Token("7", math.log(0.5), top), Token("\n", 0.0))
    record = judged(RATING, Reply("Rating: 7\n", tokens=tokens))
    assert (record.points, record.from_logprobs) == (pytest.approx((7.5,)), True)
    assert not judged(RATING, Reply("Rating: 7\n")).from_logprobs


def score_values(mode: Mode, number: int, points: list[tuple[float, ...]]) -> list[float]:
    queries = make_queries(mode, completion_set(number))
    records = [decided(query, given, "" if given else CUT) for query, given in zip(queries, points, strict=True)]
    return [score.value for score in scores_from_records(completion_set(number), records)]


def test_consistent_orders_win_and_inconsistent_orders_tie() -> None:
    assert score_values("pairwise", 2, [(1.0, 0.0), (0.0, 1.0)]) == [1.0, 0.0]  # (0, 1) and (1, 0): both for 0
    assert score_values("pairwise", 2, [(1.0, 0.0), (1.0, 0.0)]) == [0.5, 0.5]


@given(st.permutations(range(5)))
def test_a_consistent_judge_is_scored_by_its_ranking(ranking: list[int]) -> None:
    rank = {completion: ranking.index(completion) for completion in range(5)}
    points = [
        (1.0, 0.0) if rank[query.order[0]] < rank[query.order[1]] else (0.0, 1.0)
        for query in make_queries("pairwise", completion_set(5))
    ]
    assert score_values("pairwise", 5, points) == [(4 - rank[c]) / 4 for c in range(5)]


@given(st.floats(0, 1))
def test_a_judge_that_sees_only_positions_ties_exactly(p: float) -> None:
    for number in (2, 3, 5):
        count = number * (number - 1)
        assert len(set(score_values("logprob", number, [(p, 1 - p)] * count))) == 1


def test_a_missing_verdict_leaves_the_completions_that_it_showed_unscored() -> None:
    three = completion_set(3)
    records = [
        decided(query, error=UNREADABLE) if query.order == (0, 2) else decided(query, (1.0, 0.0))
        for query in make_queries("pairwise", three)
    ]
    scores = scores_from_records(three, records)
    assert [score.reason for score in scores] == [UNREADABLE, "", UNREADABLE]
    assert [math.isnan(score.value) for score in scores] == [True, False, True]


def test_a_missing_rotation_leaves_all_unscored() -> None:
    points: list[tuple[float, ...]] = [(1.0, 0.0, 0.0), (), (1.0, 0.0, 0.0)]
    assert all(math.isnan(value) for value in score_values("listwise", 3, points))


def test_lengths_are_counted_in_words_and_marks() -> None:
    two = completion_set(2)
    records = [decided(query, (3.0,)) for query in make_queries("ratings", two)]
    (score, _) = scores_from_records(two, records)
    assert (score.num_completion_tokens, score.num_tokens) == (4, 8)


@pytest.mark.parametrize(
    ("mode", "count", "reason"),
    [
        ("pairwise", 1, NOTHING_TO_COMPARE),
        ("logprob", 1, NOTHING_TO_COMPARE),
        ("listwise", 1, NOTHING_TO_COMPARE),
        ("listwise", len(LETTERS) + 1, TOO_MANY),
    ],
)
def test_a_completion_that_cannot_be_compared_is_unscored(mode: Mode, count: int, reason: str) -> None:
    assert make_queries(mode, completion_set(count)) == ()
    scores = scores_from_records(completion_set(count), [])
    assert {score.reason for score in scores} == {reason}
    assert all(math.isnan(score.value) for score in scores)
