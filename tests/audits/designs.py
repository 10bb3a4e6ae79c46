"""Every audit of models on its own items, and audits that a file defines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rb_core.audits.fairness.audit import fairness_audit
from rb_core.audits.model_audit import ModelAudit
from rb_core.audits.property_file import read_property
from rb_core.audits.robustness.audit import robustness_audit
from rb_core.audits.safety.audit import safety_audit
from rb_core.audits.values.audit import values_audit


def own_shifts(folder: Path) -> ModelAudit:
    rows = [
        {"group": f"group {n % 5}", "unit": f"unit {n // 10}", "prompt": f"{n}", "original": "a", "changed": "b"}
        for n in range(100)
    ]
    return own(folder, "own-shifts", {"effect": "shift", "pairs": rows})


def own_pairs(folder: Path) -> ModelAudit:
    rows = [{"group": f"group {n % 4}", "prompt": f"{n}", "chosen": "a", "rejected": "b"} for n in range(200)]
    return own(folder, "own-pairs", {"effect": "accuracy", "pairs": rows})


def own(folder: Path, name: str, fields: dict[str, object]) -> ModelAudit:
    path = folder / "own.yaml"
    path.write_text(json.dumps({"name": name, "question": "Does it?"} | fields))
    return read_property(path)


DESIGNS: dict[str, Callable[[Path], ModelAudit]] = {
    "safety": lambda folder: safety_audit(),
    "fairness": lambda folder: fairness_audit(),
    "robustness": lambda folder: robustness_audit(),
    "values": lambda folder: values_audit("baseline/random"),
    "own shifts": own_shifts,
    "own pairs": own_pairs,
}
