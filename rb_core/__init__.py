"""RewardBench: evaluate reward models on preference benchmarks.

The names below are the public API. Each is imported when it is first used, so that `import rb_core` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rb_core.benchmarks.example import CompletionSet, Example, Message
    from rb_core.benchmarks.load import load_benchmark
    from rb_core.benchmarks.spec import Benchmark
    from rb_core.errors import RewardBenchError
    from rb_core.evaluation.evaluate import evaluate, evaluate_scorer
    from rb_core.evaluation.score import score_completions
    from rb_core.evaluation.score_rows import score
    from rb_core.models.options import JudgeOptions, ModelOptions
    from rb_core.results.estimate import Estimate
    from rb_core.results.schema import Result
    from rb_core.results.storage import read_result
    from rb_core.scorers.base import Scorer
    from rb_core.scorers.ensemble import EnsembleScorer
    from rb_core.scorers.function import FunctionScorer
    from rb_core.scorers.load import load_model
    from rb_core.version import __version__

__all__ = [
    "Benchmark",
    "CompletionSet",
    "EnsembleScorer",
    "Estimate",
    "Example",
    "FunctionScorer",
    "JudgeOptions",
    "Message",
    "ModelOptions",
    "Result",
    "RewardBenchError",
    "Scorer",
    "__version__",
    "evaluate",
    "evaluate_scorer",
    "load_benchmark",
    "load_model",
    "read_result",
    "score",
    "score_completions",
]

_MODULES = {
    "benchmarks.example": ("CompletionSet", "Example", "Message"),
    "benchmarks.load": ("load_benchmark",),
    "benchmarks.spec": ("Benchmark",),
    "errors": ("RewardBenchError",),
    "evaluation.evaluate": ("evaluate", "evaluate_scorer"),
    "evaluation.score": ("score_completions",),
    "evaluation.score_rows": ("score",),
    "models.options": ("JudgeOptions", "ModelOptions"),
    "results.estimate": ("Estimate",),
    "results.schema": ("Result",),
    "results.storage": ("read_result",),
    "scorers.base": ("Scorer",),
    "scorers.ensemble": ("EnsembleScorer",),
    "scorers.function": ("FunctionScorer",),
    "scorers.load": ("load_model",),
    "version": ("__version__",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'rb_core' has no attribute {name!r}")
    return getattr(import_module(f"rb_core.{_MODULE_OF[name]}"), name)
