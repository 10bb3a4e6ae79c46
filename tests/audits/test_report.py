from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from rb_core.audits.report import AuditTable, read_report, read_reports, report_path, write_report
from rb_core.errors import ResultError
from tests.audits.reports import small_report


def test_a_report_is_read_as_it_was_written_and_not_replaced_without_being_asked(tmp_path: Path) -> None:
    report = small_report()
    path = write_report(tmp_path, report)
    assert read_report(path) == report
    with pytest.raises(ResultError, match="--overwrite"):
        write_report(tmp_path, report)
    assert write_report(tmp_path, small_report(text="new"), overwrite=True) == path
    assert read_reports(tmp_path) == ([small_report(text="new")], [])


def test_files_that_are_no_reports_are_refused_by_name(tmp_path: Path) -> None:
    write_report(tmp_path, small_report())
    content = json.loads((tmp_path / report_path("small")).read_text())
    for name, change in {"elsewhere": {}, "field": {"colour": "red"}, "nan": {"answer": 7}}.items():
        (tmp_path / report_path(name)).write_text(json.dumps(content | change), encoding="utf-8")
    (tmp_path / report_path("broken")).write_text("{", encoding="utf-8")
    reports, refused = read_reports(tmp_path)
    assert [report.audit for report in reports] == ["small"]
    assert len(refused) == 4
    assert all(name in message for name, message in zip(("broken", "elsewhere", "field", "nan"), refused, strict=True))


def test_a_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(ValidationError, match="another number of cells"):
        AuditTable(title="t", columns=("a", "b"), rows=(("x",),))


@pytest.mark.parametrize(
    ("column", "cell", "text"),
    [
        ("p (Holm)", 3e-18, "< 0.001"), ("p (Holm)", 0.0, "< 0.001"), ("p (Holm)", 0.0012, "0.001"),
        ("p (Holm)", 1.0, "1.000"), ("p (Holm)", None, "-"), ("Change", 0.0, "0.000"), ("Change", "0", "0"),
    ],
)  # fmt: skip
def test_a_p_value_is_never_shown_as_zero(column: str, cell: float | str | None, text: str) -> None:
    assert AuditTable(title="t", columns=(column,), rows=((cell,),)).cell_text(0, cell) == text


@pytest.mark.parametrize("links", [("javascript:alert(1)",), ("http://example.org/",), ("https://a b",), (None, None)])
def test_links_are_one_web_address_per_row(links: tuple[str | None, ...]) -> None:
    with pytest.raises(ValidationError):
        AuditTable(title="t", columns=("a",), rows=(("x",),), links=links)


def test_links_are_kept_in_the_file_of_a_report(tmp_path: Path) -> None:
    table = AuditTable(title="t", columns=("a",), rows=(("x",), ("y",)), links=("https://example.org/?a=1", None))
    report = small_report().model_copy(update={"tables": (table,)})
    assert read_report(write_report(tmp_path, report)) == report
