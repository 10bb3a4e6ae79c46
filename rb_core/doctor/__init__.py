"""Examine a model: `python -m rb_core doctor`.

`examine` loads the model step by step (`inspection`), runs every check (`checks`) on what could be loaded, and returns
a report. A check whose preconditions failed is skipped with the reason, so that one fault does not hide another. To add
a check, write a function in one of the files in `checks` and add it to the list in `checks/__init__.py`. A user's own
scorer has checks of its own (`user_scorer`), which see nothing but its scores.
"""

from __future__ import annotations

from rb_core.doctor.report import CheckResult, DoctorReport, show
from rb_core.doctor.user_scorer import examine_scorer
from rb_core.errors import ModelError
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.scorers.load import load_scorer

__all__ = ["CheckResult", "DoctorReport", "examine", "show"]


def examine(model: str, options: ModelOptions | None = None) -> DoctorReport:
    """Return the report on a model.

    Raises ModelError when there is nothing to examine: an unknown model, an option that does not apply to it, a missing
    device, a baseline, or a judge.
    """
    spec = resolve(model, options or ModelOptions())
    if spec.kind == "baseline":
        raise ModelError(f"{model} is a baseline: it has no checkpoint, so there is nothing to examine")
    if spec.kind == "generative":
        raise ModelError(
            f"{model} is a judge, and doctor examines where a score is read from a model: run evaluate --limit on a "
            "few examples and read the transcript instead"
        )
    if spec.kind == "ensemble":
        raise ModelError(f"{spec.name} is an ensemble: examine its members one by one")
    if spec.kind == "custom":
        return examine_scorer(load_scorer(spec), spec.checkpoint.location)
    if spec.kind == "remote":
        from rb_core.doctor.remote import examine_remote

        return examine_remote(spec, model)
    # These import torch, which the command line does not load for its other commands.
    from rb_core.doctor.checks import run_checks
    from rb_core.doctor.inspection import load_for_inspection

    inspected = load_for_inspection(spec, model)
    return DoctorReport(model, run_checks(inspected), inspected.tokenized_probe())
