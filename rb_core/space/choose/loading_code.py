"""The command and the Python program that load a model, for a use."""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import Any

from rb_core.leaderboard.reproduce import loading_options
from rb_core.models.options import JudgeOptions, ModelOptions, command_line_options
from rb_core.results.schema import Result
from rb_core.space.choose.uses import Use

REFERENCE_FREE_SUFFIX = "_ref_free"  # of names in RewardBench's published results; the checkpoint has none
# Kinds whose checkpoints do not say how they are read.
UNDECLARED = {
    "custom-classifier": "This model has a head of its own: run the command “doctor” first, which says what it needs.",
    "token": "State the scored token as in the model’s card, with --tokens or --token.",
    "process": "State the step separator and the output as in the model’s card.",
    "generative": "Put the address of your server, and the name that it gives to the model.",
    "implicit": "Without the reference model that its training started from, a DPO model gives another score.",
    "unknown": "How this model is loaded is not known: run the command “doctor” first.",
}


def loading_code(result: Result, base_model: str | None, use: Use) -> dict[str, str]:
    """Return the command, the Python program, and a note on what they leave open, empty without one."""
    name = result.model.name.removesuffix(REFERENCE_FREE_SUFFIX)
    options = loading_options(result, base_model)
    words = ["--model", name, *command_line_options(options), *use.options, "--out", use.out]
    is_run = result.status == "run"
    needs_note = not is_run and not (result.model.kind == "implicit" and base_model)
    return {
        "command": f"python -m rb_core score answers.jsonl {shlex.join(words)}",
        "python": _python(name, options),
        "note": UNDECLARED.get(result.model.kind, "") if needs_note else "",
    }


def _python(name: str, options: ModelOptions) -> str:
    changed = _changed(options)
    names = [cls for cls in ("JudgeOptions", "ModelOptions") if f"{cls}(" in changed]
    arguments = f"{name!r}, {changed}" if changed != "ModelOptions()" else repr(name)
    imports = ", ".join([*(names if changed != "ModelOptions()" else []), "load_model", "score_completions"])
    return "\n".join(
        [
            f"from rb_core import {imports}",
            "",
            f"model = load_model({arguments})",
            'print(score_completions(model, "Name a prime.", ["Seven.", "Nine."]))',
        ]
    )


def _changed(options: ModelOptions | JudgeOptions) -> str:
    """Return the Python expression of options, with those that differ from their defaults."""
    default: Any = type(options)()
    values = {f.name: getattr(options, f.name) for f in fields(options)}
    arguments = [
        f"{name}={_changed(value) if isinstance(value, JudgeOptions) else repr(value)}"
        for name, value in values.items()
        if value != getattr(default, name)
    ]
    return f"{type(options).__name__}({', '.join(arguments)})"
