"""Export to the hub's formats: a model's entries in `.eval_results`, and its `model-index`.

Scores are percentages with two digits and are labelled so: the hub prescribes no unit, and its own examples use both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rb_core.errors import ResultError
from rb_core.export.selection import (
    check_exportable,
    dataset_split,
    from_yaml,
    hub_dataset,
    required_value,
    result_spec,
    source_link,
    to_yaml,
    why_incomplete,
)
from rb_core.files import write_atomically
from rb_core.results.schema import ModelKind, Result
from rb_core.results.storage import read_results

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

NEEDED_CLIENT = "1.4"  # the first version of huggingface_hub with EvalResultEntry
RESULTS_FOLDER = ".eval_results"
INDEX_FILE = "model-index.yaml"
INDEX_KEY = "model-index"
# The hub's format requires a task. A dataset names its tasks in eval.yaml; none of the datasets here is known to have
# that file, and `default` is the hub documentation's name for a single task.
TASK_ID = "default"
TASK_NAME = "Preference ranking"
TASK_TYPES: Mapping[ModelKind, str] = dict.fromkeys(("token", "implicit", "generative"), "text-generation")


@dataclass(frozen=True)
class Exported:
    """The complete results of one model on datasets of the hub, and a message for each result left out."""

    model: str
    results: tuple[Result, ...]
    left_out: tuple[str, ...]
    source_url: str | None = None


def for_the_hub(root: Path, model: str, *, source_url: str | None = None) -> Exported:
    """Return the complete results of a model below root. source_url: link to a run's scores, for its entries.

    Raises ResultError for a name that nobody else can look up, and when there is nothing to export.
    """
    check_exportable(model)
    if source_url is not None and not re.match(r"https?://\S+$", source_url):
        raise ResultError(f"source {source_url!r}: expected a link that begins with https://")
    results, left_out = read_results(root)
    kept = []
    for result in (r for r in results if r.model.name == model):
        reason = why_incomplete(result)
        if reason is None and hub_dataset(result) is None:
            reason = f"its data, {result.benchmark.source}, are not those that a benchmark has on the hub"
        if reason is None:
            kept.append(result)
        else:
            left_out.append(f"{result.benchmark.id}: {reason}")
    if not kept:
        reasons = f" ({'; '.join(left_out)})" if left_out else "; `evaluate` makes one"
        raise ResultError(f"{model}: no complete result below {root}{reasons}")
    return Exported(model, tuple(kept), tuple(left_out), source_url)


def to_percent(fraction: float) -> float:
    """Return a fraction as a percentage with two digits."""
    return round(100 * fraction, 2)


def eval_entry(result: Result, source_url: str | None = None) -> EvalResultEntry:
    """Return the hub's entry for a result's headline, in percent. Raises ResultError if the hub's client is too old."""
    try:
        from huggingface_hub import EvalResultEntry
    except ImportError:
        from huggingface_hub import __version__

        raise ResultError(
            f"evaluation results need huggingface_hub {NEEDED_CLIENT} or later, this is {__version__}: "
            "pip install --upgrade huggingface_hub"
        ) from None
    url, name = _source(result, source_url)
    return EvalResultEntry(
        dataset_id=str(hub_dataset(result)),
        task_id=TASK_ID,
        value=to_percent(required_value(result.headline)),
        dataset_revision=_commit(result.benchmark.revision),
        # A published evaluation without a date was run by the day it was retrieved.
        date=result.run.started if result.run else result.published.retrieved if result.published else None,
        source_url=url,
        source_name=name,
        notes=_notes(result),
    )


def _commit(revision: str | None) -> str | None:
    return revision if revision and re.fullmatch(r"[0-9a-f]{40}", revision) else None


def _source(result: Result, run_url: str | None) -> tuple[str | None, str | None]:
    """Return (link, name) of a result's source: that of a published result, else the given link to a run's scores."""
    if result.published is None:
        return run_url, "Scores" if run_url else None
    url = source_link(result.published.source)
    return url, "Published scores" if url else None


def _notes(result: Result) -> str:
    """Return the notes for a reader: unit, interval, and how the score was made."""
    parts = ["score in percent"]
    headline = result.headline
    if headline and headline.low is not None and headline.high is not None:
        parts.append(
            f"95% interval {to_percent(headline.low):.2f} to {to_percent(headline.high):.2f} ({headline.method})"
        )
    if result.run:
        parts.append(f"scored with rb_core {result.run.versions.get('rb_core', '(unknown version)')}")
        parts += [f"model at {result.model.revision}"] if _commit(result.model.revision) else []
        parts += [text for text in (result.model.dtype, _implicit(result)) if text]
    if result.published:
        parts.append("as published" + (f", {result.published.note}" if result.published.note else ""))
        parts += [] if source_link(result.published.source) else [f"from {result.published.source}"]
    if result.counts and result.counts.unscored:
        parts.append(f"{result.counts.unscored} of {result.counts.examples} examples unscored")
    if headline and headline.has_bounds and headline.floor is not None and headline.ceiling is not None:
        floor, ceiling = to_percent(headline.floor), to_percent(headline.ceiling)
        parts.append(f"{floor:.2f} if all of them had failed, {ceiling:.2f} if all had passed")
    return "; ".join(parts)


def _implicit(result: Result) -> str | None:
    model = result.model
    if model.reference:
        return f"implicit reward against {model.reference}, beta {model.beta:g}" if model.beta else None
    return f"implicit reward, {model.output}" if model.kind == "implicit" and model.output else None


def model_index(exported: Exported) -> list[dict[str, Any]]:
    """Return the `model-index` of a model card: headline and sections of each result as metrics, in percent."""
    from huggingface_hub.repocard_data import eval_results_to_model_index

    results = [metric for result in exported.results for metric in _card_metrics(result, exported.source_url)]
    index: list[dict[str, Any]] = eval_results_to_model_index(exported.model.split("/")[1], results)
    return index


def _card_metrics(result: Result, source_url: str | None) -> Iterator[EvalResult]:
    from huggingface_hub import EvalResult

    spec = result_spec(result)
    url, name = _source(result, source_url)
    types = {section.name: "accuracy" if section.metric.is_accuracy else "score" for section in spec.sections}
    for title, estimate in {"Score": result.headline, **result.sections}.items():
        if estimate is None or estimate.value is None:
            continue
        yield EvalResult(
            task_type=TASK_TYPES.get(result.model.kind, "text-classification"),
            task_name=TASK_NAME,
            dataset_type=str(hub_dataset(result)),
            dataset_name=result.benchmark.title,
            dataset_split=dataset_split(spec),
            dataset_revision=_commit(result.benchmark.revision),
            metric_type=types.get(title, "score"),
            metric_name=f"{title} (percent)",
            metric_value=to_percent(estimate.value),
            source_name=name,
            source_url=url,
        )


def hub_files(exported: Exported, current: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of .eval_results by path, merged into the current ones: entries for other tasks are kept."""
    files = {}
    for result in exported.results:
        path = f"{RESULTS_FOLDER}/{result.benchmark.id}.yaml"
        files[path] = _merged_entries(path, eval_entry(result, exported.source_url), current.get(path))
    return files


def _merged_entries(path: str, entry: EvalResultEntry, current: bytes | None) -> bytes:
    from huggingface_hub import eval_result_entries_to_yaml

    ours = eval_result_entries_to_yaml([entry])
    if current is None:
        return to_yaml(ours)
    entries = from_yaml(path, current) or []
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and isinstance(e.get("dataset"), dict) for e in entries
    ):
        raise ResultError(f"{path}: the current file is not a list of evaluation results; correct or remove it first")
    kept = [e for e in entries if (e["dataset"].get("id"), e["dataset"].get("task_id")) != (entry.dataset_id, TASK_ID)]
    # A file with the same content keeps its bytes.
    return current if len(kept) + 1 == len(entries) and ours[0] in entries else to_yaml(kept + ours)


def index_block(exported: Exported) -> bytes:
    """Return the block to paste into the metadata of a model card."""
    return to_yaml({INDEX_KEY: model_index(exported)})


def entry_paths(exported: Exported) -> list[str]:
    """Return the paths of the entries of these results."""
    return [f"{RESULTS_FOLDER}/{result.benchmark.id}.yaml" for result in exported.results]


def write_for_the_hub(exported: Exported, out: Path) -> list[Path]:
    """Write .eval_results and the block for the card below a folder; entries for other tasks are kept."""
    current = {path: (out / path).read_bytes() for path in entry_paths(exported) if (out / path).is_file()}
    files = hub_files(exported, current) | {INDEX_FILE: index_block(exported)}
    for path, content in files.items():
        write_atomically(out / path, content)
    return [out / path for path in files]
