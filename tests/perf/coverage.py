"""Simulate the coverage of intervals and the error rates of tests: python -m tests.perf.coverage [--soak]

Every row is a design whose truth is known. Its number must be in the range beside it, up to two standard errors of the
simulation; a row that is not is marked, and the exit code is 1.

An interval may cover more than the range says where fewer than five groups of examples with an error are expected: so
few errors have only a few possible intervals.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import Section
from rb_core.scorers.judge.bias import judge_agreement
from rb_core.stats.composition import compose
from rb_core.stats.intervals import WeightedMean, mean_estimate, weighted_mean
from rb_core.stats.item_outcomes import CompletionScores, ItemOutcomes, Strings
from rb_core.stats.metrics import TIES
from rb_core.stats.metrics.base import Combination, Measure
from rb_core.stats.paired import compare_outcomes
from rb_core.stats.rank_intervals import Standing, rank_models
from tests.fakes.outcomes import item_outcomes, without_scores

ACCURACIES = (0.5, 0.9, 0.97, 0.99, 0.995)
COVERAGE = (0.93, 0.98)
FALSE_POSITIVES = (0.04, 0.06)
FEW_ERRORS = 5.0


class Row(NamedTuple):
    """A simulated share with the range that it must be in; `open_above`: more is right, too."""

    table: str
    design: str
    share: float
    repetitions: int
    limits: tuple[float, float]
    open_above: bool = False

    @property
    def holds(self) -> bool:
        error = 2 * math.sqrt(max(self.share * (1 - self.share), 1e-4) / self.repetitions)
        low, high = self.limits
        return low - error <= self.share and (self.open_above or self.share <= high + error)

    def __str__(self) -> str:
        low, high = (f"{100 * limit:g}" for limit in self.limits)
        required = f"at least {low}" if self.open_above else f"{low} to {high}"
        return (
            f"{self.table:22} {self.design:44} {100 * self.share:6.1f}%  {required:12} {'' if self.holds else '  <<<'}"
        )


# ---- answers


@dataclass(frozen=True)
class Design:
    """Subsets of examples, and how alike the answers to examples of one prompt are.

    weights: of the subsets; group_size: examples of a prompt in a subset; icc: correlation of their answers; spread:
    number of subsets in which each prompt has an example, 0 for prompts of one subset.
    """

    name: str
    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    group_size: int = 1
    icc: float = 0.0
    spread: int = 0

    @property
    def combination(self) -> Combination:
        return {str(i): weight / sum(self.weights) for i, weight in enumerate(self.weights)}

    def expected_errors(self, accuracy: float) -> float:
        """Return the expected number of prompts with a wrong answer."""
        size = self.spread or self.group_size
        return sum(self.sizes) / size * (1 - self._all_right(accuracy, size))

    def _all_right(self, accuracy: float, size: int) -> float:
        if not self.icc:
            return accuracy**size
        total = 1 / self.icc - 1
        return math.prod((accuracy * total + i) / (total + i) for i in range(size))

    def draw(self, rng: np.random.Generator, accuracy: float) -> dict[str, Measure]:
        groups = self._groups(rng)
        names, codes = np.unique(np.concatenate(groups), return_inverse=True)
        ease = np.full(len(names), accuracy)
        if self.icc:
            total = 1 / self.icc - 1
            ease = rng.beta(accuracy * total, (1 - accuracy) * total, len(names))
        values = (rng.random(len(codes)) < ease[codes]).astype(np.float64)
        ends = np.cumsum(self.sizes)[:-1]
        return {str(i): Measure(v, g) for i, (v, g) in enumerate(zip(np.split(values, ends), groups, strict=True))}

    def _groups(self, rng: np.random.Generator) -> list[Strings]:
        if not self.spread:
            return [np.array([f"{i}-{n // self.group_size}" for n in range(size)]) for i, size in enumerate(self.sizes)]
        # Shuffled blocks of prompts, so that each subset has its size and no prompt is twice in a subset.
        num_prompts = sum(self.sizes) // self.spread
        members: list[list[str]] = [[] for _ in self.sizes]
        for prompt in range(num_prompts):
            free = sorted(range(len(self.sizes)), key=lambda i: (len(members[i]), rng.random()))
            for subset in free[: self.spread]:
                members[subset].append(f"p{prompt}")
        return [np.array(names) for names in members]


def benchmark_design(name: str) -> Design:
    """Return the design of a published benchmark's pairs and best-of-four, with its sizes and weights."""
    sizes, weights = [], []
    counts = {subset.name: subset.count or 0 for subset in BENCHMARKS[name].subsets}
    for section in BENCHMARKS[name].sections:
        if section.required and section.metric is not TIES:
            for subset, weight in section.weights.items():
                sizes.append(counts[subset])
                weights.append(section.headline_weight * weight / sum(section.weights.values()))
    return Design(BENCHMARKS[name].title, tuple(sizes), tuple(weights))


def designs() -> Iterator[Design]:
    for n in (20, 40, 100):
        yield Design(f"4 sections of {n}", (n,) * 4, (1.0,) * 4)
    yield benchmark_design("rewardbench")
    yield benchmark_design("rewardbench-2")
    for n in (20, 50, 180):
        yield Design(f"one subset of {n}", (n,), (1.0,))
    for icc in (0.3, 0.6):
        for size in (2, 6, 9):
            yield Design(f"180 in groups of {size}, ICC {icc}", (180,), (1.0,), size, icc)
    for icc in (0.3, 0.6):
        yield Design(f"prompts in 3 of 10 subsets, ICC {icc}", (30,) * 10, (1.0,) * 10, icc=icc, spread=3)
        yield Design(f"prompts in 5 of 12 subsets, ICC {icc}", (30,) * 12, (1.0,) * 12, icc=icc, spread=5)


def covers(mean: WeightedMean, truth: float) -> bool:
    estimate = mean.estimate()
    return estimate.low is not None and estimate.high is not None and estimate.low <= truth <= estimate.high


def score_rows(rng: np.random.Generator, repetitions: int) -> Iterator[Row]:
    for design in designs():
        count = max(5, repetitions // (1 if len(design.sizes) < 10 else 2))
        for accuracy in ACCURACIES:
            hits = sum(
                covers(weighted_mean(design.draw(rng, accuracy), design.combination), accuracy) for _ in range(count)
            )
            few = design.expected_errors(accuracy) < FEW_ERRORS
            yield Row(
                "interval of a score", f"{design.name}, accuracy {accuracy:g}", hits / count, count, COVERAGE, few
            )


# ---- RM-Bench and Ties


def matrix_rows(rng: np.random.Generator, repetitions: int) -> Iterator[Row]:
    """Wins of three chosen over three rejected completions: nine answers of a prompt, correlated on a normal scale."""
    for n in (20, 50, 129):
        groups = np.arange(n).astype(str)
        for accuracy in ACCURACIES:
            hits = 0
            for _ in range(repetitions):
                latent = math.sqrt(0.5) * (rng.standard_normal((n, 1)) + rng.standard_normal((n, 9)))
                measure = Measure((latent < ndtri(accuracy)).mean(axis=1), groups)
                hits += covers(weighted_mean({"credit": measure}, {"credit": 1.0}), accuracy)
            few = n * (1 - accuracy) < FEW_ERRORS
            design = f"RM-Bench, {n} prompts, accuracy {accuracy:g}"
            yield Row("interval of a score", design, hits / repetitions, repetitions, COVERAGE, few)


def draw_ties(rng: np.random.Generator, questions: int, quality: float) -> ItemOutcomes:
    """Return Ties questions: a version with three right and three wrong answers, and one with one and three."""
    level = rng.normal(quality, 1.0, (questions, 1))
    right = level + 0.5 * rng.standard_normal((questions, 4))
    wrong = rng.standard_normal((questions, 6))
    values = np.concatenate([right[:, :3], wrong[:, :3], right[:, 3:], wrong[:, 3:]], axis=1).ravel()
    chosen = np.tile(np.array([1, 1, 1, 0, 0, 0, 1, 0, 0, 0], dtype=bool), questions)
    starts = (10 * np.arange(questions)[:, None] + np.array([0, 6])).ravel()
    scores = CompletionScores(values, chosen, starts)
    earned, _ = TIES.item_credits(scores, "none")
    groups = np.arange(questions).repeat(2).astype(str)
    ids = np.array([f"{version}:{number}" for number in range(questions) for version in ("tied", "ref")])
    spreads = scores.best_chosen() - scores.worst_chosen()
    subsets = np.full(len(ids), "ties")
    return ItemOutcomes("m", "b", ids, subsets, groups, earned, scores.margins(), spreads=spreads, scores=scores)


def ties_rows(rng: np.random.Generator, repetitions: int) -> Iterator[Row]:
    spec = replace(custom_spec("b", {"ties": 1}), sections=(Section("Ties", {"ties": 1.0}, metric=TIES),))

    def score(questions: int, quality: float) -> WeightedMean:
        composition = compose(draw_ties(rng, questions, quality), spec)
        return weighted_mean(composition.measures, composition.subsets["ties"])

    for quality in (1.5, 2.5, 4.0):
        truth = score(40_000, quality).value
        for questions in (10, 51):
            hits = sum(covers(score(questions, quality), truth) for _ in range(repetitions))
            few = questions * (1 - truth) < FEW_ERRORS
            design = f"Ties, {questions} questions, score {truth:.2f}"
            yield Row("interval of a score", design, hits / repetitions, repetitions, COVERAGE, few)


# ---- judges


def panel_rows(rng: np.random.Generator, repetitions: int) -> Iterator[Row]:
    """Three judges that are right on 95% of the pairs by chance alone have a kappa of 1 - 4 x 0.95 x 0.05 = .81."""
    for first in (0, 1):  # the completion that is the better one
        right = rng.random((3, 10 * repetitions)) < 0.95
        scores = [
            {
                (str(n), completion): float(won == (completion == first))
                for n, won in enumerate(row)
                for completion in (0, 1)
            }
            for row in right
        ]
        agreement = judge_agreement(scores, {str(n): str(n) for n in range(right.shape[1])})
        design = f"three judges at 95%, completion {first + 1} better"
        yield Row("kappa of a panel", design, agreement.fleiss_kappa or 0.0, right.shape[1], (0.79, 0.83))


def judge_rows(rng: np.random.Generator, repetitions: int) -> Iterator[Row]:
    """Shares of verdicts, several for a prompt, which have a bias of their own for each prompt."""
    for verdicts in (2, 6, 15):
        for share in (0.5, 0.75, 0.95):
            hits = 0
            for _ in range(repetitions):
                prompts = np.arange(60).repeat(verdicts)
                ease = rng.beta(share * 2, (1 - share) * 2, 60)[prompts]
                estimate = mean_estimate((rng.random(len(ease)) < ease).astype(float), prompts.astype(str))
                hits += (estimate.low or 0.0) <= share <= (estimate.high or 1.0)
            design = f"{verdicts} verdicts a prompt, share {share:g}"
            yield Row("share of a judge", design, hits / repetitions, repetitions, COVERAGE)


# ---- tests


def draw_models(
    rng: np.random.Generator, count: int, subsets: Sequence[tuple[str, int]], group_size: int, accuracy: float
) -> list[ItemOutcomes]:
    """Return outcomes of equal models: prompts are as hard for all, and a model does well or badly on a prompt."""
    names = [name for name, size in subsets for _ in range(size)]
    groups = [f"{name}-{n // group_size}" for name, size in subsets for n in range(size)]
    codes = np.unique(groups, return_inverse=True)[1]
    prompts = rng.standard_normal(codes.max() + 1)[codes]
    models = []
    for number in range(count):
        own = rng.standard_normal(codes.max() + 1)[codes] if group_size > 1 else 0.0
        latent = 0.6 * prompts + 0.5 * own
        right = rng.random(len(codes)) < ndtr(ndtri(accuracy) * math.sqrt(1.61) + latent)
        models.append(item_outcomes(f"m{number}", right.astype(float).tolist(), subsets=names, groups=groups))
    return models


def test_rows(rng: np.random.Generator, repetitions: int) -> Iterator[Row]:
    spec = custom_spec("plain", {"s": 1})
    for group_size in (1, 2, 6, 9):
        for size in (180, 900):
            wrong = 0
            for _ in range(repetitions):
                a, b = draw_models(rng, 2, [("s", size)], group_size, 0.7)
                wrong += compare_outcomes(a, b, spec).subsets["s"].p < 0.05
            design = f"{size} in groups of {group_size}, equal models"
            yield Row("false positives", design, wrong / repetitions, repetitions, FALSE_POSITIVES)


BOARD = replace(
    custom_spec("plain", {"s": 1, "t": 1, "u": 1}),
    sections=(Section("S", {"s": 2.0, "t": 1.0}), Section("T", {"u": 1.0}, headline_weight=0.5)),
)
BOARD_SIZES = (("s", 200), ("t", 120), ("u", 160))


def standings(models: Sequence[ItemOutcomes]) -> list[Standing]:
    ranked = []
    for model in models:
        composition = compose(model, BOARD)
        headline = weighted_mean(composition.measures, composition.headline or {}).estimate()
        ranked.append(Standing(model.model, headline, frozenset(composition.sections), model))
    return ranked


def board_rows(rng: np.random.Generator, repetitions: int) -> Iterator[Row]:
    for accuracy in (0.7, 0.95):
        narrowed = 0
        for _ in range(repetitions):
            models = standings(draw_models(rng, 20, BOARD_SIZES, 2, accuracy))
            narrowed += any(i is None or (i.best, i.worst) != (1, 20) for i in rank_models(models, BOARD).intervals)
        design = f"20 equal models, accuracy {accuracy:g}"
        yield Row("rank excludes the truth", design, narrowed / repetitions, repetitions, (0.0, 0.05))


def unscored_rows(rng: np.random.Generator, repetitions: int) -> Iterator[Row]:
    """Boards on which one of ten equal models leaves its hardest examples unscored: a better best rank, or a better
    verdict than with their scores, would be an advantage."""
    for share in (0.02, 0.05, 0.2):
        gains = 0
        for _ in range(repetitions):
            models = draw_models(rng, 10, BOARD_SIZES, 2, 0.8)
            hardest = np.argsort(np.sum([m.credits for m in models], axis=0) + rng.random(len(models[0])))
            gaps = without_scores(models[0], hardest[: int(share * len(hardest))])
            before, after = (
                rank_models(standings([first, *models[1:]]), BOARD).intervals[0] for first in (models[0], gaps)
            )
            gained = before is None or after is None or after.best < before.best
            gains += gained or any(better(gaps, m) and not better(models[0], m) for m in models[1:])
        design = f"{share:.0%} of the hardest examples unscored"
        yield Row("gains by leaving out", design, gains / repetitions, repetitions, (0.0, 0.0))


def better(a: ItemOutcomes, b: ItemOutcomes) -> bool:
    score = compare_outcomes(a, b, BOARD).score
    return score is not None and score.p < 0.05 and (score.difference.value or 0.0) > 0


TABLES: tuple[tuple[Callable[[np.random.Generator, int], Iterator[Row]], int], ...] = (
    (score_rows, 1500),
    (matrix_rows, 2000),
    (ties_rows, 1500),
    (judge_rows, 2000),
    (panel_rows, 2000),
    (test_rows, 3000),
    (board_rows, 800),
    (unscored_rows, 150),
)


def run(scale: float, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of all tables. scale: factor of the numbers of repetitions."""
    for number, (table, repetitions) in enumerate(TABLES):
        yield from table(np.random.default_rng([seed, number]), max(5, int(scale * repetitions)))


def main() -> int:
    parser = argparse.ArgumentParser(description="Simulate the coverage of intervals and the error rates of tests.")
    parser.add_argument("--soak", action="store_true", help="ten times the repetitions")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begin, failed = time.monotonic(), 0
    for row in run(10.0 if options.soak else 1.0, options.seed):
        failed += not row.holds
        print(row, flush=True)
    print(f"{failed} rows out of range, {time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
