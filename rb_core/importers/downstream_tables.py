"""Import published downstream outcomes of reward models into the tables of `audit downstream`.

The folder has these CSV files, each row with its `source`:

    rb2_table8_ppo_bon.csv           id, group, rewardbench2, ppo_avg_9_tasks, bon_avg (percent)
    rb1_bon_alpacaeval.csv           model, bon16_win_rate (percent), rb1_score
    rb2_fig3_bon_correlations.csv    downstream_task, rb2_domain, pearson_r, n_rms
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rb_core.audits.downstream import COLUMNS, CORRELATION_COLUMNS, FOLDER
from rb_core.errors import DataError, ResultError
from rb_core.files import write_atomically

OUTCOME_COLUMNS = ("model", "group", *COLUMNS[1:], "source")
PPO, BEST_OF_N = "PPO, mean of 9 tasks", "Best of N, mean of tasks"
WIN_RATE = "Best of 16, AlpacaEval win rate"


def import_downstream_tables(tables: Path, out: Path, *, overwrite: bool = False) -> list[Path]:
    """Write the tables below a results root and return their paths.

    Raises DataError for a missing file or column, ResultError where a table exists and `overwrite` is False.
    """
    contents = {
        "rewardbench-2.csv": _csv(OUTCOME_COLUMNS, _rewardbench_2(tables)),
        "rewardbench.csv": _csv(OUTCOME_COLUMNS, _rewardbench(tables)),
        "rewardbench-2-correlations.csv": _csv((*CORRELATION_COLUMNS, "source"), _correlations(tables)),
    }
    paths = [out / FOLDER / name for name in contents]
    for path in paths:
        if path.exists() and not overwrite:
            raise ResultError(f"{path}: this table exists already; replace it with --overwrite")
    for path, content in zip(paths, contents.values(), strict=True):
        write_atomically(path, content)
    return paths


def _rewardbench_2(tables: Path) -> Iterator[tuple[str, ...]]:
    rows = _read(tables / "rb2_table8_ppo_bon.csv")
    for outcome, column in ((PPO, "ppo_avg_9_tasks"), (BEST_OF_N, "bon_avg")):
        for row in rows:
            model = f"RewardBench 2 reward model {row['id']}"
            yield model, row["group"], "RewardBench 2", row["rewardbench2"], outcome, row[column], row["source"]


def _rewardbench(tables: Path) -> Iterator[tuple[str, ...]]:
    for row in _read(tables / "rb1_bon_alpacaeval.csv"):
        score, value = f"{100 * float(row['rb1_score']):.2f}", f"{float(row['bon16_win_rate']):.4f}"
        yield row["model"], "", "RewardBench", score, WIN_RATE, value, row["source"]


def _correlations(tables: Path) -> Iterator[tuple[str, ...]]:
    for row in _read(tables / "rb2_fig3_bon_correlations.csv"):
        domain = row["rb2_domain"].removeprefix("RB2 ")
        yield "RewardBench 2", domain, row["downstream_task"], row["pearson_r"], row["n_rms"], row["source"]


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()
