"""The statistics of every audit of models on its own design, by many simulated scorers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rb_core.audits.self_test import run_self_test
from tests.audits.designs import DESIGNS
from tests.audits.frames import frame_of

RUNS = 1000


@pytest.mark.soak
@pytest.mark.parametrize("design", DESIGNS)
def test_planted_effects_are_found_and_unbiased_scorers_have_none(design: str, tmp_path: Path) -> None:
    audit = DESIGNS[design](tmp_path)
    rows = frame_of(audit)
    outcome = run_self_test(audit, rows, runs=RUNS, seed=3)
    assert outcome.planted is not None
    assert outcome.unbiased is not None
    rng = np.random.default_rng(4)
    covered = [
        effect.low <= effect.null <= effect.high
        for _ in range(RUNS // 4)
        for effect in audit.effects(rows.assign(score=audit.simulate(rows, rng)))
        if None not in (effect.null, effect.low, effect.high)
    ]
    print(f"{design}: planted {outcome.planted:.3f}, unbiased {outcome.unbiased:.3f}, covered {np.mean(covered):.3f}")
    assert outcome.planted >= 0.95
    assert outcome.unbiased <= 0.05 + 3 * (0.05 * 0.95 / RUNS) ** 0.5
    assert 0.93 <= np.mean(covered) <= 0.985
