"""Import scores of single completions from any file or folder.

A row holds an example's scores (columns for its id, chosen and rejected scores, each a number or a list of numbers), or
one score of a completion (id, score, and the completion's index, its label, or both). The model is named by a column,
by the file of a folder, or by the caller.

A missing score is unscored. Examples that only some models have scores for are unscored for the others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.files import read_rows
from rb_core.benchmarks.markdown import count_markdown
from rb_core.benchmarks.row_location import Row, RowError, RowLocation, RowProblems, describe_value
from rb_core.benchmarks.rows import read_name
from rb_core.errors import DataError, as_text, quoted
from rb_core.evaluation.aggregate import write_aggregate
from rb_core.importers.names import ListedModel, find_models, names_of_files
from rb_core.importers.published_tables import check_replaceable
from rb_core.importers.target import ImportTarget
from rb_core.leaderboard.model_registry import read_registry
from rb_core.results.joint_scores import JointScores, write_joint_scores
from rb_core.results.paths import joint_scores_path, scores_path
from rb_core.results.schema import Published, Result
from rb_core.results.score_table import write_scores
from rb_core.results.storage import check_free
from rb_core.stats.item_outcomes import CompletionScores, Floats

# Names of the columns that hold a field, where --columns does not name one.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "example_id", "item", "item_id", "prompt_id", "pair_id", "uid"),
    "model": ("model", "model_name"),
    "subset": ("subset",),
    "group": ("group", "prompt_id"),
    "chosen": ("chosen_score", "score_chosen", "scores_chosen", "chosen_reward", "reward_chosen"),
    "rejected": ("rejected_score", "score_rejected", "scores_rejected", "rejected_reward", "reward_rejected"),
    "score": ("score", "reward"),
    "completion": ("completion_index", "completion", "index"),
    "label": ("label", "is_chosen"),
}
_LABELS = {
    "chosen": True,
    "1": True,
    "1.0": True,
    "true": True,
    "rejected": False,
    "0": False,
    "0.0": False,
    "false": False,
}
_MISSING = frozenset({"", "nan", "none", "null", "na", "n/a", "-"})


def import_scores(
    source: Path,
    target: ImportTarget,
    out: Path,
    *,
    origin: str,
    model: str | None = None,
    columns: Mapping[str, str] | None = None,
    joint: bool = False,
    retrieved: str | None = None,
    overwrite: bool = False,
) -> list[Result]:
    """Write a score table and a published result for every model in a file or folder; return the results.

    Args:
        target: the benchmark; its examples, where known, give subsets, groups and lengths.
        origin: where the scores are published, for example REPOSITORY@COMMIT:PATH.
        model: name of the model, for a file that does not name it.
        columns: by field of `COLUMNS`, the column that holds it; several joined by "+" make A/B.
        joint: keep the scores of all models in one file, which is much smaller.
        retrieved: date of the download (UTC).

    Models are called as in the registry below `out`. Raises DataError for rows that cannot be read, ResultError if a
    result exists and `overwrite` is False, or if it is that of a run.
    """
    by_name = _read_models(source, model, columns or {}, target)
    models = find_models(by_name, read_registry(out))
    for listed in models.values():
        check_replaceable(out, target.spec.id, listed.ref.name, overwrite=overwrite)
    if joint:
        check_free(out / joint_scores_path(target.spec.id), overwrite=overwrite)
    completions, scores = _align(by_name, target)
    target = target.with_sizes(Counter(completions["subset"][completions["completion"] == 0]))
    metadata = {
        "benchmark": target.ref.model_dump(mode="json"),
        "models": {
            listed.ref.name: {
                "model": listed.ref.model_dump(mode="json"),
                "notes": None,
                "published": _published(listed, origin, retrieved, completions, scores[name]),
            }
            for name, listed in models.items()
        },
    }
    content = JointScores(completions, {models[name].ref.name: values for name, values in scores.items()}, metadata)
    return _write(content, target.spec.id, out, joint=joint, overwrite=overwrite)


def _write(content: JointScores, benchmark: str, out: Path, *, joint: bool, overwrite: bool) -> list[Result]:
    if joint:
        write_joint_scores(out / joint_scores_path(benchmark), content)
    results = []
    for name in sorted(content.scores):
        own = out / scores_path(benchmark, name)
        if joint:
            own.unlink(missing_ok=True)  # of an earlier import, whose result is replaced
            path = out / joint_scores_path(benchmark)
        else:
            path = own
            write_scores(path, *content.table(name))
        results.append(write_aggregate(path, out, name if joint else None, overwrite=overwrite).result)
    return results


def _published(
    listed: ListedModel, origin: str, retrieved: str | None, completions: pd.DataFrame, values: Floats
) -> dict[str, Any]:
    notes = [listed.note] if listed.note else []
    starts = np.flatnonzero(completions["completion"].to_numpy() == 0)
    margins = CompletionScores(values, completions["is_chosen"].to_numpy(dtype=bool), starts).margins()
    if (missing := ~np.isfinite(margins) | (margins == 0)).any():
        won = float((margins[~missing] > 0).sum()) / len(margins)
        notes.append(f"with ties and missing scores as losses, its accuracy over all examples is {won:.4f}")
    published = Published(source=origin, retrieved=retrieved, note="; ".join(notes) or None)
    return published.model_dump(mode="json")


# Rows


@dataclass
class _ScoredExample:
    """The scores of a model for an example, from one row, or from a row for each completion.

    completions: (index, chosen, score), None for an index or a label that is not known.
    """

    location: RowLocation
    subset: str | None
    group: str | None
    completions: list[tuple[int | None, bool | None, float]] = field(default_factory=list)


def _read_models(
    source: Path, model: str | None, columns: Mapping[str, str], target: ImportTarget
) -> dict[str, dict[str, _ScoredExample]]:
    """Return the scores of each model by example."""
    if unknown := sorted(columns.keys() - COLUMNS.keys()):
        raise DataError(f"--columns: there is no field {unknown[0]!r}; the fields are {', '.join(COLUMNS)}")
    rows = list(read_rows(source))
    if not rows:
        raise DataError(f"{as_text(source.name)}: has no rows")
    problems = RowProblems()
    found = _find_columns(rows, columns)
    by_file = names_of_files(location.name for _, location in rows) if source.is_dir() else {}
    models: dict[str, dict[str, _ScoredExample]] = {}
    for row, location in rows:
        with problems.collected(location):
            if isinstance(row, RowError):
                raise row
            name = _text(row, found.get("model", ""), location) or model or by_file.get(location.name)
            if name is None:
                raise DataError(
                    "the row names no model; name it with --model NAME, or its column with --columns model=COLUMN"
                )
            _add_row(row, found, location, models.setdefault(name, {}))
    problems.raise_any()
    return models


def _find_columns(rows: Sequence[tuple[Row | RowError, RowLocation]], named: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of the fields that the rows have. Raises DataError when scores or ids are not among them."""
    present = dict.fromkeys(name for row, _ in rows if not isinstance(row, RowError) for name in row)
    for field_name, column in named.items():
        if missing := [part for part in column.split("+") if part not in present]:
            raise DataError(f"--columns {field_name}={column}: no row has a column {missing[0]!r}")
    columns = dict(named)
    for field_name, known in COLUMNS.items():
        if field_name not in columns and (matching := [name for name in known if name in present]):
            columns[field_name] = matching[0]
    if "id" not in columns or not ({"chosen", "rejected"} <= columns.keys() or "score" in columns):
        raise DataError(
            f"expected an id with a chosen and a rejected score, or with a score; there are {', '.join(present)}; "
            "name them with --columns id=COLUMN,chosen=COLUMN,rejected=COLUMN or id=COLUMN,score=COLUMN,label=COLUMN"
        )
    return columns


def _add_row(row: Row, columns: Mapping[str, str], location: RowLocation, examples: dict[str, _ScoredExample]) -> None:
    """Add the scores in a row to those of its example. Raises DataError for what is there already."""
    example_id = read_name(row, columns["id"], location)
    subset, group = (_text(row, columns.get(name, ""), location) for name in ("subset", "group"))
    is_pair = {"chosen", "rejected"} <= columns.keys()
    if is_pair and example_id in examples:
        raise location.error(columns["id"], f"{quoted(example_id)} is repeated")
    example = examples.setdefault(example_id, _ScoredExample(location, subset, group))
    if is_pair:
        for name, is_chosen in (("chosen", True), ("rejected", False)):
            values = row.get(columns[name])
            for value in values if isinstance(values, list) else [values]:
                number = _number(value, columns[name], location)
                example.completions.append((len(example.completions), is_chosen, number))
        return
    index = _index(row, columns.get("completion", ""), location)
    if index is not None and any(index == other for other, _, _ in example.completions):
        raise location.error(columns["completion"], f"the completion {index} of {quoted(example_id)} is repeated")
    label = _label(row, columns.get("label", ""), location)
    example.completions.append((index, label, _number(row.get(columns["score"]), columns["score"], location)))


def _text(row: Row, column: str, location: RowLocation) -> str | None:
    """Return the text in a column, or in several joined by "+"; None without one."""
    if not column or any(row.get(name) is None for name in column.split("+")):
        return None
    return "/".join(read_name(row, name, location) for name in column.split("+"))


def _number(value: Any, column: str, location: RowLocation) -> float:
    """Return a score; NaN for a missing one."""
    if value is None or (isinstance(value, str) and value.strip().lower() in _MISSING):
        return math.nan
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isnan(number) and not isinstance(value, float):
        raise location.error(column, f"is {describe_value(value)}; expected a number, or nothing")
    return number


def _index(row: Row, column: str, location: RowLocation) -> int | None:
    value = row.get(column)
    if isinstance(value, str) and value.strip().isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None  # a column with texts has none


def _label(row: Row, column: str, location: RowLocation) -> bool | None:
    value = row.get(column)
    if value is None:
        return None
    label = _LABELS.get(str(value).strip().lower())
    if label is None:
        raise location.error(column, f"is {quoted(str(value))}; expected chosen or rejected, 1 or 0, true or false")
    return label


# Aligned scores


class _Shape(NamedTuple):
    """An example: numbers of its completions, and the parts it belongs to."""

    num_chosen: int
    num_completions: int
    subset: str
    group: str


def _align(
    models: Mapping[str, Mapping[str, _ScoredExample]], target: ImportTarget
) -> tuple[pd.DataFrame, dict[str, Floats]]:
    """Return the completions that all models share, and their scores by model."""
    shapes = _shapes_of_data(models, target) if target.examples else _shapes_of_scores(models, target)
    starts = dict(zip(shapes, np.cumsum([0, *(shape.num_completions for shape in shapes.values())]), strict=False))
    total = sum(shape.num_completions for shape in shapes.values())
    scores: dict[str, Floats] = {name: np.full(total, np.nan) for name in models}
    for name, examples in models.items():
        for example_id, example in examples.items():
            place, shape = starts[example_id], shapes[example_id]
            scores[name][place : place + shape.num_completions] = _ordered(
                example, example_id, shape, by_index=bool(target.examples)
            )
    rows = [
        (example_id, shape.subset, shape.group, completion, completion < shape.num_chosen)
        for example_id, shape in shapes.items()
        for completion in range(shape.num_completions)
    ]
    frame = pd.DataFrame(rows, columns=["example_id", "subset", "group", "completion", "is_chosen"])
    unknown = {"num_tokens": 0, "num_completion_tokens": 0}
    frame = frame.assign(**(unknown | _counts(target.examples.values())))
    return frame.astype({"completion": "int32", **dict.fromkeys(frame.columns[5:], "int32")}), scores


def _counts(examples: Iterable[Example]) -> dict[str, Any]:
    """Return the lengths and markdown marks of all completions; nothing without examples."""
    from rb_core.scorers.base import split_words  # it imports torch

    counts: dict[str, list[int]] = {}
    for example in examples:
        prompt = sum(len(split_words(message["content"])) for message in example.prompt)
        for text in example.completions:
            words = len(split_words(text))
            amounts = {
                "num_tokens": prompt + words,
                "num_completion_tokens": words,
                "num_markdown": count_markdown(text),
            }
            for name, amount in amounts.items():
                counts.setdefault(name, []).append(amount)
    return counts


def _shapes_of_data(models: Mapping[str, Mapping[str, _ScoredExample]], target: ImportTarget) -> dict[str, _Shape]:
    unknown = dict.fromkeys(name for examples in models.values() for name in examples if name not in target.examples)
    if unknown:
        named = ", ".join(map(quoted, list(unknown)[:3]))
        raise DataError(
            f"{target.spec.id} has no example {named} ({len(unknown)} ids of the scores are not in the data)"
        )
    return {
        example.id: _Shape(example.num_chosen, len(example.completions), example.subset, example.group)
        for example in target.examples.values()
    }


def _shapes_of_scores(models: Mapping[str, Mapping[str, _ScoredExample]], target: ImportTarget) -> dict[str, _Shape]:
    """Return the examples in the order in which they first appear. Raises DataError where the models contradict."""
    names = target.spec.subset_names
    shapes: dict[str, _Shape] = {}
    for examples in models.values():
        for example_id, example in examples.items():
            subset = example.subset or (next(iter(names)) if len(names) == 1 else None if names else target.spec.id)
            if subset is None:
                raise example.location.error(
                    "subset",
                    "is missing; name its column with --columns subset=COLUMN, or give the examples with --data",
                )
            if names and subset not in names:
                raise example.location.error("subset", f"is {quoted(subset)}, which {target.spec.id} does not have")
            labels = [is_chosen for _, is_chosen, _ in example.completions]
            if None in labels:
                raise example.location.error(
                    "label", "is missing; name its column with --columns label=COLUMN, or give the examples with --data"
                )
            shape = _Shape(labels.count(True), len(labels), subset, example.group or example_id)
            if not 0 < shape.num_chosen < shape.num_completions:
                kind = "rejected" if shape.num_chosen else "chosen"
                raise RowError(
                    example.location, f"the example {quoted(example_id)} has no score of a {kind} completion"
                )
            if shapes.setdefault(example_id, shape) != shape:
                raise RowError(
                    example.location,
                    f"the example {quoted(example_id)} has another subset or other completions than for another model",
                )
    return shapes


def _ordered(example: _ScoredExample, example_id: str, shape: _Shape, *, by_index: bool) -> list[float]:
    """Return an example's scores, chosen completions first; NaN for completions without one.

    by_index: an index counts the completions of the data. Otherwise it only orders the scores of one label.
    """
    completions = example.completions
    if not by_index or any(index is None for index, _, _ in completions):
        completions = sorted(completions, key=lambda each: (not each[1], each[0] or 0))
        completions = [(place, is_chosen, score) for place, (_, is_chosen, score) in enumerate(completions)]
        is_whole = len(completions) == shape.num_completions
    else:
        is_whole = True
    ordered = [math.nan] * shape.num_completions
    for index, is_chosen, score in completions:
        place = index or 0
        if not is_whole or place >= len(ordered) or is_chosen not in (None, place < shape.num_chosen):
            raise RowError(
                example.location,
                f"the example {quoted(example_id)} has {shape.num_completions} completions, of which "
                f"{shape.num_chosen} are chosen; the scores are of others",
            )
        ordered[place] = score
    return ordered
