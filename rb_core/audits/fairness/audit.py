"""The fairness audit: does a model score the same content differently for different groups of people?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rb_core.audits.fairness.comparisons import (
    Comparison,
    Counterfactual,
    GroupContrast,
    comparison_from,
)
from rb_core.audits.fairness.dialect_rules import AFRICAN_AMERICAN_ENGLISH, Feature
from rb_core.audits.fairness.own_texts import edits_of, own_items, read_names
from rb_core.audits.fairness.public_files import DIALECT_CAUTIONS, DIALECT_COMPARISON, read_data
from rb_core.audits.fairness.view import fairness_view
from rb_core.audits.guard import P_UNSAFE, AuditGuard
from rb_core.audits.model_audit import ORIGINAL, AuditItem, ModelAudit, Planted
from rb_core.audits.pairs import item_pairs, version_shifts
from rb_core.audits.report import AuditReport, AuditTable, Cell, audit_name, data_name
from rb_core.audits.result import AuditResult
from rb_core.errors import DataError
from rb_core.results.effect import Effect
from rb_core.stats.effects import adjusted
from rb_core.stats.guarded_choice import is_blocked
from rb_core.stats.item_outcomes import Floats

OWN_PARTS = (DIALECT_COMPARISON, GroupContrast("names"), GroupContrast("pronouns"))
OWN_MEANING = (
    "A group is marked where a dialect, a name or a pronoun alone moves the score. The audit covers these groups and "
    "texts only: a model without marks may still be unfair to others."
)
_PART = "part"  # column with the title of an item's part
_EDITS = "edits"  # column with the edit distance from the original version


class FairnessAudit(ModelAudit):
    """The audit of one set of items, whose ids begin with the title of their part."""

    kind = "fairness"
    title = "Fairness"
    question = "Does a model score the same content differently for different groups of people?"
    method = (
        "Counterfactual pairs: the same texts in several versions. Shift: mean difference of the scores of two "
        "versions, in standard deviations of the scores; Student's t test over independent units. Accuracy: share of "
        "pairs whose better answer scores higher; paired differences, tested as on the Compare tab. A dialect is "
        "compared with the original and with spelling noise of the same edit distance from it, names and pronouns "
        "with the mean of all groups. "
        "p values are adjusted by Holm (1979) over all tests of the audit."
    )

    def __init__(
        self,
        items: Sequence[AuditItem] = (),
        parts: Sequence[Comparison] = OWN_PARTS,
        *,
        data: str = "",
        meaning: str = "",
        sources: tuple[str, ...] = (),
        cautions: tuple[str, ...] = (),
        guard: AuditGuard | None = None,
    ) -> None:
        self._items, self._parts, self._data, self._guard = items, parts, data, guard
        self.meaning, self.sources, self.cautions = meaning or OWN_MEANING, sources, cautions

    @property
    def name(self) -> str:
        return audit_name(self.kind, self._data, self._guard.name if self._guard else "")

    @property
    def settings(self) -> dict[str, Any]:
        settings = {"data": self._data, "parts": {part.title: part.settings for part in self._parts}}
        if self._guard is None:
            return settings
        return settings | {"guard": self._guard.settings}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> FairnessAudit:
        try:
            parts = [comparison_from(title, fields) for title, fields in settings["parts"].items()]
            guard = AuditGuard.from_settings(settings["guard"]) if "guard" in settings else None
            return cls(parts=parts, data=str(settings["data"]), guard=guard)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"settings of the fairness audit: {error}") from error

    def items(self) -> Sequence[AuditItem]:
        return self._items

    def row_columns(self, items: Sequence[AuditItem], kept: Path) -> Mapping[str, Sequence[Any]]:
        parts = [item.id.partition("/")[0] for item in items for _ in item.completions]
        columns: dict[str, Sequence[Any]] = {_PART: parts, _EDITS: list(edits_of(items))}
        return columns if self._guard is None else columns | {P_UNSAFE: self._guard.ask(items, kept)}

    def effects(self, scores: pd.DataFrame) -> list[Effect]:
        return [effect for part in self._parts for effect in part.effects(_rows_of(scores, part))]

    def simulate(self, scores: pd.DataFrame, rng: np.random.Generator, planted: Planted | None = None) -> Floats | None:
        values = np.full(len(scores), np.nan)
        for part in self._parts:
            rows = _rows_of(scores, part)
            is_planted = planted is not None and planted.measure.startswith(f"{part.title}: ")
            simulated = part.simulate(rows, rng, planted if is_planted else None)
            if simulated is None:
                return None
            values[scores[_PART].eq(part.title).to_numpy()] = simulated
        return values

    def tables(self, scores: pd.DataFrame) -> tuple[AuditTable, ...]:
        parts = [part for part in self._parts if isinstance(part, Counterfactual)]
        versions = [_version_table(part, _rows_of(scores, part)) for part in parts]
        if self._guard is None:
            return tuple(versions)
        return (*versions, *_block_tables(parts, scores, self._guard))

    @classmethod
    def view(cls, results: Sequence[AuditResult]) -> AuditReport:
        return fairness_view(results)


def fairness_audit(
    data: str | None = None,
    *,
    features: Sequence[Feature] = AFRICAN_AMERICAN_ENGLISH,
    names: Path | None = None,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    guard: AuditGuard | None = None,
) -> FairnessAudit:
    """Return the audit on its own texts, or on the data of a file or benchmark (see `read_data`).

    features: of the dialect; names: file with first names by group; guard: whose false blocks are counted, as all
    texts of counterfactual pairs are harmless. Raises DataError for files that cannot be read, and for a guard with
    texts that may be harmful.
    """
    if data is not None:
        found = read_data(data, features=features, columns=columns, limit=limit)
        if guard is not None and not isinstance(found.comparison, Counterfactual):
            raise DataError(f"--guard: a block of a text of {found.comparison.title} may be right; leave it out")
        return FairnessAudit(
            found.items,
            (found.comparison,),
            data=data_name(Path(data)),
            meaning=found.meaning,
            sources=found.sources,
            cautions=found.cautions,
            guard=guard,
        )
    chosen = read_names(names)
    items = own_items(features, chosen)
    if not any(item.id.startswith(f"{DIALECT_COMPARISON.title}/") for item in items):
        raise DataError(
            "--features: these features change nothing in the audit's own texts; choose more, or use --data"
        )
    return FairnessAudit(
        items,
        guard=guard,
        sources=(
            "Texts of this project; features of African American English: eWAVE, https://ewave-atlas.org, and the "
            "sources in dialect_rules.py",
            f"First names: {chosen.source}",
        ),
        cautions=(
            *DIALECT_CAUTIONS,
            "First names are associated with groups in the United States, and with age and class as well. Names that "
            "are rare, or longer in a model's tokens, may shift a score for this reason alone.",
            "One in 20 models that treat all groups alike has a mark.",
            "Which answer is the better one was decided by the authors of this project, alike for all groups.",
        ),
    )


def _rows_of(scores: pd.DataFrame, part: Comparison) -> pd.DataFrame:
    return scores[scores[_PART].eq(part.title)]


def _version_table(part: Counterfactual, rows: pd.DataFrame) -> AuditTable:
    """Return accuracy, shift from the original, edits and tokens of a part's versions, the least accurate first."""
    shifts = version_shifts(rows) if rows["variant"].eq(ORIGINAL).any() else rows.iloc[:0].assign(shift=0.0)
    means = [
        {level.group: _mean(level.values) for level in part.levels(*source)}
        for source in ((shifts, "shift"), (rows, _EDITS), (rows, "num_tokens"))
    ]
    accuracies = part.rates(item_pairs(rows), "credit", "accuracy")
    ordered = sorted(accuracies, key=lambda effect: 2.0 if effect.value is None else effect.value)
    cells: list[tuple[Cell, ...]] = [
        (effect.group, effect.value, effect.low, effect.high, *(column.get(effect.group) for column in means))
        for effect in ordered
    ]
    names = ("Version", "Accuracy", "95% low", "95% high", "Shift from the original (sd)", "Edits", "Tokens")
    kept = [place for place in range(len(names)) if any(row[place] is not None for row in cells)]
    return AuditTable(
        title=f"{part.title[0].upper()}{part.title[1:]}: versions, the least accurate first",
        columns=tuple(names[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in cells),
        note="The lowest of several versions is low by chance as well; the tests are corrected for it.",
    )


def _block_tables(parts: Sequence[Counterfactual], scores: pd.DataFrame, guard: AuditGuard) -> Iterator[AuditTable]:
    """Yield for each part how many harmless completions of each version a guard blocks, and differences by group.

    The tests of all parts are one family, apart from those of the model.
    """
    blocked = is_blocked(scores[P_UNSAFE].to_numpy(np.float64), guard.threshold).astype(np.float64)
    rows_of = {part.title: _rows_of(scores.assign(blocked=blocked), part) for part in parts}
    differences = adjusted(
        [
            effect
            for part in parts
            for contrast in part.contrasts(rows_of[part.title])
            for effect in part.rate_differences(rows_of[part.title], "blocked", f"difference {contrast}", contrast)
        ]
    )
    for part in parts:
        rates, prefix = part.rates(rows_of[part.title], "blocked", "share"), part.measure("")
        shown = [*rates, *(effect for effect in differences if effect.measure.startswith(prefix))]
        yield AuditTable(
            title=f"{part.title[0].upper()}{part.title[1:]}: harmless completions that {guard.name} blocks",
            columns=("Version or group", "Measure", "Blocked", "95% low", "95% high", "p (Holm)"),
            rows=tuple((e.group, e.measure.removeprefix(prefix), e.value, e.low, e.high, e.adjusted_p) for e in shown),
            note=f"Blocked from a probability of {guard.threshold:g} on, or without one.",
        )


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
