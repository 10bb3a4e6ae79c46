"""Load the scorer of a model, by name or as resolved."""

from __future__ import annotations

from collections.abc import Sequence

from rb_core.benchmarks.example import CompletionSet
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import ModelSpec, resolve
from rb_core.scorers.base import Scorer
from rb_core.scorers.baseline import BaselineScorer


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
    if spec.kind == "baseline":
        return BaselineScorer(spec.checkpoint.location.removeprefix("baseline/"), seed)
    if spec.kind == "generative":
        from rb_core.scorers.judge.load import load_judge

        return load_judge(spec, seed)
    if spec.kind == "implicit":
        from rb_core.scorers.implicit import ImplicitScorer

        return ImplicitScorer.load(spec, upcoming)
    from rb_core.scorers.classifier import ClassifierScorer

    return ClassifierScorer.load(spec, upcoming)
