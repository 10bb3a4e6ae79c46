from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit

from rb_core.stats.misfits import MIN_COMMON, Misfits, Table, find_misfits
from tests.fakes.simulated_boards import simulated_accuracies


def misfits_of(accuracies: Table) -> Misfits:
    return find_misfits(logit(np.clip(accuracies, 0.005, 0.995)))


def flagged_share(models: int, boards: int, times: int, **settings: float) -> float:
    """Return the share of simulated boards without wrong scores on which a score is flagged."""
    rng = np.random.default_rng(models)
    found = [misfits_of(simulated_accuracies(rng, models, boards, **settings)) for _ in range(times)]  # type: ignore[arg-type]
    flagged = sum(len({board for _, board in misfits.flagged}) for misfits in found)
    return flagged / sum(len({board for _, board in misfits.predictions}) for misfits in found)


def test_boards_without_wrong_scores_are_rarely_flagged() -> None:
    assert flagged_share(40, 4, 40, missing=0.3) <= 0.05


@pytest.mark.soak
@pytest.mark.parametrize(
    ("models", "boards", "settings"),
    [
        (15, 3, {"missing": 0.1}),
        (24, 2, {}),
        (40, 4, {"missing": 0.4}),
        (60, 2, {"missing": 0.2}),
        (80, 7, {"missing": 0.5, "spread": 0.2}),
        (80, 7, {"missing": 0.6, "spread": 0.4}),
        (150, 4, {"missing": 0.5, "spread": 0.15}),
        (60, 4, {"missing": 0.3, "tails": 10}),
    ],
)
def test_boards_without_wrong_scores_are_rarely_flagged_in_many_settings(
    models: int, boards: int, settings: dict[str, float]
) -> None:
    assert flagged_share(models, boards, 300, **settings) <= 0.05


def test_three_wrong_scores_do_not_hide_each_other() -> None:
    rng = np.random.default_rng(3)
    accuracies = simulated_accuracies(rng, 24, 3, spread=0.15)
    best = np.argsort(accuracies[:, 0])[-3:]
    accuracies[best, 2] = 0.4, 0.42, 0.3
    assert set(misfits_of(accuracies).flagged) == {(int(model), 2) for model in best}


def test_a_wrong_score_is_not_held_against_the_models_other_scores() -> None:
    rng = np.random.default_rng(4)
    accuracies = simulated_accuracies(rng, 30, 4, spread=0.15)
    expected = misfits_of(accuracies)
    assert expected.flagged == []
    accuracies[5, 1] = 0.1
    found = misfits_of(accuracies)
    assert found.flagged == [(5, 1)]
    assert found.predictions[5, 1].studentized < -10
    assert found.predictions[5, 0].predicted == pytest.approx(expected.predictions[5, 0].predicted, abs=0.2)


def test_prediction_intervals_hold_95_percent_of_the_scores() -> None:
    rng = np.random.default_rng(5)
    held = []
    for _ in range(30):
        scores = logit(np.clip(simulated_accuracies(rng, 30, 3), 0.005, 0.995))
        for place, prediction in find_misfits(scores).predictions.items():
            low, high = prediction.interval
            held.append(low <= scores[place] <= high)
    assert 0.93 <= np.mean(held) <= 0.97


def test_few_models_in_common_predict_nothing() -> None:
    scores = np.full((20, 2), np.nan)
    scores[:10, 0] = scores[10 - MIN_COMMON + 1 :, 1] = 0.0
    assert find_misfits(scores + np.arange(20)[:, None]) == Misfits({}, [])
