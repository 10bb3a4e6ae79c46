"""From a model and a benchmark to a result: score what is missing, then aggregate what stands in the score file."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from rb_core import metrics, results
from rb_core.benchmarks import BENCHMARKS, Benchmark, BenchmarkSpec, load, spec_from_json, spec_to_json
from rb_core.errors import DataError, ScoreTableError
from rb_core.example import Candidates, blind
from rb_core.models import ModelOptions, ModelSpec, resolve
from rb_core.results import BenchmarkRef, ModelRef, Notes, Result, Run, ScoreFile
from rb_core.scorers.base import Cell, Plan, Scorer
from rb_core.scorers.baseline import BaselineScorer
from rb_core.table import BatchScores, Journal, Score, read_scores, write_atomically, write_scores


class Finished(NamedTuple):
    """A result and where it was written."""

    result: Result
    path: Path


def evaluate(
    model: str,
    benchmark: str,
    *,
    options: ModelOptions | None = None,
    data: Path | None = None,
    data_revision: str | None = None,
    prior: bool = False,
    limit: int | None = None,
    seed: int = 0,
    out: Path = Path("leaderboard_data"),
    overwrite: bool = False,
    progress: bool = False,
) -> Finished:
    """Score a benchmark with a model and write score table and result below `out`.

    A run that was killed goes on where it stopped when it is started again alike. Raises RewardBenchError for the
    user's mistakes: nothing that stands in `out` is replaced unless `overwrite` says so.
    """
    spec = resolve(model, options or ModelOptions())
    results.check_model_name(spec.name)
    loaded = load(benchmark, data=data, revision=data_revision, prior=prior, limit=limit)
    results.check_free(out / results.result_path(loaded.spec.id, spec.name), overwrite=overwrite)
    scorer = make_scorer(spec, seed)
    return run(scorer, spec.name, loaded, seed=seed, out=out, overwrite=overwrite, progress=progress)


def run(
    scorer: Scorer,
    name: str,
    benchmark: Benchmark,
    *,
    seed: int = 0,
    out: Path,
    overwrite: bool = False,
    progress: bool = False,
) -> Finished:
    """Score a loaded benchmark with any scorer, under the given model name. Raises as `evaluate`."""
    results.check_free(out / results.result_path(benchmark.spec.id, name), overwrite=overwrite)
    started = results.now()
    model = ModelRef(name=results.check_model_name(name), **scorer.describe())
    scores_file = out / results.scores_path(benchmark.spec.id, name)
    blinded = [blind(example, seed) for example in benchmark.examples]
    plan = scorer.plan([candidates for candidates, _ in blinded])
    device = getattr(scorer, "device", "cpu")
    fingerprint = _fingerprint(model, benchmark, plan, seed, device)
    with Journal(scores_file, fingerprint, discard=overwrite) as journal:
        score_missing(scorer, plan, journal, progress=progress)
        entries = [journal.done[index] for index in range(len(plan.batches))]
        frame = score_table(benchmark, [order for _, order in blinded], plan, entries)
        about = {
            "benchmark": benchmark_ref(benchmark).model_dump(mode="json"),
            "record": None if benchmark.spec.id in BENCHMARKS else spec_to_json(benchmark.spec),
            "model": model.model_dump(mode="json"),
            "notes": Notes(**plan.notes).model_dump(mode="json"),
            "run": _run_record(scorer, started, entries, seed, device).model_dump(mode="json"),
        }
        write_scores(scores_file, frame, about)
        finished = write_aggregate(scores_file, out, overwrite=overwrite)
        journal.remove()
    return finished


def make_scorer(spec: ModelSpec, seed: int = 0) -> Scorer:
    """Load the scorer of a model. Raises ModelError when it cannot be."""
    if spec.kind == "baseline":
        return BaselineScorer(spec.location.removeprefix("baseline/"), seed)
    from rb_core.scorers.classifier import ClassifierScorer

    return ClassifierScorer.load(spec)


# --------------------------------------------------------------------------------------------------------------------
# Scoring


def score_missing(scorer: Scorer, plan: Plan, journal: Journal, *, progress: bool = False) -> None:
    """Score the batches of the plan that the journal does not have yet."""
    total = sum(len(batch.cells) for batch in plan.batches)
    done = sum(len(plan.batches[index].cells) for index in journal.done)
    with tqdm(total=total, initial=done, unit="completion", disable=not progress) as bar:
        for index, batch in enumerate(plan.batches):
            if index in journal.done:
                continue
            begin = time.perf_counter()
            scores = tuple(scorer.score(batch))
            journal.append(BatchScores(index, scores, round(time.perf_counter() - begin, 6)))
            bar.update(len(batch.cells))


def score_candidates(scorer: Scorer, candidates: Sequence[Candidates]) -> list[list[Score]]:
    """Score a few candidates at once, with the code that scores benchmarks. One list per candidates, in order."""
    plan = scorer.plan(candidates)
    found: list[list[Score]] = [[Score.unscored("")] * len(each.completions) for each in candidates]
    for batch in plan.batches:
        for cell, score in zip(batch.cells, scorer.score(batch), strict=True):
            found[cell.candidates][cell.completion] = score
    return found


def score_table(
    benchmark: Benchmark, orders: Sequence[Sequence[int]], plan: Plan, entries: Iterable[BatchScores]
) -> pd.DataFrame:
    """Put the labels back: one row a completion, in the benchmark's order."""
    by_cell = {
        cell: score
        for batch, entry in zip(plan.batches, entries, strict=True)
        for cell, score in zip(batch.cells, entry.scores, strict=True)
    }
    rows = []
    for index, (example, order) in enumerate(zip(benchmark.examples, orders, strict=True)):
        place = {completion: position for position, completion in enumerate(order)}
        for completion in range(len(example.completions)):
            score = by_cell[Cell(index, place[completion])]
            chosen = completion < example.num_chosen
            rows.append((example.id, example.subset, example.group, completion, chosen, *score))
    columns = ["example_id", "subset", "group", "completion", "is_chosen", "score", "num_tokens", "truncated", "reason"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"score": "float32", "completion": "int32", "num_tokens": "int32"})


def _fingerprint(model: ModelRef, benchmark: Benchmark, plan: Plan, seed: int, device: Any) -> dict[str, Any]:
    """What the scores depend on. A journal is only continued by a run with the same."""
    cells = json.dumps([[list(cell) for cell in batch.cells] for batch in plan.batches])
    versions = {k: v for k, v in results.versions().items() if k in ("torch", "transformers", "rb_core")}
    return {
        "model": model.model_dump(mode="json", exclude={"probe"}),
        "benchmark": benchmark.sha256,
        "plan": hashlib.sha256(cells.encode()).hexdigest(),
        "seed": seed,
        "device": str(device),
        "versions": versions,
    }


def _run_record(scorer: Scorer, started: str, entries: Iterable[BatchScores], seed: int, device: Any) -> Run:
    commit, dirty = results.git_state()
    return Run(
        command=results.command_line(),
        started=started,
        duration=round(sum(entry.seconds for entry in entries), 3),
        seed=seed,
        batch_tokens=getattr(scorer, "batch_tokens", None),
        device=str(device),
        device_name=_device_name(str(device)),
        peak_memory=_peak_memory(str(device)),
        git_commit=commit,
        git_dirty=dirty,
        versions=results.versions(),
    )


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return platform.machine()


def _peak_memory(device: str) -> int:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    return results.peak_memory()


def benchmark_ref(benchmark: Benchmark) -> BenchmarkRef:
    """Which examples these are, for the result."""
    counts: dict[str, int] = {}
    for example in benchmark.examples:
        counts[example.subset] = counts.get(example.subset, 0) + 1
    known = {s.name: s.count or counts[s.name] for s in benchmark.spec.subsets if s.name in counts}
    return BenchmarkRef(
        id=benchmark.spec.id,
        title=benchmark.spec.title,
        source=benchmark.source,
        revision=benchmark.revision,
        sha256=benchmark.sha256,
        limit=benchmark.limit,
        subsets=known,
    )


# --------------------------------------------------------------------------------------------------------------------
# Aggregating


def aggregate(scores_file: Path) -> Result:
    """Derive the result from a score file alone.

    Raises ScoreTableError when the file is damaged or its benchmark is unknown to this version.
    """
    frame, about = read_scores(scores_file)
    try:
        benchmark, model = BenchmarkRef(**about["benchmark"]), ModelRef(**about["model"])
        notes, run_record = Notes(**about["notes"]), Run(**about["run"])
    except (KeyError, ValueError) as error:
        raise ScoreTableError(f"{scores_file}: its description of the run is not complete: {error}") from error
    computed = metrics.compute(frame, _spec_of(benchmark, about, frame, scores_file), run_record.seed)
    return Result(
        status="run",
        benchmark=benchmark,
        model=model,
        headline=computed.headline,
        sections=computed.sections,
        subsets=computed.subsets,
        absent=computed.absent,
        length=computed.length,
        matrices=computed.matrices,
        margins=computed.margins,
        counts=computed.counts,
        notes=notes,
        run=run_record,
        scores=ScoreFile(
            path=results.scores_path(benchmark.id, model.name).as_posix(),
            sha256=hashlib.sha256(scores_file.read_bytes()).hexdigest(),
        ),
    )


def write_aggregate(scores_file: Path, out: Path, *, overwrite: bool = False) -> Finished:
    """Aggregate and write the result below `out`, with its score file beside it."""
    result = aggregate(scores_file)
    path = results.write_result(out, result, overwrite=overwrite)
    place = out / results.scores_path(result.benchmark.id, result.model.name)
    if place.resolve() != scores_file.resolve():
        write_atomically(place, scores_file.read_bytes())
    return Finished(result, path)


def _spec_of(benchmark: BenchmarkRef, about: dict[str, Any], frame: pd.DataFrame, scores_file: Path) -> BenchmarkSpec:
    try:
        spec = BENCHMARKS.get(benchmark.id) or spec_from_json(about.get("record") or {})
    except DataError as error:
        raise ScoreTableError(f"{scores_file}: benchmark {benchmark.id} is unknown, and {error}") from error
    if unknown := sorted(set(frame["subset"]) - spec.subset_names):
        raise ScoreTableError(f"{scores_file}: {spec.id} has no subset {', '.join(unknown)}")
    return spec
