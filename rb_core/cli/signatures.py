"""Command-line options made from the fields of ModelOptions and JudgeOptions.

To add an option of a model or a judge, add a field in `rb_core/models/options.py`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter
from pathlib import Path
from typing import Any, get_type_hints

import typer

from rb_core.errors import ModelError
from rb_core.evaluation.distributed import this_process
from rb_core.models.options import JudgeOptions, ModelOptions, flag, option_specs

Command = Callable[..., None]
OptionsType = type[ModelOptions] | type[JudgeOptions]


def takes_model_options(*, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Decorate a command that has a parameter `options: ModelOptions`, so that each field is an option of its own.

    without: fields to leave out; "judge" leaves out the options of judges.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        parameters = [parameter for name, parameter in signature.parameters.items() if name != "options"]
        option_parameters = _parameters(ModelOptions, without)
        if "judge" not in without:
            option_parameters += _parameters(JudgeOptions, without)
        parameters += option_parameters

        @functools.wraps(command)
        def with_options(**values: Any) -> None:
            typed = {parameter.name: values.pop(parameter.name) for parameter in option_parameters}
            with this_process().share_errors():
                options = parse_options(typed)
            command(options=options, **values)

        with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return with_options

    return decorate


def parse_options(typed: Mapping[str, Any]) -> ModelOptions:
    """Return the options from their values on the command line by field name.

    Raises ModelError for a list or a file that cannot be read.
    """
    return ModelOptions(judge=JudgeOptions(**_values(JudgeOptions, typed)), **_values(ModelOptions, typed))


def _parameters(options: OptionsType, without: Collection[str]) -> list[Parameter]:
    hints, defaults, parameters = get_type_hints(options), options(), []
    for name, spec in option_specs(options).items():
        if name in without:
            continue
        annotation, default = hints[name], getattr(defaults, name)
        if spec.is_file:
            annotation = Path | None
        elif spec.parse or spec.choices:  # the choices are checked with all other rules, by `check_options`
            annotation, default = str | None, default or None
        text = f"{spec.help}: {', '.join(spec.choices)}" if len(spec.choices) > 1 else spec.help
        info = typer.Option(default, flag(name), help=text, rich_help_panel=spec.panel)
        parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=info, annotation=annotation))
    return parameters


def _values(options: OptionsType, typed: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for name, spec in option_specs(options).items():
        value = typed.get(name)
        if value is not None and spec.parse:
            try:
                value = spec.parse(str(value))
            except (OSError, ValueError) as error:
                raise ModelError(f"{flag(name)} {value}: cannot be read: {error}") from error
        if value is not None:
            values[name] = value
    return values
