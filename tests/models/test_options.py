"""Options: each field declares its help, its allowed values and the models that it applies to."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from rb_core.errors import ModelError
from rb_core.models.options import (
    RESERVED_VARIABLES,
    JudgeOptions,
    ModelOptions,
    Output,
    Target,
    changed_options,
    check_applicable,
    check_options,
    command_line_options,
    flag,
    option_specs,
)

CHANGED: dict[str, Any] = {
    "name": "me/x",
    "kind": "implicit",
    "revision": "main",
    "dtype": "float32",
    "device": "cpu",
    "device_map": "auto",
    "max_length": 5,
    "chat_template": "x",
    "template_name": "rag",
    "template_vars": {"enable_thinking": False},
    "fold_system": True,
    "ignore_auto_map": True,
    "batch_tokens": 5,
    "output_index": 0,
    "output_weights": (1.0, 0.5),
    "threshold": 0.5,
    "step_separator": "<extra_0>",
    "aggregate": "prod",
    "lower_is_better": True,
    "pad_token": "config",
    "token": "!",
    "tokens": ("yes", "no"),
    "question": "Is it right?",
    "generation_prompt": True,
    "url": "http://127.0.0.1:8000",
    "api": "tei",
    "tokenizer": "me/x",
    "reference": "me/base",
    "reference_revision": "v1",
    "beta": 0.1,
    "reference_free": "sum",
    "scorer": "mine:score",
    "scorer_args": {"n": 1},
    "ensemble": ("a/b", "c/d"),
    "combine": "min",
    "lambda_": 0.1,
    "scale_by": "starter",
    "scale_results": Path("mine"),
}
# Options of one kind alone.
OWN_OPTIONS: dict[Target, set[str]] = {
    "custom scorer": {"scorer", "scorer_args"},
    "ensemble": {"ensemble", "combine", "lambda_", "scale_by", "scale_results"},
    "token model": {"token", "tokens", "question", "generation_prompt"},
    "remote model": {"url", "api", "tokenizer"},
    "process reward model": {"step_separator", "aggregate"},
}
NOT_OF_HEADS = {"reference", "reference_revision", "beta", "reference_free"} | set(option_specs(JudgeOptions))
INAPPLICABLE: dict[Target, set[str]] = {
    "baseline": set(CHANGED) - {"name", "threshold", "dtype", "device", "batch_tokens"}
    | set(option_specs(JudgeOptions)),
    "classifier": NOT_OF_HEADS,
    "gated model": NOT_OF_HEADS | {"output_index", "output_weights"},
    **dict.fromkeys(
        ("value-head model", "token model"), NOT_OF_HEADS | {"output_index", "output_weights", "pad_token"}
    ),
    "process reward model": NOT_OF_HEADS | {"output_weights", "lower_is_better", "pad_token"},
    "implicit-reward model": {"output_index", "output_weights", "lower_is_better", "pad_token"}
    | set(option_specs(JudgeOptions)),
    "local judge": {
        *("reference", "reference_revision", "beta", "reference_free", "output_index", "output_weights"),
        *("lower_is_better", "pad_token", "structured", "extra_body", "concurrency", "deadline"),
        *("price_prompt", "price_completion", "max_cost", "max_tokens_total"),
    },
    "served judge": set(CHANGED) - {"name", "threshold", "kind", "fold_system"},
    "custom scorer": set(CHANGED) - {"name", "threshold"} | set(option_specs(JudgeOptions)),
    "ensemble": set(CHANGED) - {"name", "threshold"} | set(option_specs(JudgeOptions)),
    "remote model": {
        *("kind", "dtype", "device", "device_map", "batch_tokens"),
        *("reference", "reference_revision", "beta", "reference_free"),
        *(set(option_specs(JudgeOptions)) - {"concurrency", "deadline"}),
    },
}
for target, names in OWN_OPTIONS.items():
    INAPPLICABLE = {other: inapplicable | names for other, inapplicable in INAPPLICABLE.items()}
    INAPPLICABLE[target] -= names
INAPPLICABLE["process reward model"] -= {"tokens"}


def test_every_field_is_an_option_with_a_help_text() -> None:
    assert set(option_specs(ModelOptions)) == set(CHANGED)
    for spec in (option_specs(ModelOptions) | option_specs(JudgeOptions)).values():
        assert spec.help
        assert spec.panel
        assert set(spec.applies_to) <= set(get_args(Target))


@pytest.mark.parametrize("target", INAPPLICABLE)
def test_an_option_without_effect_is_refused(target: Target) -> None:
    judge_values = {name: ("a", "b") if name == "judges" else 5 for name in option_specs(JudgeOptions)}
    options = {name: ModelOptions(**{name: value}) for name, value in CHANGED.items()}
    options |= {name: ModelOptions(judge=JudgeOptions(**{name: value})) for name, value in judge_values.items()}
    for name, option in options.items():
        if name in INAPPLICABLE[target]:
            with pytest.raises(ModelError, match=f"^{flag(name)} applies only to .*{target}"):
                check_applicable(option, target)
        else:
            check_applicable(option, target)


@pytest.mark.parametrize(
    ("options", "target", "message"),
    [
        ({"beta": 0.1}, "baseline", "--beta applies only to implicit-reward models (this is a baseline)"),
        ({"beta": 0.1}, "classifier", "--beta applies only to implicit-reward models (this is a classifier)"),
        (
            {"max_length": 5},
            "baseline",
            "--max-length applies only to classifiers, value-head models, gated models, token models, "
            "process reward models, implicit-reward models, local judges and models with --url (this is a baseline)",
        ),
        ({"judge": JudgeOptions(mode="ratings")}, "baseline", "--mode applies only to judges (this is a baseline)"),
        (
            {"judge": JudgeOptions(structured=True)},
            "local judge",
            "--structured applies only to judges with --base-url or --provider (this is a local judge)",
        ),
    ],
)
def test_the_message_names_option_and_models(options: dict[str, Any], target: Target, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        check_applicable(ModelOptions(**options), target)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int4"}, "unknown dtype 'int4'.*auto, float32, bfloat16, float16"),
        ({"device": "tpu"}, "unknown device 'tpu'.*auto, cuda, mps, cpu"),
        ({"device": "cuda:first"}, "device 'cuda:first'"),
        ({"kind": "oracle"}, "unknown kind 'oracle'.*classifier"),
        ({"kind": "baseline"}, "unknown kind 'baseline'.*classifier"),
        ({"reference_free": "max"}, "unknown reference-free 'max'.*sum, mean, norm"),
        ({"device_map": "balanced"}, "unknown device-map 'balanced'.*auto"),
        ({"max_length": 0}, "--max-length is 0; it must be at least 1"),
        ({"batch_tokens": -5}, "--batch-tokens is -5; it must be at least 1"),
        ({"output_index": -1}, "--output-index is -1; it must be at least 0"),
        ({"output_weights": (1.0, float("nan"))}, "--output-weights is 1,nan; it must be finite"),
        ({"beta": 0.0}, "--beta is 0; it must be greater than 0"),
        ({"beta": -0.1}, "--beta is -0.1; it must be greater than 0"),
        ({"beta": float("nan")}, "--beta is nan; it must be finite"),
        ({"beta": float("inf")}, "--beta is inf; it must be finite"),
        ({"template_name": "rag", "chat_template": "x"}, "either --template-name or --chat-template"),
        ({"template_vars": {"no-name": 1}}, "--template-vars: 'no-name' is no name"),
        ({"template_vars": {"date": float("nan")}}, "--template-vars: date has a value that a result cannot record"),
        ({"template_vars": {"date": "\ud800"}}, "--template-vars: date has a value that a result cannot record"),
        ({"token": "!", "tokens": ("yes", "no")}, "either --token or --tokens"),
        ({"tokens": ("yes",)}, "--tokens names 1 tokens; it must be two"),
        ({"tokens": ("yes", "")}, "--tokens: expected a text"),
        ({"token": ""}, "--token: expected a text"),
        ({"token": "\ud800"}, "--token has a character that a result cannot record"),
        ({"question": " \n"}, "--question: expected a text"),
        ({"question": "Is it?", "generation_prompt": True}, "leave --generation-prompt out"),
        ({"output_index": 0, "output_weights": (1.0,)}, "either --output-index or --output-weights"),
        ({"device_map": "auto", "device": "cuda:1"}, "--device-map auto.*leave --device out"),
        ({"reference_free": "mean", "reference": "me/base"}, "--reference has no effect without a reference"),
        ({"reference_free": "mean", "reference_revision": "v1"}, "--reference-revision has no effect without"),
        ({"reference_free": "mean", "beta": 0.1}, "--beta has no effect without"),
        ({"combine": "max"}, "unknown combine 'max'.*mean, median, min, mean-sd"),
        ({"lambda_": -1.0, "combine": "mean-sd"}, "--lambda is -1; it must be at least 0"),
        ({"lambda_": 1.0, "combine": "min"}, "--lambda has no effect without --combine mean-sd"),
        ({"scorer": "mine"}, "--scorer mine: expected package.module:OBJECT"),
        ({"scorer": ".mine:f"}, "--scorer .mine:f: expected package.module:OBJECT"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_options(ModelOptions(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "votes"}, "unknown mode 'votes'.*ratings, pairwise"),
        ({"vote": "mean"}, "--vote applies only to a panel"),
        ({"temperature": -0.5}, "--temperature is -0.5; it must be at least 0"),
        ({"deadline": 0.5}, "--deadline is 0.5; it must be at least 1"),
        ({"max_new_tokens": 0}, "--max-new-tokens is 0; it must be at least 1"),
        ({"max_cost": float("nan"), "price_prompt": 1.0, "price_completion": 1.0}, "--max-cost is nan"),
        ({"base_url": "ftp://x"}, "--base-url: expected the address"),
        ({"base_url": "http://x", "provider": "y"}, "not both"),
        ({"price_prompt": 1.0}, "give both, or neither"),
        ({"max_cost": 1.0}, "--max-cost needs the price"),
    ],
)
def test_a_value_that_is_not_allowed_for_a_judge_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_options(ModelOptions(judge=JudgeOptions(**options)))


def test_what_a_template_gets_from_the_conversation_and_the_model_cannot_be_set() -> None:
    assert set(inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters) <= {
        *RESERVED_VARIABLES,
        *("self", "kwargs"),
    }
    assert set(PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES) <= RESERVED_VARIABLES
    for name in RESERVED_VARIABLES:
        with pytest.raises(ModelError, match=f"^--template-vars cannot set {name}: "):
            check_options(ModelOptions(template_vars={name: "x"}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]*", fullmatch=True)


@given(st.dictionaries(NAMES, JSON.filter(lambda value: not re.search(r",\s*\w+=", json.dumps(value))), min_size=1))
def test_variables_are_read_as_they_are_written(variables: dict[str, Any]) -> None:
    flag_name, text = command_line_options(ModelOptions(template_vars=variables))
    assert flag_name == "--template-vars"
    parse = option_specs(ModelOptions)["template_vars"].parse
    assert parse
    assert parse(text) == variables


def test_variables_are_json_where_possible_and_else_text() -> None:
    parse = option_specs(ModelOptions)["template_vars"].parse
    assert parse
    assert parse("a=false, b=no,c=[1, 2],d=NaN,e=1,000,f=") == {
        "a": False,
        "b": "no",
        "c": [1, 2],
        "d": "NaN",
        "e": "1,000",
        "f": "",
    }
    for text, reason in (("a", "expected NAME=VALUE, not 'a'"), ("a=1,a=2", "'a' is given twice"), ("", "NAME=VALUE")):
        with pytest.raises(ValueError, match=reason):
            parse(text)


def test_tokens_keep_their_spaces_and_are_two() -> None:
    parse = option_specs(ModelOptions)["tokens"].parse
    assert parse
    assert parse(" yes, no") == (" yes", " no")
    for text in ("yes", "a,b,c", ""):
        with pytest.raises(ValueError, match="expected two tokens"):
            parse(text)


def test_a_question_is_a_text_or_a_file(tmp_path: Path) -> None:
    parse = option_specs(ModelOptions)["question"].parse
    assert parse
    file = tmp_path / "question.txt"
    file.write_text("Is it right?\nSay yes or no.\n", encoding="utf-8")
    assert parse(str(file)) == "Is it right?\nSay yes or no."
    for text in ("Is the answer in A/B right? ", "Right?", "x" * 9000 + " y", "a\0b c"):
        assert parse(text) == text
    for path in ("qestion.txt", "questions/right", str(tmp_path / "missing")):
        with pytest.raises(ValueError, match="there is no such file"):
            parse(path)


def test_allowed_values_pass() -> None:
    check_options(ModelOptions())
    check_options(ModelOptions(device="cuda:1", dtype="bfloat16", beta=1e-9, max_length=1, output_index=0))
    check_options(ModelOptions(judge=JudgeOptions(temperature=0, price_prompt=0, price_completion=0, max_cost=0)))


def test_changed_options_are_written_as_on_the_command_line() -> None:
    judge = JudgeOptions(mode="ratings", judges=("a/b", "c/d"), structured=True, temperature=0.0)
    options = ModelOptions(
        beta=0.123456789, output_weights=(0.5, 1.0), fold_system=True, chat_template="{{ text }}", judge=judge
    )
    assert [name for name, _, _ in changed_options(options)] == [
        *("chat_template", "fold_system", "output_weights", "beta", "mode", "judges", "temperature", "structured")
    ]
    assert command_line_options(options) == [
        *("--fold-system", "--output-weights", "0.5,1", "--beta", "0.123456789"),
        *("--mode", "ratings", "--judges", "a/b,c/d", "--temperature", "0", "--structured"),
    ]


def test_an_output_is_written_with_its_weights() -> None:
    assert (str(Output()), str(Output((0.5, 1.0)))) == ("single", "weights 0.5,1")
