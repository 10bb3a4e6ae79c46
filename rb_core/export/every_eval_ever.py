"""Export records of Every Eval Ever. Scores are fractions from 0 to 1, as that project requires for accuracies."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.errors import DataError, ResultError
from rb_core.export.selection import (
    PACKAGE_ORGANISATIONS,
    check_exportable,
    dataset_split,
    hub_dataset,
    required_value,
    result_spec,
    source_link,
    why_incomplete,
)
from rb_core.files import write_atomically
from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result
from rb_core.results.storage import read_results
from rb_core.stats.metrics.base import Metric

EEE_VERSION = "0.3.0"
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")
_RESERVED = re.compile(r"(?i)data|(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?|.*\.")


@dataclass(frozen=True)
class Reporter:
    """The organisation that reports a run, and its relationship to the model's makers (one of RELATIONSHIPS)."""

    organization: str = "unknown"
    relationship: str = "other"

    def __post_init__(self) -> None:
        if self.relationship not in RELATIONSHIPS:
            raise DataError(f"relationship {self.relationship!r}: expected one of {', '.join(RELATIONSHIPS)}")


def every_eval_ever(
    root: Path, models: Sequence[str], *, reporter: Reporter | None = None, runs_only: bool = False
) -> tuple[dict[str, bytes], list[str]]:
    """Return (records by path, a message for each result left out). Without `models`: all models below root.

    The same result gives the same path and bytes. Raises ResultError for a name that cannot be exported and for a named
    model without a result.
    """
    wanted = {check_exportable(name) for name in models}
    results, left_out = read_results(root)
    for name in sorted(wanted - {result.model.name for result in results}):
        raise ResultError(f"{name}: no result below {root}; `evaluate` makes one")
    records = {}
    for result in results:
        if wanted and result.model.name not in wanted:
            continue
        reason = _why_left_out(result, runs_only)
        if reason:
            left_out.append(f"{result.model.name} on {result.benchmark.id}: {reason}")
        else:
            record = eee_record(result, reporter or Reporter())
            records[eee_path(result, record)] = _json(record)
    return records, left_out


def _why_left_out(result: Result, runs_only: bool) -> str | None:
    organisation, _, model = result.model.name.partition("/")
    if organisation in PACKAGE_ORGANISATIONS:
        return "it is part of this package"
    if not model or organisation == "unknown":
        return "its organisation is unknown"
    if any(_RESERVED.fullmatch(part) for part in (result.benchmark.id, organisation, model)):
        return "its name cannot be a folder name there"
    if runs_only and result.status != "run":
        return "it was published elsewhere"
    if result.published and result.published.retrieved is None:
        return "it has no date"
    return why_incomplete(result)


def eee_record(result: Result, reporter: Reporter) -> dict[str, Any]:
    """Return a result as a record: headline, sections and subsets, as fractions from 0 to 1 with their errors."""
    stamp = _timestamp(result)
    identity = f"{result.benchmark.id}/{result.model.name.replace('/', '_')}/{stamp}"
    record = {
        "schema_version": EEE_VERSION,
        "evaluation_id": identity,
        "retrieved_timestamp": stamp,
        "source_metadata": _eee_source(result, reporter),
        "eval_library": _eee_library(result),
        "model_info": _eee_model(result),
        "evaluation_results": [
            {"evaluation_result_id": f"{identity}#{entry['evaluation_name']}", **entry}
            for entry in _eee_entries(result)
        ],
    }
    if result.run:
        record["evaluation_timestamp"] = result.run.started
    return record


def eee_path(result: Result, record: Mapping[str, Any]) -> str:
    """Return the path of a record: a UUID of version 4, as the project requires, derived from the content."""
    name = uuid.UUID(bytes=hashlib.sha256(_json(record)).digest()[:16], version=4)
    return f"data/{result.benchmark.id}/{result.model.name}/{name}.json"


def write_records(records: Mapping[str, bytes], out: Path) -> None:
    """Write records below a folder."""
    for path, content in records.items():
        write_atomically(out / path, content)


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _timestamp(result: Result) -> str:
    """Return the time when a run began or a published score was retrieved, in seconds since 1970 (UTC)."""
    text = result.run.started if result.run else str(result.published.retrieved if result.published else None)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ResultError(f"{result.path()}: {text!r} is not a date") from error
    return str(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))


def _details(**fields: object) -> dict[str, str]:
    """Return additional details, which have to be text; unknown ones are left out."""
    return {key: str(value) for key, value in fields.items() if value is not None}


def _eee_source(result: Result, reporter: Reporter) -> dict[str, Any]:
    if result.published is None:
        return {
            "source_name": "RewardBench (rb_core)",
            "source_type": "evaluation_run",
            "source_organization_name": reporter.organization,
            "evaluator_relationship": reporter.relationship,
            "additional_details": _details(scores_sha256=result.scores.sha256 if result.scores else None),
        }
    source = result.published.source
    owner = re.match(r"([\w.-]+)/[\w.-]+@", source)
    return {
        "source_name": result.benchmark.title,
        "source_type": "documentation",
        "source_organization_name": owner[1] if owner else "unknown",
        # Leaderboards are not run by the makers of the models on them.
        "evaluator_relationship": "third_party",
        "additional_details": _details(source=source, url=source_link(source), note=result.published.note),
    }


def _eee_library(result: Result) -> dict[str, Any]:
    if result.run is None:
        return {"name": "unknown", "version": "unknown"}
    versions = dict(result.run.versions)
    return {
        "name": "rb_core",
        "version": versions.pop("rb_core", "unknown"),
        "additional_details": _details(**versions, git_commit=result.run.git_commit, seed=result.run.seed),
    }


def _eee_model(result: Result) -> dict[str, Any]:
    model = result.model
    info: dict[str, Any] = {"name": model.name, "id": model.name, "developer": model.name.split("/")[0]}
    if result.run and "transformers" in result.run.versions:
        info["inference_engine"] = {"name": "transformers", "version": result.run.versions["transformers"]}
    info["additional_details"] = _details(
        deployment_type="self_deployed" if result.run else "unknown",
        # Weights from the hub are open; for others it is unknown.
        model_availability="open_weights" if result.run and model.source else "unknown",
        kind=model.kind,
        kind_detail=model.kind_detail,
        source=model.source,
        revision=model.revision,
        parameters=model.parameters,
        dtype=model.dtype,
        reference=model.reference,
        beta=model.beta,
        output=model.output,
        step_separator=model.step_separator,
        aggregate=model.aggregate,
        question=model.question,
    )
    return info


def _eee_entries(result: Result) -> Iterator[dict[str, Any]]:
    """Yield headline, sections, and the subsets that are not a whole section."""
    spec = result_spec(result)
    whole = "The benchmark's score: the weighted mean of its sections" if spec.sections else "Accuracy"
    yield _eee_entry(result, "overall", (), result.headline, None, _headline_bounds(spec), whole)
    for section in spec.sections:
        if estimate := result.sections.get(section.name):
            bounds = section.metric.value_range
            yield _eee_entry(result, "section", (section.name,), estimate, section.metric, bounds, section.description)
    for name, estimate in result.subsets.items():
        section_of = spec.section_of(name)
        if section_of is None or len(section_of.weights) > 1:
            path = (section_of.name, name) if section_of else (name,)
            metric = spec.metric_of(name)
            text = next((subset.description for subset in spec.subsets if subset.name == name), "")
            yield _eee_entry(result, "subset", path, estimate, metric, metric.value_range, text)


def _headline_bounds(spec: BenchmarkSpec) -> tuple[float, float]:
    """Return the smallest and largest possible headline."""
    sections = spec.sections or (Section("all", {}),)
    total = sum(section.headline_weight for section in sections)
    low, high = (sum(s.headline_weight * s.metric.value_range[end] for s in sections) / total for end in (0, 1))
    return low, high


def _eee_entry(
    result: Result,
    level: str,
    path: tuple[str, ...],
    estimate: Estimate | None,
    metric: Metric | None,
    bounds: tuple[float, float],
    description: str,
) -> dict[str, Any]:
    name = ".".join([result.benchmark.id, *(part.lower().replace(" ", "-") for part in path or (level,))])
    accuracy = metric is not None and metric.is_accuracy
    return {
        "evaluation_name": name,
        "source_data": _eee_dataset(result),
        "metric_config": {
            "evaluation_description": description or name,
            "metric_id": "accuracy" if accuracy else f"{result.benchmark.id}.{metric.name if metric else level}",
            "metric_name": "Accuracy" if accuracy else "Score",
            "metric_kind": "accuracy" if accuracy else "score",
            "metric_unit": "proportion",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": bounds[0],
            "max_score": bounds[1],
            # The overall score contains the sections, and these their subsets: adding them counts twice.
            "additional_details": {"level": level},
        },
        # A mean of ones may be slightly above 1 in floating point, and scores outside their bounds are refused.
        "score_details": {"score": round(required_value(estimate), 12)} | _eee_uncertainty(estimate),
    }


def _eee_uncertainty(estimate: Estimate | None) -> dict[str, Any]:
    """Return standard error, interval and number of examples, as far as they are known."""
    if estimate is None:
        return {}
    uncertainty: dict[str, Any] = {}
    if estimate.stderr is not None:
        uncertainty["standard_error"] = {"value": estimate.stderr, "method": estimate.method}
    if estimate.low is not None and estimate.high is not None:
        ends = {"lower": estimate.low, "upper": estimate.high}
        uncertainty["confidence_interval"] = {**ends, "confidence_level": 0.95, "method": estimate.method}
    if estimate.scored is not None:
        uncertainty["num_samples"] = estimate.scored
    details = _details(unscored=estimate.unscored, ties=estimate.ties, floor=estimate.floor, ceiling=estimate.ceiling)
    return ({"uncertainty": uncertainty} if uncertainty else {}) | ({"details": details} if details else {})


def _eee_dataset(result: Result) -> dict[str, Any]:
    reference = result.benchmark
    details = _details(revision=reference.revision, examples_sha256=reference.sha256)
    data: dict[str, Any] = {"dataset_name": reference.title}
    if repo := hub_dataset(result):
        data |= {"source_type": "hf_dataset", "hf_repo": repo}
        data |= {"hf_split": split} if (split := dataset_split(result_spec(result))) else {}
    else:
        data |= {"source_type": "other"}
        details |= {"source": reference.source}
    if result.counts:
        data |= {"samples_number": result.counts.examples} if repo else {}
    return data | ({"additional_details": details} if details else {})
