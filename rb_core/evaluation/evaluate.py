"""Evaluate a model on a benchmark: score what is missing, then aggregate the score file to a result.

Under `accelerate launch` every process makes the same plan for the whole benchmark and scores its share of the batches.
A batch is computed in the same way in any process, so the score table does not depend on the number of processes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from rb_core.benchmarks.example import CompletionSet, blind
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.registry import registered_spec
from rb_core.benchmarks.spec import Benchmark, spec_to_json
from rb_core.errors import DataError, ResultError
from rb_core.evaluation import provenance
from rb_core.evaluation.aggregate import WrittenResult, write_aggregate
from rb_core.evaluation.distributed import Process, this_process
from rb_core.evaluation.journal import Journal, unfinished_runs
from rb_core.evaluation.score import score_missing, score_table
from rb_core.files import check_writable
from rb_core.models.options import CONVERSATION_KINDS, ModelOptions
from rb_core.models.resolve import ModelSpec, resolve
from rb_core.results import paths, storage
from rb_core.results.schema import ModelRef, Notes, Run
from rb_core.results.score_table import write_scores
from rb_core.scorers.base import Plan, RunContext, Scorer
from rb_core.scorers.load import load_scorer

# Fields of a model that may change while a run is interrupted: the largest difference on the probe conversations, and
# the version of a judge's parser, because replies of an unfinished run are parsed again with the installed version.
_VARYING: dict[str, Any] = {"probe": True, "judge": {"parser"}}
BYTES_PER_COMPLETION = 300  # of journal and score file together, mostly much less

Finished = TypeVar("Finished")


class RunFiles(NamedTuple):
    """The files of a run: its scores, its result, and the results root that a transcript is below."""

    scores: Path
    result: Path
    root: Path


def evaluate(
    model: str,
    benchmark: str,
    *,
    options: ModelOptions | None = None,
    data: Path | None = None,
    data_revision: str | None = None,
    columns: Mapping[str, str] | None = None,
    metric: str | None = None,
    ties: str | None = None,
    prior: bool = False,
    limit: int | None = None,
    seed: int = 0,
    out: Path = Path("leaderboard_data"),
    overwrite: bool = False,
    progress: bool = False,
    on_loaded: Callable[[Benchmark], None] = lambda benchmark: None,
) -> WrittenResult:
    """Score a benchmark with a model and write the score table and the result below `out`.

    columns, metric, ties: as for `load_benchmark`; on_loaded: called in the main process before the model is loaded.
    A killed run resumes when it is started again with the same arguments, by the same or another number of processes.
    Raises RewardBenchError for a user's mistakes, in all processes. Nothing in `out` is replaced without `overwrite`.
    """
    process = this_process()
    with process.share_errors():
        model_spec = resolve(model, options or ModelOptions())
        storage.check_model_name(model_spec.name)
        loaded_benchmark = load_benchmark(
            benchmark,
            data=data,
            revision=data_revision,
            prior=prior,
            limit=limit,
            columns=columns,
            metric=metric,
            ties=ties,
        )
        if model_spec.options.threshold is not None and not loaded_benchmark.spec.has_threshold:
            raise DataError(f"--threshold has no effect on {benchmark}, which compares completions with each other")
    # before a large model is loaded
    process.on_main(lambda: _check_run(loaded_benchmark, model_spec.name, seed, out, overwrite=overwrite))
    process.on_main(lambda: on_loaded(loaded_benchmark))
    scorer = load_scorer_for(model_spec, loaded_benchmark, seed)
    return evaluate_scorer(
        scorer, model_spec.name, loaded_benchmark, seed=seed, out=out, overwrite=overwrite, progress=progress
    )


def load_scorer_for(model: ModelSpec, benchmark: Benchmark, seed: int) -> Scorer:
    """Load a model to score a benchmark, whose conversations are tokenised while the weights are loaded.

    Raises ModelError in all processes if it cannot be loaded.
    """
    process = this_process()
    with process.share_errors():
        tokenises = model.kind in CONVERSATION_KINDS
        upcoming = [completion_set for completion_set, _ in blind_all(benchmark, seed)] if tokenises else []
        return load_scorer(process.place(model), seed, upcoming)


def evaluate_scorer(
    scorer: Scorer,
    name: str,
    benchmark: Benchmark,
    *,
    seed: int = 0,
    out: Path,
    overwrite: bool = False,
    progress: bool = False,
) -> WrittenResult:
    """Score a loaded benchmark with any scorer, under the given model name. Raises as `evaluate`.

    A public entry of its own, so it checks again what `evaluate` has checked. Steps that can fail by a user's mistake
    are inside `share_errors`: if one process fails, all raise its error.
    """
    this_process().on_main(lambda: _check_run(benchmark, name, seed, out, overwrite=overwrite))
    scores_file = out / paths.scores_path(benchmark.spec.id, name)

    def finish(scores: pd.DataFrame, metadata: dict[str, Any], replaces: bool) -> WrittenResult:
        write_scores(scores_file, scores, metadata)
        return write_aggregate(scores_file, out, overwrite=replaces)

    return score_benchmark(
        scorer,
        name,
        benchmark,
        RunFiles(scores_file, out / paths.result_path(benchmark.spec.id, name), out),
        finish,
        seed=seed,
        overwrite=overwrite,
        progress=progress,
    )


def score_benchmark(
    scorer: Scorer,
    name: str,
    benchmark: Benchmark,
    files: RunFiles,
    finish: Callable[[pd.DataFrame, dict[str, Any], bool], Finished],
    *,
    seed: int,
    overwrite: bool = False,
    progress: bool = False,
) -> Finished:
    """Score a benchmark, or the rest of it after a killed run, and return what `finish` makes of the score table.

    finish: called in the main process with the score table, its metadata, and whether existing files are replaced; it
    writes `files`. Raises as `evaluate_scorer`.
    """
    process = this_process()
    started = provenance.now()
    with process.share_errors():
        model = describe_model(scorer, name)
    settings = {**run_settings(scorer, model, seed), "benchmark": benchmark.sha256}
    earlier = [run.get("batch_tokens") for run in unfinished_runs(files.scores) if settings.items() <= run.items()]
    scorer.batch_tokens = common_budget(scorer, earlier, process)
    with process.share_errors():
        blinded = blind_all(benchmark, seed)
        transcript = scorer.open_transcript(
            RunContext(benchmark, blinded, model, files.root, files.scores, settings, overwrite, process.count)
        )
    replaces = overwrite or transcript.continues
    process.on_main(lambda: storage.check_free(files.result, overwrite=replaces))
    with process.share_errors():
        plan = scorer.plan([completion_set for completion_set, _ in blinded])
    fingerprint = plan_fingerprint(settings, scorer, plan)
    with Journal(files.scores, fingerprint, discard=overwrite, process=process) as journal, transcript:
        journal.keep(transcript.keeps)
        with process.share_errors(long=True):
            score_missing(scorer, plan, journal, process, progress=progress)
        journal.collect()
        memory = process.gather(provenance.peak_memory(str(scorer.device)))

        def write() -> Finished:
            entries = [journal.done[index] for index in range(len(plan.batches))]
            seconds = sum(entry.seconds for entry in entries)
            run = provenance.run_record(started, seconds, seed, scorer.batch_tokens, str(scorer.device), memory)
            scores = score_table(benchmark, [order for _, order in blinded], plan, entries, scorer.precision)
            return finish(scores, transcript.write(scores, _metadata(benchmark, model, plan, run)), replaces)

        written = process.on_main(write)
        journal.remove()
        transcript.remove()
    return written


def _check_run(benchmark: Benchmark, name: str, seed: int, out: Path, *, overwrite: bool) -> None:
    """Raise RewardBenchError unless a result can record this name and seed, and the run's files can be written."""
    storage.check_model_name(name)
    provenance.benchmark_ref(benchmark)
    check_seed(seed)
    result_file = out / paths.result_path(benchmark.spec.id, name)
    # a result with failed requests may be continued
    storage.check_free(result_file, overwrite=overwrite or storage.has_failures(result_file))
    size = BYTES_PER_COMPLETION * sum(len(example.completions) for example in benchmark.examples)
    for file in (result_file, out / paths.scores_path(benchmark.spec.id, name)):
        check_writable(file.parent, size)


def check_seed(seed: int) -> None:
    """Raise ResultError unless a file can record the seed."""
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ResultError(f"--seed is {seed}; it must be a whole number from 0 to 2^63 - 1")


def blind_all(benchmark: Benchmark, seed: int) -> list[tuple[CompletionSet, list[int]]]:
    """Return each example's completion set without labels, and the order that its completions were put in."""
    spec = benchmark.spec
    return [blind(each, seed, needs_ratings=spec.metric_of(each.subset).needs_ratings) for each in benchmark.examples]


def describe_model(scorer: Scorer, name: str) -> ModelRef:
    """Return the description of a model that results and score tables hold."""
    return ModelRef(name=name, threshold=scorer.threshold, **scorer.describe())


def run_settings(scorer: Scorer, model: ModelRef, seed: int) -> dict[str, Any]:
    """Return the settings that, with the data, must be equal in all processes and in an unfinished run."""
    members = {"members": {"__all__": {"model": _VARYING}}}
    return {
        "model": model.model_dump(mode="json", exclude=_VARYING | {"ensemble": members}),
        "seed": seed,
        "device": str(scorer.device).partition(":")[0],
        "versions": {name: version for name, version in provenance.versions().items() if name in scorer.packages},
    }


def plan_fingerprint(settings: dict[str, Any], scorer: Scorer, plan: Plan) -> dict[str, Any]:
    """Return the settings with token budget and plan. Only a run with the same fingerprint continues a journal."""
    cells = json.dumps([[list(cell) for cell in batch.cells] for batch in plan.batches])
    return {
        **settings,
        "batch_tokens": scorer.batch_tokens,
        "plan": hashlib.sha256(cells.encode()).hexdigest(),
    }


def _metadata(benchmark: Benchmark, model: ModelRef, plan: Plan, run: Run) -> dict[str, Any]:
    """Return the metadata of the score table, from which the result is derived.

    `record` is the specification of a benchmark that is not in the registry. The keys are a file format.
    """
    return {
        "benchmark": provenance.benchmark_ref(benchmark).model_dump(mode="json"),
        "record": None if registered_spec(benchmark.spec.id, {}) else spec_to_json(benchmark.spec),
        "model": model.model_dump(mode="json"),
        "notes": Notes(**plan.notes).model_dump(mode="json"),
        "run": run.model_dump(mode="json"),
    }


def common_budget(scorer: Scorer, earlier: Sequence[int | None], process: Process) -> int | None:
    """Return one token budget for all processes, if the scorer derived its own from free memory.

    earlier: budgets of the unfinished run that this process knows of. Free memory differs between devices, and from one
    start to the next: an unfinished run goes on with the budget it was started with; a new run takes the smallest.
    """
    if not scorer.measures_memory:
        return scorer.batch_tokens
    gathered = process.gather((earlier, scorer.batch_tokens))
    started_with = [budget for budgets, _ in gathered for budget in budgets if budget is not None]
    measured = [budget for _, budget in gathered if budget is not None]
    return started_with[0] if started_with else min(measured)
