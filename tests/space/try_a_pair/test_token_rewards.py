from __future__ import annotations

import pytest

from rb_core.results.score_table import Score
from rb_core.scorers.base import TokenReward
from rb_core.space.try_a_pair.result import PairResult, ScoredCompletion, TraceKind
from rb_core.space.try_a_pair.token_rewards import HEIGHT, WIDTH, token_lines


def result(kind: TraceKind, *rewards: float) -> PairResult:
    trace = tuple(TokenReward(f"t{index}", reward) for index, reward in enumerate(rewards))
    completions = (ScoredCompletion(Score(1.0, 1), 1), ScoredCompletion(Score(1.0, 1), 1, trace=trace))
    return PairResult("m", True, completions, trace_kind=kind)


@pytest.mark.parametrize(
    ("kind", "values", "changes"),
    [("running", [1.0, 3.0, -1.0], [0.0, 2.0, -4.0]), ("added", [1.0, 4.0, 3.0], [1.0, 3.0, -1.0])],
)
def test_running_scores_have_differences_and_added_ones_sums(
    kind: TraceKind, values: list[float], changes: list[float]
) -> None:
    (line,) = token_lines(result(kind, 1.0, 3.0, -1.0))
    assert line.number == 2, "a completion without a trace has no line"
    assert [token.value for token in line.tokens] == values
    assert [token.change for token in line.tokens] == changes
    assert max(token.strength for token in line.tokens) == 1
    assert (line.first, line.last, line.low, line.high) == (values[0], values[-1], min(values), max(values))
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in line.points)


def test_a_single_token_makes_a_line_of_one_point() -> None:
    (line,) = token_lines(result("running", 0.5))
    assert len(line.points) == 1
    assert line.tokens[0].strength == 0
