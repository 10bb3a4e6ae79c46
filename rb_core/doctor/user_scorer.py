"""Examine a scorer of the user's own: a score may depend on prompt and completion, and on nothing else."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rb_core.benchmarks.example import CompletionSet
from rb_core.doctor.probes import PAIRS
from rb_core.doctor.report import CheckResult, DoctorReport, Observation
from rb_core.errors import ModelError
from rb_core.evaluation.score import score_completion_sets
from rb_core.results.score_table import Score
from rb_core.scorers.base import Scorer

COMPLETION_SETS = tuple(CompletionSet(prompt, (good, bad)) for prompt, good, bad in PAIRS)
# The largest difference that rounding explains, relative to the largest score: batches of a model differ by about 1e-6.
TOLERANCE = 1e-5
NOTHING_SCORED = Observation("SKIP", "not checked: no completion was scored")


@dataclass(frozen=True)
class ScoredProbes:
    """A scorer with the scores that it gave the completions of `COMPLETION_SETS`, and the seconds that took."""

    scorer: Scorer
    scores: tuple[Score, ...]
    seconds: float

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(score.value for score in self.scores)

    @property
    def any_scored(self) -> bool:
        return any(map(math.isfinite, self.values))


def examine_scorer(scorer: Scorer, name: str) -> DoctorReport:
    """Return the report on a scorer. Further checks are left out if it cannot score at all."""
    begin = time.perf_counter()
    try:
        scores = tuple(_flat(score_completion_sets(scorer, COMPLETION_SETS)))
    except ModelError as error:
        return DoctorReport(name, (CheckResult("scores", "Scores", "FAIL", str(error)),))
    probes = ScoredProbes(scorer, scores, time.perf_counter() - begin)
    return DoctorReport(name, tuple(CheckResult(check, title, *_observe(run, probes)) for check, title, run in CHECKS))


def _observe(check: Callable[[ScoredProbes], Observation], probes: ScoredProbes) -> Observation:
    try:
        return check(probes)
    except ModelError as error:
        return Observation("FAIL", str(error))


def _flat(rows: Iterable[Sequence[Score]]) -> list[Score]:
    return [score for row in rows for score in row]


def _inspect_code(probes: ScoredProbes) -> Observation:
    return Observation("FACT", probes.scorer.describe().get("kind_detail") or type(probes.scorer).__name__)


def _inspect_scores(probes: ScoredProbes) -> Observation:
    values = [value for value in probes.values if math.isfinite(value)]
    if reasons := Counter(score.reason for score in probes.scores if score.reason):
        causes = "; ".join(f"{reason} ({count})" for reason, count in reasons.items())
        found = f"{reasons.total()} of {len(probes.scores)} completions are unscored: {causes}"
        return Observation("FAIL", found, "return a finite number for each completion")
    return Observation("PASS", f"{len(values)} scores from {min(values):.4g} to {max(values):.4g}, all finite")


def _inspect_pairs(probes: ScoredProbes) -> Observation:
    if not probes.any_scored:
        return NOTHING_SCORED
    pairs = list(zip(probes.values[::2], probes.values[1::2], strict=True))
    if len(set(probes.values)) == 1:
        return Observation("FAIL", f"all {len(probes.values)} completions have the same score")
    ties = sum(good == bad for good, bad in pairs)
    better = sum(good > bad for good, bad in pairs)
    found = f"{better} of {len(pairs)} pairs with a higher score for the better answer"
    return Observation("WARN" if ties else "FACT", found + (f", and {ties} tied" if ties else ""))


def _inspect_repetition(probes: ScoredProbes) -> Observation:
    again = score_completion_sets(probes.scorer, COMPLETION_SETS)
    return _compared(probes, _flat(again), "scoring the same completions again")


def _inspect_order(probes: ScoredProbes) -> Observation:
    backwards = [each._replace(completions=each.completions[::-1]) for each in reversed(COMPLETION_SETS)]
    scores = _flat(score_completion_sets(probes.scorer, backwards))
    return _compared(probes, scores[::-1], "another order of prompts and completions")


def _inspect_neighbours(probes: ScoredProbes) -> Observation:
    singles = [each._replace(completions=(text,)) for each in COMPLETION_SETS for text in each.completions]
    scores = [score for single in singles for score in _flat(score_completion_sets(probes.scorer, [single]))]
    return _compared(probes, scores, "scoring one completion at a time")


def _inspect_empty_completion(probes: ScoredProbes) -> Observation:
    ((score,),) = score_completion_sets(probes.scorer, [CompletionSet(PAIRS[0][0], ("",))])
    if score.reason:
        return Observation("WARN", f"an empty completion is unscored: {score.reason}")
    return Observation("FACT", f"an empty completion has the score {score.value:.4g}")


def _inspect_speed(probes: ScoredProbes) -> Observation:
    return Observation("FACT", f"{1000 * probes.seconds / len(probes.scores):.3g} ms per completion")


def _compared(probes: ScoredProbes, others: Sequence[Score], change: str) -> Observation:
    """Return PASS if the scores are equal up to rounding, and the same completions are unscored."""
    if not probes.any_scored:
        return NOTHING_SCORED
    tolerance = TOLERANCE * max(abs(value) for value in probes.values if math.isfinite(value))
    pairs = [(value, other.value) for value, other in zip(probes.values, others, strict=True)]
    scored_in_both = [abs(a - b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
    changed = sum(difference > tolerance for difference in scored_in_both)
    changed += sum(math.isfinite(a) != math.isfinite(b) for a, b in pairs)
    largest = max(scored_in_both, default=0.0)
    if not changed:
        return Observation("PASS", f"{change} changes scores by at most {largest:.2g}")
    found = f"{change} changes {changed} of {len(pairs)} scores, by up to {largest:.3g}"
    return Observation("FAIL", found, "let the score depend on prompt and completion alone: no randomness, no state")


CHECKS: tuple[tuple[str, str, Callable[[ScoredProbes], Observation]], ...] = (
    ("code", "Code", _inspect_code),
    ("scores", "Scores", _inspect_scores),
    ("pairs", "Pairs told apart", _inspect_pairs),
    ("repetition", "The same again", _inspect_repetition),
    ("order", "Another order", _inspect_order),
    ("neighbours", "One at a time", _inspect_neighbours),
    ("empty", "Empty completion", _inspect_empty_completion),
    ("speed", "Speed", _inspect_speed),
)
