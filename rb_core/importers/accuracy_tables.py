"""Import tables of published accuracies: a row for each model, or a row of counts for each model and part.

A column is called as a subset or section of the benchmark. A table of counts has the columns `part`, `correct`,
`tied` (optional) and `total`. The model is named by a column, or by the file in a folder. `source` may be a column.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rb_core.benchmarks.files import read_rows
from rb_core.benchmarks.row_location import Row, RowError, RowLocation, RowProblems
from rb_core.benchmarks.rows import read_name
from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.errors import DataError, as_text, quoted
from rb_core.importers.names import ListedModel, find_models, names_of_files
from rb_core.importers.published_tables import check_replaceable
from rb_core.importers.target import ImportTarget
from rb_core.leaderboard.model_registry import read_registry
from rb_core.results.estimate import Estimate
from rb_core.results.paths import scores_path
from rb_core.results.schema import Published, Result
from rb_core.results.storage import write_result
from rb_core.stats.published import headline_estimate, section_estimate, subset_estimate, subset_size

Unit = Literal["fraction", "percent"]
HEADLINE = "headline"
_HEADLINE_NAMES = ("headline", "score", "overall", "average", "accuracy")
_FIELDS = ("model", "source", "part", "correct", "tied", "total")
_ROUNDING = 1.001e-3  # largest difference of a score and the mean of its sections, all rounded to three digits


@dataclass
class ModelAccuracies:
    """The accuracies of a model in a table, as fractions.

    values: by part: a subset, a section, or "headline"; others: numbers in columns that are no part of the benchmark.
    """

    listed: str
    source: str
    values: dict[str, float] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def import_accuracies(
    source: Path,
    target: ImportTarget,
    out: Path,
    *,
    origin: str,
    columns: Mapping[str, str] | None = None,
    unit: Unit | None = None,
    retrieved: str | None = None,
    overwrite: bool = False,
) -> list[Result]:
    """Write a published result for every model in the tables; return the results.

    Args:
        origin: where the table is published; the source of rows without a column `source`.
        columns: by part or field, the column that holds it.
        unit: of the accuracies; by default it is found in the values, if they leave no doubt.

    Raises DataError for tables that cannot be read, ResultError if a result exists and `overwrite` is False, or if it
    is that of a run.
    """
    models = read_accuracies(source, target.spec, origin=origin, columns=columns, unit=unit)
    return write_accuracies(models, target, out, retrieved=retrieved, overwrite=overwrite)


def write_accuracies(
    models: Sequence[ModelAccuracies],
    target: ImportTarget,
    out: Path,
    *,
    retrieved: str | None = None,
    overwrite: bool = False,
) -> list[Result]:
    """Write the results of models, which are called as in the registry below `out`; raises as `import_accuracies`."""
    listed = find_models((model.listed for model in models), read_registry(out))
    results = [_result(model, listed[model.listed], target, retrieved) for model in models]
    for result in results:
        check_replaceable(out, result.benchmark.id, result.model.name, overwrite=overwrite)
    for result in results:
        write_result(out, result, overwrite=overwrite)
        # Of an earlier import of scores, whose result is replaced.
        (out / scores_path(result.benchmark.id, result.model.name)).unlink(missing_ok=True)
    return results


def read_accuracies(
    source: Path,
    spec: BenchmarkSpec,
    *,
    origin: str,
    columns: Mapping[str, str] | None = None,
    unit: Unit | None = None,
) -> list[ModelAccuracies]:
    """Return the accuracies of each model in a table or folder of tables; raises as `import_accuracies`."""
    rows = list(read_rows(source))
    problems = RowProblems()
    names = _column_names(rows, spec, columns or {})
    by_file = names_of_files(location.name for _, location in rows) if source.is_dir() else {}
    models: dict[str, ModelAccuracies] = {}
    for row, location in rows:
        with problems.collected(location):
            if isinstance(row, RowError):
                raise row
            name = read_name(row, names["model"], location) if "model" in names else by_file.get(location.name)
            if name is None:
                raise DataError("the row names no model; name its column with --columns model=COLUMN")
            if name in models and "part" not in names:
                raise DataError(f"the model {quoted(name)} is repeated")
            own_source = row.get(names["source"]) if "source" in names else None
            model = models.setdefault(name, ModelAccuracies(name, str(own_source or origin)))
            if "part" in names:
                _add_counts(model, row, names, spec, location)
            else:
                _add_values(model, row, names, location)
    problems.raise_any()
    if not models:
        raise DataError(f"{as_text(source.name)}: has no rows")
    if "part" not in names:
        _to_fractions(models.values(), unit, as_text(source.name))
    return list(models.values())


def _column_names(
    rows: Sequence[tuple[Row | RowError, RowLocation]], spec: BenchmarkSpec, named: Mapping[str, str]
) -> dict[str, str]:
    """Return the column of each field and part. Raises DataError for a name without a meaning or a column."""
    present = dict.fromkeys(name for row, _ in rows if not isinstance(row, RowError) for name in row)
    parts = _parts(spec)
    for part, column in named.items():
        if part not in (*_FIELDS, *parts):
            raise DataError(f"--columns: {spec.id} has no part {part!r}; it has {', '.join(parts)}")
        if column not in present:
            raise DataError(f"--columns {part}={column}: there is no column {column!r}")
    known = {_letters(part): part for part in parts}
    known |= dict.fromkeys(_HEADLINE_NAMES, HEADLINE) | {name: name for name in _FIELDS}
    found = {known[_letters(column)]: column for column in reversed(present) if _letters(column) in known}
    names = {**found, **named}
    counts = {"part", "correct", "total"} & names.keys()
    if rows and len(counts) < 3 and not names.keys() & set(parts):
        raise DataError(
            f"no column is called as a part of {spec.id} ({', '.join(parts)}); there are {', '.join(present)}; "
            "name them with --columns PART=COLUMN"
        )
    if len(counts) < 3:
        names = {name: column for name, column in names.items() if name not in ("part", "correct", "tied", "total")}
    return names


def _parts(spec: BenchmarkSpec) -> list[str]:
    return [HEADLINE, *(section.name for section in spec.sections), *(subset.name for subset in spec.subsets)]


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _add_values(model: ModelAccuracies, row: Row, names: Mapping[str, str], location: RowLocation) -> None:
    meaning = {column: name for name, column in names.items()}
    for column, value in row.items():
        name = meaning.get(column)
        if name in _FIELDS or value is None or value == "":
            continue
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if name is None:
            model.others |= {column: number} if math.isfinite(number) else {}
        elif math.isfinite(number):
            model.values[name] = number
        elif str(value).strip().lower() not in ("nan", "none", "null", "na", "n/a", "-"):
            raise location.error(column, f"is {quoted(str(value))}; expected an accuracy, or nothing")


def _to_fractions(models: Iterable[ModelAccuracies], unit: Unit | None, name: str) -> None:
    """Turn all accuracies into fractions. Raises DataError for values of which the unit is in doubt or wrong."""
    models = list(models)
    values = [value for model in models for value in model.values.values()]
    highest = max(values, default=0.0)
    if unit is None:
        unit = "fraction" if highest <= 1.01 else "percent"
        if unit == "percent" and any(0 < value <= 1 for value in values):
            raise DataError(
                f"{name}: has accuracies up to {highest:g} and others below 1; state --unit fraction or percent"
            )
    limit = 1.01 if unit == "fraction" else 101.0  # the Ties composite can leave [0, 1] by a hundredth
    if wrong := next((value for value in values if not -limit / 100 <= value <= limit), None):
        raise DataError(f"{name}: {wrong:g} is no accuracy as a {unit}")
    if unit == "percent":
        for model in models:
            model.values = {part: _percent(value) for part, value in model.values.items()}
            model.others = {part: _percent(value) for part, value in model.others.items()}


def _percent(value: float) -> float:
    return round(value / 100, 12)  # 62.99 / 100 has more digits than were published


def _add_counts(
    model: ModelAccuracies, row: Row, names: Mapping[str, str], spec: BenchmarkSpec, location: RowLocation
) -> None:
    """Add the accuracy of a part from its counts. Raises DataError for counts that cannot be those of the part."""
    listed = read_name(row, names["part"], location)
    parts = {_letters(part): part for part in _parts(spec)} | dict.fromkeys(_HEADLINE_NAMES, HEADLINE)
    part = parts.get(_letters(listed))
    if part is None:
        raise location.error(names["part"], f"is {quoted(listed)}; {spec.id} has {', '.join(_parts(spec))}")
    if part in model.values:
        raise location.error(names["part"], f"{quoted(listed)} of {quoted(model.listed)} is repeated")
    correct, tied, total = (_count(row, names.get(name, ""), location) for name in ("correct", "tied", "total"))
    expected = _size(spec, part)
    if total < 1 or correct + tied > total or expected not in (None, total):
        known = "" if expected is None else f"; {spec.id} has {expected} there"
        raise location.error(names["total"], f"{correct} correct and {tied} tied of {total} cannot be {part}{known}")
    model.values[part] = (correct + {"none": 0.0, "half": 0.5, "split": 0.5}[spec.tie_credit] * tied) / total
    if tied:
        model.notes.append(f"{part}: {tied} of {total} tied")


def _count(row: Row, column: str, location: RowLocation) -> int:
    value = row.get(column)
    if not column or value in (None, ""):
        return 0
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (number >= 0 and number.is_integer()):
        raise location.error(column, f"is {quoted(str(value))}; expected a number of examples")
    return int(number)


def _size(spec: BenchmarkSpec, part: str) -> int | None:
    """Return the number of examples of a subset, a section, or of all sections; None if not known."""
    subsets = [part] if part in spec.subset_names else []
    for section in spec.sections:
        subsets += section.weights if part in (section.name, HEADLINE) and part not in spec.subset_names else []
    sizes = [subset_size(spec, name) for name in subsets]
    return None if None in sizes else sum(size or 0 for size in sizes)


# Results


def _result(model: ModelAccuracies, listed: ListedModel, target: ImportTarget, retrieved: str | None) -> Result:
    """Return the result of a model: published numbers, and what follows from those of parts."""
    spec = target.spec
    subsets = {name: value for name, value in model.values.items() if name in spec.subset_names}
    for section in spec.sections:  # a section with one subset is called like it or not
        if len(section.weights) == 1 and section.name in model.values:
            subsets.setdefault(next(iter(section.weights)), model.values[section.name])
    sections: dict[str, Estimate] = {}
    for section in spec.sections:
        value = _section_value(section, model.values, subsets)
        if value is not None:
            sections[section.name] = section_estimate(spec, section, value, subsets)
    absent = {section.name: "not published" for section in spec.sections if section.name not in sections}
    notes = [listed.note] if listed.note else []
    headline = _headline(spec, model, sections, notes)
    if headline is None:
        missing = [section.name for section in spec.sections if section.required and section.name not in sections]
        absent["headline"] = f"without {', '.join(missing)}"
    if model.others:
        notes.append("also published: " + ", ".join(f"{name} {value:g}" for name, value in model.others.items()))
    return Result(
        status="published",
        benchmark=target.ref,
        model=listed.ref,
        headline=headline,
        sections=sections,
        subsets={s.name: subset_estimate(spec, s.name, subsets[s.name]) for s in spec.subsets if s.name in subsets},
        absent=absent,
        published=Published(source=model.source, retrieved=retrieved, note="; ".join([*notes, *model.notes]) or None),
    )


def _section_value(section: Section, values: Mapping[str, float], subsets: Mapping[str, float]) -> float | None:
    if section.name in values and section.name not in section.weights:
        return values[section.name]
    return section.mean(subsets) if section.weights.keys() <= subsets.keys() else None


def _headline(
    spec: BenchmarkSpec, model: ModelAccuracies, sections: Mapping[str, Estimate], notes: list[str]
) -> Estimate | None:
    """Return the mean of the sections, which has more digits than a published score; without any, the published one."""
    published = model.values.get(HEADLINE)
    mean = None
    if all(section.name in sections for section in spec.sections if section.required):
        weights = {section.name: section.headline_weight for section in spec.sections if section.name in sections}
        mean = sum(weight * (sections[name].value or 0.0) for name, weight in weights.items()) / sum(weights.values())
    if published is not None and sections and (mean is None or abs(published - mean) > _ROUNDING):
        notes.append(f"its source gives {published:g} as the score")
    value = mean if sections else published
    return None if value is None else headline_estimate(spec, value, sections)
