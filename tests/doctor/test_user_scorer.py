"""The doctor on scorers of the user's own: a good one passes, and the fault of each broken one is named."""

from __future__ import annotations

import json

import pytest

from rb_core.doctor import examine
from rb_core.models.options import ModelOptions
from tests.cli.command_line import rb
from tests.doctor.reports import failures, result_of, warnings
from tests.fakes import user_scorers

MODULE = user_scorers.__name__


@pytest.mark.parametrize(
    ("target", "failed"),
    [
        ("brief", []),
        ("Whole", []),
        ("counting", ["repetition", "order", "neighbours"]),
        ("dice", ["repetition", "order", "neighbours"]),
        ("Centred", ["neighbours"]),
        ("constant", ["pairs"]),
        ("raising", ["scores"]),
        ("infinite", ["scores"]),
        ("TooFew", ["scores"]),
        ("Crashing", ["scores"]),
        ("Forgetful", ["scores"]),
    ],
)
def test_each_fault_is_named(target: str, failed: list[str]) -> None:
    assert failures(examine("", ModelOptions(scorer=f"{MODULE}:{target}"))) == failed


def test_what_is_found_is_said() -> None:
    report = examine("", ModelOptions(scorer=f"{MODULE}:raising"))
    assert result_of(report, "scores").found == "16 of 16 completions are unscored: the scorer raised KeyError (16)"
    assert warnings(report) == {"empty"}
    assert {check.id for check in report.checks if check.status == "SKIP"} == {
        *("pairs", "repetition", "order", "neighbours")
    }


def test_the_exit_code_says_if_a_check_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rb(["doctor", "--scorer", f"{MODULE}:brief", "--json"], monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["model"] == f"{MODULE}:brief"
    assert rb(["doctor", "--scorer", f"{MODULE}:Centred"], monkeypatch) == 1
    assert rb(["doctor", "--scorer", f"{MODULE}:nothing"], monkeypatch) == 2
    assert rb(["doctor"], monkeypatch) == 2
