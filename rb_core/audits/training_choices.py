"""Audit of training choices: what the checkpoints of a development sweep say about how to train a reward model.

The recipe of each checkpoint is in the registry of models. Two checkpoints whose recipes differ in one choice only are
a pair; the effect of the choice is the mean difference of its pairs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable, Cell
from rb_core.errors import ResultError
from rb_core.leaderboard.model_registry import Recipe, read_registry
from rb_core.leaderboard.store import ResultsStore
from rb_core.stats.seed_spread import SeedSpread, seed_spread
from rb_core.stats.significance import ALPHA, holm

BENCHMARK = "rewardbench-2"
CHOICES = ("base", "learning_rate", "epochs", "data", "flipped")
LABELS = {
    "base": "Start of training",
    "learning_rate": "Learning rate",
    "epochs": "Epochs",
    "data": "Data mix",
    "flipped": "Flipped labels",
}
REFERENCES = {"base": "sft", "data": "default"}  # of a choice without an order, what the others are compared with
MIN_PAIRS = 3
MAX_SENTENCES = 4
RATE = CHOICES.index("learning_rate")

Score = float
Level = str | int | float | None
Key = tuple[Level, ...]  # values of CHOICES, in order
Cells = Mapping[Key, Score]


class Contrast(NamedTuple):
    """Two values of a choice, all else equal. differences: second minus first, one for each pair.

    learning_rate: the pairs are those with this rate; None for all.
    """

    choice: str
    first: Level
    second: Level
    differences: tuple[float, ...]
    learning_rate: float | None = None

    @property
    def label(self) -> str:
        """The choice, and the learning rate at which it was compared."""
        rate = "" if self.learning_rate is None else f" at learning rate {self.learning_rate:g}"
        return LABELS[self.choice] + rate

    @property
    def mean(self) -> float:
        return float(np.mean(self.differences))

    @property
    def half_width(self) -> float:
        """Half of the 95% t interval of the mean."""
        n = len(self.differences)
        return float(student.ppf(1 - ALPHA / 2, n - 1) * np.std(self.differences, ddof=1) / math.sqrt(n))

    @property
    def p(self) -> float:
        """Two-sided p of the t test of no difference."""
        n = len(self.differences)
        error = float(np.std(self.differences, ddof=1)) / math.sqrt(n)
        return float(2 * student.sf(abs(self.mean) / error, n - 1)) if error else float(self.mean == 0)


def training_choices_report(root: Path) -> AuditReport:
    """Return the report on the development sweep of RewardBench 2 in a results root.

    Raises ResultError if no result of the benchmark has a recipe, or no recipe several seeds.
    """
    store = ResultsStore(root)
    store.refresh()
    runs = _runs(root, store)
    if not runs:
        raise ResultError(f"{root}: no result of {BENCHMARK} is of a model with a recipe in its registry")
    cells = {key: float(np.mean(list(scores.values()))) for key, scores in runs.items()}
    contrasts = find_contrasts(cells)
    spread = seed_spread([list(scores.values()) for scores in runs.values()])
    if spread is None:
        raise ResultError(f"{root}: no recipe was run with several seeds")
    return AuditReport(
        audit="training-choices",
        title="Training choices",
        question="How do training choices change the score of a reward model, and how much do seeds alone?",
        answer=tuple(_answer(contrasts, spread, cells, _neighbours_within(store, spread.band))),
        tables=(_contrast_table(contrasts), _flipped_table(cells), _seed_table(runs, spread)),
        figure=_flipped_figure(cells),
        cautions=(
            "The checkpoints are those that one team kept while it developed RewardBench 2, on its own bases and data.",
            "A choice is compared where everything else in the names is equal; what the names do not say may differ.",
            "Most recipes were run once, so that each difference includes the noise of two seeds.",
        ),
        method=(
            "Effect: mean difference of all pairs of recipes that differ in this choice only, seeds averaged first; "
            "95% t interval over pairs, p values adjusted by Holm (1979) over all rows. Noise between seeds: standard "
            "deviation pooled over the recipes with several seeds, chi-squared interval."
        ),
        sources=(
            "Scores: allenai/reward-bench-2-results, as published on the RewardBench 2 leaderboard, December 2025",
            "Recipes: the checkpoints' names; the sweep is described in Malik et al. 2025, arXiv:2506.01937",
        ),
        command="python -m rb_core audit training-choices --out leaderboard_data --overwrite",
    )


def _runs(root: Path, store: ResultsStore) -> dict[Key, dict[int, Score]]:
    """Return the scores of each recipe by seed."""
    runs: dict[Key, dict[int, Score]] = defaultdict(dict)
    for model in read_registry(root).models:
        result = store.results(BENCHMARK).get(model.name)
        if model.recipe and result and result.headline and result.headline.value is not None:
            runs[_key(model.recipe)][model.recipe.seed] = result.headline.value
    return dict(runs)


def _key(recipe: Recipe) -> Key:
    return tuple(getattr(recipe, choice) for choice in CHOICES)


def find_contrasts(cells: Cells) -> list[Contrast]:
    """Return the contrasts with at least MIN_PAIRS pairs.

    A number is compared with the next one that gives enough pairs, a name with the reference. Epochs are compared at
    each learning rate as well, because what a second one does depends on it.
    """
    contrasts = [contrast for choice in CHOICES for contrast in _contrasts_of(choice, cells)]
    for rate in sorted({rate for key in cells if isinstance(rate := key[RATE], float)}):
        at_rate = {key: score for key, score in cells.items() if key[RATE] == rate}
        contrasts += [c._replace(learning_rate=rate) for c in _contrasts_of("epochs", at_rate)]
    return contrasts


def _contrasts_of(choice: str, cells: Cells) -> list[Contrast]:
    place = CHOICES.index(choice)
    levels: list[Any] = sorted({key[place] for key in cells if key[place] is not None})
    is_named = choice in REFERENCES
    contrasts = []
    for first in [REFERENCES[choice]] if is_named else levels:
        seconds = [level for level in levels if level != first] if is_named else levels[levels.index(first) + 1 :]
        possible = [Contrast(choice, first, level, paired_differences(cells, place, first, level)) for level in seconds]
        enough = [contrast for contrast in possible if len(contrast.differences) >= MIN_PAIRS]
        contrasts += enough if is_named else enough[:1]
    return contrasts


def paired_differences(cells: Cells, place: int, first: Level, second: Level) -> tuple[float, ...]:
    """Return the score with `second` minus that with `first` at a place of the key, for all keys that have both."""
    differences = []
    for key, score in cells.items():
        other = (*key[:place], first, *key[place + 1 :])
        if key[place] == second and other in cells:
            differences.append(score - cells[other])
    return tuple(differences)


def _neighbours_within(store: ResultsStore, band: float) -> tuple[int, int]:
    """Return how many neighbours among the ranked models are closer than the band, and the number of neighbours."""
    scores = [row.headline.value or 0.0 for row in store.boards()[BENCHMARK].rows if row.rank is not None]
    closer = sum(left - right < band for left, right in pairwise(scores))
    return closer, len(scores) - 1


def _answer(contrasts: Sequence[Contrast], spread: SeedSpread, cells: Cells, neighbours: tuple[int, int]) -> list[str]:
    closer, total = neighbours
    sentences = [
        f"Seeds alone move the score: the standard deviation between runs of one recipe is {spread.sd:.3f} "
        f"({spread.low:.3f} to {spread.high:.3f}), so two checkpoints of one recipe may differ by {spread.band:.3f}. "
        f"Of the {total} neighbours among the ranked models {closer} are closer than that: a rank compares "
        "checkpoints, not recipes."
    ]
    adjusted = holm([contrast.p for contrast in contrasts])
    clear = [contrast for contrast, p in zip(contrasts, adjusted, strict=True) if p < ALPHA]
    for contrast in sorted(clear, key=lambda contrast: -abs(contrast.mean))[:MAX_SENTENCES]:
        verb = "adds" if contrast.mean > 0 else "costs"
        low, high = sorted((abs(contrast.mean) - contrast.half_width, abs(contrast.mean) + contrast.half_width))
        sentences.append(
            f"{contrast.label}: {_level(contrast.choice, contrast.second)} instead of "
            f"{_level(contrast.choice, contrast.first)} {verb} {abs(contrast.mean):.3f} ({low:.3f} to {high:.3f}, "
            f"{len(contrast.differences)} pairs)."
        )
    return sentences


def _level(choice: str, level: Level) -> str:
    if choice == "flipped" and isinstance(level, float):
        return f"{level:.0%}"
    return f"{level:g}" if isinstance(level, float) else str(level)


def _contrast_table(contrasts: Sequence[Contrast]) -> AuditTable:
    adjusted = holm([contrast.p for contrast in contrasts])
    rows = [
        (
            c.label, _level(c.choice, c.first), _level(c.choice, c.second), len(c.differences),
            c.mean, c.mean - c.half_width, c.mean + c.half_width, float(p),
        )
        for c, p in zip(contrasts, adjusted, strict=True)
    ]  # fmt: skip
    return AuditTable(
        title="Effect of each choice on the score, all else equal",
        columns=("Choice", "From", "To", "Pairs", "Difference", "95% low", "95% high", "p (Holm)"),
        rows=tuple(rows),
        note="Bases and data mixes have the words of the checkpoints' names; without a word: “sft”, “default”.",
    )


def _flipped_cells(cells: Cells) -> dict[tuple[Level, Level], dict[float, Score]]:
    """Return the scores by share of flipped labels, for each learning rate and number of epochs of the default data."""
    series: dict[tuple[Level, Level], dict[float, Score]] = defaultdict(dict)
    for (base, rate, epochs, data, flipped), score in cells.items():
        if (base, data) == ("sft", "default") and isinstance(flipped, float):
            series[rate, epochs][flipped] = score
    return {key: dict(sorted(scores.items())) for key, scores in sorted(series.items(), key=str) if len(scores) > 2}


def _flipped_table(cells: Cells) -> AuditTable:
    series = _flipped_cells(cells)
    shares = sorted({share for scores in series.values() for share in scores})
    rows = [
        (f"{rate:g}, {epochs}", *(scores.get(share) for share in shares)) for (rate, epochs), scores in series.items()
    ]
    return AuditTable(
        title="Score by share of flipped training labels",
        columns=("Learning rate, epochs", *(f"{share:.0%} flipped" for share in shares)),
        rows=tuple(rows),
    )


def _flipped_figure(cells: Cells) -> AuditFigure:
    points = [
        AuditPoint(
            label=f"{share:.0%} flipped",
            x=share,
            y=score,
            group=f"learning rate {rate:g}, {epochs} epoch{'s' * (epochs != 1)}",
        )
        for (rate, epochs), scores in _flipped_cells(cells).items()
        for share, score in scores.items()
    ]
    return AuditFigure(
        kind="points",
        title="Flipping training labels lowers the score slowly, then fast",
        x_label="Share of flipped training labels",
        y_label="RewardBench 2 score",
        points=tuple(points),
    )


def _seed_table(runs: Mapping[Key, Mapping[int, Score]], spread: SeedSpread) -> AuditTable:
    rows: list[tuple[Cell, ...]] = [
        (
            ", ".join(_level(choice, level) for choice, level in zip(CHOICES, key, strict=True) if level is not None),
            len(scores), min(scores.values()), max(scores.values()), float(np.std(list(scores.values()), ddof=1)),
        )
        for key, scores in sorted(runs.items(), key=str)
        if len(scores) > 1
    ]  # fmt: skip
    rows.append(("all of these, pooled", spread.degrees + len(rows), None, None, spread.sd))
    return AuditTable(
        title="Runs of one recipe with different seeds",
        columns=(
            "Start, learning rate, epochs, data, flipped labels",
            "Runs",
            "Lowest",
            "Highest",
            "Standard deviation",
        ),
        rows=tuple(rows),
    )
