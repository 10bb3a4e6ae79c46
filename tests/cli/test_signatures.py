"""Options on the command line are those of ModelOptions and JudgeOptions."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from rb_core.cli import doctor, evaluate
from rb_core.cli.signatures import parse_options
from rb_core.errors import ModelError
from rb_core.models.options import JudgeOptions, ModelOptions, flag, option_specs
from tests.cli.command_line import rb

SPECS = option_specs(ModelOptions) | option_specs(JudgeOptions)


def test_each_field_is_an_option_of_evaluate() -> None:
    infos = {name: parameter.default for name, parameter in inspect.signature(evaluate.evaluate).parameters.items()}
    for name, spec in SPECS.items():
        assert infos[name].param_decls == (flag(name),)
        assert infos[name].rich_help_panel == spec.panel
        assert infos[name].help.startswith(spec.help)
        assert all(choice in infos[name].help for choice in spec.choices)


def test_doctor_has_the_options_of_the_models_that_it_examines() -> None:
    names = set(inspect.signature(doctor.examine).parameters) - {"model", "as_json"}
    specs = option_specs(ModelOptions)
    assert specs.keys() - names == {"name", "threshold", *(n for n, s in specs.items() if s.panel == "Ensemble")}


def test_the_help_of_evaluate_has_panels_with_common_options_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rb(["evaluate", "--help"], monkeypatch) == 0
    printed = capsys.readouterr().out
    panels = ("Options", "Model", "Implicit reward", "Generative judge", "Server and budget of a judge")
    places = [printed.index(f"─ {panel} ─") for panel in panels]
    assert places == sorted(places)
    assert places[0] < printed.index("--limit") < places[1] < printed.index("--kind") < places[2]


def test_values_reach_the_options(tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("{{ messages }}", encoding="utf-8")
    typed: dict[str, Any] = {
        "kind": "implicit",
        "chat_template": template,
        "output_weights": "1,0.5",
        "fold_system": True,
        "judges": "a/b, c/d@http://x/v1,",
        "vote": "mean",
        "temperature": 0.0,
        "reference": None,
    }
    judge = JudgeOptions(judges=("a/b", "c/d@http://x/v1"), vote="mean", temperature=0.0)
    assert parse_options(typed) == ModelOptions(
        kind="implicit", chat_template="{{ messages }}", output_weights=(1.0, 0.5), fold_system=True, judge=judge
    )
    assert parse_options(dict.fromkeys(SPECS)) == ModelOptions()


def test_a_list_that_cannot_be_read_is_an_error_that_names_the_option() -> None:
    for text in ("1,a", "", "1,,2"):
        with pytest.raises(ModelError, match=r"--output-weights .*: cannot be read"):
            parse_options({"output_weights": text})
