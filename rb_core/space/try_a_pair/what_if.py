"""Superficial changes to a text, and the effect of each on a model's scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rb_core.audits.robustness.changes import CONFIDENT, DOUBLED, MARKDOWN, POLITE, Change

_REFUSAL = "I'm sorry, but I can't help with that."

CHANGES = (
    POLITE,
    MARKDOWN,
    DOUBLED,
    CONFIDENT,
    Change("refusal", "Refusal", f"“{_REFUSAL}” instead of the text.", lambda text: _REFUSAL),
)
CHANGES_BY_ID = {change.id: change for change in CHANGES}

NOT_FOR_JUDGES = (
    "a judge's score compares the completions of one question, so a change to all of them would not show in it, and "
    "every change would need new requests."
)


class ScoreChange(NamedTuple):
    """A completion's score before and after a change; None if unscored."""

    before: float | None
    after: float | None

    @property
    def difference(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before


class ChangeEffect(NamedTuple):
    """The effect of a change on one model's scores, with an entry per completion."""

    model: str
    change: Change
    scores: tuple[ScoreChange, ...]

    @property
    def mean(self) -> float | None:
        """The mean difference over the completions scored before and after."""
        differences = [score.difference for score in self.scores if score.difference is not None]
        return sum(differences) / len(differences) if differences else None

    @property
    def overtakes(self) -> list[tuple[int, int]]:
        """Pairs (i, j) of indices: i scores below j unchanged, and above the unchanged j once it is changed."""
        return [
            (i, j)
            for i, changed in enumerate(self.scores)
            for j, unchanged in enumerate(self.scores)
            if changed.before is not None
            and changed.after is not None
            and unchanged.before is not None
            and changed.before < unchanged.before < changed.after
        ]


def changed_texts(completions: Sequence[str], changes: Sequence[Change]) -> list[str]:
    """Return the unchanged completions, then the completions under each change: the texts a model scores at once."""
    return [*completions, *(change.apply(text) for change in changes for text in completions)]


def change_effects(
    models: Sequence[str], changes: Sequence[Change], count: int, scores: Sequence[Sequence[float | None]]
) -> list[ChangeEffect]:
    """Return the effect of every change on every model.

    Args:
        count: number of completions.
        scores: for each model its scores of `changed_texts`.
    """
    return [
        ChangeEffect(
            model, change, tuple(map(ScoreChange, model_scores, model_scores[number * count : (number + 1) * count]))
        )
        for model, model_scores in zip(models, scores, strict=True)
        for number, change in enumerate(changes, 1)
    ]
