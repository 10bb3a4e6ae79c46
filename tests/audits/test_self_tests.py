"""The statistics of every audit of models on its own design, by many simulated scorers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rb_core.audits.fairness.audit import fairness_audit
from rb_core.audits.model_audit import ModelAudit
from rb_core.audits.property_file import read_property
from rb_core.audits.registry import AUDITS
from rb_core.audits.robustness.audit import robustness_audit
from rb_core.audits.safety.audit import safety_audit
from rb_core.audits.self_test import run_self_test
from rb_core.audits.values.audit import values_audit
from tests.audits.frames import frame_of

RUNS = 1000


def own_shifts(folder: Path) -> ModelAudit:
    rows = [
        {"group": f"group {n % 5}", "unit": f"unit {n // 10}", "prompt": f"{n}", "original": "a", "changed": "b"}
        for n in range(100)
    ]
    return own(folder, {"effect": "shift", "pairs": rows})


def own_pairs(folder: Path) -> ModelAudit:
    rows = [{"group": f"group {n % 4}", "prompt": f"{n}", "chosen": "a", "rejected": "b"} for n in range(200)]
    return own(folder, {"effect": "accuracy", "pairs": rows})


def own(folder: Path, fields: dict[str, object]) -> ModelAudit:
    path = folder / "own.yaml"
    path.write_text(json.dumps({"name": "own", "question": "Does it?"} | fields))
    return read_property(path)


DESIGNS: dict[str, Callable[[Path], ModelAudit]] = {
    "safety": lambda folder: safety_audit(),
    "fairness": lambda folder: fairness_audit(),
    "robustness": lambda folder: robustness_audit(),
    "values": lambda folder: values_audit("baseline/random"),
    "own shifts": own_shifts,
    "own pairs": own_pairs,
}


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


def test_every_audit_has_a_design_here(tmp_path: Path) -> None:
    assert {design(tmp_path).kind for design in DESIGNS.values()} == AUDITS.keys()
