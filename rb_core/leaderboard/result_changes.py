"""Say in words what differs between two versions of a result."""

from __future__ import annotations

from rb_core.results.schema import Result

_MODEL_FIELDS = ("kind", "revision", "dtype", "max_length", "output", "reference", "reference_revision", "beta")
_BENCHMARK_FIELDS = ("revision", "sha256", "limit")
MAX_TEXT = 60


def result_changes(old: Result, new: Result) -> list[str]:
    """Return what differs: origin, score, examples, data, model and software, each with the old and the new value."""
    changes = []
    if old.status != new.status:
        names = {"run": "evaluated here", "published": "as published"}
        changes.append(f"{names[old.status]}, then {names[new.status]}")
    elif new.published != old.published:
        changes.append("another source")
    pairs = [("score", _score(old), _score(new)), ("scored examples", _scored(old), _scored(new))]
    pairs += [(f"data {f}", getattr(old.benchmark, f), getattr(new.benchmark, f)) for f in _BENCHMARK_FIELDS]
    pairs += [(f"model {f}", getattr(old.model, f), getattr(new.model, f)) for f in _MODEL_FIELDS]
    pairs += [("versions", _versions(old), _versions(new))]
    changes += [f"{name} {_text(before)} → {_text(after)}" for name, before, after in pairs if before != after]
    if not changes and (old.sections, old.subsets) != (new.sections, new.subsets):
        changes.append("scores of sections or subsets")
    return changes or ["no number"]


def _score(result: Result) -> str | None:
    value = result.headline.value if result.headline else None
    return None if value is None else f"{100 * value:.1f}"


def _scored(result: Result) -> int | None:
    return result.counts.scored if result.counts else None


def _versions(result: Result) -> str | None:
    """Return the versions of the packages that compute scores."""
    versions = result.run.versions if result.run else {}
    return ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers") if name in versions) or None


def _text(value: object) -> str:
    text = "none" if value is None else str(value).replace("_", " ")
    return text if len(text) <= MAX_TEXT else f"{text[:12]}…"
