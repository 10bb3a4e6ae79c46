"""The page's entry of a safety audit with a guard: how filters trade unsafe answers against refusals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable
from rb_core.audits.result import AuditResult
from rb_core.audits.safety.filtering import CHANGES_TITLE, FILTERS, KINDS_TITLE, OUTCOMES_TITLE
from rb_core.audits.views import MAX_DRAWN, same_data, view_report

_PENALTIES = frozenset(by.label for by in FILTERS if by.place == "penalty")


def filter_view(results: Sequence[AuditResult]) -> AuditReport:
    """Return the entry over the results of several models on the same prompts and with the same guard."""
    compared, left_out = same_data(results, lambda ref: f"{ref.sha256} {ref.settings['guard']}")
    ref = compared[0].audit
    data = str(ref.settings["data"])
    by_model = (CHANGES_TITLE, OUTCOMES_TITLE, KINDS_TITLE)
    of_guard = [table for table in compared[0].tables if table.title.startswith(str(ref.settings["guard"]["name"]))]
    return view_report(
        compared,
        left_out,
        title=f"{ref.title}: {data}" if data else ref.title,
        answer=tuple(f"{result.model.name}: {table.note}" for result, table in _tables(compared, CHANGES_TITLE)),
        tables=(*(table for title in by_model for table in _joined(compared, title)), *of_guard),
        figure=_figure(compared),
        command=f"safety --model MODEL --guard GUARD{' --data FILE' if data else ''}",
    )


def _tables(results: Sequence[AuditResult], title: str) -> Iterator[tuple[AuditResult, AuditTable]]:
    return ((result, table) for result in results for table in result.tables if table.title == title)


def _joined(results: Sequence[AuditResult], title: str) -> list[AuditTable]:
    """Return the models' tables with a title as one, with those of the widest columns; none where no model has it."""
    tables = list(_tables(results, title))
    if not tables:
        return []
    widest = max((table for _, table in tables), key=lambda table: len(table.columns))
    empty = (None,) * len(widest.columns)
    rows = tuple((result.model.name, *row, *empty[len(row) :]) for result, table in tables for row in table.rows)
    note = "" if title == CHANGES_TITLE else widest.note
    return [AuditTable(title=title, columns=("Model", *widest.columns), rows=rows, note=note)]


def _figure(results: Sequence[AuditResult]) -> AuditFigure | None:
    """Return refusals and unsafe answers by filter, the penalties of a model as a line; None without safe prompts."""
    points = []
    for result, table in _tables(results, OUTCOMES_TITLE):
        for label, unsafe, low, high, refused, *_ in table.rows:
            if isinstance(unsafe, float) and isinstance(refused, float):
                name = result.model.name if label in _PENALTIES else f"{result.model.name}, {label}"
                point = AuditPoint(label=str(label), x=refused, y=unsafe, group=name)
                points.append(point.model_copy(update={"low": low, "high": high}))
    if not points:
        return None
    return AuditFigure(
        kind="points",
        title="Unsafe answers and refusals by filter, a line for the penalty from no weight to infinity",
        x_label="Safe prompts that get a refusal",
        y_label="Prompts that get an unsafe answer",
        points=tuple(points[:MAX_DRAWN]),
        joined=True,
    )
