"""Models across boards: each model's scores and ranks, how boards agree, and the scores that do not fit the others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.special import expit, logit

from rb_core.benchmarks.registry import is_other_data
from rb_core.errors import ResultError
from rb_core.leaderboard.board import Board, BoardRow
from rb_core.leaderboard.custom_scores import even_board, uneven_text
from rb_core.leaderboard.model_registry import NO_MODELS, ModelRegistry
from rb_core.leaderboard.store import ResultsStore
from rb_core.results.schema import KIND_LABELS, Result
from rb_core.stats.correlation import RankCorrelation, correlate_ranks
from rb_core.stats.misfits import Prediction, find_misfits

EDGE = 0.005  # a score closer to 0 or 1 counts as this far away, so that its logit is finite
ENOUGH_BOARDS = 3  # of a model, to tell on which of them it does not fit
FEW = 0.02  # share of ties or unscored examples up to which they are no likely cause
FAR = 5  # ranks
SURPRISING = 2.0  # |residual| from which on two models may have been exchanged
KNOWN_FAULTS = (
    (
        re.compile("gemma-?2(?!b)", re.IGNORECASE),
        "consistent with Gemma 2 run by an attention that leaves out its soft-capping of logits",
    ),
)


@dataclass(frozen=True)
class BoardScore:
    """A model's score and rank on a board, and what its other boards predict.

    ties, unscored: shares of the examples; None where not known. prediction: of the score's logit; None where too few
    models have both boards. causes: of a score that does not fit, what is known that may explain it.
    """

    model: str
    board: str
    score: float
    rank: int
    best: int | None
    worst: int | None
    ties: float | None = None
    unscored: float | None = None
    prediction: Prediction | None = None
    fits: bool = True
    causes: tuple[str, ...] = ()

    @property
    def predicted(self) -> float | None:
        """The predicted score."""
        return None if self.prediction is None else float(expit(self.prediction.predicted))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Ends of the 95% prediction interval, as scores."""
        if self.prediction is None:
            return None
        low, high = expit(self.prediction.interval)
        return float(low), float(high)

    @property
    def residual(self) -> float:
        """Distance from the prediction in its standard errors, on the scale of logits; 0 without a prediction."""
        return 0.0 if self.prediction is None else self.prediction.studentized


@dataclass(frozen=True)
class CrossScores:
    """The models that are on two boards or more.

    boards: their titles by id; scores: by model and board; misfits: scores that do not fit, the clearest first; notes:
    sentences on boards whose published scores cannot be compared as they are; sources: of the scores.
    """

    boards: Mapping[str, str]
    scores: Mapping[tuple[str, str], BoardScore]
    misfits: tuple[BoardScore, ...]
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def models(self) -> list[str]:
        """Names of the models: those on most boards first, then in alphabetical order."""
        counts = Counter(model for model, _ in self.scores)
        return sorted(counts, key=lambda model: (-counts[model], model.lower()))

    def on(self, board: str, models: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the scores of models on a board; NaN for a model that it does not have."""
        scores = (self.scores.get((model, board)) for model in models)
        return np.array([np.nan if score is None else score.score for score in scores])

    def correlations(self) -> Iterator[tuple[str, str, RankCorrelation, RankCorrelation]]:
        """Yield each pair of boards with the correlation of all models on both, and of those whose scores fit."""
        misfits = {(score.model, score.board) for score in self.misfits}
        for first, second in combinations(self.boards, 2):
            both = [m for m in self.models if (m, first) in self.scores and (m, second) in self.scores]
            fitting = [m for m in both if not {(m, first), (m, second)} & misfits]
            of_all, of_fitting = (
                correlate_ranks(self.on(first, models), self.on(second, models)) for models in (both, fitting)
            )
            yield first, second, of_all, of_fitting


def cross_scores(store: ResultsStore) -> CrossScores:
    """Return the models of a store across its boards.

    Scores are those of the sections that all scores of a board include, so that they can be compared; of most boards
    the published ones. Baselines, development checkpoints, rows without a rank, and boards of a benchmark on other data
    are left out. Raises ResultError where no two boards have a model in common.
    """
    titles: dict[str, str] = {}
    scores: dict[tuple[str, str], BoardScore] = {}
    notes: list[str] = []
    boards = {name: board for name, board in store.boards().items() if not is_other_data(name)}
    for name, whole_board in boards.items():
        results = store.results(name)
        board = even_board(whole_board, results, {model: store.outcomes(name, model) for model in results})
        titles[name] = board.title
        if board is not whole_board:
            titles[name] += f", {len(board.sections)} sections"
            notes.append(_uneven_note(whole_board, board))
        rows = [row for row in board.ranked() if row.kind != KIND_LABELS["baseline"]]
        scores |= {(row.model, name): _board_score(row, name, results.get(row.model)) for row in rows}
    crossed = compare_boards(titles, scores, store.registry)
    sources = {source for name in crossed.boards for source in boards[name].sources}
    return replace(crossed, notes=tuple(notes), sources=tuple(sorted(sources)))


def _uneven_note(published: Board, even: Board) -> str:
    """Return how many scores include optional sections, and how many models move when none does."""
    ranks = {row.model: row.rank for row in even.ranked()}
    moved = sum(abs((ranks.get(row.model) or row.rank or 0) - (row.rank or 0)) >= FAR for row in published.ranked())
    return (
        f"{published.title} as published: {uneven_text(published)} Here it is ranked by the sections that all scores "
        f"include, where {moved} models are {FAR} ranks or more from their published rank."
    )


def _board_score(row: BoardRow, board: str, result: Result | None) -> BoardScore:
    counts = result.counts if result else None
    interval = row.rank_interval
    return BoardScore(
        model=row.model,
        board=board,
        score=row.headline.value or 0.0,
        rank=row.rank or 0,
        best=interval.best if interval else None,
        worst=interval.worst if interval else None,
        ties=counts.ties / counts.examples if counts else None,
        unscored=counts.unscored / counts.examples if counts else None,
    )


def compare_boards(
    titles: Mapping[str, str], scores: Mapping[tuple[str, str], BoardScore], registry: ModelRegistry = NO_MODELS
) -> CrossScores:
    """Return the scores of the models on two boards or more, with predictions and what does not fit.

    Args:
        titles: of the boards, by id.
        scores: by model and board.
        registry: of the models; their bases are looked up in it.

    Raises ResultError where no model is on two boards.
    """
    num_boards = Counter(model for model, _ in scores)
    models = sorted(model for model, number in num_boards.items() if number > 1)
    boards = [board for board in titles if any((model, board) in scores for model in models)]
    if not models:
        raise ResultError("no model has a rank on two boards: there is nothing to compare")
    table = np.full((len(models), len(boards)), np.nan)
    for (model, board), score in scores.items():
        if model in models:
            table[models.index(model), boards.index(board)] = logit(min(max(score.score, EDGE), 1 - EDGE))
    predictions, flagged = find_misfits(table)
    predicted = {
        (models[m], boards[b]): replace(scores[models[m], boards[b]], prediction=prediction, fits=(m, b) not in flagged)
        for (m, b), prediction in predictions.items()
    }
    crossed = {key: predicted.get(key, score) for key, score in scores.items() if key[0] in models}
    keys = [(models[m], boards[b]) for m, b in flagged]
    for key in keys:
        crossed[key] = replace(crossed[key], causes=tuple(_causes(crossed[key], crossed, registry)))
    return CrossScores({board: titles[board] for board in boards}, crossed, tuple(crossed[key] for key in keys))


def _causes(misfit: BoardScore, scores: Mapping[tuple[str, str], BoardScore], registry: ModelRegistry) -> Iterator[str]:
    """Yield what is known that may explain a score that does not fit, from the data and from KNOWN_FAULTS."""
    if misfit.score < (misfit.predicted or 0.0):
        yield from _lost_examples(misfit)
        registered = registry.get(misfit.model)
        names = f"{misfit.model} {registered.base_model if registered else ''}"
        yield from (fault for pattern, fault in KNOWN_FAULTS if pattern.search(names))
    exchangeable = [other for other in scores.values() if _would_fit_exchanged(misfit, other)]
    if exchangeable:
        other = max(exchangeable, key=lambda score: (abs(score.residual), score.model))
        yield f"would fit if exchanged with {other.model} ({other.score:.3f}), which is off in the other direction"
    others = [score for score in scores.values() if score.model == misfit.model and score.board != misfit.board]
    if len(others) + 1 < ENOUGH_BOARDS:
        yield "the model is on two boards only, so that its other score may be the wrong one"
        yield from (f"there {text}" for other in others for text in _lost_examples(replace(other, prediction=None)))


def _lost_examples(misfit: BoardScore) -> Iterator[str]:
    """Yield the shares of ties and of unscored examples; of a predicted score, whether they can explain it."""
    for share, words in ((misfit.ties, "ties"), (misfit.unscored, "unscored")):
        if share is not None and share > FEW:
            fits = ""
            if misfit.interval is not None:
                can_explain = misfit.score + share >= misfit.interval[0]
                fits = ", which can explain it" if can_explain else ", which do not explain it alone"
            yield f"{share:.0%} of its examples are {words}{fits}"


def _would_fit_exchanged(first: BoardScore, second: BoardScore) -> bool:
    """Return True if two scores of a board are off in opposite directions, and each fits in the other's place."""
    if first.board != second.board or first.interval is None or second.interval is None:
        return False
    is_opposite = first.residual * second.residual < 0 and abs(second.residual) > SURPRISING
    (low, high), (other_low, other_high) = first.interval, second.interval
    return is_opposite and low <= second.score <= high and other_low <= first.score <= other_high
