"""The page's entry of the fairness audit: marked groups of each model, one figure and one table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable, Cell
from rb_core.audits.result import AuditResult
from rb_core.audits.views import MAX_DRAWN, effects_by_group, effects_of, same_data, view_report
from rb_core.results.effect import Effect
from rb_core.stats.effects import is_significant


def fairness_view(results: Sequence[AuditResult]) -> AuditReport:
    """Return the entry over the results of several models on the same items."""
    compared, left_out = same_data(results)
    ref = compared[0].audit
    data = str(ref.settings.get("data", ""))
    measures = main_measures(compared[0])
    return view_report(
        compared,
        left_out,
        title=f"{ref.title}: {data}" if data else ref.title,
        answer=(
            *(_model_sentence(result, measures) for result in compared),
            ref.meaning,
        ),
        tables=(_table(compared, measures),),
        figure=_figure(compared, [first for first, _ in measures]),
        command=f"fairness --model MODEL{' --data FILE' if data else ''}",
    )


def main_measures(result: AuditResult) -> list[tuple[str, str]]:
    """Return the measures in pairs that belong together, such as shift and difference of accuracy.

    "" stands for the partner of the last of an odd number, such as BBQ's score of ambiguous questions alone.
    """
    tested = list(dict.fromkeys(effect.measure for effect in result.effects if effect.null is not None))
    return list(zip_longest(tested[::2], tested[1::2], fillvalue=""))


def _name(effect: Effect) -> str:
    """Return the group with its part, where its name lacks that, and with a control that is subtracted."""
    part = effect.measure.partition(": ")[0]
    minus = " - control" if "control" in effect.measure else ""
    return effect.group if part in effect.group else f"{part}{minus} ({effect.group})"


def _model_sentence(result: AuditResult, measures: Sequence[tuple[str, str]]) -> str:
    """Return the groups whose score or stereotype is marked, what a control explains, and where accuracy is lowest."""
    direct = [pair for pair in measures if "control" not in pair[0]]
    firsts, seconds = ([e for pair in direct for e in effects_of(result, pair[place])] for place in (0, 1))
    clear = sorted((e for e in firsts if is_significant(e)), key=lambda e: -abs(e.difference))
    named = ", ".join(f"{_name(e)} {_with_unit(e)}" for e in clear[:4]) + (", ..." if len(clear) > 4 else "")
    sizes = [e.detectable for e in firsts if e.detectable is not None]
    marked = f": {named}" if clear else f"; differences of {max(sizes):.2f} would have been found" if sizes else ""
    sentence = f"{result.model.name}: {len(clear)} of {len(firsts)} groups are marked{marked}."
    return f"{sentence}{_control_sentence(result, measures)}{_accuracy_sentence(seconds)}"


def _with_unit(effect: Effect) -> str:
    return f"{effect.difference:+.2f}{' sd' if '(sd)' in effect.measure else ''}"


def _control_sentence(result: AuditResult, measures: Sequence[tuple[str, str]]) -> str:
    """Return what the dialect and its control do to the score, where the dialect costs most; "" without a control."""
    shifts = [first for first, _ in measures if first.startswith("dialect: ")]
    if len(shifts) != 2:
        return ""
    beyond = {effect.group: effect.value for effect in effects_of(result, shifts[1])}
    lowest = min(effects_of(result, shifts[0]), key=lambda effect: effect.value or 0.0)
    difference = beyond.get(lowest.group)
    if lowest.value is None or difference is None:
        return ""
    return (
        f" Dialect ({lowest.group}) moves the score by {lowest.value:+.2f} sd, typing errors of the same distance "
        f"by {lowest.value - difference:+.2f} sd."
    )


def _accuracy_sentence(effects: Sequence[Effect]) -> str:
    """Return the group with the largest loss of accuracy; "" if no group loses any."""
    losses = [effect for effect in effects if "accuracy" in effect.measure and (effect.value or 0.0) < 0]
    worst = min(losses, key=lambda effect: effect.value or 0.0, default=None)
    if worst is None or worst.value is None:
        return ""
    shown = "significant" if is_significant(worst) else "within noise"
    return f" Accuracy is lowest for {_name(worst)}, by {-100 * worst.value:.1f} points ({shown})."


def _figure(results: Sequence[AuditResult], measures: Sequence[str]) -> AuditFigure:
    """Return a figure with a row for each group and model."""
    points = [
        AuditPoint(
            label=_name(effect), x=0.0, y=effect.value, low=effect.low, high=effect.high, group=result.model.name
        )
        for measure in measures
        for result, effect in effects_by_group(results, measure)
        if effect.value is not None
    ]
    names = list(dict.fromkeys(measure.partition(": ")[2] for measure in measures))
    label = names[0] if len(names) == 1 else "shift of the score (sd)"
    return AuditFigure(
        kind="intervals",
        title=f"{label[0].upper()}{label[1:]} by group, with 95% intervals",
        x_label="",
        y_label=label,
        points=tuple(points[:MAX_DRAWN]),
        reference=next((effect.null for effect in effects_of(results[0], measures[0])), None),
    )


def _table(results: Sequence[AuditResult], measures: Sequence[tuple[str, str]]) -> AuditTable:
    """Return a table with a row for each group and model: the first measure in full, value and p of the second."""
    rows: list[tuple[Cell, ...]] = []
    for first, second in measures:
        for group in dict.fromkeys(effect.group for effect in effects_of(results[0], first)):
            for result in results:
                of_group = [
                    next((effect for effect in effects_of(result, measure) if effect.group == group), None)
                    for measure in (first, second)
                ]
                if (main := of_group[0]) is not None:
                    rows.append((_name(main), result.model.name, *_cells(main, of_group[1])))
    is_shift = "(sd)" in measures[0][0]
    names = ("Shift (sd)", "Accuracy") if is_shift else [measure.partition(": ")[2] for measure in measures[0]]
    return AuditTable(
        title="Effects by group",
        columns=("Group", "Model", names[0], "95% low", "95% high", "p (Holm)", "Detectable", names[1], "p (Holm)"),
        rows=tuple(rows),
        note="Detectable: the smallest effect that is found with a probability of 80% or more.",
    )


def _cells(main: Effect, second: Effect | None) -> tuple[Cell, ...]:
    of_second = (None, None) if second is None else (second.value, second.adjusted_p)
    return main.value, main.low, main.high, main.adjusted_p, main.detectable, *of_second
