"""The noise between training runs: how far runs of one recipe with different seeds differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

from rb_core.stats.significance import ALPHA, Z95


@dataclass(frozen=True)
class SeedSpread:
    """Standard deviation between runs of one recipe, pooled over recipes. low, high: its 95% chi-squared interval."""

    sd: float
    low: float
    high: float
    degrees: int

    @property
    def band(self) -> float:
        """The difference of two checkpoints of one recipe that seeds alone exceed in 5% of cases."""
        return Z95 * math.sqrt(2) * self.sd


def seed_spread(runs: Iterable[Sequence[float]]) -> SeedSpread | None:
    """Return the spread of the scores in each recipe's runs; None unless a recipe has several runs."""
    several = [scores for scores in runs if len(scores) > 1]
    degrees = sum(len(scores) - 1 for scores in several)
    if not degrees:
        return None
    squares = sum((len(scores) - 1) * float(np.var(scores, ddof=1)) for scores in several)
    low, high = (math.sqrt(squares / chdtri(degrees, q)) for q in (ALPHA / 2, 1 - ALPHA / 2))
    return SeedSpread(math.sqrt(squares / degrees), low, high, degrees)
