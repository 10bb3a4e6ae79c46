"""The page's entry of the safety audit: a map of the two errors, and a table with two rules without a model."""

from __future__ import annotations

from collections.abc import Sequence

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable, Cell
from rb_core.audits.result import AuditResult
from rb_core.audits.safety.measures import ALL, LEAN, OVER, UNDER
from rb_core.audits.views import effect_tables, effects_of, same_data, view_report
from rb_core.results.effect import Effect
from rb_core.results.schema import kind_label
from rb_core.stats.effects import is_significant

_MAX_SENTENCES = 8  # models with a sentence of their own
_RULES: tuple[tuple[str, float, float], ...] = (
    ("always prefers the refusal", 1.0, 0.0),
    ("never prefers the refusal", 0.0, 1.0),
    ("does not look at the prompt", 0.5, 0.5),
)


def safety_view(results: Sequence[AuditResult]) -> AuditReport:
    """Return the entry over the results of several models on the same prompts."""
    compared, left_out = same_data(results)
    compared.sort(key=lambda result: max(_if_unscored_were_errors(result, measure) for measure in (OVER, UNDER)))
    ref = compared[0].audit
    data = str(ref.settings.get("data", ""))
    by_kind = [table for table in effect_tables(compared) if table.title.lower() in (OVER, UNDER)]
    return view_report(
        compared,
        left_out,
        title=f"{ref.title}: {data}" if data else ref.title,
        answer=(*_sentences(compared), ref.meaning),
        tables=(_table(compared), *by_kind),
        figure=_figure(compared),
        command=f"safety --model MODEL{' --data FILE' if data else ''}",
    )


def _total(result: AuditResult, measure: str) -> Effect | None:
    """Return the effect over all prompts; None for data without prompts for the measure."""
    return next((effect for effect in effects_of(result, measure) if effect.group == ALL), None)


def _if_unscored_were_errors(result: AuditResult, measure: str) -> float:
    """Return an error rate in which unscored prompts count as errors, so that they are never an advantage."""
    effect = _total(result, measure)
    if effect is None:
        return 0.0
    return ((effect.value or 0.0) * effect.units + effect.unscored) / max(1, effect.units + effect.unscored)


def _sentences(results: Sequence[AuditResult]) -> list[str]:
    leans = [_lean_of(result) for result in results]
    if len(results) <= _MAX_SENTENCES:
        return [f"{result.model.name}: {_rates(result)}{lean}." for result, lean in zip(results, leans, strict=True)]
    counted = ", ".join(f"{leans.count(lean)} {lean.removeprefix('; ')}" for lean in dict.fromkeys(leans) if lean)
    return [
        f"Of {len(results)} models: {counted or 'no lean can be told'}.",
        f"The larger error is smallest for {results[0].model.name}: {_rates(results[0])}.",
    ]


def _rates(result: AuditResult) -> str:
    """Return the errors with their intervals in words."""
    texts = []
    for measure in (OVER, UNDER):
        if (effect := _total(result, measure)) is not None and effect.value is not None:
            ends = "" if effect.low is None or effect.high is None else f" ({effect.low:.2f} to {effect.high:.2f})"
            worst = _if_unscored_were_errors(result, measure)
            unscored = f", {worst:.2f} if unscored prompts count as errors" if effect.unscored else ""
            texts.append(f"{measure} {effect.value:.2f}{ends}{unscored}")
    return ", ".join(texts) or "no score"


def _lean_of(result: AuditResult) -> str:
    """Return the direction of a significant difference of the errors in words; "" without one to tell."""
    lean = _total(result, LEAN)
    if lean is None or lean.adjusted_p is None:
        return ""
    if not is_significant(lean):
        return "; no significant lean"
    return "; leans to refusals" if lean.difference > 0 else "; leans to compliance"


def _table(results: Sequence[AuditResult]) -> AuditTable:
    models = [
        (
            result.model.name,
            kind_label(result.model),
            *(cell for measure in (OVER, UNDER) for cell in _interval_cells(_total(result, measure))),
            lean.value if (lean := _total(result, LEAN)) else None,
            lean.adjusted_p if lean else None,
            result.counts.unscored,
        )
        for result in results
    ]
    rules = [
        (rule, None, over, None, None, under, None, None, over - under, None, None) for rule, over, under in _RULES
    ]
    return AuditTable(
        title="Both errors of each model, and of three rules without a model",
        columns=(
            "Model", "Kind", "Over-refusal", "95% low", "95% high", "Under-refusal", "95% low", "95% high",
            "Over minus under", "p (Holm)", "Unscored answers",
        ),
        rows=(*models, *rules),
        note="The smallest larger error first; unscored prompts count as errors in this order.",
    )  # fmt: skip


def _interval_cells(effect: Effect | None) -> tuple[Cell, ...]:
    return (None, None, None) if effect is None else (effect.value, effect.low, effect.high)


def _figure(results: Sequence[AuditResult]) -> AuditFigure | None:
    """Return the map of the models with both errors; None without one."""
    points = tuple(
        AuditPoint(
            label=result.model.name, x=over.value, y=under.value, low=under.low, high=under.high,
            group=kind_label(result.model),
        )
        for result in results
        if (over := _total(result, OVER)) and (under := _total(result, UNDER))
        if over.value is not None and under.value is not None
    )  # fmt: skip
    if not points:
        return None
    rules = (AuditPoint(label=rule, x=over, y=under, named=True) for rule, over, under in _RULES)
    return AuditFigure(
        kind="points",
        title="Over-refusal and under-refusal of each model; the ideal is the lower left corner",
        x_label="Over-refusal: prefers to refuse a safe prompt",
        y_label="Under-refusal: prefers to comply with an unsafe one",
        points=(*points, *rules),
        ideal=(0.0, 0.0),
    )
