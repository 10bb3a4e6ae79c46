"""Rebuild the boards of numbers that other projects publish.

The files, anywhere below one folder, and their origins are listed in the README beside this module. Where two tables
give a model's score on one benchmark, the one with more parts is taken, and the other's number is in the note.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from rb_core.errors import DataError, first_line
from rb_core.importers.accuracy_tables import HEADLINE, ModelAccuracies, read_accuracies, write_accuracies
from rb_core.importers.names import safe_name
from rb_core.importers.score_files import import_scores
from rb_core.importers.target import find_target
from rb_core.leaderboard.model_registry import read_registry
from rb_core.results.schema import Result

THEMIS = "iNeil77/Themis@ddd7934"
DIALECTS = "joel-mire/rm-dialect-biases@7ae3441"
CROSS = "cross_benchmark_skywork_v2.csv"
_THEMIS_SCORES, _THEMIS_ITEMS = "themis_code_rewardbench_scores.parquet", "themis_code_rewardbench_items.parquet"
_V1_SCORES, _V1_ITEMS = "rewardbench_v1_dialect_scores.parquet", "with_dialect.jsonl.gz"

# By benchmark: its own table with the names of its columns (None without one), and the columns of the table `CROSS`.
_TABLES: Mapping[str, tuple[str | None, dict[str, str], dict[str, str]]] = {
    "rm-bench": ("rmbench_scalar_rms.csv", {"headline": "average"}, {"headline": "rm_bench"}),
    "judgebench": (
        "judgebench_rm_scores.csv",
        {"part": "category", "correct": "n_correct", "tied": "n_tied", "total": "n_total"},
        {"headline": "judgebench"},
    ),
    "rmb": (
        "rmb_scalar_rms.csv",
        {
            "headline": "overall",
            "helpfulness-bon": "helpful_bon",
            "helpfulness-pairwise": "helpful_pairwise",
            "harmlessness-bon": "harmless_bon",
            "harmlessness-pairwise": "harmless_pairwise",
        },
        {"headline": "rmb"},
    ),
    "ppe": (None, {}, {"Preference": "ppe_preference", "Correctness": "ppe_correctness"}),
}


def import_boards(folder: Path, out: Path, *, overwrite: bool = False) -> dict[str, int]:
    """Write the results of every board whose files are below the folder; return their numbers by benchmark.

    The cards of the benchmarks and the registry of models are those below `out`. Raises DataError when no board has all
    of its files, and for files that cannot be read; ResultError as `import_scores`.
    """
    counts: dict[str, int] = {}
    for files, build in _boards().items():
        paths = [next(iter(sorted(folder.rglob(name))), None) for name in files]
        found = [path for path in paths if path is not None]
        if len(found) == len(files):
            results = build(found, out, overwrite)
            counts[results[0].benchmark.id] = len(results)
    if not counts:
        names = sorted({name for files in _boards() for name in files})
        raise DataError(f"{folder}: has the files of no board; they are {', '.join(names)}")
    return counts


Build = Callable[[list[Path], Path, bool], list[Result]]


def _boards() -> dict[tuple[str, ...], Build]:
    """Return what builds each board, by the files that it needs."""
    boards: dict[tuple[str, ...], Build] = {
        (_THEMIS_SCORES, _THEMIS_ITEMS): _themis,
        (_V1_SCORES, _V1_ITEMS): _rewardbench_with_scores,
    }
    for benchmark, (own, _, _) in _TABLES.items():
        boards[(own, CROSS) if own else (CROSS,)] = _table_builder(benchmark)
    return boards


def _themis(paths: list[Path], out: Path, overwrite: bool) -> list[Result]:
    """Import Themis-CodeRewardBench; an item is a row number of the table of items."""
    try:
        scores, items = (pd.read_parquet(path) for path in paths)
        rows = scores.astype({"model": str}).merge(items.reset_index(names="item"), on="item", validate="many_to_one")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{paths[0]}: cannot be read with {paths[1].name}: {first_line(error)}") from error
    with TemporaryDirectory() as folder:
        path = Path(folder, "scores.parquet")
        rows.sort_values(["item", "model"], kind="stable").to_parquet(path)
        return import_scores(
            path,
            find_target("themis-code-rewardbench", out),
            out,
            origin=f"{THEMIS}:Evaluation/Evaluation_Runs (Apache-2.0)",
            columns={"id": "id", "subset": "aspect+language"},
            joint=True,
            overwrite=overwrite,
        )


def _rewardbench_with_scores(paths: list[Path], out: Path, overwrite: bool) -> list[Result]:
    """Import scores of 1,843 pairs of RewardBench, in the original wording, as a board of their own.

    A pair keeps its id in RewardBench where its text is that of the dataset. The others were found by outcomes and may
    be swapped with a neighbour, so that they are named by their rows: no comparison by ids takes them for another pair.
    """
    try:
        items = pd.read_json(paths[1], lines=True, dtype={"id": str})
        scores = pd.read_parquet(paths[0]).astype({"model": str, "version": str})
        scores = scores[scores["version"] == "original"].merge(items[["row"]], on="row", validate="many_to_one")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{paths[0]}: cannot be read with {paths[1].name}: {first_line(error)}") from error
    items["id"] = items["id"].where(items["text_matched"], "row-" + items["row"].astype(str))
    scores["id"] = scores["row"].map(items.set_index("row")["id"])
    with TemporaryDirectory() as folder:
        path, data = Path(folder, "scores.parquet"), Path(folder, "rm-dialect-biases.jsonl")
        scores.sort_values(["row", "model"], kind="stable").to_parquet(path)
        fields = items[["id", "subset", "prompt", "chosen", "rejected"]].to_dict("records")
        data.write_text("".join(json.dumps(row) + "\n" for row in fields), encoding="utf-8")
        target = find_target("rewardbench", out, data)
        target = replace(target, ref=target.ref.model_copy(update={"source": DIALECTS}))
        origin = f"{DIALECTS} (Apache-2.0)"
        return import_scores(path, target, out, origin=origin, columns={"id": "id"}, joint=True, overwrite=overwrite)


def _table_builder(benchmark: str) -> Build:
    """Return what builds a board from its own table and from the table of several benchmarks."""
    own, own_columns, cross_columns = _TABLES[benchmark]

    def build(paths: list[Path], out: Path, overwrite: bool) -> list[Result]:
        target, registry = find_target(benchmark, out), read_registry(out)
        models: dict[str, ModelAccuracies] = {}
        for path, columns in zip(paths, (own_columns, cross_columns) if own else (cross_columns,), strict=True):
            # Of the table of several benchmarks no other column belongs to this one.
            for model in read_accuracies(path, target.spec, origin=path.name, columns={"model": "model", **columns}):
                model.source = _source(model.source)
                name = registry.canonical_name(safe_name(model.listed))
                if path.name == CROSS:
                    model.others = {}
                if name in models:
                    _note_difference(models[name], model)
                elif model.values:
                    models[name] = model
        return write_accuracies(list(models.values()), target, out, overwrite=overwrite)

    return build


def _source(listed: str) -> str:
    """Return the source of a row as REPOSITORY@COMMIT:PATH where it is one, else the words that name the publication.

    A name with a comma, which an address here cannot have, follows after its folder.
    """
    file = re.fullmatch(r"(?:computed from )?(\S+/\S+@[0-9a-f]+) (\S+)", listed)
    if file is None:
        return listed.partition(", via ")[0]
    path = "README.md" if file[2] == "README" else file[2]
    folder, _, name = path.rpartition("/")
    return f"{file[1]}:{folder}; {name}" if "," in name else f"{file[1]}:{path}"


def _note_difference(model: ModelAccuracies, other: ModelAccuracies) -> None:
    """Note the score that another source gives."""
    if (score := other.values.get(HEADLINE)) is not None:
        model.notes.append(f"{other.source} gives {score:g} as the score")
