"""A small report for tests."""

from __future__ import annotations

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable


def small_report(audit: str = "small", text: str = "text") -> AuditReport:
    """A report whose every text is `text`."""
    table = AuditTable(title=text, columns=(text, "value"), rows=((text, 0.5), (text, None)), note=text)
    points = (
        AuditPoint(label=text, x=1.0, y=2.0, low=1.5, high=2.5, group=text),
        AuditPoint(label="other", x=3.0, y=-2.0, group="b"),
    )
    figure = AuditFigure(kind="points", title=text, x_label=text, y_label=text, points=points, reference=0.0)
    return AuditReport(
        audit=audit,
        title=text,
        question=text,
        answer=(text,),
        tables=(table,),
        figure=figure,
        cautions=(text,),
        method=text,
        sources=(text,),
        command=text,
    )
