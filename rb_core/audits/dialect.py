"""Audit of dialect: accuracy of published models on RewardBench's pairs and on the same pairs in another dialect."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import DataError
from rb_core.files import read_table
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.paired import PairedDifference, compare_outcomes
from rb_core.stats.significance import ALPHA, holm

BENCHMARK = "rewardbench"
OUTCOMES_FILE = Path("dialect", "rewardbench.parquet")  # below a results root
SCHEMA = pa.schema(
    [
        pa.field("model", pa.string()),
        pa.field("version", pa.string()),
        pa.field("item", pa.string()),
        pa.field("subset", pa.string()),
        pa.field("credit", pa.float32()),
    ]
)
ORIGINAL = "original"
VERSIONS = {
    "aae": "both in dialect",
    "aae-prompt": "prompt in dialect",
    "aae-completions": "completions in dialect",
}


class DialectEffect(NamedTuple):
    """A model's accuracy on the original pairs, and by version the paired difference from it (version - original)."""

    model: str
    accuracy: float
    differences: dict[str, PairedDifference]


def dialect_report(root: Path) -> AuditReport:
    """Return the report on the outcomes in a results root. Raises DataError if there are none."""
    table, metadata = read_table(root / OUTCOMES_FILE, "file of outcomes by dialect", SCHEMA, error=DataError)
    effects = sorted(dialect_effects(table.to_pandas()), key=lambda effect: _main(effect).difference.value or 0.0)
    adjusted = holm([_main(effect).p for effect in effects])
    values = [_main(effect).difference.value or 0.0 for effect in effects]
    lose = sum(value < 0 for value in values)
    clear = sum((p < ALPHA) and value < 0 for p, value in zip(adjusted, values, strict=True))
    return AuditReport(
        audit="dialect",
        title="Dialect",
        question="Are reward models less accurate when prompts and answers are in African American English?",
        answer=(
            f"{lose} of {len(effects)} models are less accurate, {clear} of them significantly: by "
            f"{-100 * float(np.mean(values)):.1f} points on average, by {-100 * min(values):.1f} at most.",
        ),
        tables=(
            AuditTable(
                title="Accuracy and its change by version, the same pairs",
                columns=(
                    "Model", "Original", "Change, both in dialect", "95% low", "95% high", "p (Holm)",
                    "Change, prompt only", "Change, completions only",
                ),
                rows=tuple(_row(effect, float(p)) for effect, p in zip(effects, adjusted, strict=True)),
            ),
        ),
        figure=AuditFigure(
            kind="intervals",
            title="Change of accuracy when prompt and completions are in dialect",
            x_label="",
            y_label="Change of accuracy",
            points=tuple(_point(place, effect) for place, effect in enumerate(effects)),
            reference=0.0,
        ),
        cautions=(
            "The dialect texts were made by rules, with phonetic spellings. Without a control with as many spelling "
            "changes and no dialect, a loss may be one of spelling. `audit fairness` has such a control.",
            "The pairs are those of RewardBench's chat, safety and adversarial subsets whose texts could be rebuilt.",
        ),
        method=(
            "Paired differences of accuracy over the same pairs, all pairs with the same weight, with the interval and "
            "test of the Compare tab; p values adjusted by Holm (1979). A tie earns 0. Texts and scores: Mire et al. "
            "2025, Rejected Dialects, arXiv:2502.12858."
        ),
        sources=(str(metadata.get("source", "")),),
        command="python -m rb_core audit dialect --out leaderboard_data --overwrite",
    )  # fmt: skip


def dialect_effects(outcomes: pd.DataFrame) -> list[DialectEffect]:
    """Return the effects of a table with the columns of SCHEMA. Raises DataError for a model without a version."""
    effects = []
    for model, part in outcomes.groupby("model", sort=False):
        by_version = {str(version): _outcomes(str(model), rows) for version, rows in part.groupby("version")}
        if missing := {ORIGINAL, *VERSIONS} - by_version.keys():
            raise DataError(f"{model}: no outcomes of the version {', '.join(sorted(missing))}")
        differences = {}
        for version in VERSIONS:
            difference = compare_outcomes(by_version[version], by_version[ORIGINAL], BENCHMARKS[BENCHMARK]).examples
            if difference is None:
                raise DataError(f"{model}: no pair of the version {version} is scored in both")
            differences[version] = difference
        effects.append(DialectEffect(str(model), float(np.nanmean(by_version[ORIGINAL].credits)), differences))
    return effects


def _outcomes(model: str, rows: pd.DataFrame) -> ItemOutcomes:
    ids = rows["item"].to_numpy(str)
    return ItemOutcomes(model, BENCHMARK, ids, rows["subset"].to_numpy(str), ids, rows["credit"].to_numpy(np.float64))


def _main(effect: DialectEffect) -> PairedDifference:
    return effect.differences["aae"]


def _row(effect: DialectEffect, p: float) -> tuple[str | float | None, ...]:
    change = _main(effect).difference
    others = (effect.differences[version].difference.value for version in ("aae-prompt", "aae-completions"))
    return (effect.model, effect.accuracy, change.value, change.low, change.high, p, *others)


def _point(place: int, effect: DialectEffect) -> AuditPoint:
    change = _main(effect).difference
    return AuditPoint(label=effect.model, x=float(place), y=change.value or 0.0, low=change.low, high=change.high)
