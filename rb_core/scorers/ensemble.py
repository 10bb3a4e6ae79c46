"""An ensemble of reward models: their scores are scaled, then combined to one."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import ModelError, ScoreTableError, first_line
from rb_core.files import differing_keys
from rb_core.models.options import COMBINATIONS, DEFAULT_LAMBDA, Combination, command_line_options
from rb_core.models.resolve import ModelSpec
from rb_core.results import paths
from rb_core.results.failures import LARGEST_SCORE
from rb_core.results.schema import EnsembleMember, EnsembleRef, ModelRef, from_json
from rb_core.results.score_table import Score, read_scores
from rb_core.results.storage import check_model_name
from rb_core.scorers.base import Batch, Cell, Plan, Precision, Scorer, scores_by_cell
from rb_core.scorers.function import NOT_FINITE
from rb_core.scorers.load import load_scorer
from rb_core.stats.item_outcomes import Floats

BATCH = 64  # completion sets: enough for their conversations to fill the members' own batches


class Scale(NamedTuple):
    """Mean and standard deviation of a model's scores on a benchmark; a score x counts as (x - mean) / sd."""

    mean: float = 0.0
    sd: float = 1.0


class EnsembleScorer(Scorer):
    """Several models that score the same completions, all of them loaded at once.

    A score is the mean, median or minimum of the members' scaled scores, or (mean-sd) their mean minus `penalty` times
    their standard deviation, which divides by the number of members. A completion is unscored if a member leaves it
    unscored, for that member's reason.

    Sources: Coste et al. 2023, Reward Model Ensembles Help Mitigate Overoptimization (arXiv:2310.02743), has mean,
    minimum, and the mean minus a multiple of the variance; Eisenstein et al. 2023, Helping or Herding?
    (arXiv:2312.09244), has mean, median, and the mean minus the standard deviation.
    """

    kind = "ensemble"
    precision: Precision = "float64"

    def __init__(
        self,
        members: Mapping[str, Scorer],
        combine: Combination = "mean",
        scales: Mapping[str, tuple[float, float]] | None = None,
        *,
        penalty: float = DEFAULT_LAMBDA,
        scale_by: str | None = None,
    ) -> None:
        """Combine scorers by name.

        scales: mean and standard deviation of every member's scores, without them scores count as they are; scale_by:
        the benchmark that they come from. Raises ModelError for a judge, and for a scale that is missing or 0.
        """
        if len(members) < 2:
            raise ModelError("an ensemble needs at least two members")
        if combine not in COMBINATIONS or not 0 <= penalty < math.inf:
            raise ModelError(f"combine is one of {', '.join(COMBINATIONS)}, and penalty a number from 0")
        self.members = {check_model_name(name): scorer for name, scorer in members.items()}
        self.combine, self.penalty, self.scale_by = combine, penalty, scale_by
        self.scales = {name: Scale() if scales is None else _scale_of(name, scales) for name in members}
        for name, scorer in members.items():
            if scorer.describe()["kind"] in ("generative", "ensemble"):
                raise ModelError(f"{name} cannot be a member of an ensemble: it is a judge or an ensemble itself")
        devices = [scorer.device for scorer in members.values()]
        self.device = next((device for device in devices if str(device) != "cpu"), "cpu")

    @property
    def batch_tokens(self) -> int | None:
        """The smallest budget of a member: each was measured beside the members that were loaded before."""
        budgets = [scorer.batch_tokens for scorer in self.members.values() if scorer.batch_tokens is not None]
        return min(budgets, default=None)

    @batch_tokens.setter
    def batch_tokens(self, tokens: int | None) -> None:
        for scorer in self.members.values():
            if scorer.measures_memory:
                scorer.batch_tokens = tokens

    @property
    def measures_memory(self) -> bool:
        return any(scorer.measures_memory for scorer in self.members.values())

    @property
    def packages(self) -> tuple[str, ...]:
        return tuple(sorted({package for scorer in self.members.values() for package in scorer.packages}))

    def plan(self, completion_sets: Sequence[CompletionSet]) -> Plan:
        """Make batches of completion sets; the inputs of a batch are each member's own plan for its completion sets."""
        batches, notes = [], Counter[str]()
        for first in range(0, len(completion_sets), BATCH):
            chunk = completion_sets[first : first + BATCH]
            plans = tuple(scorer.plan(chunk) for scorer in self.members.values())
            cells = (Cell(first + i, j) for i, each in enumerate(chunk) for j in range(len(each.completions)))
            batches.append(Batch(tuple(cells), plans, sum(batch.tokens for plan in plans for batch in plan.batches)))
            for note in {note for plan in plans for note in plan.notes}:
                notes[note] += max(plan.notes.get(note, 0) for plan in plans)
        return Plan(tuple(batches), dict(notes))

    def score(self, batch: Batch) -> list[Score]:
        by_member = []
        for scorer, plan in zip(self.members.values(), batch.inputs, strict=True):
            scores = scores_by_cell(plan.batches, scorer.stream(plan.batches))
            by_member.append([scores[cell] for cell in sorted(scores)])
        means, sds = (np.array(column)[:, None] for column in zip(*self.scales.values(), strict=True))
        with np.errstate(over="ignore", invalid="ignore"):  # beyond the precision's range: infinite, and unscored
            scaled = (np.array([[score.value for score in scores] for scores in by_member]) - means) / sds
            values = combine_scaled(self.combine, scaled, self.penalty)
        by_completion = zip(*by_member, strict=True)
        return [_combined(float(value), scores) for value, scores in zip(values, by_completion, strict=True)]

    def describe(self) -> dict[str, Any]:
        members = tuple(
            EnsembleMember(model=ModelRef(name=name, **scorer.describe()), **self.scales[name]._asdict())
            for name, scorer in self.members.items()
        )
        penalty = self.penalty if self.combine == "mean-sd" else None
        ensemble = EnsembleRef(members=members, combine=self.combine, penalty=penalty, scale_by=self.scale_by)
        return {"kind": self.kind, "ensemble": ensemble}


def combine_scaled(combine: Combination, scaled: Floats, penalty: float) -> Floats:
    """Return (completions,) from scaled scores (members, completions); NaN where a member has NaN."""
    combined: Floats
    if combine == "median":
        combined = np.median(scaled, axis=0)
    elif combine == "min":
        combined = scaled.min(axis=0)
    else:
        combined = scaled.mean(axis=0)
    return combined - penalty * scaled.std(axis=0) if combine == "mean-sd" else combined


def _combined(value: float, scores: Sequence[Score]) -> Score:
    """Return the score of a completion with the lengths that the first member counts."""
    first = scores[0]._replace(truncated=any(score.truncated for score in scores))
    if abs(value) <= LARGEST_SCORE:
        return first._replace(value=value)
    reason = next((score.reason for score in scores if score.reason), NOT_FINITE)
    return first._replace(value=math.nan, reason=reason)


def _scale_of(name: str, scales: Mapping[str, tuple[float, float]]) -> Scale:
    if name not in scales:
        raise ModelError(f"the scale of {name} is missing")
    scale = Scale(*map(float, scales[name]))
    if not (math.isfinite(scale.mean) and 0 < scale.sd < math.inf):
        raise ModelError(f"{name} cannot be scaled by mean {scale.mean:g} and standard deviation {scale.sd:g}")
    return scale


def load_ensemble(spec: ModelSpec, upcoming: Sequence[CompletionSet] = (), seed: int = 0) -> EnsembleScorer:
    """Load the members of an ensemble. Their scales are read first.

    Raises ModelError for a member without scores on the benchmark that scales them, or with scores made in another way.
    """
    options, benchmark = spec.options, spec.options.scale_by or ""
    tables = {}
    for typed, member in zip(options.ensemble, spec.members, strict=True):
        try:
            tables[member.name] = read_scale(options.scale_results, benchmark, member.name)
        except ScoreTableError as error:
            arguments = ["--model", typed, "--benchmark", benchmark, *command_line_options(member.options)]
            command = shlex.join(
                ["python", "-m", "rb_core", "evaluate", *arguments, "--out", str(options.scale_results)]
            )
            raise ModelError(f"--scale-by {benchmark}: {error}; evaluate it first: {command}") from None
    scorers = {member.name: load_scorer(member, seed) for member in spec.members}
    for name, scorer in scorers.items():
        settings, scored = ModelRef(name=name, **scorer.describe()).score_settings(), tables[name][1].score_settings()
        if differing := differing_keys(settings, scored):
            changed = ", ".join(differing)
            raise ModelError(f"{name}: its scores on {benchmark} are of a different {changed}: evaluate it again")
    return EnsembleScorer(
        scorers,
        options.combine or "mean",
        {name: scale for name, (scale, _) in tables.items()},
        penalty=DEFAULT_LAMBDA if options.lambda_ is None else options.lambda_,
        scale_by=benchmark,
    )


def read_scale(root: Path, benchmark: str, name: str) -> tuple[Scale, ModelRef]:
    """Return mean and standard deviation of the scores in a model's score file, and the settings they were made with.

    root: folder of results. Raises ScoreTableError for a file that is missing or damaged, ModelError for equal scores.
    """
    path = root / paths.scores_path(benchmark, name)
    frame, metadata = read_scores(path)
    scores = frame["score"].dropna().to_numpy()
    if not len(scores) or scores.min() == scores.max():
        raise ModelError(f"{name} cannot be scaled: it has no two different scores on {benchmark}")
    try:
        return Scale(float(scores.mean()), float(scores.std())), from_json(ModelRef, metadata.get("model"))
    except ValueError as error:
        raise ScoreTableError(f"{path}: the metadata of the run is incomplete: {first_line(error)}") from error
