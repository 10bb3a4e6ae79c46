"""Templates that fail or are warned about."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rb_core.doctor.checks import template
from rb_core.doctor.inspection import InspectedModel, load_for_inspection
from rb_core.doctor.probes import PROBE_ANSWER, PROBE_PROMPT
from rb_core.models.chat_format import ChatFormat
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from tests.doctor.reports import TinyModel, diagnose, result_of
from tests.fakes.tiny_models import classifier
from tests.fakes.tiny_tokenizers import DATED_TEMPLATE, DECLARED, LLAMA_TEMPLATE

WithTemplate = Callable[..., InspectedModel]
SYSTEMLESS_TEMPLATE = LLAMA_TEMPLATE.replace(
    "{%- for turn in messages %}", "{%- for turn in messages if turn['role'] != 'system' %}"
)


@pytest.fixture(scope="module")
def with_template(tiny_model: TinyModel) -> WithTemplate:
    """Return a function that gives the tiny Llama model another template, without loading it again."""
    folder = str(tiny_model("llama"))
    loaded = load_for_inspection(resolve(folder, ModelOptions(device="cpu")), folder)

    def build(text: str, system_role: Any = None) -> InspectedModel:
        model = copy(loaded)
        model.spec = replace(loaded.spec, chat_template=text)
        model.chat = ChatFormat(loaded.tokenizer, loaded.max_length, text, system_role or loaded.spec.system_role)
        (model.encoded,) = model.chat.encode(PROBE_PROMPT, (PROBE_ANSWER,))
        return model

    return build


@pytest.mark.parametrize("front", ["{{- bos_token }}", "<|begin_of_text|>"])
def test_a_bos_token_that_is_written_twice_fails(with_template: WithTemplate, front: str) -> None:
    status, found, _ = template.inspect_bos(with_template(front + LLAMA_TEMPLATE))
    assert status == "FAIL"
    assert "2 BOS tokens 0 ('<|begin_of_text|>')" in found


def test_a_date_is_warned_about_with_its_line_and_the_day_it_is_frozen_to(with_template: WithTemplate) -> None:
    status, found, advice = template.inspect_date(with_template(DATED_TEMPLATE))
    assert status == "WARN"
    assert "Today Date: 26 Jul 2024" in found
    assert "freezes it to 26 Jul 2024" in advice


def test_a_date_that_is_not_written_is_no_fault(with_template: WithTemplate) -> None:
    unused = "{%- if strftime_now is defined %}{%- endif %}" + LLAMA_TEMPLATE
    assert template.inspect_date(with_template(unused)).status == "FACT"
    fixed_day = DATED_TEMPLATE.replace("strftime_now('%d %b %Y')", "'26 Jul 2024'")
    assert template.inspect_date(with_template(fixed_day)).status != "WARN"


def test_a_variable_that_changes_nothing_is_warned_about(with_template: WithTemplate) -> None:
    model = with_template("{% if style is defined %}{{ style }}{% endif %}{# enable_thinking #}" + LLAMA_TEMPLATE)
    assert template.inspect_variables(model) == ("FACT", "none passed", "")
    model.chat = replace(model.chat, variables={"style": "brief"})
    status, found, _ = template.inspect_variables(model)
    assert (status, found) == ("PASS", 'style = "brief"; each changes the rendered text')
    model.chat = replace(model.chat, variables={"style": "brief", "enable_thinking": False})
    status, found, _ = template.inspect_variables(model)
    assert status == "WARN"
    assert "enable_thinking = false; a conversation is the same without enable_thinking" in found


def test_a_variable_may_change_only_the_prompt_of_an_answer(with_template: WithTemplate) -> None:
    model = with_template(LLAMA_TEMPLATE + "{% if add_generation_prompt and not thinking %}Hm.{% endif %}")
    model.chat = replace(model.chat, variables={"thinking": True})
    assert template.inspect_variables(model).status == "PASS"


def test_a_template_that_drops_system_messages_passes_with_fold_system(with_template: WithTemplate) -> None:
    status, found, advice = template.inspect_system_messages(with_template(SYSTEMLESS_TEMPLATE))
    assert (status, found) == ("WARN", "silently dropped")
    assert "--fold-system" in advice
    assert template.inspect_system_messages(with_template(SYSTEMLESS_TEMPLATE, "fold")).status == "PASS"


def test_a_refused_system_message_is_shown_with_the_templates_words(with_template: WithTemplate) -> None:
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    status, found, advice = template.inspect_system_messages(with_template(refusing + LLAMA_TEMPLATE))
    assert status == "WARN"
    assert "no system role" in found
    assert "--fold-system" in advice


def test_changes_to_the_answer_are_named(with_template: WithTemplate) -> None:
    """Trimming, an added think block, a dropped one; and a template that does none of these."""
    content = "turn['content'] | trim"
    thinking = f"('<think>\\n\\n</think>\\n\\n' if turn['role'] == 'assistant' else '') + {content}"
    for changed, expected in (
        (content, "white space around the answer is trimmed"),
        (thinking, r"'<think>\n\n</think>\n\n' is added in front of the answer"),
        ("turn['content'].split('</think>')[-1]", "a <think> block in the answer is dropped"),
        ("turn['content']", "unchanged"),
    ):
        observation = template.inspect_answer(with_template(LLAMA_TEMPLATE.replace(content, changed)))
        assert observation.status == ("PASS" if expected == "unchanged" else "WARN")
        assert expected in observation.found


def test_two_end_of_sequence_tokens_are_warned_about(with_template: WithTemplate) -> None:
    status, found, _ = template.inspect_eos(with_template(LLAMA_TEMPLATE + "{{- eos_token }}"))
    assert status == "WARN"
    assert found.startswith("2 end-of-sequence tokens")


@pytest.mark.parametrize(
    ("change", "status", "found"),
    [
        (lambda text: text, "PASS", "as in the tokenizer's own pair"),
        (
            lambda text: text.replace("{{ sep_token + ", "{{ "),
            "WARN",
            "no separator 2 ('[SEP]') stands before the answer",
        ),
        (lambda text: text.replace("cls_token", "'Q: '"), "WARN", "unlike in the tokenizer's own pair"),
    ],
)
def test_the_segments_of_a_pair_encoder_are_compared_with_the_tokenizers(
    tmp_path: Path, change: Callable[[str], str], status: str, found: str
) -> None:
    folder = classifier("bert", tmp_path / "bert")
    result = result_of(diagnose(folder, chat_template=change(DECLARED["bert"])), "segments")
    assert result.status == status
    assert found in result.found


def test_with_a_template_for_one_turn_the_other_conversations_are_still_scored(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    one_turn = "{% if messages | length > 2 %}{{ raise_exception('one turn') }}{% endif %}" + LLAMA_TEMPLATE
    (folder / "chat_template.jinja").write_text(one_turn)
    report = diagnose(folder)
    assert result_of(report, "turns").status == "WARN"
    assert result_of(report, "finite").found.startswith("12 scores")
