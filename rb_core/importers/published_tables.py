"""Published leaderboards as results of ours, from tables of their numbers.

The tables are CSV files, one row a model, scores as fractions from 0 to 1, each row with its `source`:

    rewardbench_v1_leaderboard.csv                  model, model_type, score, chat, chat_hard, safety, reasoning,
                                                    prior_sets, retrieved_timestamp, source
    rewardbench_v1_subset_scores_from_instances.csv model, one column a subset, one a section, n_missing, source
    rewardbench_v1_paper_prior_sets.csv             model, one column a prior set in percent, source
    rewardbench_v2_leaderboard.csv                  model, model_type, score, factuality, precise_if, math, safety,
                                                    focus, ties, retrieved_timestamp, source

and, where they are there, the outcomes example by example:

    rewardbench_v1_items.csv                        item_id, subset
    rewardbench_v1_item_correctness.csv.gz          model, one column an item: 1, 0, or empty

The headline is kept as published; a test derives every one again from its sections. Models that the second table has
and the leaderboard has not (the reference-free variants of its DPO models) get the mean of their four sections.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, ResultError
from rb_core.results.paths import result_path
from rb_core.results.schema import BenchmarkRef, ModelKind, ModelRef, Published, Result
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


# Names that cannot be a path, and three that lack their organisation.
NAMES = {
    "Cohere May 2024": "Cohere/Cohere-May-2024",
    "Cohere March 2024": "Cohere/Cohere-March-2024",
    "gemini-1.5-flash-8b": "google/gemini-1.5-flash-8b",
    "my_model/": "unknown/my_model",
}


# Checkpoints of one training run, cut to the same name: nine rows that cannot be told apart.
LEFT_OUT = ("ai2/tulu-2-7b-rm-v0-nectar-binarized-3.8m-check...",)


# How the table of item outcomes marks a DPO model scored without its reference; other models it alone has, by name.
REF_FREE = "_ref_free"


UNLISTED = ("Ray2333/reward-model-Mistral-7B-instruct-Unified-Feedback",)


# These rows give Prior Sets as 0.0 although they were never evaluated on them.
PRIOR_NOT_EVALUATED = re.compile(r"^allenai/.*-RM-RB2$")


V1_ITEMS, V1_OUTCOMES = "rewardbench_v1_items.csv", "rewardbench_v1_item_correctness.csv.gz"


ITEMS_SOURCE = (
    "aims-foundations/torch_measure@a2ef142eb:data/rewardbench_data/processed/response_matrix.csv "
    "(from hub allenai/reward-bench-results eval-set-scores)"
)


_V1 = {"Chat": "chat", "Chat Hard": "chat_hard", "Safety": "safety", "Reasoning": "reasoning"}


_V1_ALL = _V1 | {"Prior Sets": "prior_sets"}


_V2 = {
    "Factuality": "factuality",
    "Precise IF": "precise_if",
    "Math": "math",
    "Safety": "safety",
    "Focus": "focus",
    "Ties": "ties",
}


def import_tables(folder: Path, out: Path, *, overwrite: bool = False) -> dict[str, int]:
    """Write a result for every model of the tables; returns how many by benchmark.

    Where the tables of item outcomes are there, `items/rewardbench.parquet` is written too. Raises DataError for a
    table that is missing or malformed, ResultError where a result stands already and overwrite is False, or where a
    run's result would be replaced.
    """
    v1 = list(v1_results(folder))
    v2 = list(v2_results(folder))
    items = v1_items(folder) if (folder / V1_ITEMS).exists() else None
    for result in v1 + v2:
        check_place(out, result.benchmark.id, result.model.name, overwrite=overwrite)
    if items is not None:
        check_free(out / items_path("rewardbench"), overwrite=overwrite)
    for result in v1 + v2:
        write_result(out, result, overwrite=overwrite)
    if items is not None:
        write_items(out / items_path("rewardbench"), "rewardbench", *items, ITEMS_SOURCE)
    return {"rewardbench": len(v1), "rewardbench-2": len(v2)}


def v1_results(folder: Path) -> Iterator[Result]:
    """RewardBench: sections and headline, subsets where their scores are known."""
    spec = BENCHMARKS["rewardbench"]
    needed = ["model", "n_missing", *_V1]
    subsets = {row["model"]: row for row in _rows(folder / "rewardbench_v1_subset_scores_from_instances.csv", needed)}
    prior = {row["model"]: row for row in _rows(folder / "rewardbench_v1_paper_prior_sets.csv", ["model"])}
    listed = _rows(folder / "rewardbench_v1_leaderboard.csv", ["model", "model_type", "score", *_V1_ALL.values()])
    yield from _unlisted(spec, subsets, {row["model"] for row in listed})
    for row in listed:
        if row["model"] in LEFT_OUT:
            continue
        values = {name: _fraction(row, column) for name, column in _V1_ALL.items() if row[column]}
        if PRIOR_NOT_EVALUATED.match(row["model"]) and values.get("Prior Sets") == 0.0:
            del values["Prior Sets"]
        known, sources = _v1_subsets(spec, subsets.get(row["model"]), prior.get(row["model"]))
        yield _result(spec, row, values, known, [row["source"], *sources])


def _unlisted(spec: BenchmarkSpec, subsets: Mapping[str, Row], listed: set[str]) -> Iterator[Result]:
    """Public models whose item outcomes are published although the leaderboard does not list them."""
    for name, row in subsets.items():
        if name in listed or not (name.endswith(REF_FREE) or name in UNLISTED):
            continue
        known, _ = _v1_subsets(spec, row, None)
        values = {section: _fraction(row, section) for section in _V1}
        described = {
            "model": name,
            "model_type": "DPO, reference-free" if name.endswith(REF_FREE) else "Seq. Classifier",
            "score": f"{sum(values.values()) / len(values):.6f}",
        }
        note = "not on the leaderboard; sections from its published item outcomes, score: their mean"
        yield _result(spec, described, values, known, [row["source"]], note)


def _v1_subsets(spec: BenchmarkSpec, subsets: Row | None, prior: Row | None) -> tuple[dict[str, float], list[str]]:
    known: dict[str, float] = {}
    sources = []
    if subsets is not None and int(subsets["n_missing"]) == 0:
        known |= {s.name: _fraction(subsets, s.name) for s in spec.subsets if s.name in subsets}
        sources.append(f"subsets: {subsets['source']}")
    if prior is not None:
        known |= {s.name: float(prior[s.name]) / 100 for s in spec.subsets if prior.get(s.name)}
        sources.append(f"prior sets: {prior['source']}")
    return known, sources


def v2_results(folder: Path) -> Iterator[Result]:
    """RewardBench 2: the six domains and their mean."""
    spec = BENCHMARKS["rewardbench-2"]
    for row in _rows(folder / "rewardbench_v2_leaderboard.csv", ["model", "model_type", "score", *_V2.values()]):
        values = {name: _fraction(row, column) for name, column in _V2.items() if row[column]}
        yield _result(spec, row, values, {}, [row["source"]])


def _result(
    spec: BenchmarkSpec,
    row: Row,
    values: Mapping[str, float],
    known: Mapping[str, float],
    sources: list[str],
    *more: str,
) -> Result:
    sections = {s.name: section_estimate(spec, s, values[s.name], known) for s in spec.sections if s.name in values}
    absent = {s.name: "not published" for s in spec.sections if s.name not in values}
    missing = [s.name for s in spec.sections if s.required and s.name in absent]
    notes = list(more)
    if plain_name(row["model"]) != row["model"]:
        notes.append(f"listed as {row['model']!r}")
    headline = None
    if missing:
        absent["headline"] = f"without {', '.join(missing)}"
        notes.append(f"the source gives {row['score']} as its score")
    else:
        headline = headline_estimate(spec, _fraction(row, "score"), sections)
    return Result(
        status="published",
        benchmark=BenchmarkRef(id=spec.id, title=spec.title, source=spec.source.repo if spec.source else spec.id),
        model=ModelRef(name=plain_name(row["model"]), kind=_kind(row), kind_detail=row["model_type"]),
        headline=headline,
        sections=sections,
        subsets={name: subset_estimate(spec, name, value) for name, value in known.items()},
        absent=absent,
        published=Published(source="; ".join(sources), retrieved=_date(row), note="; ".join(notes) or None),
    )


# Outcomes example by example


class Items(NamedTuple):
    """The examples' ids and subsets, in the table's order, and the outcomes by model."""

    example_ids: list[str]
    subsets: list[str]
    models: dict[str, Floats]


def v1_items(folder: Path) -> Items:
    """RewardBench's published item outcomes, of the models that have one for every item.

    Those that lack some are internal training runs, which no leaderboard lists. Raises DataError for a table that is
    missing or malformed.
    """
    spec = BENCHMARKS["rewardbench"]
    listed = {row["item_id"]: row["subset"] for row in _read(folder / V1_ITEMS, ["item_id", "subset"])}
    if unknown := sorted(set(listed.values()) - spec.subset_names):
        raise DataError(f"{folder / V1_ITEMS}: {spec.id} has no subset {', '.join(unknown)}")
    models: dict[str, Floats] = {}
    for row in _read(folder / V1_OUTCOMES, ["model", *listed]):
        name, cells = plain_name(row["model"]), [row[item] for item in listed]
        if "" in cells:
            continue
        if wrong := next((cell for cell in cells if cell not in _OUTCOMES), None):
            raise DataError(f"{folder / V1_OUTCOMES}: model {row['model']!r}: {wrong!r}; expected 1, 0 or nothing")
        if name in models:
            raise DataError(f"{folder / V1_OUTCOMES}: model {name!r} stands twice")
        models[name] = np.array([_OUTCOMES[cell] for cell in cells])
    return Items(list(listed), list(listed.values()), models)


_OUTCOMES = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0}


# Rows


def _rows(path: Path, needed: list[str]) -> list[Row]:
    return _read(path, [*needed, "source"])


def _read(path: Path, needed: list[str]) -> list[Row]:
    """The rows of a CSV file, compressed where its name says so."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows: list[Row] = list(reader)
    except FileNotFoundError:
        raise DataError(f"{path}: no such table") from None
    except (UnicodeDecodeError, csv.Error, zlib.error, OSError, EOFError) as error:
        raise DataError(f"{path}: not readable as CSV: {error}") from error
    if lacking := sorted(set(needed) - set(reader.fieldnames or [])):
        raise DataError(f"{path}: lacks the columns {', '.join(lacking[:5])}")
    return rows


def _fraction(row: Row, column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not -0.01 <= value <= 1.01:  # the Ties composite can leave [0, 1] by its hundredth
        raise DataError(f"model {row['model']!r}: {column} is {row[column]!r}; expected a fraction from 0 to 1")
    return value


def plain_name(listed: str) -> str:
    """The name as a path: some were listed under the names of their result files."""
    return NAMES.get(listed) or re.sub(r"\.jsonl?$", "", listed)


def _kind(row: Row) -> ModelKind:
    if row["model_type"] not in KINDS:
        raise DataError(f"model {row['model']!r}: unknown model_type {row['model_type']!r}")
    return KINDS[row["model_type"]]


def _date(row: Row) -> str | None:
    stamp = row.get("retrieved_timestamp")
    return datetime.fromtimestamp(float(stamp), UTC).date().isoformat() if stamp else None


def check_place(out: Path, benchmark: str, model: str, *, overwrite: bool) -> None:
    """Raises ResultError where a result stands and overwrite is False, and where a run's does in any case."""
    path = out / result_path(benchmark, model)
    if not path.exists():
        return
    check_free(path, overwrite=overwrite)
    if read_result(path).status == "run":
        raise ResultError(f"{path}: is the result of a run, which a published one does not replace")
