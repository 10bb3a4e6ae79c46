"""Scorers of tiny models: each is loaded once per session, and every test gets a copy."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.scorers.batch_limit import BatchLimit
from rb_core.scorers.load import load_scorer

SHARED_FOLDERS = ("tiny-models", "references")  # in the session's temporary folder; tests do not change them


def load_copy(folder: Path, **options: Any) -> Any:
    """Load the scorer of a folder on the CPU; copy an earlier one of the same shared folder and options."""
    options = {"device": "cpu"} | {
        key: str(value) if isinstance(value, Path) else value for key, value in options.items()
    }
    folders = [folder, *(Path(options[key]) for key in ("reference",) if options.get(key))]
    if all(each.parent.name.rstrip("0123456789") in SHARED_FOLDERS for each in folders):
        return _copy(_load(str(folder), ModelOptions(**options)))
    return load_scorer(resolve(str(folder), ModelOptions(**options)))


@functools.cache
def _load(folder: str, options: ModelOptions) -> Any:
    return load_scorer(resolve(folder, options))


def _copy(scorer: Any) -> Any:
    """Copy a scorer with its models, so that a test may patch them."""
    duplicate = copy.copy(scorer)
    models = {name: getattr(scorer, name) for name in ("model", "reference", "adapters") if hasattr(scorer, name)}
    for name, model in copy.deepcopy(models).items():  # at once: an adapter is around its model
        setattr(duplicate, name, model)
    duplicate.limit = BatchLimit(scorer.device)
    return duplicate
