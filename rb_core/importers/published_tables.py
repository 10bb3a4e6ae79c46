"""Import published leaderboards from tables of their numbers.

The tables are CSV files with a row for each model, scores as fractions from 0 to 1, and the `source` of each row:

    rewardbench_v1_leaderboard.csv                  model, model_type, score, chat, chat_hard, safety, reasoning,
                                                    prior_sets, retrieved_timestamp, source
    rewardbench_v1_subset_scores_from_instances.csv model, one column for each subset and section, n_missing, source
    rewardbench_v1_paper_prior_sets.csv             model, one column for each prior set in percent, source
    rewardbench_v2_leaderboard.csv                  model, model_type, score, factuality, precise_if, math, safety,
                                                    focus, ties, retrieved_timestamp, source

and, if they exist, the outcomes of single examples:

    rewardbench_v1_items.csv                        item_id, subset
    rewardbench_v1_item_correctness.csv.gz          model, one column for each item: 1, 0, or empty

The headline is kept as published. Models in the second table that the leaderboard does not have (the reference-free
variants of its DPO models) get the mean of their four sections.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, ResultError
from rb_core.evaluation.journal import unfinished_runs
from rb_core.importers.names import plain_name
from rb_core.results.paths import result_path, scores_path
from rb_core.results.schema import BenchmarkRef, ModelKind, ModelRef, Published, Result
from rb_core.results.score_table import read_scores
from rb_core.results.storage import check_free, read_result, write_result
from rb_core.stats.item_outcomes import Floats
from rb_core.stats.outcome_files import items_path, write_items
from rb_core.stats.published import headline_estimate, section_estimate, subset_estimate

Row = Mapping[str, str]

KINDS: Mapping[str, ModelKind] = {
    "Seq. Classifier": "classifier",
    "Custom Classifier": "custom-classifier",
    "DPO": "implicit",
    "DPO, reference-free": "implicit",
    "Generative": "generative",
    "Generative RM": "generative",
}
# Checkpoints of one training run, cut to the same name: nine rows that cannot be told apart.
LEFT_OUT = ("ai2/tulu-2-7b-rm-v0-nectar-binarized-3.8m-check...",)
# Models with item outcomes that the leaderboard does not list: DPO models scored without their reference, and others.
REF_FREE = "_ref_free"
UNLISTED = ("Ray2333/reward-model-Mistral-7B-instruct-Unified-Feedback",)
# These rows have Prior Sets as 0.0 although they were never evaluated on them.
PRIOR_NOT_EVALUATED = re.compile(r"^allenai/.*-RM-RB2$")
V1_ITEMS, V1_OUTCOMES = "rewardbench_v1_items.csv", "rewardbench_v1_item_correctness.csv.gz"
ITEMS_SOURCE = (
    "aims-foundations/torch_measure@a2ef142eb:data/rewardbench_data/processed/response_matrix.csv "
    "(from hub allenai/reward-bench-results eval-set-scores)"
)
OUTCOMES = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0}
# Columns of the sections.
V1_REQUIRED = {"Chat": "chat", "Chat Hard": "chat_hard", "Safety": "safety", "Reasoning": "reasoning"}
V1_SECTIONS = V1_REQUIRED | {"Prior Sets": "prior_sets"}
V2_SECTIONS = {
    "Factuality": "factuality",
    "Precise IF": "precise_if",
    "Math": "math",
    "Safety": "safety",
    "Focus": "focus",
    "Ties": "ties",
}


def import_tables(folder: Path, out: Path, *, overwrite: bool = False) -> dict[str, int]:
    """Write a result for every model of the tables; return the number of results by benchmark.

    The outcomes of single examples, if the folder has them, become `items/rewardbench.parquet`. Raises DataError for a
    missing or malformed table, ResultError if a result exists and `overwrite` is False, or if it is that of a run.
    """
    results = [*v1_results(folder), *v2_results(folder)]
    items = v1_items(folder) if (folder / V1_ITEMS).exists() else None
    for result in results:
        check_replaceable(out, result.benchmark.id, result.model.name, overwrite=overwrite)
    if items is not None:
        check_free(out / items_path("rewardbench"), overwrite=overwrite)
    counts = {"rewardbench": 0, "rewardbench-2": 0}
    for result in results:
        write_result(out, result, overwrite=overwrite)
        counts[result.benchmark.id] += 1
    if items is not None:
        write_items(out / items_path("rewardbench"), "rewardbench", *items, ITEMS_SOURCE)
    return counts


def v1_results(folder: Path) -> Iterator[Result]:
    """Yield the results on RewardBench: headline, sections, and subsets if their scores are known."""
    spec = BENCHMARKS["rewardbench"]
    instances = _read_table(
        folder / "rewardbench_v1_subset_scores_from_instances.csv", "model", "n_missing", "source", *V1_REQUIRED
    )
    subsets = {row["model"]: row for row in instances}
    prior = {
        row["model"]: row for row in _read_table(folder / "rewardbench_v1_paper_prior_sets.csv", "model", "source")
    }
    leaderboard = folder / "rewardbench_v1_leaderboard.csv"
    listed = _read_table(leaderboard, "model", "model_type", "score", "source", *V1_SECTIONS.values())
    yield from _unlisted_results(spec, subsets, {row["model"] for row in listed})
    for row in listed:
        name = row["model"]
        if name in LEFT_OUT:
            continue
        sections = {section: _fraction(row, column) for section, column in V1_SECTIONS.items() if row[column]}
        if PRIOR_NOT_EVALUATED.match(name) and sections.get("Prior Sets") == 0.0:
            del sections["Prior Sets"]
        sources = [row["source"]]
        scores: dict[str, float] = {}
        if name in subsets and int(subsets[name]["n_missing"]) == 0:
            scores |= _subset_scores(spec, subsets[name])
            sources.append(f"subsets: {subsets[name]['source']}")
        if name in prior:
            scores |= {s.name: float(prior[name][s.name]) / 100 for s in spec.subsets if prior[name].get(s.name)}
            sources.append(f"prior sets: {prior[name]['source']}")
        yield _result(spec, row, sections, scores, "; ".join(sources))


def _unlisted_results(spec: BenchmarkSpec, subsets: Mapping[str, Row], listed: set[str]) -> Iterator[Result]:
    """Yield results of public models whose item outcomes are published although the leaderboard does not list them."""
    for name, row in subsets.items():
        if name in listed or not (name.endswith(REF_FREE) or name in UNLISTED):
            continue
        sections = {section: _fraction(row, section) for section in V1_REQUIRED}
        model_type = "DPO, reference-free" if name.endswith(REF_FREE) else "Seq. Classifier"
        mean = f"{sum(sections.values()) / len(sections):.6f}"
        scores = _subset_scores(spec, row) if int(row["n_missing"]) == 0 else {}
        note = "not on the leaderboard; sections from its published item outcomes, score: their mean"
        described = {"model": name, "model_type": model_type, "score": mean}
        yield _result(spec, described, sections, scores, row["source"], note)


def _subset_scores(spec: BenchmarkSpec, row: Row) -> dict[str, float]:
    return {subset.name: _fraction(row, subset.name) for subset in spec.subsets if subset.name in row}


def v2_results(folder: Path) -> Iterator[Result]:
    """Yield the results on RewardBench 2: the six domains and their mean."""
    leaderboard = folder / "rewardbench_v2_leaderboard.csv"
    for row in _read_table(leaderboard, "model", "model_type", "score", "source", *V2_SECTIONS.values()):
        sections = {section: _fraction(row, column) for section, column in V2_SECTIONS.items() if row[column]}
        yield _result(BENCHMARKS["rewardbench-2"], row, sections, {}, row["source"])


def _result(
    spec: BenchmarkSpec, row: Row, values: Mapping[str, float], scores: Mapping[str, float], source: str, *notes: str
) -> Result:
    name, model_type = plain_name(row["model"]), row["model_type"]
    if model_type not in KINDS:
        raise DataError(f"model {row['model']!r}: unknown model_type {model_type!r}")
    sections = {s.name: section_estimate(spec, s, values[s.name], scores) for s in spec.sections if s.name in values}
    absent = {s.name: "not published" for s in spec.sections if s.name not in values}
    if name != row["model"]:
        notes += (f"listed as {row['model']!r}",)
    headline = None
    if missing := [s.name for s in spec.sections if s.required and s.name in absent]:
        absent["headline"] = f"without {', '.join(missing)}"
        notes += (f"the source gives {row['score']} as its score",)
    else:
        headline = headline_estimate(spec, _fraction(row, "score"), sections)
    stamp = row.get("retrieved_timestamp")
    retrieved = datetime.fromtimestamp(float(stamp), UTC).date().isoformat() if stamp else None
    return Result(
        status="published",
        benchmark=BenchmarkRef(id=spec.id, title=spec.title, source=spec.source.repo if spec.source else spec.id),
        model=ModelRef(name=name, kind=KINDS[model_type], kind_detail=model_type),
        headline=headline,
        sections=sections,
        subsets={subset: subset_estimate(spec, subset, value) for subset, value in scores.items()},
        absent=absent,
        published=Published(source=source, retrieved=retrieved, note="; ".join(notes) or None),
    )


class ItemTable(NamedTuple):
    """Ids and subsets of the examples, and the outcomes of each model in the same order."""

    example_ids: list[str]
    subsets: list[str]
    models: dict[str, Floats]


def v1_items(folder: Path) -> ItemTable:
    """Return RewardBench's published outcomes of the models that have one for every example.

    The others are internal training runs, which no leaderboard lists. Raises DataError for a missing or malformed
    table.
    """
    spec = BENCHMARKS["rewardbench"]
    subsets = {row["item_id"]: row["subset"] for row in _read_table(folder / V1_ITEMS, "item_id", "subset")}
    if unknown := sorted(set(subsets.values()) - spec.subset_names):
        raise DataError(f"{folder / V1_ITEMS}: {spec.id} has no subset {', '.join(unknown)}")
    models: dict[str, Floats] = {}
    for row in _read_table(folder / V1_OUTCOMES, "model", *subsets):
        name, cells = plain_name(row["model"]), [row[item] for item in subsets]
        if "" in cells:
            continue
        if wrong := next((cell for cell in cells if cell not in OUTCOMES), None):
            raise DataError(f"{folder / V1_OUTCOMES}: model {row['model']!r}: {wrong!r}; expected 1, 0 or nothing")
        if name in models:
            raise DataError(f"{folder / V1_OUTCOMES}: model {name!r} is listed twice")
        models[name] = np.array([OUTCOMES[cell] for cell in cells])
    return ItemTable(list(subsets), list(subsets.values()), models)


def _read_table(path: Path, *columns: str) -> list[Row]:
    """Return the rows of a CSV file, which may be compressed, as text."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False).fillna("")
    except FileNotFoundError:
        raise DataError(f"{path}: no such table") from None
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not readable as CSV: {error}") from error
    if lacking := sorted(set(columns) - set(table.columns)):
        raise DataError(f"{path}: lacks the columns {', '.join(lacking[:5])}")
    return [{str(name): cell for name, cell in row.items()} for row in table.to_dict("records")]


def _fraction(row: Row, column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not -0.01 <= value <= 1.01:  # the Ties composite can leave [0, 1] by a hundredth
        raise DataError(f"model {row['model']!r}: {column} is {row[column]!r}; expected a fraction from 0 to 1")
    return value


def check_replaceable(out: Path, benchmark: str, model: str, *, overwrite: bool) -> None:
    """Raise ResultError if a result exists and `overwrite` is False, or if it or its score table is that of a run."""
    path, table = out / result_path(benchmark, model), out / scores_path(benchmark, model)
    if path.exists():
        check_free(path, overwrite=overwrite)
        if read_result(path).status == "run":
            raise ResultError(f"{path}: is the result of a run, which a published one does not replace")
    if unfinished_runs(table) or (table.exists() and "run" in read_scores(table)[1]):
        raise ResultError(f"{table}: holds the scores of a run, which published ones do not replace")
