"""The report as JSON and as text."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

from rich.console import Console

from rb_core import doctor
from rb_core.doctor import CheckResult, DoctorReport
from tests.doctor.reports import TinyModel, diagnose


def test_the_json_holds_every_check_and_is_the_same_in_every_examination(
    report_on: Callable[[str], DoctorReport], tiny_model: TinyModel
) -> None:
    report = report_on("llama")
    content = json.loads(json.dumps(report.to_json()))
    assert tuple(CheckResult(**check) for check in content["checks"]) == report.checks
    assert set(content) == {"model", "failed", "counts", "checks", "conversation"}
    assert set(content["conversation"]) == {"text", "ids", "tokens", "start", "read"}
    assert sum(content["counts"].values()) == len(report.checks)
    assert len({check.id for check in report.checks}) == len(report.checks)
    assert diagnose(tiny_model("llama")) == report


def test_the_conversation_holds_the_tokens_that_the_model_gets(report_on: Callable[[str], DoctorReport]) -> None:
    conversation = report_on("llama-pad-is-eos").conversation
    assert conversation is not None
    assert "".join(conversation.tokens) == conversation.text
    assert "".join(conversation.tokens[conversation.start :]) == "It is Paris.<|eot_id|>"
    assert conversation.read == (len(conversation.ids) - 2,) * 2  # before the final eos, which is the pad token


def test_the_text_marks_the_scored_token_and_keeps_brackets(
    report_on: Callable[[str], DoctorReport],
) -> None:
    console = Console(width=200, file=io.StringIO())
    checks = (CheckResult("a", "One", "FAIL", "found [red]", "do [/red]"), CheckResult("b", "Two", "PASS", "fine"))
    doctor.show(DoctorReport("me/[bold]", checks, report_on("llama").conversation), console)
    printed = console.file.getvalue()
    expected = ("me/[bold]", "FAIL One: found [red]", "do [/red]", "PASS Two: fine", "the score is read here", "1 fail")
    assert [text for text in expected if text not in printed] == []
