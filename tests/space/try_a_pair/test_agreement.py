from __future__ import annotations

from rb_core.results.score_table import Score
from rb_core.space.try_a_pair.agreement import model_agreements
from rb_core.space.try_a_pair.result import PairResult, ScoredCompletion


def result(model: str, *values: float) -> PairResult:
    return PairResult(model, True, tuple(ScoredCompletion(Score(value, 1), None) for value in values))


def test_every_pair_of_completions_is_in_the_same_order_the_opposite_or_tied() -> None:
    (agreement,) = model_agreements([result("a", 3.0, 2.0, 1.0, 1.0), result("b", 1.0, 2.0, 0.5, 0.1)])
    assert (agreement.same, agreement.opposite, agreement.tied) == (4, 1, 1)
    assert agreement.disagreements == ((0, 1),)


def test_every_two_models_are_compared() -> None:
    assert len(model_agreements([result("a", 1.0, 2.0), result("b", 1.0, 2.0), result("c", 2.0, 1.0)])) == 3
