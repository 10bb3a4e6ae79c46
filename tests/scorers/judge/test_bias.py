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
    """The same completion in both orders: consistency 1, no flip, half of the verdicts for the first place."""
    result = bias.position_bias([row("a", (0, 1), (1, 0)), row("a", (1, 0), (0, 1))])
    assert result.position_consistency is not None
    assert result.first_position is not None
    assert (result.position_consistency.value, result.flips, result.first_position.value) == (1.0, 0, 0.5)


def test_a_judge_that_keeps_to_a_place_is_not() -> None:
    """Always the first: consistency 0, every pair flips, all verdicts for the first place."""
    result = bias.position_bias([row("a", (0, 1), (1, 0)), row("a", (1, 0), (1, 0))])
    assert result.position_consistency is not None
    assert result.first_position is not None
    assert (result.position_consistency.value, result.flips, result.first_position.value) == (0.0, 1, 1.0)


def test_what_has_no_verdict_in_one_order_is_not_compared() -> None:
    """A pair of which one order failed counts for the places, not for consistency."""
    result = bias.position_bias([row("a", (0, 1), (1, 0)), row("a", (1, 0), ())])
    assert result.position_consistency is None
    assert result.flips is None
    assert result.first_position is not None
    assert result.first_position.scored == 1


def test_all_rotations_have_to_name_the_same_one() -> None:
    """Of a listwise judge a prompt is consistent only where every rotation does."""
    same = [row("a", order, [float(i == 2) for i in order], "listwise") for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1))]
    first = [row("b", order, (1, 0, 0), "listwise") for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1))]
    result = bias.position_bias(same + first)
    assert result.position_consistency is not None
    assert (result.position_consistency.value, result.flips) == (0.5, 1)


def test_ratings_have_no_places() -> None:
    """A completion that is rated alone stands nowhere."""
    result = bias.position_bias([row("a", (0,), (7,), "ratings"), row("a", (1,), (3,), "ratings")])
    assert result == (None, None, None)


def test_even_probabilities_are_a_verdict_for_neither() -> None:
    """Two alike in both orders keep no verdict, so that the pair is not consistent."""
    result = bias.position_bias([row("a", (0, 1), (0.5, 0.5), "logprob"), row("a", (1, 0), (0.5, 0.5), "logprob")])
    assert result.first_position is None
    assert result.flips == 1


def test_length_preference_counts_verdicts_between_unequal_lengths() -> None:
    """Three verdicts, one between equals: of the other two one is for the longer completion."""
    rows = [row("a", (0, 1), (1, 0)), row("b", (0, 1), (1, 0)), row("c", (0, 1), (0, 1))]
    lengths = {("a", 0): 9, ("a", 1): 3, ("b", 0): 5, ("b", 1): 5, ("c", 0): 8, ("c", 1): 2}
    result = bias.preferences(rows, lengths, {}, {})
    assert result.length_preference is not None
    assert (result.length_preference.value, result.length_preference.scored) == (0.5, 2)


def test_two_ratings_are_a_verdict_unless_they_are_equal() -> None:
    """Ratings decide pairs of completions, equal ones none."""
    rows = [row("a", (i,), (rating,), "ratings") for i, rating in enumerate((7, 3, 7))]
    assert sorted(bias.decided_pairs(rows)) == [("a", 0, 1), ("a", 2, 1)]


def test_self_preference_stands_beside_what_was_deserved() -> None:
    """A judge that always prefers its own, where that is the better one half of the time."""
    rows = [row("a", (0, 1), (1, 0)), row("b", (0, 1), (1, 0))]
    lengths = dict.fromkeys([("a", 0), ("a", 1), ("b", 0), ("b", 1)], 4)
    own = {("a", 0): True, ("a", 1): False, ("b", 0): True, ("b", 1): False}
    chosen = {("a", 0): True, ("a", 1): False, ("b", 0): False, ("b", 1): True}
    result = bias.preferences(rows, lengths, own, chosen)
    assert result.self_preference is not None
    assert result.self_deserved is not None
    assert (result.self_preference.value, result.self_deserved.value, result.self_preference.scored) == (1.0, 0.5, 2)


def test_without_authors_there_is_no_self_preference() -> None:
    """Where nobody knows who wrote what, nothing is said."""
    result = bias.preferences([row("a", (0, 1), (1, 0))], {("a", 0): 1, ("a", 1): 2}, {}, {})
    assert result.self_preference is None


# Fleiss 1971, table 1: 30 patients, 5 categories, 6 raters; numbers of raters by category.
FLEISS = """
0 0 0 6 0|0 3 0 0 3|0 1 4 0 1|0 0 0 0 6|0 3 0 3 0|2 0 4 0 0|0 0 4 0 2|2 0 3 1 0|2 0 0 4 0|0 0 0 0 6
1 0 0 5 0|1 1 0 4 0|0 3 3 0 0|1 0 0 5 0|0 2 0 3 1|0 0 5 0 1|3 0 0 1 2|5 1 0 0 0|0 2 0 4 0|1 0 2 0 3
0 0 0 0 6|0 1 0 5 0|0 2 0 1 3|2 0 0 4 0|1 0 0 4 1|0 5 0 1 0|4 0 0 0 2|0 2 0 4 0|1 0 5 0 0|0 0 0 0 6
"""


def test_fleiss_kappa_is_that_of_its_paper() -> None:
    """The example of Fleiss 1971 gives 0.430."""
    counts = [[int(n) for n in cell.split()] for line in FLEISS.strip().splitlines() for cell in line.split("|")]
    table = [[category for category, n in enumerate(row) for _ in range(n)] for row in counts]
    assert len(table) == 30
    assert fleiss_kappa(table) == pytest.approx(0.430, abs=5e-4)


# Krippendorff 2011, section C: four observers, twelve units, missing values.
OBSERVERS = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")


def test_krippendorff_alpha_is_that_of_its_paper() -> None:
    """The example with missing values of Krippendorff 2011 gives 0.743 for nominal data."""
    units = zip(*(observer.split() for observer in OBSERVERS), strict=True)
    table = [[value for value in unit if value != "."] for unit in units]
    assert krippendorff_alpha(table) == pytest.approx(0.743, abs=5e-4)


def test_agreement_of_those_who_always_agree_is_one() -> None:
    """Three judges with the same ranking agree fully, and one that reverses it does not."""
    same = {("a", 0): 1.0, ("a", 1): 0.0, ("b", 0): 0.0, ("b", 1): 1.0}
    result = bias.judge_agreement([same, same, same])
    assert (result.items, result.fleiss_kappa, result.krippendorff_alpha) == (2, 1.0, 1.0)
    against = {cell: -value for cell, value in same.items()}
    apart = bias.judge_agreement([same, against])
    assert apart.fleiss_kappa == pytest.approx(-1.0)


def test_agreement_says_nothing_where_there_is_one_category() -> None:
    """Judges that tie everything, or have no items, have no kappa."""
    flat = {("a", 0): 1.0, ("a", 1): 1.0}
    assert bias.judge_agreement([flat, flat]).fleiss_kappa is None
    assert bias.judge_agreement([{}, {}]) == Agreement(items=0, fleiss_kappa=None, krippendorff_alpha=None)


def test_an_item_that_one_judge_left_out_counts_for_alpha_alone() -> None:
    """Fleiss' kappa needs every judge; Krippendorff's alpha takes two of three."""
    full = {("a", 0): 1.0, ("a", 1): 0.0, ("b", 0): 0.0, ("b", 1): 1.0}
    part = {("a", 0): 1.0, ("a", 1): 0.0, ("b", 0): float("nan"), ("b", 1): 1.0}
    result = bias.judge_agreement([full, full, part])
    assert result.items == 2
    assert result.krippendorff_alpha == 1.0
    assert result.fleiss_kappa is None  # one item is left, and all say the same of it
