"""Results and scores in the public layout of RewardBench's results, as results and score tables of ours.

The datasets allenai/reward-bench-results and allenai/reward-bench-2-results have a file a model, ORG/NAME.json, in

    eval-set          accuracies of the subsets, as fractions, with model, model_type, chat_template, ref_model
    pref-sets         the same for the prior sets (RewardBench only)
    eval-set-scores   columns with an entry an example: subset, id; scores_chosen, scores_rejected (pairs) or scores,
                      the right answers' first, with num_correct (RewardBench 2); results, what it earned; the texts
    pref-sets-scores  the same for the prior sets

What scores allow is computed anew, through a score table; where the published accuracy differs, that is said. Subsets
without scores keep their published accuracies. Outcomes alone (a judge's 1, 0, or 0.5 for neither) make no score table:
they are no scores, and a judge's half point has no place in the benchmark's rule for ties. They serve as a check.

Examples have the ids that our loader gives them, so that a run and an import can be compared example by example. Files
that lack ids, or prompts apart from the text that a template made of them, get both from a file beside them that has
them, if its examples are provably the same; else an example is named by its place in its subset and is its own group.
The numbers of tokens are not published: they are 0 in the table, so that nothing is said of lengths.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rb_core.benchmarks.example import prompt_digest
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.rows import RowLocation, read_messages
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, ResultError, RewardBenchError, first_line
from rb_core.evaluation.aggregate import write_aggregate
from rb_core.evaluation.journal import unfinished_runs
from rb_core.hub.client import explaining_errors
from rb_core.importers.published_tables import KINDS, check_place, plain_name
from rb_core.results.paths import scores_path
from rb_core.results.schema import BenchmarkRef, ModelKind, ModelRef, Published, Result
from rb_core.results.score_table import SCHEMA, read_scores, write_scores
from rb_core.results.storage import check_model_name, write_result
from rb_core.stats.published import estimates_from_accuracies
from rb_core.stats.summary import subset_scores

ACCURACIES = ("eval-set", "pref-sets")


SCORES = ("eval-set-scores", "pref-sets-scores")


READ = (BENCHMARKS["rewardbench"], BENCHMARKS["rewardbench-2"])


# Subsets that early files have and the benchmark has dropped.
DROPPED = frozenset({"anthropic", "summarize_prompted", "pku_better", "pku_safer", "xstest"})


# What is more than rounding between a published and a recomputed accuracy.
TOLERANCE = 5e-4


class Difference(NamedTuple):
    """A published accuracy that its own scores or outcomes do not give."""

    model: str
    subset: str
    published: float
    recomputed: float


@dataclass
class Report:
    """What became of the files. written: results by benchmark; tables: how many of them have a score table; refused: a
    line for each file or model that was left out."""

    written: dict[str, int] = field(default_factory=dict)
    tables: int = 0
    differences: list[Difference] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def import_results(source: str, out: Path, *, revision: str | None = None, overwrite: bool = False) -> Report:
    """Write a result, and where scores are published a score table, for every model of a folder or hub dataset.

    A file that does not say what it must is refused, and the rest stands. Raises DataError for a folder without the
    layout, HubError where the hub does not give the dataset.
    """
    folder, origin = _locate(source, revision)
    models = _models(folder, report := Report())
    if not models and not report.refused:
        raise DataError(f"{source}: no .json file in a folder {', '.join((*ACCURACIES, *SCORES))}")
    references = {
        name: _reference(folder, [files[name] for files in models.values() if name in files]) for name in SCORES
    }
    names: dict[str, str] = {}
    for key, files in models.items():
        try:
            found = _read_model(folder, key, files, references, report.refused)
            if found is None:
                continue
            if found.place in names:
                raise DataError(f"{key}: is called {found.model.name}, as is {names[found.place]}")
            _write(found, origin, out, overwrite=overwrite)
        except RewardBenchError as error:
            report.refused.append(str(error))
            continue
        names[found.place] = key
        report.written[found.spec.id] = report.written.get(found.spec.id, 0) + 1
        report.tables += found.frame is not None
        report.differences += found.differences
    return report


def _locate(source: str, revision: str | None) -> tuple[Path, str]:
    """The folder with the files, and what to call it: a name, or repository and commit."""
    path = Path(source)
    if path.exists():
        if not path.is_dir():
            raise DataError(f"{source}: is no folder")
        if revision is not None:
            raise DataError(f"{source}: is a folder here, and has no revision {revision!r}")
        return path, path.resolve().name
    from huggingface_hub import HfApi, snapshot_download

    with explaining_errors(f"dataset {source} is no folder here and cannot be read from the hub"):
        commit = HfApi().dataset_info(source, revision=revision).sha
        patterns = [f"{name}/*" for name in (*ACCURACIES, *SCORES)]
        folder = snapshot_download(source, repo_type="dataset", revision=commit, allow_patterns=patterns)
    return Path(folder), f"{source}@{commit}"


def _models(folder: Path, report: Report) -> dict[str, dict[str, Path]]:
    """The files of each model by their folder; a model's key is its path below that folder."""
    models: dict[str, dict[str, Path]] = {}
    for name in (*ACCURACIES, *SCORES):
        for path in sorted((folder / name).rglob("*")):
            if path.suffix not in (".json", ".jsonl") or not path.is_file():
                continue
            files = models.setdefault(path.relative_to(folder / name).with_suffix("").as_posix(), {})
            if name in files:
                report.refused.append(f"{_place(folder, path)}: the same model as {files[name].name}")
            else:
                files[name] = path
    return dict(sorted(models.items()))


# One model


@dataclass
class _Found:
    """What the files say of a model. accuracies: of subsets that the frame does not have."""

    spec: BenchmarkSpec
    model: ModelRef
    files: list[str]
    accuracies: dict[str, float]
    frame: pd.DataFrame | None
    differences: list[Difference]
    notes: list[str]

    @property
    def place(self) -> str:
        return f"{self.spec.id}/{self.model.name}"


def _read_model(
    folder: Path,
    key: str,
    files: Mapping[str, Path],
    references: Mapping[str, _Reference | None],
    refused: list[str],
) -> _Found | None:
    """All files of one model together; those that are refused are left out. None when nothing is left."""
    specs: dict[str, BenchmarkSpec] = {}
    stated: dict[str, float] = {}
    header: dict[str, Any] = {}
    items: list[_Item] = []
    notes: list[str] = []
    for name, path in files.items():
        place = _place(folder, path)
        try:
            records = _records(path, place)
            if name in ACCURACIES:
                spec, more = _accuracies(records, place, notes)
                stated |= more
            else:
                spec, columns = _columns(records, place)
                items += _named(_items(spec, columns, place), spec, references[name], place, notes)
            specs[place] = spec
            header = _header(records) | header
        except DataError as error:
            refused.append(str(error))
            notes.append(f"{place} is left out: it cannot be read")
    if not specs:
        return None
    if len({spec.id for spec in specs.values()}) > 1:
        raise DataError(f"{key}: " + ", ".join(f"{place} is of {spec.id}" for place, spec in specs.items()))
    if not any(place.startswith(ACCURACIES[0]) for place in specs):
        raise DataError(f"{next(iter(specs))}: the prior sets alone, without a readable file of {ACCURACIES[0]}")
    model = _model(key, header, notes)
    return _together(next(iter(specs.values())), model, list(specs), stated, items, notes)


def _together(
    spec: BenchmarkSpec,
    model: ModelRef,
    files: list[str],
    stated: Mapping[str, float],
    items: Sequence[_Item],
    notes: list[str],
) -> _Found:
    """Scores where they are published, accuracies elsewhere, and what does not agree."""
    scored = {item.subset for item in items if item.scored}
    frame = _frame([item for item in items if item.subset in scored], files) if scored else None
    if frame is not None:
        notes += _coverage(frame, spec)
    recomputed = {} if frame is None else subset_scores(frame, spec)
    accuracies = {name: value for name, value in stated.items() if math.isnan(recomputed.get(name, math.nan))}
    outcomes = _outcomes([item for item in items if item.subset not in scored], spec)
    if outcomes:
        notes.append(f"outcomes without scores, no score table: {', '.join(outcomes)}")
    if unstated := [name for name in outcomes if name not in accuracies]:
        accuracies |= {name: outcomes[name] for name in unstated}
        notes.append(f"accuracies from outcomes: {', '.join(unstated)}")
    if scored and (kept := [name for name in accuracies if name not in outcomes]):
        notes.append(f"no scores of {', '.join(kept)}: accuracies as published")
    found = [
        Difference(model.name, name, stated[name], value)
        for name, value in (recomputed | outcomes).items()
        if name in stated and abs(stated[name] - value) > TOLERANCE
    ]
    if found:
        listed = ", ".join(f"{d.subset} {d.published:.4f} (recomputed: {d.recomputed:.4f})" for d in found)
        notes.append(f"published otherwise than its scores or outcomes say: {listed}")
    if frame is None and not accuracies:
        raise DataError(f"{', '.join(files)}: neither scores nor accuracies nor outcomes")
    return _Found(spec, model, files, accuracies, frame, found, notes)


def _model(key: str, header: Mapping[str, Any], notes: list[str]) -> ModelRef:
    name = _model_name(key, header.get("model"))
    if name != key:
        notes.insert(0, f"published as {key!r}")
    template, detail, reference = (header.get(field) for field in ("chat_template", "model_type", "ref_model"))
    if template:
        notes.append(f"chat template {template!r}")
    return ModelRef(
        name=name, kind=_kind(detail), kind_detail=detail, reference=reference if _is_name(reference) else None
    )


def _model_name(key: str, stated: str | None) -> str:
    """The model's name: its file's path, or what the file says; of a path on some machine the last two parts."""
    for candidate in (plain_name(key), plain_name(stated or "")):
        if _is_name(candidate):
            return candidate
    parts = [re.sub(r"[^A-Za-z0-9_.+-]+", "-", part).strip(".+-") for part in plain_name(key).split("/")]
    return check_model_name("/".join([part for part in parts if part][-2:]))


def _is_name(text: str | None) -> bool:
    try:
        return bool(text and check_model_name(text))
    except ResultError:
        return False


def _kind(model_type: str | None) -> ModelKind:
    known = KINDS.get(model_type or "")
    if known is None and model_type:
        known = next((kind for label, kind in KINDS.items() if model_type.startswith(label)), None)
    return known or "unknown"


# Files


def _place(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _records(path: Path, place: str) -> list[dict[str, Any]]:
    """A file's objects: mostly one; some files have an object an example, one after another."""
    try:
        text = path.read_text(encoding="utf-8").strip()
        content = json.loads(text) if text.startswith("[") else list(_objects(text))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{place}: not readable JSON: {first_line(error)}") from error
    if not content or not all(isinstance(record, dict) for record in content):
        raise DataError(f"{place}: expected an object with fields")
    return list(content)


def _objects(text: str) -> Iterator[Any]:
    decoder, begin = json.JSONDecoder(), 0
    while begin < len(text):
        content, end = decoder.raw_decode(text, begin)
        yield content
        begin = _SPACE.match(text, end).end()  # type: ignore[union-attr]  # it matches nothing at least


_SPACE = re.compile(r"\s*")


def _header(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What a file says of its model, where it says it as text."""
    fields = ("model", "model_type", "chat_template", "ref_model")
    return {name: records[0][name] for name in fields if isinstance(records[0].get(name), str) and records[0][name]}


def _benchmark_of(names: Iterable[str], place: str) -> BenchmarkSpec:
    """The benchmark that has most of these subsets."""
    lowered = {name.lower() for name in names}
    common = {spec.id: len(lowered & _lookup(spec).keys()) for spec in READ}
    best = max(READ, key=lambda spec: common[spec.id])
    if not common[best.id]:
        raise DataError(f"{place}: has no subset of {' or '.join(spec.id for spec in READ)}")
    return best


def _lookup(spec: BenchmarkSpec) -> dict[str, str]:
    """The subsets by their names in lower case: early files of RewardBench 2 do not capitalise them."""
    return {name.lower(): name for name in spec.subset_names}


def _accuracies(
    records: Sequence[Mapping[str, Any]], place: str, notes: list[str]
) -> tuple[BenchmarkSpec, dict[str, float]]:
    """The accuracies that a file gives; numbers under other names are left out, and noted."""
    if len(records) != 1:
        raise DataError(f"{place}: expected one object, found {len(records)}")
    spec = _benchmark_of(records[0], place)
    known, accuracies, others = _lookup(spec), {}, []
    for key, value in records[0].items():
        name = known.get(key.lower())
        if name is None:
            others += [key] if _is_number(value) and key not in DROPPED else []
            continue
        low, high = spec.metric_of(name).bounds
        if not _is_number(value) or not low <= value <= high:
            raise DataError(f"{place}: field {key!r}: is {value!r}; expected a fraction from 0 to 1")
        accuracies[name] = float(value)
    if others:
        notes.append(f"left out of {place}: {', '.join(others)}")
    return spec, accuracies


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _columns(records: Sequence[Mapping[str, Any]], place: str) -> tuple[BenchmarkSpec, dict[str, list[Any]]]:
    """The columns of a file of scores, whichever way round it is written."""
    if len(records) == 1 and isinstance(records[0].get("subset"), list):
        columns = {name: value for name, value in records[0].items() if isinstance(value, list)}
    else:
        columns = {name: [record.get(name) for record in records] for name in {k: 0 for r in records for k in r}}
    subsets = columns.get("subset")
    if not subsets or not all(isinstance(subset, str) for subset in subsets):
        raise DataError(f"{place}: field 'subset': expected the name of each example's subset")
    for name in set(columns) & _COLUMNS:
        if len(columns[name]) != len(subsets):
            raise DataError(f"{place}: field {name!r}: has {len(columns[name])} entries for {len(subsets)} examples")
    return _benchmark_of(subsets, place), columns


_PAIRS = ("scores_chosen", "scores_rejected")


_TEXTS = ("text_chosen", "texts_chosen", "text")


_COLUMNS = frozenset({"subset", "id", "scores", "num_correct", "results", *_PAIRS, *_TEXTS})


# Examples


@dataclass(frozen=True)
class _Item:
    """An example. scores: the chosen completions' first, NaN where one is not published; group: the prompt's digest;
    text: the first chosen completion, alone where that is known, or as its template has it."""

    subset: str
    scores: tuple[float, ...]
    num_chosen: int
    outcome: float | None
    identity: str | None
    group: str | None
    text: str | None

    @property
    def scored(self) -> bool:
        return not all(math.isnan(score) for score in self.scores)


class _Reference(NamedTuple):
    """A file whose examples have ids and prompts, for those that lack them."""

    place: str
    items: list[_Item]
    groups: dict[tuple[str, str], str]


def _items(spec: BenchmarkSpec, columns: Mapping[str, list[Any]], place: str) -> list[_Item]:
    known, items = _lookup(spec), []
    texts = next((columns[name] for name in _TEXTS if name in columns), None)
    size = len(columns["subset"])

    def column(name: str) -> list[Any]:
        return columns.get(name) or [None] * size

    for row, listed in enumerate(columns["subset"]):
        if listed in DROPPED:
            continue
        where = f"{place}: example {row + 1}"
        if listed.lower() not in known:
            raise DataError(f"{where}: field 'subset': is {listed!r}, which {spec.id} does not have")
        subset = known[listed.lower()]
        scores, num_chosen = _scores_of(columns, row, where, ties=spec.metric_of(subset).needs_ratings)
        group, text = _prompt_and_text(texts[row] if texts else None)
        outcome, identity = _outcome(column("results")[row], where), _identity(column("id")[row], where)
        items.append(_Item(subset, scores, num_chosen, outcome, identity, group, text))
    return items


def _scores_of(columns: Mapping[str, list[Any]], row: int, where: str, *, ties: bool) -> tuple[tuple[float, ...], int]:
    """The scores of an example and how many of them are the chosen completions'."""
    if "scores" in columns:
        number = columns["num_correct"][row] if "num_correct" in columns else None if ties else 1
        scores = _numbers(columns["scores"][row], where, "scores")
        if not scores:
            return (math.nan,) * 4, 1
        if not isinstance(number, int | float) or int(number) != number or not 0 < number < len(scores):
            raise DataError(f"{where}: field 'num_correct': is {number!r} for {len(scores)} scores")
        return scores, int(number)
    pair = []
    for name in _PAIRS:
        values = _numbers(columns[name][row], where, name) if name in columns else ()
        if len(values) > 1:
            raise DataError(f"{where}: field {name!r}: expected one number, found {len(values)}")
        pair.append(values[0] if values else math.nan)
    return tuple(pair), 1


def _numbers(value: Any, where: str, name: str) -> tuple[float, ...]:
    """A number, or a list with a number for each completion; some files have each number in a list of its own."""
    found = []
    for entry in value if isinstance(value, list) else [] if value is None else [value]:
        single = entry[0] if isinstance(entry, list) and len(entry) == 1 else entry
        if single is not None and not _is_number(single):
            raise DataError(f"{where}: field {name!r}: expected one number a completion")
        found.append(math.nan if single is None else float(single))
    return tuple(found)


def _outcome(value: Any, where: str) -> float | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DataError(f"{where}: field 'results': is {value!r}; expected a number from 0 to 1")
    return float(value)


def _identity(value: Any, where: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():  # a column of whole numbers that once had a gap
        value = int(value)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise DataError(f"{where}: field 'id': is {value!r}; expected text or a whole number")
    return str(value)


def _prompt_and_text(value: Any) -> tuple[str | None, str | None]:
    """The digest of the prompt, where it stands apart in messages, and the chosen completion's text."""
    while isinstance(value, list) and value and isinstance(value[0], list):
        value = value[0]
    if isinstance(value, str):
        return None, value
    if not isinstance(value, list) or not value:
        return None, None
    if isinstance(value[0], str):  # best of four: a text a completion
        return None, value[0]
    try:
        messages = read_messages(value, RowLocation("", 0, ""), "text")
    except DataError:
        return None, None
    if len(messages) < 2:
        return None, None
    return prompt_digest(messages[:-1]), messages[-1]["content"]


# Ids and groups


def _reference(folder: Path, paths: Sequence[Path]) -> _Reference | None:
    """The first file whose examples all have ids and prompts."""
    for path in paths:
        place = _place(folder, path)
        try:
            spec, columns = _columns(_records(path, place), place)
            items = _items(spec, columns, place)
        except DataError:
            continue  # refused when its model's turn comes
        if items and all(item.identity and item.group for item in items):
            groups = {(item.subset, item.identity or ""): item.group or "" for item in items}
            return _Reference(place, items, groups)
    return None


def _named(
    items: Sequence[_Item], spec: BenchmarkSpec, reference: _Reference | None, place: str, notes: list[str]
) -> list[_Item]:
    """The examples with the ids and groups that our loader would give them."""
    if reference is not None and not any(item.identity for item in items) and _same_examples(items, reference):
        items = [replace(item, identity=r.identity) for item, r in zip(items, reference.items, strict=True)]
        notes.append(f"ids of {place} from {reference.place}, whose examples are the same in the same order")
    named, numbers = [], dict.fromkeys((item.subset for item in items), 0)
    sizes = {name: sum(item.subset == name for item in items) for name in numbers}
    counts = {subset.name: subset.count for subset in spec.subsets}
    for item in items:
        numbers[item.subset] += 1
        number, identity, group = numbers[item.subset], item.identity, item.group
        if group is None and reference is not None and identity:
            group = reference.groups.get((item.subset, identity))
        prior = spec.prior is not None and item.subset in spec.prior.splits
        if identity is None:  # our loader numbers the rows of a prior split that lacks ids; that takes the whole split
            identity = str(number) if prior and sizes[item.subset] == counts[item.subset] else f"row-{number}"
        if prior or item.identity is None:
            identity = f"{item.subset}/{identity}"
        if item.scored and spec.metric_of(item.subset).examples_per_trial > 1:
            group = _ties_group(item, place)
        named.append(replace(item, identity=identity, group=group))
    if any("/row-" in (item.identity or "") for item in named):
        notes.append(f"{place} has no ids: its examples are named by their places")
    if any(item.group is None for item in named):
        notes.append(f"{place} has no prompts apart: intervals take its examples as independent")
    return [replace(item, group=item.group or f"{item.subset}/{item.identity}") for item in named]


def _same_examples(items: Sequence[_Item], reference: _Reference) -> bool:
    """Whether subsets agree row for row and every chosen completion stands in the text beside it."""
    return len(items) == len(reference.items) and all(
        item.subset == other.subset and item.text is not None and (other.text or "").strip() in item.text
        for item, other in zip(items, reference.items, strict=True)
    )


def _ties_group(item: _Item, place: str) -> str:
    kind, _, number = (item.identity or "").partition(":")
    if kind not in ("ref", "tied") or not number:
        raise DataError(f"{place}: field 'id': is {item.identity!r}; a Ties example is called ref:N or tied:N")
    return f"ties:{number}"


# Tables and results


def _frame(items: Sequence[_Item], files: Sequence[str]) -> pd.DataFrame:
    """The score table of these examples. Raises DataError for an id that stands twice in one subset."""
    pairs = [(item.subset, item.identity) for item in items]
    if len(set(pairs)) < len(pairs):
        twice = next(pair for pair in pairs if pairs.count(pair) > 1)
        raise DataError(f"{', '.join(files)}: the id {twice[1]!r} stands twice in {twice[0]}")
    ambiguous = len({identity for _, identity in pairs}) < len(pairs)
    rows = []
    for item in items:
        name = f"{item.subset}/{item.identity}" if ambiguous else item.identity
        with np.errstate(over="ignore"):
            scores = np.asarray(item.scores, dtype=np.float32).tolist()
        for completion, score in enumerate(scores):
            reason = "" if math.isfinite(score) else "no score published" if math.isnan(score) else "score not finite"
            value = math.nan if reason else score
            row = (name, item.subset, item.group, completion, completion < item.num_chosen, value, 0, 0, False, reason)
            rows.append(row)
    counts = dict.fromkeys(("completion", "num_tokens", "num_completion_tokens"), "int32")
    return pd.DataFrame(rows, columns=SCHEMA.names).astype({"score": "float32", **counts})


def _coverage(frame: pd.DataFrame, spec: BenchmarkSpec) -> list[str]:
    """A note where fewer examples have scores than a subset has."""
    found = frame.groupby("subset")["example_id"].nunique()
    unlike = [s for s in spec.subsets if s.name in found and s.count not in (None, found[s.name])]
    listed = ", ".join(f"{found[s.name]} of {s.count} of {s.name}" for s in unlike)
    return [f"scores of {listed}"] if unlike else []


def _outcomes(items: Sequence[_Item], spec: BenchmarkSpec) -> dict[str, float]:
    """The mean outcome of each subset whose examples all have one; the Ties composite is no mean of outcomes."""
    by_subset: dict[str, list[float | None]] = {}
    for item in items:
        if spec.metric_of(item.subset).averages_credits:
            by_subset.setdefault(item.subset, []).append(item.outcome)
    return {
        name: sum(found) / len(found)
        for name, listed in by_subset.items()
        if len(found := [value for value in listed if value is not None]) == len(listed)
    }


def _write(found: _Found, origin: str, out: Path, *, overwrite: bool) -> None:
    """Write score table and result. Raises ResultError where another result, or anything of a run, stands."""
    spec, name = found.spec, found.model.name
    check_place(out, spec.id, name, overwrite=overwrite)
    table = out / scores_path(spec.id, name)
    if unfinished_runs(table) or (table.exists() and "run" in read_scores(table)[1]):
        raise ResultError(f"{table}: holds the scores of a run, which published ones do not replace")
    published = Published(
        source=f"{origin}: {', '.join(found.files)}",
        retrieved=datetime.now(UTC).date().isoformat(),
        note="; ".join(found.notes) or None,
    )
    benchmark = BenchmarkRef(id=spec.id, title=spec.title, source=spec.source.repo if spec.source else spec.id)
    if found.frame is None:
        estimates = estimates_from_accuracies(spec, found.accuracies)
        result = Result(
            status="published", benchmark=benchmark, model=found.model, published=published, **estimates._asdict()
        )
        write_result(out, result, overwrite=overwrite)
        table.unlink(missing_ok=True)  # of an earlier import: the result that it belonged to is replaced
        return
    counts = found.frame.groupby("subset", sort=False)["example_id"].nunique()
    subsets = {s.name: int(counts[s.name]) for s in spec.subsets if s.name in counts}
    about = {
        "benchmark": benchmark.model_copy(update={"subsets": subsets}).model_dump(mode="json"),
        "model": found.model.model_dump(mode="json"),
        "notes": None,
        "published": published.model_dump(mode="json"),
        "accuracies": found.accuracies,
    }
    write_scores(table, found.frame, about)
    write_aggregate(table, out, overwrite=overwrite)
