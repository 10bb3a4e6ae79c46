"""The self-test of an audit: it must find a planted effect, and find none in an unbiased scorer."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import cycle

import numpy as np
import pandas as pd
from scipy.stats import binom

from rb_core.audits.model_audit import OUTPUT_COLUMNS, ModelAudit, Planted
from rb_core.audits.result import SelfTest
from rb_core.results.effect import Effect
from rb_core.stats.effects import adjusted, is_significant
from rb_core.stats.item_outcomes import Floats
from rb_core.stats.significance import ALPHA

RUNS = 100
FOUND = 0.95  # share of planted effects that must be found
CHANCE = 0.001  # with which an audit that is as good as it must be may fail


class SelfTests:
    """Outcomes of self-tests, which are the same for all models: each is computed once for an audit and its rows."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, str], list[tuple[pd.DataFrame, SelfTest]]] = defaultdict(list)

    def outcome(self, audit: ModelAudit, scores: pd.DataFrame) -> SelfTest:
        """Return what `run_self_test` returns for the rows without the columns that depend on the model."""
        rows = scores.drop(columns=[*OUTPUT_COLUMNS])
        of_audit = self._outcomes[audit.kind, json.dumps(audit.settings, sort_keys=True)]
        for earlier_rows, outcome in of_audit:
            if earlier_rows.equals(rows):
                return outcome
        of_audit.append((rows, run_self_test(audit, rows)))
        return of_audit[-1][1]


def run_self_test(audit: ModelAudit, scores: pd.DataFrame, runs: int = RUNS, seed: int = 0) -> SelfTest:
    """Return the outcome of trials with made-up scorers on the rows of a score table, which needs no scores.

    A planted effect is twice the smallest detectable one of unbiased scorers (the root of its mean square over the
    trials); measures and groups take turns. It is found if it is significant, with the right sign. Shares may miss
    their limits (95%, 5%) by what is expected by chance.
    """
    rng = np.random.default_rng(seed)
    false_alarms: list[bool] = []
    squares: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(runs):
        effects = _effects_of(audit, scores, audit.simulate(scores, rng))
        false_alarms.append(any(map(is_significant, effects)))
        for effect in effects:
            if effect.detectable is not None:
                squares[effect.key].append(effect.detectable**2)
    detectable = {key: float(np.mean(values)) ** 0.5 for key, values in squares.items()}
    found: list[bool] = []
    too_small: set[tuple[str, str]] = set()
    for _, (key, size) in zip(range(runs), cycle(detectable.items())):
        planted = Planted(*key, 2 * size)
        simulated = audit.simulate(scores, rng, planted)
        if simulated is None:
            too_small.add(key)
            continue
        (effect,) = (each for each in _effects_of(audit, scores, simulated) if each.key == key)
        found.append(is_significant(effect) and effect.difference * planted.size > 0)
    if not found:
        return SelfTest(runs=runs, too_small=len(too_small), reason="too few examples to find any effect")
    planted_limit = binom.ppf(CHANCE, len(found), FOUND)
    alarm_limit = binom.ppf(1 - CHANCE, len(false_alarms), ALPHA)
    return SelfTest(
        runs=runs,
        planted=float(np.mean(found)),
        unbiased=float(np.mean(false_alarms)),
        too_small=len(too_small),
        passed=bool(sum(found) >= planted_limit and sum(false_alarms) <= alarm_limit),
    )


def _effects_of(audit: ModelAudit, scores: pd.DataFrame, simulated: Floats | None) -> list[Effect]:
    return adjusted(audit.effects(scores.assign(score=simulated)))
