"""Estimates and other numbers of a result."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

# Results of earlier versions have "wilson" and "bootstrap".
Method = Literal["beta", "binomial", "score", "none", "wilson", "bootstrap"]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Estimate(Record):
    """A number with its 95% interval and the counts behind it.

    Values are fractions from 0 to 1, except three: the Ties score of RewardBench 2 is from -0.01 to 1.01 (so that its
    interval and bounds are, too), the difference of two scores is from -1 to 1 (of two Ties scores -1.02 to 1.02), and
    kappa and alpha of a panel are from -1 to 1.

    value: None when nothing was scored; stderr, low, high: standard error and interval by `method` (beta: from the
    values of groups of examples; binomial: from numbers of examples alone, as if each were an independent trial, for
    published scores; score: of a difference, the values that its test does not reject; none: not known); no_interval:
    reason for a value without an interval; scored, unscored, ties: numbers of examples; floor, ceiling: the value if
    all unscored examples had failed or passed; unscored_error: by how much stderr may change with their scores.
    """

    value: float | None = None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    method: Method = "none"
    no_interval: str | None = None
    scored: int | None = None
    unscored: int | None = None
    ties: int | None = None
    floor: float | None = None
    ceiling: float | None = None
    unscored_error: float | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """Floor and ceiling; the value twice when nothing is unscored, 0 without a value."""
        value = self.value or 0.0
        return value if self.floor is None else self.floor, value if self.ceiling is None else self.ceiling

    @property
    def largest_unscored_error(self) -> float:
        """The unscored error; where it is not known, the most that it can be: unscored examples of one group."""
        floor, ceiling = self.bounds
        return 2 * (ceiling - floor) if self.unscored_error is None else self.unscored_error

    @property
    def ranked_by(self) -> float | None:
        """The value that ranks are by: with every unscored example failed."""
        return self.value if self.floor is None else self.floor

    @property
    def has_bounds(self) -> bool:
        """True if unscored examples leave the value open: floor or ceiling differ from it by more than rounding."""
        return any(abs(bound - (self.value or 0.0)) > 1e-9 for bound in self.bounds)


class Matrix(Record):
    """Wins of chosen (rows) over rejected (columns) completions by style, as in RM-Bench (arXiv:2410.16184).

    hard: chosen plainer than rejected (above the diagonal); normal: same style; easy: chosen fancier (below).
    """

    levels: tuple[str, ...]
    cells: tuple[tuple[Estimate, ...], ...]
    easy: Estimate
    normal: Estimate
    hard: Estimate


class Chance(Record):
    """Expected scores of random choice: of scores that put the completions of an example in any order alike.

    headline: None, and sections and subsets left out, where not known.
    """

    headline: float | None = None
    sections: dict[str, float] = {}
    subsets: dict[str, float] = {}


class Margins(Record):
    """Worst chosen minus best rejected score over the scored examples, in the model's own units."""

    mean: float
    std: float
    quantiles: dict[str, float]


class StyleEffect(Record):
    """Change of a choice's log-odds for a completion with twice as much of a feature, with its 95% interval."""

    value: float
    low: float
    high: float


class StyleControl(Record):
    """The accuracy if chosen and rejected completions had the same length and the same number of markdown marks.

    value, stderr, low, high: the controlled accuracy, None for the `reason`; plain: accuracy of the same examples,
    weighted as in the headline; examples: their number; effects: by feature, length or markdown. Computed by
    `rb_core.stats.style_control`.
    """

    value: float | None = None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    plain: float
    examples: int
    effects: dict[str, StyleEffect] = {}
    reason: str | None = None


class Counts(Record):
    """Numbers of examples and completions of a run by outcome. `reasons` counts unscored completions by cause."""

    examples: int
    completions: int
    scored: int
    unscored: int
    ties: int
    unscored_completions: int
    truncated_completions: int
    reasons: dict[str, int]
