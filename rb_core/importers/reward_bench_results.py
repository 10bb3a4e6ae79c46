"""Import results and scores in the public layout of RewardBench's results (see `reward_bench_files`).

Scores become a score table, from which the accuracies are recomputed; published accuracies that differ are reported.
Subsets without scores keep their published accuracies. Outcomes without scores (a judge's 1, 0, or 0.5 for neither)
make no score table, because a judge's half point does not fit the benchmark's rule for ties; they check accuracies.

Examples get the ids of our loader, so that a run and an import can be compared example by example. A file without ids,
or with prompts only inside the text that a template made, gets both from another model's file if the examples are
provably the same. Otherwise an example is named by its position in its subset and is its own group. Numbers of tokens
are not published: they are 0 in the table, which means that lengths are unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, RewardBenchError
from rb_core.evaluation.aggregate import write_aggregate
from rb_core.hub.client import explaining_errors
from rb_core.importers.names import is_model_name, plain_name, safe_name
from rb_core.importers.published_tables import KINDS, check_replaceable
from rb_core.importers.reward_bench_files import (
    ACCURACY_FOLDERS,
    SCORE_FOLDERS,
    PublishedExample,
    RewardBenchFile,
    read_file,
)
from rb_core.results.failures import unscored_reason
from rb_core.results.paths import scores_path
from rb_core.results.schema import BenchmarkRef, ModelKind, ModelRef, Published, Result
from rb_core.results.score_table import SCHEMA, write_scores
from rb_core.results.storage import write_result
from rb_core.stats.published import estimates_from_accuracies
from rb_core.stats.summary import subset_scores

FOLDERS = (*ACCURACY_FOLDERS, *SCORE_FOLDERS)
ROUNDING = 5e-4  # largest difference between a published and a recomputed accuracy that is only rounding


class AccuracyDifference(NamedTuple):
    """A published accuracy that differs from the one of its scores or outcomes."""

    model: str
    subset: str
    published: float
    recomputed: float


@dataclass
class ImportReport:
    """The outcome of an import. written: number of results by benchmark; tables: number of them with a score table.

    refused: a line for each file or model that was left out.
    """

    written: dict[str, int] = field(default_factory=dict)
    tables: int = 0
    differences: list[AccuracyDifference] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass
class _ImportedModel:
    """A model from its files. scores: score table; accuracies: of subsets that the table does not have."""

    spec: BenchmarkSpec
    model: ModelRef
    files: list[str]
    accuracies: dict[str, float]
    scores: pd.DataFrame | None
    differences: list[AccuracyDifference]
    notes: list[str]


def import_results(source: str, out: Path, *, revision: str | None = None, overwrite: bool = False) -> ImportReport:
    """Write a result, and a score table if scores are published, for every model of a folder or hub dataset.

    A malformed file is refused and the others are imported. Raises DataError for a folder without the layout, HubError
    if the dataset cannot be downloaded.
    """
    root, origin = _locate(source, revision)
    report = ImportReport()
    models = _find_files(root, report)
    if not models and not report.refused:
        raise DataError(f"{source}: no .json file in a folder {', '.join(FOLDERS)}")
    references = {
        folder: _find_reference(root, [files[folder] for files in models.values() if folder in files])
        for folder in SCORE_FOLDERS
    }
    imported: dict[tuple[str, str], str] = {}
    for key, files in models.items():
        try:
            model = _read_model(root, key, files, references, report)
            if model is None:
                continue
            name = (model.spec.id, model.model.name)
            if name in imported:
                raise DataError(f"{key}: is called {model.model.name}, as is {imported[name]}")
            _write(model, origin, out, overwrite=overwrite)
        except RewardBenchError as error:
            report.refused.append(str(error))
            continue
        imported[name] = key
        report.written[model.spec.id] = report.written.get(model.spec.id, 0) + 1
        report.tables += model.scores is not None
        report.differences += model.differences
    return report


def _locate(source: str, revision: str | None) -> tuple[Path, str]:
    """Return the folder with the files and its name in results; for a dataset the name has the commit."""
    path = Path(source)
    if path.exists():
        if not path.is_dir():
            raise DataError(f"{source}: is not a folder")
        if revision is not None:
            raise DataError(f"{source}: is a local folder, which has no revision {revision!r}")
        return path, path.resolve().name
    from huggingface_hub import HfApi, snapshot_download

    with explaining_errors(f"dataset {source} is no folder here and cannot be read from the hub"):
        commit = HfApi().dataset_info(source, revision=revision).sha
        patterns = [f"{folder}/*" for folder in FOLDERS]
        snapshot = snapshot_download(source, repo_type="dataset", revision=commit, allow_patterns=patterns)
    return Path(snapshot), f"{source}@{commit}"


def _find_files(root: Path, report: ImportReport) -> dict[str, dict[str, Path]]:
    """Return each model's files by folder. A model's key is its path below that folder, without the suffix."""
    models: dict[str, dict[str, Path]] = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in (".json", ".jsonl") or not path.is_file():
                continue
            files = models.setdefault(path.relative_to(root / folder).with_suffix("").as_posix(), {})
            if folder in files:
                report.refused.append(f"{path.relative_to(root).as_posix()}: the same model as {files[folder].name}")
            else:
                files[folder] = path
    return dict(sorted(models.items()))


def _find_reference(root: Path, paths: Iterable[Path]) -> RewardBenchFile | None:
    """Return the first file whose examples all have ids and prompts."""
    for path in paths:
        try:
            file = read_file(root, path)
        except DataError:
            continue  # reported with its model
        if file.examples and all(example.id and example.group for example in file.examples):
            return file
    return None


# One model


def _read_model(
    root: Path,
    key: str,
    paths: Mapping[str, Path],
    references: Mapping[str, RewardBenchFile | None],
    report: ImportReport,
) -> _ImportedModel | None:
    """Read the files of one model; malformed ones are refused. Returns None if nothing is left."""
    files: list[RewardBenchFile] = []
    examples: list[PublishedExample] = []
    notes: list[str] = []
    for folder, path in paths.items():
        try:
            file = read_file(root, path)
            if file.unknown:
                notes.append(f"left out of {file.name}: {', '.join(file.unknown)}")
            if folder in SCORE_FOLDERS:
                examples += _with_ids(file, references[folder], notes)
            files.append(file)
        except DataError as error:
            report.refused.append(str(error))
            notes.append(f"{path.relative_to(root).as_posix()} is left out: it cannot be read")
    if not files:
        return None
    if len({file.spec.id for file in files}) > 1:
        raise DataError(f"{key}: " + ", ".join(f"{file.name} is of {file.spec.id}" for file in files))
    if not any(file.name.startswith(ACCURACY_FOLDERS[0]) for file in files):
        raise DataError(f"{files[0].name}: the prior sets alone, without a readable file of {ACCURACY_FOLDERS[0]}")
    header = {name: value for file in reversed(files) for name, value in file.header.items()}
    accuracies = {name: value for file in files for name, value in file.accuracies.items()}
    model = _model_ref(key, header, notes)
    return _combine(files[0].spec, model, [file.name for file in files], accuracies, examples, notes)


def _combine(
    spec: BenchmarkSpec,
    model: ModelRef,
    files: list[str],
    published: Mapping[str, float],
    examples: Sequence[PublishedExample],
    notes: list[str],
) -> _ImportedModel:
    """Take scores where they are published, accuracies elsewhere, and report where they differ."""
    scored = {example.subset for example in examples if example.scored}
    scores = _score_table([e for e in examples if e.subset in scored], files) if scored else None
    recomputed: dict[str, float] = {}
    if scores is not None:
        notes += _coverage_notes(scores, spec)
        recomputed = subset_scores(scores, spec)
    accuracies = {name: value for name, value in published.items() if math.isnan(recomputed.get(name, math.nan))}
    outcomes = _mean_credits([e for e in examples if e.subset not in scored], spec)
    if outcomes:
        notes.append(f"outcomes without scores, no score table: {', '.join(outcomes)}")
    if unpublished := [name for name in outcomes if name not in accuracies]:
        accuracies |= {name: outcomes[name] for name in unpublished}
        notes.append(f"accuracies from outcomes: {', '.join(unpublished)}")
    if scored and (kept := [name for name in accuracies if name not in outcomes]):
        notes.append(f"no scores of {', '.join(kept)}: accuracies as published")
    differences = [
        AccuracyDifference(model.name, name, published[name], value)
        for name, value in (recomputed | outcomes).items()
        if name in published and abs(published[name] - value) > ROUNDING
    ]
    if differences:
        listed = ", ".join(f"{d.subset} {d.published:.4f} (recomputed: {d.recomputed:.4f})" for d in differences)
        notes.append(f"published otherwise than its scores or outcomes say: {listed}")
    if scores is None and not accuracies:
        raise DataError(f"{', '.join(files)}: neither scores nor accuracies nor outcomes")
    return _ImportedModel(spec, model, files, accuracies, scores, differences, notes)


def _model_ref(key: str, header: Mapping[str, str], notes: list[str]) -> ModelRef:
    name = _model_name(key, header.get("model", ""))
    if name != key:
        notes.insert(0, f"published as {key!r}")
    if "chat_template" in header:
        notes.append(f"chat template {header['chat_template']!r}")
    model_type, reference = header.get("model_type"), header.get("ref_model", "")
    reference_name = reference if is_model_name(reference) else None
    return ModelRef(name=name, kind=_kind(model_type), kind_detail=model_type, reference=reference_name)


def _model_name(key: str, stated: str) -> str:
    """Return the path of the file or the name in it; of a path on some machine, the last two parts."""
    candidates = (plain_name(key), plain_name(stated))
    return next((name for name in candidates if is_model_name(name)), None) or safe_name(key)


def _kind(model_type: str | None) -> ModelKind:
    if model_type is None:
        return "unknown"
    by_prefix = (kind for label, kind in KINDS.items() if model_type.startswith(label))
    return KINDS.get(model_type) or next(by_prefix, None) or "unknown"


# Ids and groups


def _with_ids(file: RewardBenchFile, reference: RewardBenchFile | None, notes: list[str]) -> list[PublishedExample]:
    """Return the examples with the ids and groups that our loader gives them."""
    spec, examples, groups = file.spec, file.examples, {}
    if reference is not None:
        groups = {(example.subset, example.id): example.group for example in reference.examples}
        if not any(example.id for example in examples) and _same_examples(examples, reference.examples):
            pairs = zip(examples, reference.examples, strict=True)
            examples = tuple(replace(example, id=other.id) for example, other in pairs)
            notes.append(f"ids of {file.name} from {reference.name}, whose examples are the same in the same order")
    named: list[PublishedExample] = []
    positions = dict.fromkeys((example.subset for example in examples), 0)
    sizes = {subset: sum(example.subset == subset for example in examples) for subset in positions}
    counts = {subset.name: subset.count for subset in spec.subsets}
    for example in examples:
        subset = example.subset
        positions[subset] += 1
        prior = spec.prior is not None and subset in spec.prior.splits
        group = example.group or (groups.get((subset, example.id)) if example.id else None)
        example_id = example.id
        if example_id is None:  # our loader numbers the rows of a prior split without ids, which must be whole for that
            whole_split = prior and sizes[subset] == counts[subset]
            example_id = str(positions[subset]) if whole_split else f"row-{positions[subset]}"
        if prior or example.id is None:
            example_id = f"{subset}/{example_id}"
        if example.scored and spec.metric_of(subset).examples_per_trial > 1:
            group = _ties_group(example_id, file.name)
        named.append(replace(example, id=example_id, group=group))
    if any("/row-" in (example.id or "") for example in named):
        notes.append(f"{file.name} has no ids: its examples are named by their places")
    if any(example.group is None for example in named):
        notes.append(f"{file.name} has no prompts apart: intervals take its examples as independent")
    return [replace(example, group=example.group or f"{example.subset}/{example.id}") for example in named]


def _same_examples(examples: Sequence[PublishedExample], others: Sequence[PublishedExample]) -> bool:
    """Return True if the subsets agree row for row and each text contains the other file's chosen completion."""
    return len(examples) == len(others) and all(
        example.subset == other.subset and example.text is not None and (other.text or "").strip() in example.text
        for example, other in zip(examples, others, strict=True)
    )


def _ties_group(example_id: str, place: str) -> str:
    kind, _, number = example_id.partition(":")
    if kind not in ("ref", "tied") or not number:
        raise DataError(f"{place}: field 'id': is {example_id!r}; a Ties example is called ref:N or tied:N")
    return f"ties:{number}"


# Tables and results


def _score_table(examples: Sequence[PublishedExample], files: Sequence[str]) -> pd.DataFrame:
    """Return the score table of these examples. Raises DataError for an id that is repeated in a subset."""
    names = [(example.subset, example.id) for example in examples]
    if len(set(names)) < len(names):
        subset, example_id = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{', '.join(files)}: the id {example_id!r} stands twice in {subset}")
    ambiguous = len({example_id for _, example_id in names}) < len(names)
    rows = []
    for example in examples:
        name = f"{example.subset}/{example.id}" if ambiguous else example.id
        for completion, score in enumerate(example.scores):
            reason = unscored_reason(score)
            value = math.nan if reason else score
            chosen = completion < example.num_chosen
            rows.append((name, example.subset, example.group, completion, chosen, value, 0, 0, False, reason))
    integers = dict.fromkeys(("completion", "num_tokens", "num_completion_tokens"), "int32")
    return pd.DataFrame(rows, columns=SCHEMA.names).astype({"score": "float64", **integers})


def _num_examples(scores: pd.DataFrame, spec: BenchmarkSpec) -> dict[str, int]:
    """Return the number of examples in the table by subset, in the benchmark's order."""
    counts = scores.groupby("subset")["example_id"].nunique()
    return {subset.name: int(counts[subset.name]) for subset in spec.subsets if subset.name in counts}


def _coverage_notes(scores: pd.DataFrame, spec: BenchmarkSpec) -> list[str]:
    """Return a note if a subset has another number of examples with scores than it has examples."""
    counts = _num_examples(scores, spec)
    differing = [s for s in spec.subsets if s.name in counts and s.count not in (None, counts[s.name])]
    listed = ", ".join(f"{counts[s.name]} of {s.count} of {s.name}" for s in differing)
    return [f"scores of {listed}"] if differing else []


def _mean_credits(examples: Sequence[PublishedExample], spec: BenchmarkSpec) -> dict[str, float]:
    """Return the mean credit of each subset whose examples all have one and whose score is that mean."""
    means = {}
    for name in dict.fromkeys(e.subset for e in examples if spec.metric_of(e.subset).averages_credits):
        earned = [example.credit for example in examples if example.subset == name]
        whole = [credit for credit in earned if credit is not None]
        if len(whole) == len(earned):
            means[name] = sum(whole) / len(whole)
    return means


def _write(model: _ImportedModel, origin: str, out: Path, *, overwrite: bool) -> None:
    """Write score table and result. Raises ResultError if a result exists, or the scores of a run."""
    spec, name = model.spec, model.model.name
    check_replaceable(out, spec.id, name, overwrite=overwrite)
    table = out / scores_path(spec.id, name)
    published = Published(
        source=f"{origin}: {', '.join(model.files)}",
        retrieved=datetime.now(UTC).date().isoformat(),
        note="; ".join(model.notes) or None,
    )
    benchmark = BenchmarkRef(id=spec.id, title=spec.title, source=spec.source.repo if spec.source else spec.id)
    if model.scores is None:
        estimates = estimates_from_accuracies(spec, model.accuracies)._asdict()
        result = Result(status="published", benchmark=benchmark, model=model.model, published=published, **estimates)
        write_result(out, result, overwrite=overwrite)
        table.unlink(missing_ok=True)  # of an earlier import, whose result is replaced
        return
    subsets = _num_examples(model.scores, spec)
    metadata = {
        "benchmark": benchmark.model_copy(update={"subsets": subsets}).model_dump(mode="json"),
        "model": model.model.model_dump(mode="json"),
        "notes": None,
        "published": published.model_dump(mode="json"),
        "accuracies": model.accuracies,
    }
    write_scores(table, model.scores, metadata)
    write_aggregate(table, out, overwrite=overwrite)
