"""The doctor on undamaged models, on several faults at once, and from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rb_core.doctor import DoctorReport, examine
from rb_core.errors import ModelError
from rb_core.models.options import ModelOptions
from tests.cli.command_line import rb
from tests.doctor.reports import TinyModel, diagnose, failures, result_of, warnings
from tests.fakes import tiny_tokenizers
from tests.fakes.tiny_models import BUILDERS, edit_config, edit_weights

# Warnings that an undamaged tiny model may have: an end-of-sequence pad token, a date, a template that refuses system
# messages or changes the answer, and the effect of padding and bfloat16 on small random models.
MAY_WARN = {"pad", "date", "system", "answer", "left-padding", "dtype", "order", "right-padding"}
# These take the same ways through the doctor as others.
SOAK_ONLY = ("mistral", "qwen2", "qwen3", "phi3", "mixtral", "gemma2", "gemma3", "gpt-oss", "llama-dated")
NAMES = [pytest.param(name, marks=[pytest.mark.soak] * (name in SOAK_ONLY)) for name in BUILDERS]


def test_the_built_in_model_passes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its warnings are true: its template trims, its tokenizer ignores capitals, and bfloat16 flips close pairs."""
    assert rb(["doctor", "--model", "builtin/tiny-rm", "--json"], monkeypatch) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["failed"] is False
    assert (content["counts"]["FAIL"], content["counts"]["SKIP"]) == (0, 0)
    warned = {check["id"] for check in content["checks"] if check["status"] == "WARN"}
    assert {"answer", "text"} <= warned <= {"answer", "text", "dtype"}


@pytest.mark.parametrize("name", NAMES)
def test_no_check_fails_or_is_skipped_on_any_architecture(report_on: Callable[[str], DoctorReport], name: str) -> None:
    report = report_on(name)
    assert not report.failed, [check for check in report.checks if check.status == "FAIL"]
    assert not report.count("SKIP")
    assert warnings(report) <= MAY_WARN
    assert report.conversation is not None
    assert (report.conversation.read is None) == (name == "deberta")
    assert result_of(report, "batched").status == "PASS"
    assert ("pad" in warnings(report)) == (name in {"llama-pad-is-eos", "gpt2-pad-is-eos", "phi3"})
    assert ("date" in warnings(report)) == (name == "llama-dated")


def test_all_faults_of_a_model_are_found_in_one_examination(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    edit_config(folder, pad_token_id=0)
    (folder / "chat_template.jinja").write_text("{{- bos_token }}" + tiny_tokenizers.DATED_TEMPLATE)
    edit_weights(folder, lambda weights: weights.__delitem__("score.weight"))
    report = diagnose(folder, max_length=100_000)
    assert failures(report) == ["weights", "max-length", "pad", "bos"]
    assert "date" in warnings(report)


def test_exit_codes(tiny_copy: TinyModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """0 without a failure, 1 with one, and 2 with one line when there is nothing to examine."""
    folder = str(tiny_copy("llama"))
    assert rb(["doctor", "--model", folder, "--device", "cpu"], monkeypatch) == 0
    assert "0 failed" in capsys.readouterr().out
    edit_config(Path(folder), pad_token_id=0)
    assert rb(["doctor", "--model", folder, "--device", "cpu"], monkeypatch) == 1
    assert "FAIL Pad token" in capsys.readouterr().out
    for arguments, message in (
        (["--model", "baseline/longest"], "nothing to examine"),
        (["--model", "nowhere"], "neither a folder nor a hub id"),
        (["--model", folder, "--dtype", "int4"], "unknown dtype"),
        (["--model", folder, "--device", "cuda:99"], "not available"),
        (["--model", folder, "--reference-free", "max"], "unknown reference-free"),
        (["--model", folder, "--beta", "0.1"], "this is a classifier"),
    ):
        assert rb(["doctor", *arguments], monkeypatch) == 2
        assert message in capsys.readouterr().err


def test_a_judge_is_refused_with_an_alternative(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelError, match=r"is a judge.* read the transcript"):
        examine(str(tiny_model("llama-lm")), ModelOptions(kind="generative"))
