"""The report of an audit: a question, its answer in sentences, tables and a figure.

Audits return one. The command line prints it, and a results root keeps it as `audits/NAME.json`, which the page shows.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from rb_core.benchmarks.files import file_name
from rb_core.errors import ResultError
from rb_core.files import write_atomically
from rb_core.results.estimate import Record
from rb_core.results.schema import Segment

MAX_REPORT_BYTES = 2_000_000

AuditName = Annotated[str, Field(pattern=rf"^{Segment}$", max_length=100)]
Text = Annotated[str, Field(max_length=2000)]
WebAddress = Annotated[str, Field(pattern=r"^https://\S+$", max_length=8000)]
Cell = str | int | float | None


class AuditTable(Record):
    """A table of a report. Numbers are shown with `decimals` decimals; None is shown as a dash.

    links: for each row an address that its first cell links to on the page, or None, such as that of a discussion in
    which the item can be reported. subsets_of: the benchmark whose subsets and items the columns `Subset` and `Item`
    name, so that the page links them to their examples.
    """

    title: Text
    columns: tuple[Text, ...]
    rows: tuple[tuple[Cell, ...], ...]
    decimals: int = 3
    note: Text = ""
    links: tuple[WebAddress | None, ...] | None = None
    subsets_of: Text = ""

    @model_validator(mode="after")
    def _check_widths(self) -> AuditTable:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("a row with another number of cells than columns")
        if self.links is not None and len(self.links) != len(self.rows):
            raise ValueError("another number of links than rows")
        return self

    def cell_text(self, column: int, cell: Cell) -> str:
        """Return a cell of a column as text: a dash for None, floats with `decimals` decimals, a p value never as 0."""
        if cell is None:
            return "-"
        if not isinstance(cell, float):
            return str(cell)
        smallest = 10.0**-self.decimals
        if cell < smallest and self.columns[column].startswith("p ("):
            return f"< {smallest:.{self.decimals}f}"
        return f"{cell:.{self.decimals}f}"


class AuditPoint(Record):
    """A point of a figure. low, high: ends of the 95% interval of y; group: its series.

    named: True if its label is written beside it; panel: of a figure of strips, the one that it is in.
    """

    label: Text
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    group: Text = ""
    named: bool = False
    panel: Text = ""


class AuditFigure(Record):
    """A figure of a report, of one of three kinds.

    points: on two axes; intervals: one row for each label with y along the axis; strips: for each panel a small figure
    with a row for each group, in which points lie at their y and the median is marked.

    reference: a value of y that a line marks, such as no difference; ideal: the place (x, y) of a model without fault;
    diagonal: True if a line marks the places where x equals y; joined: True if a line joins the points of a series.
    """

    kind: Literal["points", "intervals", "strips"]
    title: Text
    x_label: Text
    y_label: Text
    points: tuple[AuditPoint, ...]
    reference: float | None = None
    joined: bool = False
    ideal: tuple[float, float] | None = None
    diagonal: bool = False


class AuditReport(Record):
    """The findings of an audit.

    question: in one sentence; answer: sentences with the main numbers, the most important first; cautions: what the
    numbers do not show; method: how they were computed, with the source of its formulas; sources: of the data; command:
    that computes them again.
    """

    audit: AuditName
    title: Text
    question: Text
    answer: tuple[Text, ...]
    tables: tuple[AuditTable, ...]
    figure: AuditFigure | None = None
    cautions: tuple[Text, ...] = ()
    method: Text
    sources: tuple[Text, ...]
    command: Text


def data_name(data: Path) -> str:
    """Return the name of a file of data in characters that the name of an audit may have."""
    return _segment(file_name(data))[:60] or "file"


def audit_name(kind: str, data: str, guard: str = "") -> str:
    """Return the name of an audit of a model: of its kind, on other data than the built-in, and with a guard."""
    parts = (kind, data, f"guard-{_segment(guard)}" if guard else "")
    return "-".join(part for part in parts if part)[:100].rstrip("-.")


def _segment(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")


def report_path(audit: str) -> Path:
    """Return the path of an audit's report below a results root."""
    return Path("audits", f"{audit}.json")


def check_report_path(root: Path, audit: str, *, overwrite: bool) -> Path:
    """Return the path of a report to write. Raises ResultError where one exists and `overwrite` is False."""
    path = root / report_path(audit)
    if path.exists() and not overwrite:
        raise ResultError(f"{path}: this report exists already; replace it with --overwrite")
    return path


def write_report(root: Path, report: AuditReport, *, overwrite: bool = False) -> Path:
    """Write a report below a results root. Raises ResultError where one exists and `overwrite` is False."""
    path = check_report_path(root, report.audit, overwrite=overwrite)
    content = report.model_dump(mode="json", exclude_defaults=True)
    write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return path


def read_report(path: Path) -> AuditReport:
    """Return the report in a file. Raises ResultError, naming file and field, for anything else."""
    try:
        with path.open("rb") as file:
            return parse_report(file.read(MAX_REPORT_BYTES + 1), str(path))
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error}") from error


def parse_report(content: bytes, name: str) -> AuditReport:
    """Return the report in a file's content. Raises ResultError, naming file and field, for anything else."""
    if len(content) > MAX_REPORT_BYTES:
        raise ResultError(f"{name}: a report has at most {MAX_REPORT_BYTES:,} bytes")
    try:
        return AuditReport.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ResultError(f"{name}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from error


def read_reports(root: Path) -> tuple[list[AuditReport], list[str]]:
    """Return the reports below a results root, sorted by file name, and a message for each file that is refused."""
    reports, refused = [], []
    for path in sorted((root / "audits").glob("*.json")):
        try:
            report = read_report(path)
            if path != root / report_path(report.audit):
                raise ResultError(f"{path}: its content belongs at {report_path(report.audit)}")
            reports.append(report)
        except ResultError as error:
            refused.append(str(error))
    return reports, refused
