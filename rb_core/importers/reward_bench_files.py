"""Read files in the public layout of RewardBench's results.

The datasets allenai/reward-bench-results and allenai/reward-bench-2-results have for each model a file ORG/NAME.json in

    eval-set          accuracies of the subsets as fractions, with model, model_type, chat_template, ref_model
    pref-sets         the same for the prior sets (RewardBench only)
    eval-set-scores   columns with an entry for each example: subset, id; scores_chosen, scores_rejected (pairs) or
                      scores, chosen completions first, with num_correct (RewardBench 2); results, the credit; texts
    pref-sets-scores  the same for the prior sets
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rb_core.benchmarks.example import prompt_digest
from rb_core.benchmarks.messages import read_messages
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.row_location import RowLocation
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, first_line

ACCURACY_FOLDERS = ("eval-set", "pref-sets")
SCORE_FOLDERS = ("eval-set-scores", "pref-sets-scores")
SPECS = (BENCHMARKS["rewardbench"], BENCHMARKS["rewardbench-2"])
# Subsets of early files that the benchmark no longer has.
DROPPED_SUBSETS = frozenset({"anthropic", "summarize_prompted", "pku_better", "pku_safer", "xstest"})
HEADER_FIELDS = ("model", "model_type", "chat_template", "ref_model")
PAIR_COLUMNS = ("scores_chosen", "scores_rejected")
TEXT_COLUMNS = ("text_chosen", "texts_chosen", "text")
COLUMNS = frozenset({"subset", "id", "scores", "num_correct", "results", *PAIR_COLUMNS, *TEXT_COLUMNS})
_SPACE = re.compile(r"\s*")

Record = Mapping[str, Any]


@dataclass(frozen=True)
class PublishedExample:
    """An example of a score file.

    scores: chosen completions first, NaN for an unpublished score; credit: the published outcome; group: digest of the
    prompt; text: the first chosen completion, alone or inside the text that a template made of the conversation.
    """

    subset: str
    scores: tuple[float, ...]
    num_chosen: int
    credit: float | None
    id: str | None
    group: str | None
    text: str | None

    @property
    def scored(self) -> bool:
        return not all(math.isnan(score) for score in self.scores)


@dataclass(frozen=True)
class RewardBenchFile:
    """The content of a file: accuracies or examples. unknown: names of numbers that belong to no subset."""

    name: str
    spec: BenchmarkSpec
    header: dict[str, str]
    accuracies: dict[str, float]
    unknown: tuple[str, ...]
    examples: tuple[PublishedExample, ...]


def read_file(root: Path, path: Path) -> RewardBenchFile:
    """Read a file below one of the layout's folders in `root`. Raises DataError, naming file and field."""
    name = path.relative_to(root).as_posix()
    records = _read_records(path, name)
    header = {field: records[0][field] for field in HEADER_FIELDS if _is_text(records[0].get(field))}
    if name.split("/")[0] in ACCURACY_FOLDERS:
        spec, accuracies, unknown = _read_accuracies(records, name)
        return RewardBenchFile(name, spec, header, accuracies, unknown, ())
    columns = _read_columns(records, name)
    spec = _find_spec(columns["subset"], name)
    return RewardBenchFile(name, spec, header, {}, (), tuple(_read_examples(spec, columns, name)))


def _read_records(path: Path, name: str) -> list[dict[str, Any]]:
    """Return a file's objects: mostly one; some files have one object for each example."""
    try:
        text = path.read_text(encoding="utf-8").strip()
        content = json.loads(text) if text.startswith("[") else list(_split_objects(text))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{name}: not readable JSON: {first_line(error)}") from error
    if not content or not all(isinstance(record, dict) for record in content):
        raise DataError(f"{name}: expected an object with fields")
    return list(content)


def _split_objects(text: str) -> Iterator[Any]:
    decoder, start = json.JSONDecoder(), 0
    while start < len(text):
        content, end = decoder.raw_decode(text, start)
        yield content
        start = _SPACE.match(text, end).end()  # type: ignore[union-attr]  # it always matches


def _find_spec(names: Iterable[str], place: str) -> BenchmarkSpec:
    """Return the benchmark with most of these subsets."""
    lowered = {name.lower() for name in names}
    num_common = {spec.id: len(lowered & _subsets_by_lower_name(spec).keys()) for spec in SPECS}
    best = max(SPECS, key=lambda spec: num_common[spec.id])
    if not num_common[best.id]:
        raise DataError(f"{place}: has no subset of {' or '.join(spec.id for spec in SPECS)}")
    return best


def _subsets_by_lower_name(spec: BenchmarkSpec) -> dict[str, str]:
    """Return the subsets' names by their lower-case forms: early files of RewardBench 2 do not capitalise them."""
    return {name.lower(): name for name in spec.subset_names}


def _read_accuracies(records: Sequence[Record], place: str) -> tuple[BenchmarkSpec, dict[str, float], tuple[str, ...]]:
    if len(records) != 1:
        raise DataError(f"{place}: expected one object, found {len(records)}")
    spec = _find_spec(records[0], place)
    subsets, accuracies, unknown = _subsets_by_lower_name(spec), {}, []
    for key, value in records[0].items():
        name = subsets.get(key.lower())
        if name is None:
            unknown += [key] if _is_number(value) and key not in DROPPED_SUBSETS else []
            continue
        low, high = spec.metric_of(name).value_range
        if not _is_number(value) or not low <= value <= high:
            raise DataError(f"{place}: field {key!r}: is {value!r}; expected a fraction from 0 to 1")
        accuracies[name] = float(value)
    return spec, accuracies, tuple(unknown)


def _read_columns(records: Sequence[Record], place: str) -> dict[str, list[Any]]:
    """Return the columns of a score file, which is written by columns or by rows."""
    if len(records) == 1 and isinstance(records[0].get("subset"), list):
        columns = {name: value for name, value in records[0].items() if isinstance(value, list)}
    else:
        names = dict.fromkeys(name for record in records for name in record)
        columns = {name: [record.get(name) for record in records] for name in names}
    subsets = columns.get("subset")
    if not subsets or not all(isinstance(subset, str) for subset in subsets):
        raise DataError(f"{place}: field 'subset': expected the name of each example's subset")
    for name in columns.keys() & COLUMNS:
        if len(columns[name]) != len(subsets):
            raise DataError(f"{place}: field {name!r}: has {len(columns[name])} entries for {len(subsets)} examples")
    return columns


def _read_examples(spec: BenchmarkSpec, columns: Mapping[str, list[Any]], place: str) -> Iterator[PublishedExample]:
    subsets = _subsets_by_lower_name(spec)
    text_column = next((name for name in TEXT_COLUMNS if name in columns), "text")
    for index, name in enumerate(columns["subset"]):
        if name in DROPPED_SUBSETS:
            continue
        row = {column: values[index] for column, values in columns.items() if column in COLUMNS}
        location = f"{place}: example {index + 1}"
        subset = subsets.get(name.lower())
        if subset is None:
            raise DataError(f"{location}: field 'subset': is {name!r}, which {spec.id} does not have")
        scores, num_chosen = _read_scores(row, location, ties=spec.metric_of(subset).needs_ratings)
        group, text = _read_prompt_and_text(row.get(text_column))
        credit, example_id = _read_credit(row.get("results"), location), _read_id(row.get("id"), location)
        yield PublishedExample(subset, scores, num_chosen, credit, example_id, group, text)


def _read_scores(row: Record, location: str, *, ties: bool) -> tuple[tuple[float, ...], int]:
    """Return an example's scores, and the number of chosen completions."""
    if "scores" in row:
        num_chosen = row.get("num_correct", None if ties else 1)
        scores = _read_numbers(row["scores"], location, "scores")
        if not scores:
            return (math.nan,) * 4, 1
        if not isinstance(num_chosen, int | float) or int(num_chosen) != num_chosen or not 0 < num_chosen < len(scores):
            raise DataError(f"{location}: field 'num_correct': is {num_chosen!r} for {len(scores)} scores")
        return scores, int(num_chosen)
    pair = []
    for name in PAIR_COLUMNS:
        values = _read_numbers(row.get(name), location, name)
        if len(values) > 1:
            raise DataError(f"{location}: field {name!r}: expected one number, found {len(values)}")
        pair.append(values[0] if values else math.nan)
    return tuple(pair), 1


def _read_numbers(value: Any, location: str, field: str) -> tuple[float, ...]:
    """Read a number, or a list with a number for each completion; some files have each number in its own list."""
    numbers = []
    for entry in value if isinstance(value, list) else [] if value is None else [value]:
        number = entry[0] if isinstance(entry, list) and len(entry) == 1 else entry
        if number is not None and not _is_number(number):
            raise DataError(f"{location}: field {field!r}: expected one number a completion")
        numbers.append(math.nan if number is None else float(number))
    return tuple(numbers)


def _read_credit(value: Any, location: str) -> float | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DataError(f"{location}: field 'results': is {value!r}; expected a number from 0 to 1")
    return float(value)


def _read_id(value: Any, location: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():  # from a column of whole numbers with a gap
        value = int(value)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise DataError(f"{location}: field 'id': is {value!r}; expected text or a whole number")
    return str(value)


def _read_prompt_and_text(value: Any) -> tuple[str | None, str | None]:
    """Return the prompt's digest, if the file has the conversation as messages, and the chosen completion's text."""
    while isinstance(value, list) and value and isinstance(value[0], list):
        value = value[0]
    if isinstance(value, list) and value and isinstance(value[0], str):  # best of four: one text for each completion
        value = value[0]
    if isinstance(value, str) or not isinstance(value, list) or not value:
        return None, value if isinstance(value, str) else None
    try:
        messages = read_messages(value, RowLocation("", 0, ""), "text")
    except DataError:
        return None, None
    return (prompt_digest(messages[:-1]), messages[-1]["content"]) if len(messages) > 1 else (None, None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""
