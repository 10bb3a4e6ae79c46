"""Boards of simulated models: one ability a model, its own strength on each board, and sampled examples."""

from __future__ import annotations

import numpy as np

Table = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def simulated_accuracies(
    rng: np.random.Generator, models: int, boards: int, *, spread: float = 0.3, missing: float = 0.0, tails: int = 0
) -> Table:
    """Return accuracies, (models, boards); NaN where a board does not have the model.

    spread: standard deviation of a model's own strength on a board, in logits; tails: degrees of freedom of its t
    distribution, 0 for a normal one.
    """
    ability = rng.normal(1.0, 0.6, models)
    own = rng.standard_t(tails, (models, boards)) if tails else rng.normal(size=(models, boards))
    logits = rng.normal(0.0, 0.4, boards) + rng.uniform(0.5, 1.2, boards) * ability[:, None] + spread * own
    examples = rng.choice([300, 1000, 3000], boards)
    accuracies = rng.binomial(examples, 1 / (1 + np.exp(-logits))) / examples
    accuracies[rng.random((models, boards)) < missing] = np.nan
    return accuracies
