"""Position, length and self preference of a judge, and the agreement of a panel."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rb_core.models.options import Mode
from rb_core.results.judge_records import Agreement
from rb_core.scorers.judge import bias
from rb_core.scorers.judge.bias import fleiss_kappa, krippendorff_alpha
from rb_core.scorers.judge.types import JudgeRecord, Reply


def row(example: str, order: Sequence[int], points: Sequence[float], mode: Mode = "pairwise") -> JudgeRecord:
    return JudgeRecord("judge", mode, tuple(order), Reply(), tuple(points), example_id=example)


def test_a_judge_that_keeps_to_its_answer_is_consistent() -> None:
    result = bias.position_bias([row("a", (0, 1), (1, 0)), row("a", (1, 0), (0, 1))])
    assert result.position_consistency is not None
    assert result.first_position is not None
    assert (result.position_consistency.value, result.flips, result.first_position.value) == (1.0, 0, 0.5)


def test_a_judge_that_keeps_to_a_position_is_not() -> None:
    result = bias.position_bias([row("a", (0, 1), (1, 0)), row("a", (1, 0), (1, 0))])
    assert result.position_consistency is not None
    assert result.first_position is not None
    assert (result.position_consistency.value, result.flips, result.first_position.value) == (0.0, 1, 1.0)


def test_a_pair_without_a_verdict_in_one_order_is_not_comparable() -> None:
    """Its other verdict counts for first_position."""
    result = bias.position_bias([row("a", (0, 1), (1, 0)), row("a", (1, 0), ())])
    assert result.position_consistency is None
    assert result.flips is None
    assert result.first_position is not None
    assert result.first_position.scored == 1


def test_all_rotations_have_to_name_the_same_one() -> None:
    same = [row("a", order, [float(i == 2) for i in order], "listwise") for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1))]
    first = [row("b", order, (1, 0, 0), "listwise") for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1))]
    result = bias.position_bias(same + first)
    assert result.position_consistency is not None
    assert (result.position_consistency.value, result.flips) == (0.5, 1)


def test_ratings_have_no_position() -> None:
    result = bias.position_bias([row("a", (0,), (7,), "ratings"), row("a", (1,), (3,), "ratings")])
    assert result == (None, None, None)


def test_a_tie_of_probabilities_is_no_verdict() -> None:
    result = bias.position_bias([row("a", (0, 1), (0.5, 0.5), "logprob"), row("a", (1, 0), (0.5, 0.5), "logprob")])
    assert result.first_position is None
    assert result.flips == 1


def test_length_preference_counts_verdicts_between_unequal_lengths() -> None:
    rows = [row("a", (0, 1), (1, 0)), row("b", (0, 1), (1, 0)), row("c", (0, 1), (0, 1))]
    lengths = {("a", 0): 9, ("a", 1): 3, ("b", 0): 5, ("b", 1): 5, ("c", 0): 8, ("c", 1): 2}
    result = bias.preferences(rows, lengths, {}, {})
    assert result.length_preference is not None
    assert (result.length_preference.value, result.length_preference.scored) == (0.5, 2)


def test_two_different_ratings_decide_a_pair() -> None:
    rows = [row("a", (i,), (rating,), "ratings") for i, rating in enumerate((7, 3, 7))]
    assert sorted(bias.decided_pairs(rows)) == [("a", 0, 1), ("a", 2, 1)]


def test_self_preference_is_compared_with_the_labels() -> None:
    rows = [row("a", (0, 1), (1, 0)), row("b", (0, 1), (1, 0))]
    lengths = dict.fromkeys([("a", 0), ("a", 1), ("b", 0), ("b", 1)], 4)
    own = {("a", 0): True, ("a", 1): False, ("b", 0): True, ("b", 1): False}
    chosen = {("a", 0): True, ("a", 1): False, ("b", 0): False, ("b", 1): True}
    result = bias.preferences(rows, lengths, own, chosen)
    assert result.self_preference is not None
    assert result.self_deserved is not None
    assert (result.self_preference.value, result.self_deserved.value, result.self_preference.scored) == (1.0, 0.5, 2)


def test_without_authors_there_is_no_self_preference() -> None:
    result = bias.preferences([row("a", (0, 1), (1, 0))], {("a", 0): 1, ("a", 1): 2}, {}, {})
    assert result.self_preference is None


# Fleiss 1971, table 1: 30 patients, 5 categories, 6 raters; numbers of raters by category.
FLEISS = """
0 0 0 6 0|0 3 0 0 3|0 1 4 0 1|0 0 0 0 6|0 3 0 3 0|2 0 4 0 0|0 0 4 0 2|2 0 3 1 0|2 0 0 4 0|0 0 0 0 6
1 0 0 5 0|1 1 0 4 0|0 3 3 0 0|1 0 0 5 0|0 2 0 3 1|0 0 5 0 1|3 0 0 1 2|5 1 0 0 0|0 2 0 4 0|1 0 2 0 3
0 0 0 0 6|0 1 0 5 0|0 2 0 1 3|2 0 0 4 0|1 0 0 4 1|0 5 0 1 0|4 0 0 0 2|0 2 0 4 0|1 0 5 0 0|0 0 0 0 6
"""


def test_fleiss_kappa_is_that_of_its_paper() -> None:
    counts = [[int(n) for n in cell.split()] for line in FLEISS.strip().splitlines() for cell in line.split("|")]
    table = [[category for category, n in enumerate(row) for _ in range(n)] for row in counts]
    assert len(table) == 30
    assert fleiss_kappa(table) == pytest.approx(0.430, abs=5e-4)


# Krippendorff 2011, section C: four observers, twelve units, missing values.
OBSERVERS = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")


def test_krippendorff_alpha_is_that_of_its_paper() -> None:
    units = zip(*(observer.split() for observer in OBSERVERS), strict=True)
    table = [[value for value in unit if value != "."] for unit in units]
    assert krippendorff_alpha(table) == pytest.approx(0.743, abs=5e-4)


def test_agreement_of_equal_judges_is_one() -> None:
    same = {("a", 0): 1.0, ("a", 1): 0.0, ("b", 0): 0.0, ("b", 1): 1.0}
    result = bias.judge_agreement([same, same, same])
    assert (result.items, result.fleiss_kappa, result.krippendorff_alpha) == (2, 1.0, 1.0)
    against = {cell: -value for cell, value in same.items()}
    apart = bias.judge_agreement([same, against])
    assert apart.fleiss_kappa == pytest.approx(-1.0)


def test_agreement_is_undefined_for_one_category() -> None:
    flat = {("a", 0): 1.0, ("a", 1): 1.0}
    assert bias.judge_agreement([flat, flat]).fleiss_kappa is None
    assert bias.judge_agreement([{}, {}]) == Agreement(items=0, fleiss_kappa=None, krippendorff_alpha=None)


def test_a_pair_that_one_judge_left_out_counts_for_alpha_only() -> None:
    full = {("a", 0): 1.0, ("a", 1): 0.0, ("b", 0): 0.0, ("b", 1): 1.0}
    part = {("a", 0): 1.0, ("a", 1): 0.0, ("b", 0): float("nan"), ("b", 1): 1.0}
    result = bias.judge_agreement([full, full, part])
    assert result.items == 2
    assert result.krippendorff_alpha == 1.0
    assert result.fleiss_kappa is None  # one item is left, and all say the same of it
