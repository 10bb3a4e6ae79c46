"""Scores computed in other ways."""

from __future__ import annotations

from collections.abc import Callable

from rb_core.doctor import DoctorReport
from tests.doctor.reports import result_of


def test_left_padding_changes_scores_with_absolute_positions(
    report_on: Callable[[str], DoctorReport],
) -> None:
    assert result_of(report_on("llama"), "left-padding").status == "PASS"
    for name in ("gpt2", "gpt2-pad-is-eos"):
        result = result_of(report_on(name), "left-padding")
        assert result.status == "WARN"
        assert "changes scores by up to" in result.found
        assert "never pads left" in result.advice
