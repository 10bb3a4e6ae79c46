"""The doctor on rewards that are read at tokens: nothing fails on a good one, and a fault is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from tests.doctor.reports import TinyModel, diagnose, failures, result_of
from tests.fakes.tiny_models import causal, edit_weights
from tests.fakes.tiny_tokenizers import LLAMA_TEMPLATE

YES_NO: dict[str, Any] = {"tokens": ("y", "n"), "question": "Is the answer right? Please answer y or n."}


def raise_logits(folder: Path, text: str) -> None:
    """Make a token by far the likeliest after the probe conversation."""
    (token,) = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False).input_ids
    edit_weights(folder, lambda weights: weights["lm_head.weight"][token].mul_(-20.0))


def test_nothing_fails_or_is_skipped_on_a_good_one(tiny_model: TinyModel) -> None:
    for options in (YES_NO, {"token": "!"}):
        report = diagnose(tiny_model("llama-lm"), **options)
        assert not report.failed, [check for check in report.checks if check.status == "FAIL"]
        assert not report.count("SKIP")
        assert result_of(report, "batched").status == "PASS"
        assert result_of(report, "eos").found.startswith("1 end-of-sequence token after the answer")
        assert report.conversation is not None
        assert report.conversation.read == (len(report.conversation.ids) - 1,) * 2
    report = diagnose(tiny_model("llama-lm"), **YES_NO)
    assert "log-odds of token 93 ('y') over 82 ('n'), read after a question" in result_of(report, "tokens").found
    assert report.conversation is not None
    assert report.conversation.text.endswith(
        f"{YES_NO['question']}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_the_answer_is_examined_where_it_stands_in_front_of_a_question(tmp_path: Path) -> None:
    """This template puts an empty thought in front of an answer that comes last."""
    folder = causal("qwen3-lm", tmp_path / "qwen3")
    assert "is added in front of the answer" in result_of(diagnose(folder, tokens=("y", "n")), "answer").found
    assert result_of(diagnose(folder, **YES_NO), "answer").status == "PASS"


def test_tokens_that_the_model_would_not_answer_with_are_warned_about(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama-lm")
    raise_logits(folder, "!")
    found = result_of(diagnose(folder, **YES_NO), "tokens")
    assert (found.status, "of the probability" in found.found) == ("WARN", True)
    assert result_of(diagnose(folder, **(YES_NO | {"tokens": ("!", "y")})), "tokens").status == "PASS"


def test_a_text_of_several_tokens_is_named_and_hides_no_other_fault(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama-lm")
    (folder / "chat_template.jinja").write_text("{{- bos_token }}" + LLAMA_TEMPLATE)
    report = diagnose(folder, tokens=("yes", "no"))
    assert failures(report) == ["tokens", "bos"]
    assert "'yes' is 2 tokens of its tokenizer ('y', 'es')" in result_of(report, "tokens").found


def test_tokens_with_the_same_row_are_named(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama-lm")
    yes, no = (AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False).input_ids[0] for text in "yn")

    def same_row(weights: dict[str, torch.Tensor]) -> None:
        weights["lm_head.weight"][yes] = weights["lm_head.weight"][no]

    edit_weights(folder, same_row)
    report = diagnose(folder, **YES_NO)
    assert failures(report) == ["kind"]
    assert "the same row of the output embedding, so every score would be 0" in result_of(report, "kind").found


def test_a_question_that_the_template_drops_is_named(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama-lm")
    dropping = LLAMA_TEMPLATE.replace("for turn in messages", "for turn in messages[:2]")
    (folder / "chat_template.jinja").write_text(dropping)
    report = diagnose(folder, **YES_NO)
    assert failures(report) == ["conversation"]
    assert "drops user messages in a conversation of (user, assistant, user)" in result_of(report, "conversation").found
