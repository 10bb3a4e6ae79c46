"""Position, length and self preference of a judge, and the agreement of a panel."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

import numpy as np
import pytest

from rb_core.models.options import Mode
from rb_core.results.judge_records import Agreement, Judging
from rb_core.scorers.http.replies import Reply
from rb_core.scorers.judge import bias
from rb_core.scorers.judge.bias import Cell, judge_agreement
from rb_core.scorers.judge.types import JudgeRecord
from rb_core.stats.intervals import TOO_FEW_GROUPS
from tests.fakes.simulated_judges import simulated_panel, simulated_run

GROUPS = {"a": "p", "b": "q", "c": "r"}
CHOSEN = {(example, completion): completion == 0 for example in GROUPS for completion in range(3)}


def row(example: str, order: Sequence[int], points: Sequence[float], mode: Mode = "pairwise") -> JudgeRecord:
    return JudgeRecord("judge", mode, tuple(order), Reply(), tuple(points), example_id=example)


def test_a_judge_that_keeps_to_its_answer_is_consistent() -> None:
    result = bias.position_bias([row("a", (0, 1), (1, 0)), row("a", (1, 0), (0, 1))], GROUPS)
    assert result.position_consistency is not None
    assert result.first_position is not None
    assert (result.position_consistency.value, result.flips, result.first_position.value) == (1.0, 0, 0.5)


def test_a_judge_that_keeps_to_a_position_is_not() -> None:
    result = bias.position_bias([row("a", (0, 1), (1, 0)), row("a", (1, 0), (1, 0))], GROUPS)
    assert result.position_consistency is not None
    assert result.first_position is not None
    assert (result.position_consistency.value, result.flips, result.first_position.value) == (0.0, 1, 1.0)


def test_a_pair_without_a_verdict_in_one_order_is_not_comparable() -> None:
    """Its other verdict counts for first_position."""
    result = bias.position_bias([row("a", (0, 1), (1, 0)), row("a", (1, 0), ())], GROUPS)
    assert result.position_consistency is None
    assert result.flips is None
    assert result.first_position is not None
    assert result.first_position.scored == 1


def test_all_rotations_have_to_name_the_same_one() -> None:
    same = [row("a", order, [float(i == 2) for i in order], "listwise") for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1))]
    first = [row("b", order, (1, 0, 0), "listwise") for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1))]
    result = bias.position_bias(same + first, GROUPS)
    assert result.position_consistency is not None
    assert (result.position_consistency.value, result.flips) == (0.5, 1)


def test_ratings_have_no_position() -> None:
    result = bias.position_bias([row("a", (0,), (7,), "ratings"), row("a", (1,), (3,), "ratings")], GROUPS)
    assert result == (None, None, None)


def test_a_tie_of_probabilities_is_no_verdict() -> None:
    result = bias.position_bias(
        [row("a", (0, 1), (0.5, 0.5), "logprob"), row("a", (1, 0), (0.5, 0.5), "logprob")], GROUPS
    )
    assert result.first_position is None
    assert result.flips == 1


def test_length_preference_counts_verdicts_between_unequal_lengths() -> None:
    rows = [row("a", (0, 1), (1, 0)), row("b", (0, 1), (1, 0)), row("c", (0, 1), (0, 1))]
    lengths = {("a", 0): 9, ("a", 1): 3, ("b", 0): 5, ("b", 1): 5, ("c", 0): 8, ("c", 1): 2}
    result = bias.preferences(rows, GROUPS, lengths, CHOSEN, {})
    assert result.length_preference is not None
    assert result.length_deserved is not None
    assert (result.length_preference.value, result.length_preference.scored) == (0.5, 2)
    assert (result.length_deserved.value, result.length_deserved.scored) == (1.0, 2)


def test_a_judge_that_follows_the_labels_prefers_the_longer_as_deserved() -> None:
    """A pair of two rejected completions counts a half."""
    rows = [row("a", (0, 1), (1, 0)), row("a", (0, 2), (1, 0)), row("a", (1, 2), (1, 0)), row("a", (2, 1), (1, 0))]
    lengths = {("a", 0): 5, ("a", 1): 9, ("a", 2): 3}
    result = bias.preferences(rows, GROUPS, lengths, CHOSEN, {})
    assert result.length_preference is not None
    assert result.length_deserved is not None
    assert result.length_preference.value == result.length_deserved.value == 0.5


def test_two_different_ratings_decide_a_pair() -> None:
    rows = [row("a", (i,), (rating,), "ratings") for i, rating in enumerate((7, 3, 7))]
    assert sorted(bias.decided_pairs(rows)) == [("a", 0, 1), ("a", 2, 1)]


def test_self_preference_is_compared_with_the_labels() -> None:
    rows = [row("a", (0, 1), (1, 0)), row("b", (0, 1), (1, 0))]
    lengths = dict.fromkeys([("a", 0), ("a", 1), ("b", 0), ("b", 1)], 4)
    own = {("a", 0): True, ("a", 1): False, ("b", 0): True, ("b", 1): False}
    chosen = {("a", 0): True, ("a", 1): False, ("b", 0): False, ("b", 1): True}
    result = bias.preferences(rows, GROUPS, lengths, chosen, own)
    assert result.self_preference is not None
    assert result.self_deserved is not None
    assert (result.self_preference.value, result.self_deserved.value, result.self_preference.scored) == (1.0, 0.5, 2)


def test_without_authors_there_is_no_self_preference() -> None:
    result = bias.preferences([row("a", (0, 1), (1, 0))], GROUPS, {("a", 0): 1, ("a", 1): 2}, CHOSEN, {})
    assert result.self_preference is None


def test_verdicts_on_one_prompt_are_no_independent_trials() -> None:
    """Six verdicts on one prompt have no interval; on six prompts they have one."""
    rows = [row(str(n), (0, 1), (1, 0)) for n in range(6)]
    one = bias.position_bias(rows, {str(n): "p" for n in range(6)}).first_position
    six = bias.position_bias(rows, {str(n): f"p{n}" for n in range(6)}).first_position
    assert one is not None
    assert six is not None
    assert (one.value, one.low, one.no_interval) == (1.0, None, TOO_FEW_GROUPS)
    assert (six.value, six.no_interval) == (1.0, None)
    assert six.low is not None


def scores(*verdicts: int) -> dict[Cell, float]:
    """Return a judge's scores of the pairs a, b, ...: 1 for the first completion, -1 for the second, 0 for a tie."""
    return {(example, n): (1 - 2 * n) * v for example, v in zip(GROUPS, verdicts, strict=False) for n in (0, 1)}


def test_agreement_of_small_panels() -> None:
    """Chance gives 1/2 without ties; with a third of ties 1/9 + (2/3)^2 / 2 = 1/3."""
    cases: Mapping[tuple[tuple[int, ...], ...], tuple[float, float]] = {
        ((1, 1, 1), (1, 1, 1)): (1.0, 1.0),
        ((1, 1, 1), (-1, -1, -1)): (0.0, -1.0),
        ((1, 1, -1), (1, -1, -1)): (2 / 3, 1 / 3),
        ((1, 1, 0), (1, 1, 0)): (1.0, 1.0),
        ((1, 0, -1), (1, -1, 0)): (1 / 3, 0.0),
    }
    for verdicts, (raw, kappa) in cases.items():
        result = judge_agreement([scores(*row) for row in verdicts], GROUPS)
        assert result.raw is not None
        assert result.fleiss_kappa is not None
        assert (result.items, result.raw.scored) == (3, 3)
        assert (result.raw.value, result.fleiss_kappa) == pytest.approx((raw, kappa))


def test_agreement_is_undefined_if_all_verdicts_are_ties() -> None:
    result = judge_agreement([scores(0, 0), scores(0, 0)], GROUPS)
    assert (result.fleiss_kappa, result.krippendorff_alpha, result.kappa, result.alpha) == (None, None, None, None)
    assert result.raw is not None
    assert result.raw.value == 1.0
    assert judge_agreement([{}, {}], {}) == Agreement(items=0, fleiss_kappa=None, krippendorff_alpha=None)


def test_a_pair_that_one_judge_left_out_counts_for_alpha_only() -> None:
    full, part = scores(1, -1), scores(1, -1) | {("b", 0): float("nan")}
    result = judge_agreement([full, full, part], GROUPS)
    assert result.items == 2
    assert result.alpha is not None
    assert result.kappa is not None
    assert (result.alpha.value, result.alpha.scored, result.kappa.value, result.kappa.scored) == (1.0, 2, 1.0, 1)


def test_good_judges_agree_beyond_chance_whichever_completion_is_first() -> None:
    """Three judges that are right on 95% of the pairs: kappa is .81 (chance that knows the label: about 0)."""
    rng = np.random.default_rng(1)
    right = rng.random((3, 5_000)) < 0.95
    groups = {str(n): str(n) for n in range(5_000)}

    def agreement(first: np.ndarray) -> Agreement:
        return judge_agreement(
            [
                {(str(n), side): float(won == (side == first[n])) for n, won in enumerate(row) for side in (0, 1)}
                for row in right
            ],
            groups,
        )

    chosen_first = agreement(np.zeros(5_000))
    assert chosen_first.fleiss_kappa == pytest.approx(0.81, abs=0.02)
    assert chosen_first.krippendorff_alpha == pytest.approx(0.81, abs=0.02)
    assert chosen_first.raw is not None
    assert chosen_first.raw.value == pytest.approx(0.905, abs=0.01)
    assert agreement(rng.integers(0, 2, 5_000)) == chosen_first


def test_agreement_is_the_mean_over_random_orders() -> None:
    """Against an implementation of the definition: each verdict of each pair with each verdict of all pairs."""
    rng = np.random.default_rng(2)
    table = rng.choice((-1, 0, 1), (40, 3), p=(0.2, 0.2, 0.6))
    groups = {str(n): str(n) for n in range(40)}
    panel = [
        {(str(n), side): (1 - 2 * side) * row[j] for n, row in enumerate(table) for side in (0, 1)} for j in range(3)
    ]
    result = judge_agreement(panel, groups)

    same = np.mean([a == b for row in table for a, b in permutations(row, 2)])
    verdicts = Counter(table.ravel().tolist()) + Counter((-table).ravel().tolist())
    by_chance = sum((n / verdicts.total()) ** 2 for n in verdicts.values())
    assert result.raw is not None
    assert result.raw.value == pytest.approx(same)
    assert result.fleiss_kappa == pytest.approx((same - by_chance) / (1 - by_chance))


def coverage_limits(repeats: int) -> tuple[float, float]:
    """Return 93 to 98%, with two standard errors of the simulation on both sides."""
    return tuple(limit + sign * 2 * math.sqrt(limit * (1 - limit) / repeats) for limit, sign in ((0.93, -1), (0.98, 1)))


@pytest.mark.parametrize("repeats", [100, pytest.param(4000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("accuracy", [0.7, 0.95])
def test_intervals_of_agreement_cover_with_several_pairs_a_prompt(accuracy: float, repeats: int) -> None:
    rng = np.random.default_rng(3)
    covered = Counter[str]()
    for _ in range(repeats):
        panel = simulated_panel(rng, accuracy, prompts=60, pairs=3)
        result = judge_agreement(panel.scores, panel.groups)
        covered.update(covers({"raw": panel.raw, "kappa": panel.kappa, "alpha": panel.kappa}, result))
    low, high = coverage_limits(repeats)
    assert all(low <= covered[name] / repeats <= high for name in ("raw", "kappa", "alpha")), covered


@pytest.mark.parametrize("repeats", [100, pytest.param(4000, marks=pytest.mark.soak)])
def test_intervals_of_shares_cover_with_several_pairs_a_prompt(repeats: int) -> None:
    rng = np.random.default_rng(4)
    covered = Counter[str]()
    for _ in range(repeats):
        run = simulated_run(rng, consistent=0.8, longer=0.7, deserved=0.55, prompts=60, pairs=3)
        orders = bias.position_bias(run.records, run.groups)
        preferences = bias.preferences(run.records, run.groups, run.lengths, run.is_chosen, run.is_own)
        result = Judging(requests=0, **orders._asdict(), **preferences._asdict())
        covered.update(covers(run.expected, result))
    low, high = coverage_limits(repeats)
    assert all(low <= covered[name] / repeats <= high for name in run.expected), covered


def covers(expected: Mapping[str, float], record: Agreement | Judging) -> Iterator[str]:
    """Yield the names of the estimates whose interval holds the expected value."""
    for name, value in expected.items():
        estimate = getattr(record, name)
        if estimate.low <= value <= estimate.high:
            yield name
