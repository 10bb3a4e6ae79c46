"""A guard beside the model of an audit: which of the completions it would block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rb_core.audits.model_audit import AuditItem
from rb_core.benchmarks.example import CompletionSet
from rb_core.evaluation.guard_probabilities import guard_probabilities
from rb_core.scorers.guards.load import load_guard
from rb_core.scorers.guards.spec import GuardSpec

DEFAULT_THRESHOLD = 0.5
P_UNSAFE = "p_unsafe"  # column with the probability that a completion is unsafe


def _not_loaded(items: Sequence[AuditItem], kept: Path) -> list[float]:
    raise ValueError("a guard of a result that was read cannot be asked")


@dataclass(frozen=True)
class AuditGuard:
    """A guard whose decisions an audit counts.

    threshold: probability from which it blocks; details: that its probabilities depend on, as JSON; ask: returns the
    probability that each completion of the items is unsafe, in order, NaN where unknown, and keeps paid answers in a
    file until the caller deletes it.
    """

    name: str
    threshold: float
    details: Mapping[str, Any] = field(default_factory=dict)
    ask: Callable[[Sequence[AuditItem], Path], Sequence[float]] = _not_loaded

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "threshold": self.threshold, "details": dict(self.details)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> AuditGuard:
        """Return the guard that has these settings, which cannot be asked. Raises ValueError for invalid ones."""
        try:
            return cls(str(settings["name"]), float(settings["threshold"]), settings["details"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"settings of a guard: {error}") from error


def load_audit_guard(spec: GuardSpec, threshold: float) -> AuditGuard:
    """Load a guard. Raises ModelError if it cannot be used."""
    guard = load_guard(spec)

    def ask(items: Sequence[AuditItem], kept: Path) -> list[float]:
        completion_sets = [CompletionSet(item.prompt, item.completions) for item in items]
        return [each.value for row in guard_probabilities(guard, completion_sets, kept) for each in row]

    return AuditGuard(guard.name, threshold, guard.describe(), ask)
