"""The doctor: a healthy model passes, each fault is named, and no fault hides another."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from rb_core import doctor
from rb_core.doctor import Check, Report, examine
from rb_core.errors import ModelError
from rb_core.models.options import ModelOptions
from tests.cli.command_line import rb
from tests.fakes import tiny_models
from tests.fakes.tiny_models import BUILDERS, DECLARED, LLAMA_TEMPLATE, edit_config, edit_weights

TinyModel = Callable[[str], Path]
# What a healthy tiny model may be warned of: an end-of-sequence pad token, a date, a template that refuses system
# messages, one that trims or adds to the answer, and what padding on the left and bfloat16 do to small random models.
MAY_WARN = {"pad", "date", "system", "answer", "left-padding", "dtype", "order", "right-padding"}
SYSTEMLESS_TEMPLATE = LLAMA_TEMPLATE.replace(
    "{%- for turn in messages %}", "{%- for turn in messages if turn['role'] != 'system' %}"
)


def diagnose(folder: Path, name: str = "", **options: Any) -> Report:
    """The report on a folder, with the template that an architecture of this name needs."""
    options = {"chat_template": DECLARED.get(name), "device": "cpu"} | options
    return examine(str(folder), ModelOptions(**options))


def failures(report: Report) -> list[str]:
    return [check.id for check in report.checks if check.status == "FAIL"]


def warnings(report: Report) -> set[str]:
    return {check.id for check in report.checks if check.status == "WARN"}


def the(report: Report, id: str) -> Check:
    """The check of that id."""
    (check,) = (check for check in report.checks if check.id == id)
    return check


def edit_template(folder: Path, template: str) -> None:
    (folder / "chat_template.jinja").write_text(template)


# ---- healthy models


def test_the_built_in_model_passes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`doctor` on the built-in model ends with exit code 0, fails nothing, skips nothing, and warns only of what is
    true of it: it trims, its tokenizer knows no capitals, and bfloat16 moves close pairs."""
    assert rb(["doctor", "--model", "builtin/tiny-rm", "--json"], monkeypatch) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["failed"] is False
    assert (said["counts"]["FAIL"], said["counts"]["SKIP"]) == (0, 0)
    warned = {check["id"] for check in said["checks"] if check["status"] == "WARN"}
    assert {"answer", "text"} <= warned <= {"answer", "text", "dtype"}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_architecture_runs_through(tiny_model: TinyModel, name: str) -> None:
    """On no architecture does a check break off, fail or go unmade; it says where the score is read."""
    report = diagnose(tiny_model(name), name)
    assert not report.failed, [check for check in report.checks if check.status == "FAIL"]
    assert not report.count("SKIP")
    assert warnings(report) <= MAY_WARN
    assert report.conversation is not None
    assert (report.conversation.read is None) == (name == "deberta")
    assert the(report, "batched").status == "PASS"
    assert ("pad" in warnings(report)) == (name in {"llama-pad-is-eos", "gpt2-pad-is-eos", "phi3"})
    assert ("date" in warnings(report)) == (name == "llama-dated")


def test_the_marked_conversation_is_what_the_model_is_fed(tiny_model: TinyModel) -> None:
    """Ids, their texts, the completion's start and the token that is read fit together."""
    marked = diagnose(tiny_model("llama-pad-is-eos")).conversation
    assert marked is not None
    assert "".join(marked.tokens) == marked.text
    assert "".join(marked.tokens[marked.start :]) == "It is Paris.<|eot_id|>"
    assert marked.read == (len(marked.ids) - 2,) * 2  # before the final eos, which is the pad token


def test_left_padding_is_measured(tiny_model: TinyModel) -> None:
    """Positions that turn are moved by nothing; absolute ones move the scores, and the report says by how much."""
    assert the(diagnose(tiny_model("llama")), "left-padding").status == "PASS"
    for name in ("gpt2", "gpt2-pad-is-eos"):
        check = the(diagnose(tiny_model(name), name), "left-padding")
        assert check.status == "WARN"
        assert "moves scores by up to" in check.found
        assert "never pads left" in check.advice


# ---- faults, each named, and nothing else


def test_pad_tokens_that_differ(tiny_copy: TinyModel) -> None:
    """A pad token of the config that is not the tokenizer's fails with both named."""
    folder = tiny_copy("llama")
    edit_config(folder, pad_token_id=0)
    report = diagnose(folder)
    assert failures(report) == ["pad"]
    assert "0 ('<|begin_of_text|>')" in the(report, "pad").found
    assert "4 ('<|pad|>')" in the(report, "pad").found
    assert the(report, "batched").status == "PASS"  # the scores are looked at all the same


def test_a_missing_head(tiny_copy: TinyModel) -> None:
    """A checkpoint without its head fails with the weight's name, and no score is made of a random head."""
    folder = tiny_copy("llama")
    edit_weights(folder, lambda weights: weights.__delitem__("score.weight"))
    report = diagnose(folder)
    assert failures(report) == ["weights"]
    assert "misses score.weight" in the(report, "weights").found
    for skipped in ("head", "finite", "dtype"):
        assert the(report, skipped).status == "SKIP"
        assert the(report, skipped).found.startswith("not checked: ")
    assert the(report, "bos").status == "PASS"


@pytest.mark.parametrize("front", ["{{- bos_token }}", "<|begin_of_text|>"])
def test_a_double_bos(tiny_copy: TinyModel, front: str) -> None:
    """A template that writes the BOS token twice, by its name or spelled out, fails."""
    folder = tiny_copy("llama")
    edit_template(folder, front + LLAMA_TEMPLATE)
    report = diagnose(folder)
    assert failures(report) == ["bos"]
    assert "2 BOS tokens 0 ('<|begin_of_text|>')" in the(report, "bos").found


def test_a_date_in_the_template(tiny_copy: TinyModel) -> None:
    """A template that writes today's date is warned of, with the line and the day it is frozen to; nothing fails."""
    folder = tiny_copy("llama")
    edit_template(folder, tiny_models.DATED_TEMPLATE)
    report = diagnose(folder)
    assert failures(report) == []
    assert the(report, "date").status == "WARN"
    assert "Today Date: 26 Jul 2024" in the(report, "date").found
    assert "frozen" in the(report, "date").advice


def test_a_date_that_is_not_written_is_no_fault(tiny_copy: TinyModel) -> None:
    """A template that only names the function, and one with a fixed day, write no date."""
    folder = tiny_copy("llama")
    edit_template(folder, "{%- if strftime_now is defined %}{%- endif %}" + LLAMA_TEMPLATE)
    assert the(diagnose(folder), "date").status == "FACT"
    edit_template(folder, tiny_models.DATED_TEMPLATE.replace("strftime_now('%d %b %Y')", "'26 Jul 2024'"))
    report = diagnose(folder)
    assert "date" not in warnings(report)


def test_two_labels(tiny_copy: TinyModel) -> None:
    """Two outputs of which none is declared fail with the flags that declare one; declared, they pass."""
    folder = tiny_copy("llama")
    edit_config(folder, id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1})
    edit_weights(folder, lambda weights: weights.update({"score.weight": torch.randn(2, 32)}))
    report = diagnose(folder)
    assert failures(report) == ["output"]
    assert "--output-index" in the(report, "output").found
    assert "--output-weights" in the(report, "output").found
    assert the(report, "head").found.startswith("score: 32 inputs, 2 output(s)")
    assert failures(diagnose(folder, output_index=1)) == []


def test_all_faults_of_a_model_are_named_at_once(tiny_copy: TinyModel) -> None:
    """No fault hides another: pad token, head, template and length are each found in one examination."""
    folder = tiny_copy("llama")
    edit_config(folder, pad_token_id=0)
    edit_template(folder, "{{- bos_token }}" + tiny_models.DATED_TEMPLATE)
    edit_weights(folder, lambda weights: weights.__delitem__("score.weight"))
    report = diagnose(folder, max_length=100_000)
    assert failures(report) == ["weights", "max-length", "pad", "bos"]
    assert "date" in warnings(report)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_weight_that_is_not_finite(tiny_copy: TinyModel, broken: float) -> None:
    """NaN or infinity in a weight is named, and so are the scores that it spoils."""
    folder = tiny_copy("llama")
    edit_weights(folder, lambda weights: weights.update({"score.weight": torch.full((1, 32), broken)}))
    report = diagnose(folder)
    assert failures(report) == ["weights", "finite"]
    assert "score.weight" in the(report, "weights").found
    assert "16 of 16 scores" in the(report, "finite").found
    assert the(report, "dtype").status == "SKIP"


def test_a_head_of_zeros(tiny_copy: TinyModel) -> None:
    """A head that is all zero fails, and so do the answers that it cannot tell apart."""
    folder = tiny_copy("llama")
    edit_weights(folder, lambda weights: weights.update({"score.weight": torch.zeros(1, 32)}))
    report = diagnose(folder)
    assert failures(report) == ["head", "pairs"]
    assert "all zero" in the(report, "head").found


def test_weights_that_are_left_over_or_of_another_shape(tiny_copy: TinyModel) -> None:
    """A weight without a place, and one of another shape, are named."""
    folder = tiny_copy("llama")
    edit_weights(folder, lambda weights: weights.update({"v_head.weight": torch.ones(1, 32)}))
    report = diagnose(folder)
    assert failures(report) == ["weights"]
    assert "left over v_head.weight" in the(report, "weights").found
    edit_weights(folder, lambda weights: weights.__delitem__("v_head.weight"))
    edit_weights(folder, lambda weights: weights.update({"score.weight": torch.ones(3, 32)}))
    report = diagnose(folder)
    assert failures(report) == ["weights"]
    assert "another shape score.weight" in the(report, "weights").found


@pytest.mark.parametrize(("gone", "failed"), [("model.safetensors", "kind"), ("tokenizer.json", "tokenizer")])
def test_a_file_that_is_missing(tiny_copy: TinyModel, gone: str, failed: str) -> None:
    """What cannot be loaded fails once, what builds on it says why it was not checked, and no path is shown."""
    folder = tiny_copy("llama")
    (folder / gone).unlink()
    report = diagnose(folder)
    assert failures(report) == [failed]
    assert the(report, "finite").status == "SKIP"
    assert all(check.found for check in report.checks)


def test_a_tokenizer_without_a_template(tiny_model: TinyModel) -> None:
    """Without a template, and none declared, that is the fault, and how to declare one the advice."""
    report = examine(str(tiny_model("gpt2")), ModelOptions(device="cpu"))
    assert failures(report) == ["template"]
    assert "--chat-template" in the(report, "template").found
    assert report.conversation is None


# ---- templates that are warned of


def test_a_template_that_drops_system_messages(tiny_copy: TinyModel) -> None:
    """A dropped system message is warned of, and passes once it is folded."""
    folder = tiny_copy("llama")
    edit_template(folder, SYSTEMLESS_TEMPLATE)
    check = the(diagnose(folder), "system")
    assert (check.status, check.found) == ("WARN", "dropped without a word")
    assert "--fold-system" in check.advice
    assert the(diagnose(folder, fold_system=True), "system").status == "PASS"


def test_a_template_that_refuses_system_messages(tiny_model: TinyModel) -> None:
    """A refused system message is warned of with the template's own words and the flag that helps."""
    check = the(diagnose(tiny_model("gemma2")), "system")
    assert check.status == "WARN"
    assert "there is no system role here" in check.found
    assert "--fold-system" in check.found


def test_what_a_template_does_to_the_answer(tiny_model: TinyModel, tiny_copy: TinyModel) -> None:
    """Trimming, an added think block and a dropped one are each named; a template that does none of it passes."""
    assert "white space around the answer is trimmed" in the(diagnose(tiny_model("llama")), "answer").found
    assert r"'<think>\n\n</think>\n\n' is added" in the(diagnose(tiny_model("qwen3")), "answer").found
    assert the(diagnose(tiny_model("qwen2")), "answer").status == "PASS"
    folder = tiny_copy("llama")
    dropped = "turn['content'].split('</think>')[-1]"
    edit_template(folder, LLAMA_TEMPLATE.replace("turn['content'] | trim", dropped))
    assert "a <think> block in the answer is dropped" in the(diagnose(folder), "answer").found


def test_more_than_one_end_of_sequence_token(tiny_copy: TinyModel) -> None:
    """A template that ends the answer twice is warned of."""
    folder = tiny_copy("llama")
    edit_template(folder, LLAMA_TEMPLATE + "{{- eos_token }}")
    check = the(diagnose(folder), "eos")
    assert check.status == "WARN"
    assert check.found.startswith("2 end-of-sequence tokens")


def test_a_template_that_takes_one_turn_only(tiny_copy: TinyModel) -> None:
    """A template that refuses longer prompts is warned of; the other conversations are scored all the same."""
    folder = tiny_copy("llama")
    edit_template(folder, "{% if messages | length > 2 %}{{ raise_exception('one turn') }}{% endif %}" + LLAMA_TEMPLATE)
    report = diagnose(folder)
    assert the(report, "turns").status == "WARN"
    assert the(report, "finite").found.startswith("12 scores")


# ---- implicit rewards


def test_an_implicit_reward(tmp_path: Path) -> None:
    """Policy and reference run through without a failure; the tokens that are read are the completion's."""
    policy, reference = (tiny_models.causal("llama-lm", tmp_path / str(seed), seed) for seed in (20, 21))
    report = diagnose(policy, reference=str(reference))
    assert failures(report) == []
    assert report.count("SKIP") == 0
    assert report.conversation is not None
    assert report.conversation.read == (report.conversation.start - 1, len(report.conversation.ids) - 2)
    assert "head" not in {check.id for check in report.checks}
    assert failures(diagnose(policy, reference_free="mean")) == []


def test_a_policy_that_is_its_reference(tmp_path: Path) -> None:
    """Rewards that are all zero fail, and the report says why they are."""
    policy = tiny_models.causal("llama-lm", tmp_path / "policy")
    report = diagnose(policy, reference=str(policy))
    assert failures(report) == ["pairs"]
    assert "policy and reference are the same" in the(report, "pairs").found


def test_a_reference_with_another_vocabulary(tmp_path: Path) -> None:
    """Tokens with other numbers in the reference fail once, and no reward is made of them."""
    policy = tiny_models.causal("llama-lm", tmp_path / "policy")
    reference = tiny_models.causal("phi3-lm", tmp_path / "phi3")
    report = diagnose(policy, reference=str(reference))
    assert failures(report) == ["reference"]
    assert the(report, "finite").status == "SKIP"
    assert str(tmp_path) not in json.dumps(report.to_json()["checks"])


def test_a_reference_whose_tokens_have_other_names(tmp_path: Path) -> None:
    """The same numbers under other names cannot be told from a mistake by the numbers: they are warned of."""
    policy = tiny_models.causal("llama-lm", tmp_path / "policy")
    reference = tiny_models.causal("gemma2-lm", tmp_path / "gemma2")
    check = the(diagnose(policy, reference=str(reference)), "reference")
    assert check.status == "WARN"
    assert "'<|begin_of_text|>' is '<pad>' there" in check.found


def test_an_adapter_and_its_base(tmp_path: Path) -> None:
    """An adapter is examined against its own base."""
    pytest.importorskip("peft")
    base = tiny_models.causal("llama-lm", tmp_path / "base")
    report = diagnose(tiny_models.adapter(base, tmp_path / "adapter"), kind="implicit")
    assert failures(report) == []
    assert report.count("SKIP") == 0


def test_an_adapter_without_a_tokenizer(tmp_path: Path) -> None:
    """An adapter that brings no tokenizer is read with its base's, as when it is scored; nothing else is found."""
    pytest.importorskip("peft")
    base = tiny_models.causal("llama-lm", tmp_path / "base")
    folder = tiny_models.adapter(base, tmp_path / "adapter")
    with_its_own = diagnose(folder, kind="implicit")
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / file).unlink()
    report = diagnose(folder, kind="implicit")
    assert failures(report) == []
    assert report.count("SKIP") == 0
    assert report == with_its_own


# ---- the report


def test_a_report_in_json(tiny_model: TinyModel) -> None:
    """The JSON holds every check and the conversation, reads back as it was, and is the same in every examination."""
    report = diagnose(tiny_model("llama"))
    said = json.loads(json.dumps(report.to_json()))
    assert tuple(Check(**check) for check in said["checks"]) == report.checks
    assert set(said) == {"model", "failed", "counts", "checks", "conversation"}
    assert set(said["conversation"]) == {"text", "ids", "tokens", "start", "read"}
    assert sum(said["counts"].values()) == len(report.checks)
    assert len({check.id for check in report.checks}) == len(report.checks)
    assert diagnose(tiny_model("llama")) == report


def test_a_report_for_people(tiny_model: TinyModel) -> None:
    """Each check is a line with its status; the scored token is marked; text in brackets is not taken for markup."""
    console = Console(width=200, file=io.StringIO())
    checks = (Check("a", "One", "FAIL", "found [red]", "do [/red]"), Check("b", "Two", "PASS", "fine"))
    marked = diagnose(tiny_model("llama")).conversation
    doctor.show(Report("me/[bold]", checks, marked), console)
    printed = console.file.getvalue()
    for text in (
        "me/[bold]",
        "FAIL One: found [red]",
        "do [/red]",
        "PASS Two: fine",
        "the score is read here",
        "1 fail",
    ):
        assert text in printed


def test_exit_codes(tiny_copy: TinyModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """0 without a failure, warnings or not; 1 with one; 2 with one line where there is nothing to examine."""
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
        (["--model", folder, "--beta", "0.1"], "says nothing of a model of kind classifier"),
    ):
        assert rb(["doctor", *arguments], monkeypatch) == 2
        assert message in capsys.readouterr().err


def test_a_judge_is_not_examined(tiny_model: Callable[[str], Path]) -> None:
    """A judge answers in words: the doctor says so, and what to do."""
    with pytest.raises(ModelError, match="asked as a judge"):
        examine(str(tiny_model("llama-lm")), ModelOptions(kind="generative"))


def test_a_baseline_has_nothing_to_examine() -> None:
    """A baseline is refused with a reason."""
    with pytest.raises(ModelError, match="nothing to examine"):
        examine("baseline/longest")
