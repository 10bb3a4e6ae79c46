"""Corrections of a benchmark's labels: `corrections.jsonl` in a results root, one JSON object a line.

{"benchmark": "rewardbench", "item": "1422", "verdict": "wrong", "reason": "...", "who": "..."}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from rb_core.errors import DataError
from rb_core.results.estimate import Record
from rb_core.results.schema import BenchmarkId
from rb_core.stats.item_outcomes import ItemOutcomes

CORRECTIONS_FILE = "corrections.jsonl"
MAX_CORRECTIONS_BYTES = 4_000_000

# The label is wrong and the outcome reversed; no completion is better, and the item left out; the label was read and
# is right; readers disagree, and nothing changes.
Verdict = Literal["wrong", "no answer", "right", "unclear"]
Text = Annotated[str, Field(min_length=1, max_length=2000)]


class Correction(Record):
    """A reader's verdict on an item's label. who: a name or an account on the hub."""

    benchmark: BenchmarkId
    item: Text
    verdict: Verdict
    reason: Text
    who: Text


def read_corrections(root: Path, benchmark: str) -> list[Correction]:
    """Return the corrections of a benchmark in a results root; empty without a file. Raises as `parse_corrections`."""
    path = root / CORRECTIONS_FILE
    try:
        with path.open("rb") as file:
            corrections = parse_corrections(file.read(MAX_CORRECTIONS_BYTES + 1), str(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return [correction for correction in corrections if correction.benchmark == benchmark]


def parse_corrections(content: bytes, name: str) -> list[Correction]:
    """Return the corrections in a file's content.

    Raises DataError, naming file and line, for a line that is no correction, and for a second verdict on an item.
    """
    if len(content) > MAX_CORRECTIONS_BYTES:
        raise DataError(f"{name}: a file of corrections has at most {MAX_CORRECTIONS_BYTES:,} bytes")
    corrections: dict[tuple[str, str], Correction] = {}
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            correction = Correction.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the line"
            raise DataError(f"{name}, line {number}: {field}: {first['msg']}") from error
        key = correction.benchmark, correction.item
        if key in corrections:
            raise DataError(f"{name}, line {number}: a second verdict on item {correction.item}")
        corrections[key] = correction
    return list(corrections.values())


def corrected(outcomes: ItemOutcomes, corrections: list[Correction]) -> ItemOutcomes:
    """Return the credits of a model with wrong labels reversed and items without an answer left out."""
    verdicts = {correction.item: correction.verdict for correction in corrections}
    kept = [verdicts.get(item) != "no answer" for item in outcomes.example_ids.tolist()]
    wrong = np.array([verdicts.get(item) == "wrong" for item in outcomes.example_ids.tolist()])
    changed = np.where(wrong, 1 - outcomes.credits, outcomes.credits)
    reversed_outcomes = ItemOutcomes(
        outcomes.model, outcomes.benchmark, outcomes.example_ids, outcomes.subsets, outcomes.groups, changed
    )
    return reversed_outcomes.take(np.array(kept))
