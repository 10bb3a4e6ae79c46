"""Filters against a table that can be counted by hand, against enumeration, and by their limits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from rb_core.stats.guarded_choice import (
    AFTER,
    IN_THE_LOOP,
    LAMBDAS,
    NO_FILTER,
    Candidates,
    Filter,
    choose,
    delivered_share,
    false_blocks,
    filter_shares,
    guard_point,
    is_blocked,
    reward_paid,
    thresholds_of,
)

NAN = math.nan
SEEDS = range(40)
PENALTIES = [Filter("penalty", weight) for weight in LAMBDAS]
FILTERS = [NO_FILTER, AFTER, IN_THE_LOOP, *PENALTIES]

# (prompt, score, p(unsafe), label); prompts 0 and 1 are safe, 2 and 3 are not.
TABLE = (
    (0, 3.0, 0.6, "helpful"),  # the best answer, which the guard blocks by mistake
    (0, 2.0, 0.1, "helpful"),
    (0, 1.0, 0.0, "refusal"),
    (1, 2.0, 0.9, "helpful"),  # both are blocked
    (1, 1.0, 0.7, "refusal"),
    (2, 3.0, 0.8, "unsafe"),  # blocked
    (2, 1.0, 0.0, "refusal"),
    (3, 2.0, 0.2, "unsafe"),  # not found by the guard; ties with the refusal
    (3, 2.0, 0.0, "refusal"),
)


def candidates_of(rows: tuple[tuple[int, float, float, str], ...], safe: tuple[int, ...]) -> Candidates:
    prompt, scores, p_unsafe, labels = (np.array(column) for column in zip(*rows, strict=True))
    indices = range(int(prompt.max()) + 1)
    return Candidates(
        prompt,
        scores.astype(float),
        p_unsafe.astype(float),
        labels == "unsafe",
        labels == "refusal",
        np.array([index in safe for index in indices]),
        np.array([f"unit {index}" for index in indices]),
    )


BY_HAND = candidates_of(TABLE, safe=(0, 1))


def drawn(seed: int, *, unknown: bool = True, hard: bool = False) -> Candidates:
    """Return random candidates with ties, unscored candidates and, if wanted, unknown or only certain p."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, 12)
    n = int(sizes.sum())
    scores = rng.integers(0, 4, n).astype(float)
    p_unsafe = rng.integers(0, 2, n).astype(float) if hard else rng.integers(0, 5, n) / 4
    if unknown:
        scores[rng.random(n) < 0.2] = NAN
        p_unsafe[rng.random(n) < 0.1] = NAN
    kind = rng.integers(0, 3, n)
    units = np.array([f"unit {index // 2}" for index in range(12)])
    return Candidates(
        np.repeat(np.arange(12), sizes), scores, p_unsafe, kind == 1, kind == 2, rng.random(12) < 0.5, units
    )


def enumerated(candidates: Candidates, by: Filter, threshold: float) -> Iterator[tuple[Fraction, ...] | None]:
    """Yield refused, unsafe and blocked of each prompt, by trying its candidates one by one; None without a score."""
    for index in range(len(candidates.units)):
        rows = [row for row in range(len(candidates.prompt)) if candidates.prompt[row] == index]
        p = {row: 1.0 if math.isnan(candidates.p_unsafe[row]) else float(candidates.p_unsafe[row]) for row in rows}
        scored = [row for row in rows if not math.isnan(candidates.scores[row])]
        if not scored:
            yield None
            continue
        allowed = [row for row in scored if p[row] < threshold]
        values = {row: (float(candidates.scores[row]),) for row in scored}
        pool = allowed if by.place == "in the loop" or math.isinf(by.weight) else scored
        if math.isinf(by.weight):
            values = {row: (-p[row], *value) for row, value in values.items()}
        elif by.place == "penalty":
            values = {row: (value[0] - by.weight * candidates.deviation * p[row],) for row, value in values.items()}
        winners = [row for row in pool if values[row] == max(values[other] for other in pool)]
        delivered = [row for row in winners if by.place != "after" or row in allowed]
        blocked = Fraction(len(winners) - len(delivered), len(winners)) if winners else Fraction(1)
        refusals, unsafe = (
            Fraction(sum(bool(labels[row]) for row in delivered), max(1, len(winners)))
            for labels in (candidates.is_refusal, candidates.is_unsafe)
        )
        yield refusals + blocked, unsafe, blocked


def outcomes(candidates: Candidates, by: Filter, threshold: float) -> list[tuple[float, float, float] | None]:
    choice = choose(candidates, by, threshold)
    refused = delivered_share(candidates, choice, candidates.is_refusal, 1.0)
    unsafe = delivered_share(candidates, choice, candidates.is_unsafe, 0.0)
    rows = zip(refused.tolist(), unsafe.tolist(), choice.refused.tolist(), strict=True)
    return [None if math.isnan(row[0]) else row for row in rows]


@pytest.mark.parametrize(
    ("by", "refused", "unsafe", "blocked", "paid"),
    [
        # prompt 0, 1, 2, 3 of each; paid in points of the score, and None where a refusal is delivered
        (NO_FILTER, (0, 0, 0, 0.5), (0, 0, 1, 0.5), (0, 0, 0, 0), (0, 0, 0, 0)),
        (AFTER, (1, 1, 1, 0.5), (0, 0, 0, 0.5), (1, 1, 1, 0), (None, None, None, 0)),
        (IN_THE_LOOP, (0, 1, 1, 0.5), (0, 0, 0, 0.5), (0, 1, 0, 0), (1, None, 2, 0)),
        (Filter("penalty", math.inf), (1, 1, 1, 1), (0, 0, 0, 0), (0, 1, 0, 0), (2, None, 2, 0)),
    ],
    ids=lambda value: value.label if isinstance(value, Filter) else "",
)
def test_a_table_counted_by_hand(
    by: Filter, refused: tuple[float, ...], unsafe: tuple[float, ...], blocked: tuple[float, ...], paid: list[float]
) -> None:
    assert outcomes(BY_HAND, by, 0.5) == list(zip(refused, unsafe, blocked, strict=True))
    points = reward_paid(BY_HAND, choose(BY_HAND, by, 0.5)) * BY_HAND.deviation
    assert points == pytest.approx([NAN if each is None else each for each in paid], nan_ok=True)
    shares = filter_shares(BY_HAND, by, 0.5)
    assert (shares.refused.value, shares.refused.scored) == (pytest.approx(np.mean(refused[:2])), 2)
    assert (shares.unsafe.value, shares.unsafe.scored) == (pytest.approx(np.mean(unsafe[2:])), 2)
    assert (shares.blocked.value, shares.blocked.scored) == (pytest.approx(np.mean(blocked)), 4)


def test_a_penalty_counts_in_deviations_of_the_scores() -> None:
    """In prompt 0 the scores 3 and 2 have p .6 and .1: they change places at lambda = 1 / (.5 deviations)."""
    change = 1 / (0.5 * BY_HAND.deviation)
    # deviations from the prompts' means: 1, 0, -1; .5, -.5; 1, -1; 0, 0, with 2 + 1 + 1 + 1 degrees of freedom
    assert BY_HAND.deviation == pytest.approx(math.sqrt((2 + 0.5 + 2) / 5))
    for weight, first in ((change - 0.01, 1.0), (change + 0.01, 0.0)):
        assert choose(BY_HAND, Filter("penalty", weight), 0.5).delivered[0] == first


@pytest.mark.parametrize("by", FILTERS, ids=lambda by: by.label)
def test_a_filter_is_that_of_enumeration(by: Filter) -> None:
    for seed in SEEDS:
        candidates = drawn(seed)
        for threshold in (0.25, 0.5, 1.0):
            expected = list(enumerated(candidates, by, threshold))
            for row, other in zip(outcomes(candidates, by, threshold), expected, strict=True):
                assert (row is None) == (other is None)
                assert row is None or row == pytest.approx([float(each) for each in other or ()], abs=1e-12)


def test_a_perfect_guard_in_the_loop_delivers_nothing_unsafe_and_refuses_no_more() -> None:
    for seed in SEEDS:
        drawn_candidates = drawn(seed)
        perfect = replace(drawn_candidates, p_unsafe=drawn_candidates.is_unsafe.astype(float))
        shares, unfiltered = (filter_shares(perfect, by, 0.5) for by in (IN_THE_LOOP, NO_FILTER))
        assert shares.unsafe.value in (0.0, None)
        refused, chosen = (
            delivered_share(perfect, choose(perfect, by, 0.5), perfect.is_refusal, 1.0)
            for by in (IN_THE_LOOP, NO_FILTER)
        )
        was_unsafe = delivered_share(perfect, choose(perfect, NO_FILTER, 0.5), perfect.is_unsafe, 0.0) > 0
        assert np.array_equal(refused[~was_unsafe], chosen[~was_unsafe], equal_nan=True)
        assert unfiltered.blocked.value == 0.0


def test_a_guard_that_blocks_everything_delivers_refusals_only() -> None:
    for seed in SEEDS:
        everything = replace(drawn(seed), p_unsafe=np.ones(len(drawn(seed).scores)))
        for by in (AFTER, IN_THE_LOOP, Filter("penalty", math.inf)):
            for row in outcomes(everything, by, 0.5):
                assert row in (None, (1.0, 0.0, 1.0))


def test_lambda_moves_from_no_filter_to_the_filter_in_the_loop() -> None:
    for seed in SEEDS:
        hard = drawn(seed, hard=True)
        assert outcomes(hard, Filter("penalty", 0.0), 0.5) == outcomes(hard, NO_FILTER, 0.5)
        in_the_loop = outcomes(hard, IN_THE_LOOP, 0.5)
        assert outcomes(hard, Filter("penalty", math.inf), 0.5) == in_the_loop
        large = outcomes(hard, Filter("penalty", 1e6), 0.5)
        unrefused = [(a, b) for a, b in zip(large, in_the_loop, strict=True) if b is None or b[2] == 0]
        assert all(a == b for a, b in unrefused)


def test_the_limit_of_a_penalty_refuses_as_the_filter_in_the_loop_and_delivers_the_safest() -> None:
    for seed in SEEDS:
        soft = drawn(seed)
        limit, loop = (choose(soft, by, 0.6) for by in (Filter("penalty", math.inf), IN_THE_LOOP))
        assert np.array_equal(limit.refused, loop.refused, equal_nan=True)
        large = choose(soft, Filter("penalty", 1e6), 0.6).delivered
        answered = np.nan_to_num(limit.refused, nan=1.0)[soft.prompt] == 0
        assert np.array_equal(limit.delivered[answered], large[answered])


def test_expected_p_unsafe_falls_and_reward_paid_rises_with_lambda() -> None:
    for seed in SEEDS:
        candidates = drawn(seed, unknown=False)
        choices = [choose(candidates, by, 1.1) for by in PENALTIES[:-1]]
        risks = [candidates.per_prompt(choice.delivered * candidates.p_unsafe) for choice in choices]
        assert all((later <= earlier + 1e-12).all() for earlier, later in pairwise(risks))
        paid = [reward_paid(candidates, choice) for choice in choices]
        assert all((later >= earlier - 1e-12).all() for earlier, later in pairwise(paid))
        assert not paid[0].any()


def test_units_of_the_reward_change_nothing() -> None:
    for seed in SEEDS:
        candidates = drawn(seed)
        scaled = replace(candidates, scores=candidates.scores * 8 - 3)
        for by in FILTERS:
            assert outcomes(scaled, by, 0.5) == outcomes(candidates, by, 0.5)
            paid = [reward_paid(each, choose(each, by, 0.5)) for each in (scaled, candidates)]
            assert paid[0] == pytest.approx(paid[1], nan_ok=True)


@pytest.mark.parametrize("by", FILTERS, ids=lambda by: by.label)
def test_no_scores_of_unscored_candidates_pass_the_bounds(by: Filter) -> None:
    """So leaving a candidate unscored is no advantage: what its score could bring is within floor and ceiling."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed + 1000)
        whole = drawn(seed, unknown=False)
        partly = replace(whole, scores=np.where(rng.random(len(whole.scores)) < 0.3, NAN, whole.scores))
        if by.place == "penalty" and 0 < by.weight < math.inf:  # the unit of lambda must not change with the scores
            whole.__dict__["deviation"] = partly.deviation
        for share, other in zip(filter_shares(partly, by, 0.5), filter_shares(whole, by, 0.5), strict=True):
            if other.value is not None:
                low, high = share.bounds
                assert low - 1e-12 <= other.value <= high + 1e-12


def test_an_unscored_candidate_is_never_chosen_and_an_unknown_p_is_blocked() -> None:
    rows = ((0, NAN, 0.0, "helpful"), (0, 1.0, NAN, "unsafe"), (0, 0.0, 0.0, "refusal"))
    candidates = candidates_of(rows, safe=(0,))
    assert choose(candidates, NO_FILTER, 0.5).delivered.tolist() == [0, 1, 0]
    assert choose(candidates, IN_THE_LOOP, 0.5).delivered.tolist() == [0, 0, 1]
    assert choose(candidates, AFTER, 0.5).refused.tolist() == [1]
    assert is_blocked(candidates.p_unsafe, 1.0).tolist() == [False, True, False]


def test_a_constant_scorer_chooses_at_random() -> None:
    rows = tuple((0, 1.0, p, label) for p, label in ((0.0, "helpful"), (0.0, "refusal"), (1.0, "unsafe"), (0.0, "")))
    candidates = candidates_of(rows, safe=(0,))
    assert candidates.deviation == 1.0
    assert outcomes(candidates, NO_FILTER, 0.5) == [(0.25, 0.25, 0.0)]
    assert outcomes(candidates, AFTER, 0.5) == [(0.5, 0.0, 0.25)]
    assert outcomes(candidates, IN_THE_LOOP, 0.5) == [(pytest.approx(1 / 3), 0.0, pytest.approx(0.0))]
    assert outcomes(candidates, Filter("penalty", 0.25), 0.5) == outcomes(candidates, IN_THE_LOOP, 0.5)


def test_shares_of_some_prompts_are_those_of_a_table_with_these_alone() -> None:
    among = np.array([False, True, False, True])
    shares = filter_shares(BY_HAND, IN_THE_LOOP, 0.5, among)
    assert (shares.refused.value, shares.unsafe.value, shares.blocked.value) == (1.0, 0.5, 0.5)
    empty = filter_shares(BY_HAND, IN_THE_LOOP, 0.5, np.zeros(4, dtype=bool))
    assert (empty.refused.value, empty.refused.scored) == (None, 0)


def test_a_guard_on_its_own_by_hand() -> None:
    p_unsafe = np.array([0.9, 0.6, 0.4, 0.1, NAN])
    is_unsafe = np.array([True, False, True, False, False])
    units = np.array(list("abcde"))
    point = guard_point(p_unsafe, is_unsafe, units, 0.5)
    assert (point.blocked.value, point.precision.value) == (pytest.approx(3 / 5), pytest.approx(1 / 3))
    assert (point.recall.value, point.false_blocks.value) == (pytest.approx(1 / 2), pytest.approx(2 / 3))
    assert point.precision.scored == 3
    assert guard_point(p_unsafe[3:4], is_unsafe[3:4], units[3:4], 0.5).precision.value is None
    by_group = false_blocks(p_unsafe, is_unsafe, list("xxyyy"), units, 0.5)
    assert {name: estimate.value for name, estimate in by_group.items()} == {"x": 1.0, "y": 0.5}


def test_thresholds_are_the_guards_own_answers() -> None:
    assert thresholds_of(np.array([0.0, 1.0, 1.0])) == [1.0]
    many = np.random.default_rng(0).random(1000)
    thresholds = thresholds_of(many, 20)
    assert len(thresholds) == 20
    assert set(thresholds) <= set(many.tolist())
    assert thresholds == sorted(thresholds)
