"""Audit of downstream outcomes: how a benchmark's score relates to policies trained or selected with the model.

The outcomes are tables in CSV. One row is one reward model and one outcome:

    model, group, benchmark, score, outcome, value, source

`group` and `source` may be missing. Models of one group were used in the same setting, such as on the policy that their
own training started from. A second kind of table has published correlations without the outcomes behind them:

    benchmark, domain, outcome, correlation, n, source
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, pearsonr, rankdata

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable, Cell
from rb_core.errors import DataError, first_line
from rb_core.stats.correlation import fisher_interval, smallest_visible
from rb_core.stats.item_outcomes import Floats
from rb_core.stats.significance import Z95

FOLDER = "downstream"  # below a results root
COLUMNS = ("model", "benchmark", "score", "outcome", "value")
CORRELATION_COLUMNS = ("benchmark", "domain", "outcome", "correlation", "n")
ALL, WITHIN, ALL_BUT = "all models", "within groups", "all but "
MOSTLY_BLIND = 0.55  # the smallest visible |r| from which on a sentence says so


class Correlation(NamedTuple):
    """Pearson's r of score and outcome over n models, with its 95% interval by Fisher's z.

    smallest: |r| from which on n models are significant at 5%; loo_low, loo_high: r with the one model left out that
    lowers or raises it most. None where there are too few models.
    """

    group: str
    n: int
    r: float | None
    low: float | None
    high: float | None
    smallest: float | None
    spearman: float | None
    loo_low: float | None
    loo_high: float | None


def downstream_report(tables: Sequence[Path]) -> AuditReport:
    """Return the report on tables of outcomes, and of published correlations.

    Raises DataError, naming file, column and row, for a table that has not these columns, or too few models.
    """
    frames = [read_outcomes_table(path) for path in tables]
    outcomes = [frame for frame in frames if "value" in frame]
    published = [frame for frame in frames if "correlation" in frame]
    if not outcomes:
        raise DataError("audit downstream needs a table of outcomes with the columns " + ", ".join(COLUMNS))
    data = pd.concat(outcomes, ignore_index=True)
    correlations = {
        (str(benchmark), str(outcome)): correlate_by_group(part)
        for (benchmark, outcome), part in data.groupby(["benchmark", "outcome"], sort=False)
    }
    first = next(iter(correlations))
    return AuditReport(
        audit="downstream",
        title="Does it predict RLHF?",
        question="Does a model's benchmark score predict how good the policy is that is trained or selected with it?",
        answer=(
            *_lead_sentence(*first, correlations[first]),
            *(_sentence(*key, rows) for key, rows in correlations.items()),
        ),
        tables=(_outcome_table(correlations), *(_published_table(frame) for frame in published)),
        figure=_figure(data, *first),
        cautions=(
            "A correlation over all models is driven by differences between groups and by very poor models; a group of "
            "good models is too small to show any but a very strong one.",
            "The models share bases and training data, so that they are fewer independent cases than models.",
            "A policy's score is itself an average over benchmarks, not a person's preference.",
        ),
        method=(
            "Pearson's r with a 95% interval by Fisher's z (1915, doi:10.2307/2331838); “within groups” is r of the "
            "values less the mean of their group. “Smallest visible” is the |r| from which on r differs from 0 at the "
            "5% level. “Leave one out” is the range of r when one model is left out."
        ),
        sources=tuple(dict.fromkeys(source for frame in frames for source in frame["source"] if source)),
        command="python -m rb_core audit downstream --out leaderboard_data --overwrite",
    )


def bundled_tables(root: Path) -> list[Path]:
    """Return the tables of a results root. Raises DataError if there are none."""
    tables = sorted((root / FOLDER).glob("*.csv"))
    if not tables:
        raise DataError(f"{root / FOLDER}: no tables of downstream outcomes here; give a CSV file")
    return tables


def read_outcomes_table(path: Path) -> pd.DataFrame:
    """Return a table of outcomes or of published correlations. Raises DataError for anything else."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as CSV: {first_line(error)}") from error
    wanted = CORRELATION_COLUMNS if "correlation" in frame else COLUMNS
    if missing := [name for name in wanted if name not in frame]:
        raise DataError(f"{path}: no column {', '.join(missing)}; a table has the columns {', '.join(wanted)}")
    for name in ("score", "value", "correlation", "n"):
        if name in wanted:
            frame[name] = _numbers(frame[name], path)
    return frame.assign(**{name: "" for name in ("group", "source") if name not in frame})


def _numbers(column: pd.Series[str], path: Path) -> pd.Series[float]:
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        line = int(np.argmax(wrong)) + 2  # the first line has the names
        raise DataError(f"{path}, line {line}: {column.name} is {column[wrong].iloc[0]!r}; expected a number")
    return numbers.astype(float)


def correlate_by_group(part: pd.DataFrame) -> list[Correlation]:
    """Return the correlation over all models, within groups, in each group, and over all models but one group's."""
    score, value = part["score"].to_numpy(float), part["value"].to_numpy(float)
    groups = part["group"].to_numpy(str)
    rows = [correlate(ALL, score, value)]
    names = list(dict.fromkeys(groups))
    if len(names) < 2:
        return rows
    centred = part[["score", "value"]] - part.groupby("group")[["score", "value"]].transform("mean")
    rows.append(correlate(WITHIN, centred["score"].to_numpy(), centred["value"].to_numpy(), num_means=len(names)))
    rows += [correlate(name, score[groups == name], value[groups == name]) for name in names]
    if len(names) > 2:
        rows += [correlate(ALL_BUT + name, score[groups != name], value[groups != name]) for name in names]
    return rows


def correlate(group: str, score: Floats, value: Floats, *, num_means: int = 1) -> Correlation:
    """Return the correlation of two arrays. num_means: of how many groups the mean was subtracted.

    Each mean costs a degree of freedom: the variance of Fisher's z is 1 / (n - num_means - 2).
    """
    n, degrees = len(score), len(score) - num_means - 1
    if degrees < 1 or np.ptp(score) == 0 or np.ptp(value) == 0:
        return Correlation(group, n, *[None] * 7)
    r = float(pearsonr(score, value).statistic)
    low, high = fisher_interval(r, degrees + 2)
    left_out = _leave_one_out(score, value)
    rank_r = float(pearsonr(rankdata(score), rankdata(value)).statistic)
    return Correlation(group, n, r, low, high, smallest_visible(degrees), rank_r, *left_out)


def _leave_one_out(score: Floats, value: Floats) -> tuple[float | None, float | None]:
    if len(score) < 4:
        return None, None
    pairs = [(np.delete(score, i), np.delete(value, i)) for i in range(len(score))]
    rs = [float(pearsonr(x, y).statistic) for x, y in pairs if np.ptp(x) > 0 and np.ptp(y) > 0]
    return (min(rs), max(rs)) if rs else (None, None)


def power(r: float, n: int) -> float:
    """Return the probability that a true correlation r of n pairs is significant at 5%, by Fisher's z."""
    shift = abs(math.atanh(r)) * math.sqrt(n - 3)
    return float(norm.sf(Z95 - shift) + norm.cdf(-Z95 - shift))


def _lead_sentence(benchmark: str, outcome: str, rows: Sequence[Correlation]) -> list[str]:
    """Return whether the correlation over all models is also one within the largest group; nothing without groups."""
    overall, group = rows[0], _largest_group(rows)
    if overall.r is None or group is None or group.r is None or group.low is None or group.high is None:
        return []
    direction = "better" if overall.r > 0 else "worse"
    shown = "it goes with a better one" if group.r > 0 else "it goes with a worse one"
    within = "this cannot be shown" if group.low <= 0 <= group.high else shown
    return [
        f"Over all {overall.n} models a better {benchmark} score goes with a {direction} result ({outcome}, r = "
        f"{overall.r:.2f}); within the largest group ({group.group}, n = {group.n}) {within} (r = {group.r:.2f}, "
        f"{group.low:.2f} to {group.high:.2f})."
    ]


def _largest_group(rows: Sequence[Correlation]) -> Correlation | None:
    groups = [r for r in rows[1:] if r.r is not None and r.group != WITHIN and not r.group.startswith(ALL_BUT)]
    return max(groups, key=lambda row: row.n, default=None)


def _sentence(benchmark: str, outcome: str, rows: Sequence[Correlation]) -> str:
    """Return the correlation over all models, without the group that changes it most, and in the largest group."""
    overall = rows[0]
    if overall.r is None:
        return f"{benchmark} and {outcome}: too few models for a correlation."
    known = [row for row in rows if row.r is not None]
    without = [row for row in known if row.group.startswith(ALL_BUT)]
    largest = _largest_group(rows)
    chosen = [overall]
    chosen += [max(without, key=lambda row: abs((row.r or 0.0) - (overall.r or 0.0)))] if without else []
    chosen += [largest] if largest else []
    return f"{benchmark} and {outcome}: {'; '.join(map(_correlation_text, chosen))}."


def _correlation_text(row: Correlation) -> str:
    interval = "" if row.low is None else f" ({row.low:.2f} to {row.high:.2f})"
    small = row.smallest is not None and row.smallest > MOSTLY_BLIND
    seen = f", where only |r| above {row.smallest:.2f} can be seen" if small else ""
    return f"{row.group} (n = {row.n}) r = {row.r:.2f}{interval}{seen}"


def _outcome_table(correlations: Mapping[tuple[str, str], Sequence[Correlation]]) -> AuditTable:
    rows: list[tuple[Cell, ...]] = [
        (
            benchmark, outcome, row.group, row.n, row.r, row.low, row.high, row.smallest, row.spearman, row.loo_low,
            row.loo_high, power(0.5, row.n) if row.n > 3 else None,
        )
        for (benchmark, outcome), group in correlations.items()
        for row in group
    ]  # fmt: skip
    return AuditTable(
        title="Correlation of benchmark score and outcome",
        columns=(
            "Benchmark", "Outcome", "Models", "n", "r", "95% low", "95% high", "Smallest visible", "Spearman",
            "Leave one out, lowest", "highest", "Power for r = .5",
        ),
        rows=tuple(rows),
        decimals=2,
    )  # fmt: skip


def _published_table(frame: pd.DataFrame) -> AuditTable:
    """Return published correlations by domain, with the intervals that their numbers of models give."""
    rows = []
    for row in frame.to_dict("records"):
        n, r = int(row["n"]), float(row["correlation"])
        rows.append((str(row["benchmark"]), str(row["domain"]), str(row["outcome"]), n, r, *fisher_interval(r, n)))
    return AuditTable(
        title="Published correlations by domain",
        columns=("Benchmark", "Domain", "Outcome", "n", "r", "95% low", "95% high"),
        rows=tuple(rows),
        decimals=2,
        note="Intervals as if the models were independent; they are not, so the true intervals are wider.",
    )


def _figure(data: pd.DataFrame, benchmark: str, outcome: str) -> AuditFigure:
    part = data[(data["benchmark"] == benchmark) & (data["outcome"] == outcome)]
    points = [
        AuditPoint(label=str(row["model"]), x=float(row["score"]), y=float(row["value"]), group=str(row["group"]))
        for row in part.to_dict("records")
    ]
    return AuditFigure(
        kind="points",
        title=f"{outcome} by {benchmark} score, each point one reward model",
        x_label=f"{benchmark} score",
        y_label=outcome,
        points=tuple(points),
    )
