"""Load the scorer of a model, by name or as resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pkgutil import resolve_name

from rb_core.benchmarks.example import CompletionSet
from rb_core.models.options import Kind, ModelOptions
from rb_core.models.resolve import ModelSpec, resolve
from rb_core.scorers.base import Scorer

# The function that loads each kind of model, called with (spec, upcoming, seed). Its module is imported when the first
# such model is loaded.
_LOADERS: Mapping[Kind, str] = {
    "baseline": "baseline:load_baseline",
    "classifier": "classifier:ClassifierScorer.load",
    "value-head": "classifier:ClassifierScorer.load",
    "gated": "classifier:ClassifierScorer.load",
    "token": "classifier:ClassifierScorer.load",
    "process": "process:ProcessScorer.load",
    "implicit": "implicit:ImplicitScorer.load",
    "generative": "judge.load:load_judge",
    "custom": "custom:load_custom",
    "ensemble": "ensemble:load_ensemble",
    "remote": "remote.load:load_remote",
}


def load_model(name: str, options: ModelOptions | None = None, *, seed: int = 0) -> Scorer:
    """Load the scorer of a model: `builtin/tiny-rm`, `baseline/NAME`, a folder, or a hub id ORG/NAME.

    seed: of the random baseline, and of a judge's sampling. Raises ModelError when the model cannot be found or loaded.
    """
    return load_scorer(resolve(name, options or ModelOptions()), seed)


def load_scorer(spec: ModelSpec, seed: int = 0, upcoming: Sequence[CompletionSet] = ()) -> Scorer:
    """Load a model as its kind of scorer, on the device that its options name.

    upcoming: input that is going to be scored; it is tokenised while the weights are loaded.

    Raises ModelError when the model cannot be loaded, or its score would not be its own.
    """
    scorer: Scorer = resolve_name(f"rb_core.scorers.{_LOADERS[spec.kind]}")(spec, upcoming, seed)
    if spec.options.threshold is not None:
        scorer.threshold = spec.options.threshold
    return scorer
