from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from rb_core.stats.item_outcomes import Floats
from rb_core.stats.label_errors import fit_label_errors

MODELS, ITEMS, SUBSETS = 133, 2985, 23


def simulate(seed: int, discrimination: float = 0.3) -> tuple[Floats, list[str], set[int]]:
    """Outcomes by ability and difficulty, with the labels of 20 items reversed on which the best 30 models agree."""
    rng = np.random.default_rng(seed)
    subset = rng.integers(0, SUBSETS, ITEMS)
    difficulty = rng.normal(rng.uniform(-3.5, 0.5, SUBSETS)[subset], 1.5)
    slope = np.exp(rng.normal(0, discrimination, ITEMS))
    ability = rng.normal(0, 1.2, MODELS)
    outcomes = (rng.random((MODELS, ITEMS)) < expit(slope * (ability[:, None] - difficulty))).astype(float)
    best = np.argsort(-outcomes.mean(axis=1))[:30]
    planted = rng.choice(np.flatnonzero(outcomes[best].mean(axis=0) >= 0.9), 20, replace=False)
    outcomes[:, planted] = 1 - outcomes[:, planted]
    return outcomes, subset.astype(str).tolist(), set(planted.tolist())


def suspects_of(outcomes: Floats, subsets: list[str]) -> set[int]:
    """The items that the audit of labels would list."""
    errors = fit_label_errors(outcomes, subsets)
    best = np.argsort(-outcomes.mean(axis=1))[:30]
    missed = 1 - outcomes[best].mean(axis=0)
    return {place for place in errors.suspects(0.05) if missed[place] > 0.5 and errors.wrong[place] >= 0.5}


def test_planted_label_flips_are_found_and_few_others_are_named() -> None:
    outcomes, subsets, planted = simulate(0)
    suspects = suspects_of(outcomes, subsets)
    assert len(suspects & planted) >= 18
    assert len(suspects - planted) < 0.1 * len(suspects)


@pytest.mark.soak
@pytest.mark.parametrize("discrimination", [0.0, 0.3, 0.5])
def test_planted_label_flips_are_found_over_many_simulations(discrimination: float) -> None:
    hits, named = [], []
    for seed in range(20):
        outcomes, subsets, planted = simulate(100 + seed, discrimination)
        suspects = suspects_of(outcomes, subsets)
        hits.append(len(suspects & planted))
        named.append(len(suspects - planted) / max(1, len(suspects)))
    assert np.mean(hits) >= 18
    assert np.mean(named) < 0.1


def test_without_wrong_labels_almost_nothing_is_named() -> None:
    outcomes, subsets, planted = simulate(1)
    columns = sorted(planted)
    outcomes[:, columns] = 1 - outcomes[:, columns]
    assert len(suspects_of(outcomes, subsets)) <= 2


def test_unknown_outcomes_are_left_out_and_abilities_follow_the_scores() -> None:
    rng = np.random.default_rng(3)
    outcomes, subsets, planted = simulate(2)
    whole = fit_label_errors(outcomes, subsets)
    outcomes[rng.random(outcomes.shape) < 0.2] = np.nan
    partial = fit_label_errors(outcomes, subsets)
    assert np.corrcoef(whole.ability, partial.ability)[0, 1] > 0.98
    assert len(set(partial.suspects(0.05)) & planted) >= 17
    order = np.argsort(np.nanmean(outcomes, axis=1))
    assert np.all(np.diff(whole.ability[order[::20]]) > 0)
