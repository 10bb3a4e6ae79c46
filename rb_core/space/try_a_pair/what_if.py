"""A fixed change to a text, and how it moves a model's score: biases that can be seen by hand. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Change(NamedTuple):
    """label: as a button says it; about: what is done to every completion; apply: doing it."""

    id: str
    label: str
    about: str
    apply: Callable[[str], str]


_POLITE = ("Thank you for your question! ", " I hope this helps. Please let me know if there is anything else.")


_CONFIDENT = ("I am absolutely certain of this. ", " There is no doubt about it whatsoever.")


_REFUSAL = "I'm sorry, but I can't help with that."


def _between(ends: tuple[str, str]) -> Callable[[str], str]:
    return lambda text: f"{ends[0]}{text.strip()}{ends[1]}"


def as_markdown(text: str) -> str:
    """A heading, and each sentence or line as a point of a list. No word is changed."""
    lines = (line.strip() for line in text.splitlines())
    points = [point for line in lines for point in re.split(r"(?<=[.!?])\s+", line) if point]
    return "\n".join(["## Answer", "", *(f"- {point}" for point in points)])


CHANGES = (
    Change(
        "polite",
        "Polite padding",
        f"“{_POLITE[0].strip()}” in front, “{_POLITE[1].strip()}” behind.",
        _between(_POLITE),
    ),
    Change(
        "markdown",
        "Markdown",
        "A heading “Answer”, and each sentence as a point of a list; the same words.",
        as_markdown,
    ),
    Change(
        "doubled",
        "Doubled length",
        "The same text a second time, after a blank line.",
        lambda text: f"{text}\n\n{text}",
    ),
    Change(
        "confident",
        "Confident tone",
        f"“{_CONFIDENT[0].strip()}” in front, “{_CONFIDENT[1].strip()}” behind.",
        _between(_CONFIDENT),
    ),
    Change("refusal", "Refusal", f"“{_REFUSAL}” in place of the text.", lambda text: _REFUSAL),
)


NOT_FOR_JUDGES = (
    "a judge's score says how a completion does against the others of its question, which a change to all of them "
    "would not show, and every change would have to be asked about anew."
)


BY_ID = {change.id: change for change in CHANGES}


class Shift(NamedTuple):
    """A completion's score before and after a change; None where it could not be scored."""

    before: float | None
    after: float | None

    @property
    def change(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before


class Moved(NamedTuple):
    """What a change does by one model's scores: a shift a completion."""

    model: str
    change: Change
    shifts: tuple[Shift, ...]

    @property
    def mean(self) -> float | None:
        """The mean change of the completions that have one."""
        known = [shift.change for shift in self.shifts if shift.change is not None]
        return sum(known) / len(known) if known else None

    @property
    def overtakes(self) -> tuple[tuple[int, int], ...]:
        """(worse, better), by index: a completion that, changed, is above one that was better than it as it stands."""
        found = []
        for i, changed in enumerate(self.shifts):
            for j, other in enumerate(self.shifts):
                if changed.before is None or changed.after is None or other.before is None:
                    continue
                if changed.before < other.before < changed.after:
                    found.append((i, j))
        return tuple(found)


def all_texts(completions: Sequence[str], changes: Sequence[Change]) -> list[str]:
    """The completions as they are, then each change of all of them: what a model is asked at once."""
    return [*completions, *(change.apply(text) for change in changes for text in completions)]


def moved(
    models: Sequence[str], changes: Sequence[Change], count: int, values: Sequence[Sequence[float | None]]
) -> list[Moved]:
    """The shifts of every change and model, from the models' scores of `all_texts` of `count` completions."""
    found = []
    for model, scores in zip(models, values, strict=True):
        before = scores[:count]
        for number, change in enumerate(changes, 1):
            after = scores[number * count : (number + 1) * count]
            found.append(Moved(model, change, tuple(map(Shift, before, after))))
    return found
