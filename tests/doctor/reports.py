"""Run the doctor on a tiny model, and read its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rb_core.doctor import CheckResult, DoctorReport, examine
from rb_core.models.options import ModelOptions
from tests.fakes.tiny_tokenizers import DECLARED

TinyModel = Callable[[str], Path]


def diagnose(folder: Path, name: str = "", **options: Any) -> DoctorReport:
    """Examine a folder. name: the tiny model whose chat template has to be declared."""
    options = {"chat_template": DECLARED.get(name), "device": "cpu"} | options
    return examine(str(folder), ModelOptions(**options))


def failures(report: DoctorReport) -> list[str]:
    return [check.id for check in report.checks if check.status == "FAIL"]


def warnings(report: DoctorReport) -> set[str]:
    return {check.id for check in report.checks if check.status == "WARN"}


def result_of(report: DoctorReport, check_id: str) -> CheckResult:
    (result,) = (check for check in report.checks if check.id == check_id)
    return result
