"""Scores that do not fit: a model's score on one board against what its scores on the other boards predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student
from scipy.stats import theilslopes

from rb_core.stats.item_outcomes import Floats
from rb_core.stats.significance import ALPHA

MIN_COMMON = 8  # models on both of two boards, for scores on one to be predicted from the other
MAX_SHARE = 0.25  # of a board's models may be found not to fit
LEVEL = 0.02  # nominal, for a whole table; the residuals of real boards are not quite normal
ROUNDING = 1e-8  # variance of a logit: published scores have about four digits

Table = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Place = tuple[int, int]  # model, board


class Prediction(NamedTuple):
    """A score as its model's other boards predict it, from the models that fit, without this one.

    studentized: (score - predicted) / error of prediction; has a t distribution with `degrees` degrees of freedom.
    """

    predicted: float
    stderr: float
    studentized: float
    degrees: int

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95% prediction interval."""
        half = self.stderr * float(student.ppf(1 - ALPHA / 2, self.degrees))
        return self.predicted - half, self.predicted + half


class Misfits(NamedTuple):
    """predictions: of all scores that can be predicted; flagged: those that do not fit, the clearest first."""

    predictions: Mapping[Place, Prediction]
    flagged: list[Place]


def find_misfits(scores: Table, level: float = LEVEL) -> Misfits:
    """Return what is predicted for each score, and the scores that do not fit.

    A score is predicted by a line through the other models of its board: of the score on the mean of what each other
    board predicts by itself. Those off the line are found with the level / boards for each board. Of the model furthest
    off, the score without which its others agree best is left out, and all are predicted again: so a wrong score is not
    held against the model's other scores.

    Args:
        scores: (models, boards), without limits, such as logits of accuracies; NaN where a model has none.
    """
    kept = scores.copy()
    flagged: list[Place] = []
    while misfits := _misfits(kept, level):
        model, _ = max(misfits, key=lambda place: (abs(misfits[place].studentized), place))
        flagged.append(_score_to_leave_out(kept, model, misfits))
        kept[flagged[-1]] = np.nan
    predictions: dict[Place, Prediction] = {}
    for board in range(scores.shape[1]):
        line = _board_line(kept, board)
        predictions |= {(model, board): line.predict(model) for model in line.models}
    for model, board in flagged:
        with_score = kept.copy()
        with_score[model, board] = scores[model, board]
        predictions[model, board] = _board_line(with_score, board).predict(model)
    return Misfits(predictions, flagged)


def _misfits(scores: Table, level: float) -> dict[Place, Prediction]:
    """Return the predictions of all scores that do not fit."""
    num_boards = scores.shape[1]
    misfits: dict[Place, Prediction] = {}
    for board in range(num_boards):
        line = _board_line(scores, board)
        outliers = line.outliers(level / num_boards)
        misfits |= {(model, board): line.predict(model, without=outliers) for model in outliers}
    return misfits


def _score_to_leave_out(scores: Table, model: int, misfits: Mapping[Place, Prediction]) -> Place:
    """Return the score of a model without which its other scores fit each other best.

    Of a model on two boards it is the one that is further off; the scores do not say which is wrong.
    """

    def remaining_misfit(place: Place) -> tuple[float, float]:
        kept = scores.copy()
        kept[place] = np.nan
        lines = (_board_line(kept, board) for board in np.flatnonzero(~np.isnan(kept[model])).tolist())
        residuals = (abs(line.predict(model).studentized) for line in lines if model in line.models)
        return max(residuals, default=0.0), -abs(misfits[place].studentized) if place in misfits else 0.0

    return min(((model, board) for board in np.flatnonzero(~np.isnan(scores[model])).tolist()), key=remaining_misfit)


class _BoardLine(NamedTuple):
    """The models of a board, the mean prediction from their other boards (x), and their scores (y)."""

    models: list[int]
    x: Floats
    y: Floats

    def predict(self, model: int, without: Sequence[int] = ()) -> Prediction:
        """Return what the other models predict for a model. without: further models that are left out."""
        rows = [row for row, other in enumerate(self.models) if other == model or other not in without]
        place = rows.index(self.models.index(model))
        stderr, studentized = (float(column[place]) for column in _deleted_residuals(self.x[rows], self.y[rows]))
        return Prediction(float(self.y[rows[place]]) - stderr * studentized, stderr, studentized, len(rows) - 3)

    def outliers(self, level: float) -> list[int]:
        """Return the models off the line, by the generalised extreme studentized residual test.

        The model furthest off is left out again and again, up to a limit; the models up to the last significant one
        are outliers, so that they do not hide each other (Rosner 1983, doi:10.1080/00401706.1983.10487848; for lines
        Paul and Fung 1991, doi:10.1080/00401706.1991.10484871).
        """
        left = np.arange(len(self.models))
        order: list[int] = []
        num_outliers = 0
        for number in range(1, int(MAX_SHARE * len(self.models)) + 1):
            _, studentized = _deleted_residuals(self.x[left], self.y[left])
            furthest = int(np.argmax(np.abs(studentized)))
            limit = float(student.ppf(1 - level / (2 * len(left)), len(left) - 3))
            num_outliers = number if abs(studentized[furthest]) > limit else num_outliers
            order.append(self.models[left[furthest]])
            left = np.delete(left, furthest)
        return order[:num_outliers]


def _board_line(scores: Table, board: int) -> _BoardLine:
    """Return the models of a board that other boards predict; none where they are fewer than MIN_COMMON."""
    y = scores[:, board]
    predicted = [
        line for other in range(scores.shape[1]) if other != board for line in _predicted_from(scores[:, other], y)
    ]
    known = ~np.isnan(np.stack([y, *predicted]))
    rows = np.flatnonzero(known[0] & known[1:].any(axis=0))
    if len(rows) < MIN_COMMON:
        return _BoardLine([], y[:0], y[:0])
    x = np.nanmean(np.stack(predicted)[:, rows], axis=0)
    return _BoardLine(rows.tolist(), x, y[rows]) if np.ptp(x) > 0 else _BoardLine([], y[:0], y[:0])


def _predicted_from(x: Floats, y: Floats) -> list[Floats]:
    """Return y by Theil and Sen's line on x for all models, as the only item; empty with too few models on both."""
    both = ~np.isnan(x) & ~np.isnan(y)
    if both.sum() < MIN_COMMON or np.ptp(x[both]) == 0:
        return []
    slope, intercept, *_ = theilslopes(y[both], x[both])
    return [intercept + slope * x]


def _deleted_residuals(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return, for each point, the error of its prediction by the line through all others, and its residual in errors.

    Belsley, Kuh and Welsch 1980, doi:10.1002/0471725153, section 2.1.
    """
    n = len(x)
    dx, dy = x - x.mean(), y - y.mean()
    sxx = float(dx @ dx)
    residuals = dy - dx * float(dx @ dy) / sxx
    free = 1 - 1 / n - dx**2 / sxx  # 1 - leverage
    squares = float(residuals @ residuals) - residuals**2 / free  # of the others around their line
    stderr = np.sqrt(np.maximum(squares / (n - 3), ROUNDING) / free)
    return stderr, residuals / free / stderr
