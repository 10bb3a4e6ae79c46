"""Percentiles: where a score stands among the model's own scores of a benchmark's chosen answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.errors import RewardBenchError, ScoreTableError
from rb_core.files import differing_keys
from rb_core.results.paths import scores_path
from rb_core.results.schema import ModelRef
from rb_core.results.score_table import read_scores
from rb_core.stats.item_outcomes import Floats

# Ways of asking a judge whose scores compare the completions of one prompt.
_RELATIVE_MODES = ("pairwise", "listwise", "logprob")


class Percentiles(NamedTuple):
    """The scores of a benchmark's chosen answers. title: of the benchmark; chosen: scores, sorted; at least one."""

    title: str
    chosen: Floats

    def rank(self, score: float) -> int:
        """Return the number of chosen answers with a lower score."""
        return int(np.searchsorted(self.chosen, score))

    def percent(self, rank: float) -> float:
        """Return a rank as a share of all chosen answers, from 0 to 100."""
        return round(100 * rank / len(self.chosen), 2)

    def of(self, score: float) -> float | None:
        """Return the share of chosen answers with a lower score, from 0 to 100; None for NaN."""
        return None if math.isnan(score) else self.percent(self.rank(score))


def find_percentiles(model: ModelRef, root: Path, benchmark: str | None = None) -> tuple[Percentiles | None, str]:
    """Return the percentiles of a model's scores, or None and the reason.

    They come from the model's score table of the benchmark below a results root, by default the benchmark with most
    completions. Raises RewardBenchError if there is no usable table of the benchmark that was asked for.
    """
    if model.judge is not None and model.judge.mode in _RELATIVE_MODES:
        return None, f"--mode {model.judge.mode} compares the answers to one prompt, so scores of others do not compare"
    name = scores_path(benchmark or "*", model.name)
    paths = sorted(root.glob(str(name)), key=lambda path: (-_num_rows(path), path))
    reason = f"there are no scores of {model.name} at {root / name}: evaluate it on a benchmark with --out {root}"
    for number, path in enumerate(paths):
        percentiles, problem = _percentiles_of(path, model)
        if percentiles is not None:
            return percentiles, ""
        reason = problem if number == 0 else reason
    if benchmark is not None:
        raise ScoreTableError(f"--percentile-of {benchmark}: {reason}")
    return None, reason


def _num_rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError, ValueError):
        return 0


def _percentiles_of(path: Path, model: ModelRef) -> tuple[Percentiles | None, str]:
    """Return the percentiles of a score table, or None and why it is not used."""
    try:
        frame, metadata = read_scores(path)
        scored_by = ModelRef.model_validate(metadata["model"])
        title = str(metadata["benchmark"]["title"])
    except (RewardBenchError, KeyError, TypeError, ValueError) as error:
        return None, f"{path} is not readable: {error}"
    if differing := differing_keys(model.score_settings(), scored_by.score_settings()):
        return None, f"the scores in {path} are of a model with a different {', '.join(differing)}"
    chosen = frame["score"][frame["is_chosen"]].dropna().to_numpy(dtype=np.float64)
    if not len(chosen):
        return None, f"{path} has no score of a chosen answer"
    return Percentiles(title, np.sort(chosen)), ""
