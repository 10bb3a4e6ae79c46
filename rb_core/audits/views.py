"""The page's entry of an audit: one figure, tables, and the sentences that say what they mean, over all models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable, Cell
from rb_core.audits.result import AuditRef, AuditResult
from rb_core.results.effect import Effect
from rb_core.stats.effects import is_significant

MAX_DRAWN = 60  # rows of a figure of intervals


def standard_view(results: Sequence[AuditResult]) -> AuditReport:
    """Return the entry of an audit of several models; all results are of the same audit.

    Models on other data than most are left out, and named.
    """
    compared, left_out = same_data(results)
    ref, measure = compared[0].audit, main_measure(compared)
    return view_report(
        compared,
        left_out,
        title=ref.title,
        answer=(*(_model_sentence(result, measure) for result in compared), ref.meaning),
        tables=(*effect_tables(compared), *(table for result in compared for table in _named_tables(result))),
        figure=intervals_figure(compared, measure),
        command=f"{ref.name if ref.kind != 'property' else 'FILE.yaml'} --model MODEL",
    )


def view_report(
    compared: Sequence[AuditResult],
    left_out: Sequence[str],
    *,
    title: str,
    answer: tuple[str, ...],
    tables: tuple[AuditTable, ...],
    figure: AuditFigure | None,
    command: str,
) -> AuditReport:
    """Return an entry with what all audits say: question, cautions, method with self-test, and sources.

    left_out: models that were audited on other data; command: what follows `python -m rb_core audit`.
    """
    ref = compared[0].audit
    return AuditReport(
        audit=ref.name,
        title=title,
        question=ref.question,
        answer=answer,
        tables=tables,
        figure=figure,
        cautions=(*ref.cautions, *(f"{name} is left out: audited on other data." for name in left_out)),
        method=f"{ref.method} {self_test_sentence(compared)}",
        sources=ref.sources,
        command=f"python -m rb_core audit {command}",
    )


def same_data(
    results: Sequence[AuditResult], data: Callable[[AuditRef], str] = lambda ref: ref.sha256
) -> tuple[list[AuditResult], list[str]]:
    """Return the results on the data that most of them have, sorted by model, and the names of the other models.

    data: equal for results that can be compared.
    """
    by_data: dict[str, list[AuditResult]] = defaultdict(list)
    for result in sorted(results, key=lambda result: result.model.name):
        by_data[data(result.audit)].append(result)
    most = max(by_data.values(), key=len)
    return most, [result.model.name for group in by_data.values() if group is not most for result in group]


def main_measure(results: Sequence[AuditResult]) -> str:
    """Return the first measure with tests, or else the first one."""
    effects = [effect for result in results for effect in result.effects]
    tested = [effect for effect in effects if effect.null is not None]
    return (tested or effects)[0].measure


def effects_of(result: AuditResult, measure: str) -> list[Effect]:
    return [effect for effect in result.effects if effect.measure == measure]


def effects_by_group(results: Sequence[AuditResult], measure: str) -> Iterator[tuple[AuditResult, Effect]]:
    """Yield the effects of a measure with their results: group by group, in each the models in order."""
    for group in dict.fromkeys(effect.group for result in results for effect in effects_of(result, measure)):
        for result in results:
            yield from ((result, effect) for effect in effects_of(result, measure) if effect.group == group)


def _model_sentence(result: AuditResult, measure: str) -> str:
    """Return which groups of the main measure are significant, the largest first."""
    effects = effects_of(result, measure)
    clear = sorted((e for e in effects if is_significant(e)), key=lambda e: -abs(e.difference))
    if clear:
        named = ", ".join(f"{e.group} {e.value:+.2f}" for e in clear[:4]) + (", ..." if len(clear) > 4 else "")
        return f"{result.model.name}: {measure} is significant in {len(clear)} of {len(effects)} groups: {named}."
    sizes = [effect.detectable for effect in effects if effect.detectable is not None]
    found = f"; effects of {max(sizes):.2f} would have been found" if sizes else ""
    return f"{result.model.name}: no significant {measure} in {len(effects)} groups{found}."


def self_test_sentence(results: Sequence[AuditResult]) -> str:
    """Return what the self-test found, which is the same for all models on the same data."""
    test = results[0].self_test
    if test.planted is None or test.unbiased is None:
        return f"Self-test: not possible, {test.reason}."
    return (
        f"Self-test: of planted effects of twice the smallest detectable size {test.planted:.0%} were found, and "
        f"in {test.unbiased:.1%} of unbiased scorers any effect was (limits 95% and 5%)."
    )


def intervals_figure(results: Sequence[AuditResult], measure: str) -> AuditFigure:
    """Return a figure with one row for each group and model, a series for each model."""
    points = [
        AuditPoint(label=e.group, x=0.0, y=e.value, low=e.low, high=e.high, group=result.model.name)
        for result, e in effects_by_group(results, measure)
        if e.value is not None
    ]
    null = next((e.null for result in results for e in effects_of(result, measure)), None)
    return AuditFigure(
        kind="intervals",
        title=f"{measure[0].upper()}{measure[1:]}, with 95% intervals",
        x_label="",
        y_label=measure,
        points=tuple(points[:MAX_DRAWN]),
        reference=null,
    )


def effect_tables(results: Sequence[AuditResult]) -> tuple[AuditTable, ...]:
    """Return one table for each measure, with a row for each group and model."""
    measures = dict.fromkeys(effect.measure for result in results for effect in result.effects)
    return tuple(_effect_table(results, measure) for measure in measures)


def _effect_table(results: Sequence[AuditResult], measure: str) -> AuditTable:
    rows: list[tuple[Cell, ...]] = [
        (
            e.group, result.model.name, e.value, e.low, e.high, e.adjusted_p, e.detectable, e.units, e.unscored,
            e.reason or None,
        )
        for result, e in effects_by_group(results, measure)
    ]  # fmt: skip
    columns = (
        "Group", "Model", "Value", "95% low", "95% high", "p (Holm)", "Smallest detectable", "Units", "Unscored",
        "Note",
    )  # fmt: skip
    hidden = {"Model"} if len({result.model.name for result in results}) == 1 else set()
    if all(e.unscored == 0 for _, e in effects_by_group(results, measure)):
        hidden.add("Unscored")
    kept = [
        place
        for place, column in enumerate(columns)
        if column not in hidden and any(row[place] is not None for row in rows)
    ]
    return AuditTable(
        title=f"{measure[0].upper()}{measure[1:]}",
        columns=tuple(columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in rows),
    )


def _named_tables(result: AuditResult) -> list[AuditTable]:
    return [table.model_copy(update={"title": f"{result.model.name}: {table.title}"}) for table in result.tables]
