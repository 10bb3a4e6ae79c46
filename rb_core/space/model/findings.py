"""Rows of one model in the tables of all audit reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from rb_core.audits.report import AuditReport

MODEL_COLUMN = "Model"


class Finding(NamedTuple):
    """A model's row of a table. values: (column, text) of the cells that are known; address: of the report."""

    title: str
    table: str
    address: str
    values: list[tuple[str, str]]


def findings_on(model: str, reports: Sequence[AuditReport]) -> list[Finding]:
    """Return the model's row of every table that has a column of models."""
    return [
        Finding(
            report.title,
            table.title,
            "?" + urlencode({"tab": "questions", "question": report.audit}),
            [
                (column, table.cell_text(index, cell))
                for index, (column, cell) in enumerate(zip(table.columns, row, strict=True))
                if column != MODEL_COLUMN and cell is not None
            ],
        )
        for report in reports
        for table in report.tables
        if MODEL_COLUMN in table.columns
        for row in table.rows
        if row[table.columns.index(MODEL_COLUMN)] == model
    ]
