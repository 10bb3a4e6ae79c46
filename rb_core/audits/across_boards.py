"""Audit across boards: how boards agree on models, and which published scores do not fit a model's other boards."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable, Cell
from rb_core.leaderboard.board import DIGITS
from rb_core.leaderboard.cross_scores import BoardScore, CrossScores
from rb_core.stats.correlation import MIN_PAIRS, RankCorrelation
from rb_core.stats.misfits import MIN_COMMON

FITS, DOES_NOT_FIT = "fits the other boards", "does not fit"
MAX_NAMED = 3  # in a sentence; the table has all
UNKNOWN_CAUSE = "no cause in these data: compare with the source"


def across_boards_report(crossed: CrossScores) -> AuditReport:
    """Return the report on these scores."""
    return AuditReport(
        audit="across-boards",
        title="Across boards",
        question="Do boards agree on which reward models are good, and which scores do not fit a model's other boards?",
        answer=(*_answer(crossed), *crossed.notes),
        tables=(*_misfit_tables(crossed), _correlation_table(crossed), _model_table(crossed)),
        figure=_figure(crossed),
        cautions=(
            "A score that does not fit is not shown to be wrong: a model may be better at what one board tests.",
            "A cause is named because the data are consistent with it, not because it was tested.",
            "Models share bases and training data, so that they are fewer independent cases than models, and the true "
            "intervals of the correlations are wider.",
            "A model that two boards have in common may have been run with other code, templates or precision on each.",
        ),
        method=(
            "Scores are those of the sections that all scores of a board include. Correlations are Spearman's, with a "
            "95% interval by Bonett and Wright (2000, doi:10.1007/BF02294183), from n = "
            f"{MIN_PAIRS} on; “smallest visible” is the |correlation| from which on n models show one at the 5% level. "
            "The logit of each score is predicted from the other models, by a line on the mean of the other boards' "
            f"predictions (each by Theil and Sen's line, from {MIN_COMMON} common models on). Scores off the line "
            "are found by the generalised extreme studentized residual test (Rosner 1983, "
            "doi:10.1080/00401706.1983.10487848), corrected for models and boards; the clearest is left out and all "
            "are tested again. In simulations without wrong scores at most 5% of the boards have a flag."
        ),
        sources=crossed.sources,
        command="python -m rb_core cross --out leaderboard_data --overwrite",
    )


def cross_rows(crossed: CrossScores) -> Iterator[dict[str, Cell]]:
    """Yield a row for each model and board, by the names of the CSV's columns. Scores are fractions from 0 to 1."""
    for model in crossed.models:
        for board in crossed.boards:
            if score := crossed.scores.get((model, board)):
                row: dict[str, Cell] = {"model": model, "board": board, "score": score.score, "rank": score.rank}
                row |= {"best_rank": score.best, "worst_rank": score.worst, "predicted": score.predicted}
                row |= dict(zip(("predicted_low", "predicted_high"), score.interval or (None, None), strict=True))
                is_predicted = score.prediction is not None
                row |= {"residual": score.residual if is_predicted else None}
                row |= {"fits": ("yes" if score.fits else "no") if is_predicted else None}
                row |= {"causes": "; ".join(score.causes)}
                yield {name: round(cell, DIGITS) if isinstance(cell, float) else cell for name, cell in row.items()}


def _answer(crossed: CrossScores) -> Iterator[str]:
    """Yield how boards agree and how many scores do not fit, then the boards and the scores at the ends."""
    num_tested = sum(score.prediction is not None for score in crossed.scores.values())
    misfits = (
        f"{len(crossed.misfits)} of {num_tested} scores do not fit the model's other boards"
        if crossed.misfits
        else f"all {num_tested} scores that other boards can predict fit them"
    )
    pairs = [(fitting, crossed.boards[a], crossed.boards[b]) for a, b, _, fitting in crossed.correlations()]
    known = sorted((pair for pair in pairs if pair[0].low is not None), key=lambda pair: pair[0].spearman or 0.0)
    if known:
        values = [fitting.spearman or 0.0 for fitting, _, _ in known]
        yield (
            f"The median rank correlation of two boards is {median(values):.2f} ({len(known)} pairs of boards with "
            f"{MIN_PAIRS} models or more, {values[0]:.2f} to {values[-1]:.2f}); {misfits}."
        )
    else:
        yield f"{misfits[0].upper()}{misfits[1:]}."
    if len(known) > 1:
        yield f"{_correlation_text(*known[-1])} agree most, {_correlation_text(*known[0])} least."
    if crossed.misfits:
        named = "; ".join(
            f"{s.model} on {crossed.boards[s.board]} ({s.score:.3f}, predicted {s.predicted:.3f})"
            for s in crossed.misfits[:MAX_NAMED]
        )
        yield f"Clearest misfits: {named}."


def _correlation_text(fitting: RankCorrelation, first: str, second: str) -> str:
    low, high = fitting.low or 0.0, fitting.high or 0.0
    return f"{first} and {second} ({fitting.spearman or 0.0:.2f}, {low:.2f} to {high:.2f}, n = {fitting.n})"


def _misfit_tables(crossed: CrossScores) -> Iterator[AuditTable]:
    """Yield the table of scores that do not fit, if there are any."""
    rows = [
        (
            score.model,
            crossed.boards[score.board],
            score.score,
            score.predicted,
            *(score.interval or (None, None)),
            score.residual,
            "; ".join(score.causes) or UNKNOWN_CAUSE,
        )
        for score in crossed.misfits
    ]
    if rows:
        yield AuditTable(
            title="Scores that do not fit the model's other boards",
            columns=(
                "Model",
                "Board",
                "Score",
                "Predicted",
                "95% low",
                "95% high",
                "Residual in errors",
                "Possible causes",
            ),
            rows=tuple(rows),
            note="The clearest first; each is predicted without itself and without those above it.",
        )


def _correlation_table(crossed: CrossScores) -> AuditTable:
    rows: list[tuple[Cell, ...]] = [
        (
            crossed.boards[first],
            crossed.boards[second],
            every.n,
            every.spearman,
            every.low,
            every.high,
            every.smallest,
            every.pearson,
            fitting.n,
            fitting.spearman,
            fitting.pearson,
        )
        for first, second, every, fitting in crossed.correlations()
    ]
    return AuditTable(
        title="Correlation of two boards over the models on both",
        columns=(
            "Board", "And", "n", "Spearman", "95% low", "95% high", "Smallest visible", "Pearson",
            "n that fit", "Spearman", "Pearson",
        ),
        rows=tuple(rows),
        decimals=2,
        note=f"No interval below n = {MIN_PAIRS}: too few models.",
    )  # fmt: skip


def _model_table(crossed: CrossScores) -> AuditTable:
    def cells(model: str, board: str) -> tuple[Cell, Cell]:
        score = crossed.scores.get((model, board))
        return (None, None) if score is None else (score.score, _rank_text(score))

    heads = [head for title in crossed.boards.values() for head in (title, "Rank")]
    rows = [(model, *(c for board in crossed.boards for c in cells(model, board))) for model in crossed.models]
    return AuditTable(
        title="Models on two boards or more",
        columns=("Model", *heads),
        rows=tuple(rows),
        note="Ranks are among all models of a board, with the interval that the data allow. *: does not fit.",
    )


def _rank_text(score: BoardScore) -> str:
    interval = "" if score.best is None else f" ({score.best} to {score.worst})"
    return f"{score.rank}{interval}{'' if score.fits else ' *'}"


def _figure(crossed: CrossScores) -> AuditFigure:
    points = [
        AuditPoint(
            label=f"{score.model} on {crossed.boards[score.board]}",
            x=score.predicted or 0.0,
            y=score.score,
            group=FITS if score.fits else DOES_NOT_FIT,
            named=not score.fits,
        )
        for score in sorted(crossed.scores.values(), key=lambda s: (not s.fits, s.board, s.model))
        if score.prediction is not None
    ]
    return AuditFigure(
        kind="points",
        title="Scores by what the model's other boards predict, each point a model on a board",
        x_label="Predicted score",
        y_label="Score",
        points=tuple(points),
        diagonal=True,
    )
