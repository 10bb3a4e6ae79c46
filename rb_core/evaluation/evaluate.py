"""From a model and a benchmark to a result: score what is missing, then aggregate what stands in the score file.

Under `accelerate launch` every process plans the whole benchmark alike and scores its share of the batches. So a batch
is computed in the same way whoever gets it, and the score table does not depend on the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rb_core.benchmarks.example import CompletionSet, blind
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import Benchmark, spec_to_json
from rb_core.errors import ModelError
from rb_core.evaluation import provenance
from rb_core.evaluation.aggregate import Finished, write_aggregate
from rb_core.evaluation.distributed import Processes, current
from rb_core.evaluation.journal import BatchScores, Journal, unfinished_runs
from rb_core.evaluation.score import make_scorer, score_missing, score_table
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results import paths, storage
from rb_core.results.schema import BenchmarkRef, ModelRef, Notes, Run
from rb_core.results.score_table import write_scores
from rb_core.scorers.base import Plan, Scorer
from rb_core.scorers.judge import report
from rb_core.scorers.judge.transcript import Transcript, write_transcript


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

    A run that was killed goes on where it stopped when it is started again alike, by as many processes or another
    number. Raises RewardBenchError for the user's mistakes, in all processes: nothing that stands in `out` is replaced
    unless `overwrite` says so.
    """
    here = current()
    with here.together():
        spec = resolve(model, options or ModelOptions())
        storage.check_model_name(spec.name)
        loaded = load_benchmark(benchmark, data=data, revision=data_revision, prior=prior, limit=limit)
    path = out / paths.result_path(loaded.spec.id, spec.name)
    here.on_main(lambda: storage.check_free(path, overwrite=overwrite))  # before a large model is loaded for nothing
    with here.together():
        blinded = _blinded(loaded, seed)
        scorer = make_scorer(spec, seed, [candidates for candidates, _ in blinded])
    return _run(scorer, spec.name, loaded, blinded, seed=seed, out=out, overwrite=overwrite, progress=progress)


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
    blinded = _blinded(benchmark, seed)
    return _run(scorer, name, benchmark, blinded, seed=seed, out=out, overwrite=overwrite, progress=progress)


def _blinded(benchmark: Benchmark, seed: int) -> list[tuple[CompletionSet, list[int]]]:
    spec = benchmark.spec
    return [blind(each, seed, graded=spec.metric_of(each.subset) == "ties") for each in benchmark.examples]


def _run(
    scorer: Scorer,
    name: str,
    benchmark: Benchmark,
    blinded: Sequence[tuple[CompletionSet, Sequence[int]]],
    *,
    seed: int,
    out: Path,
    overwrite: bool,
    progress: bool,
) -> Finished:
    """As `run`. blinded: the benchmark's examples without their labels, each in the order that the seed gives."""
    here = current()
    path = out / paths.result_path(benchmark.spec.id, name)
    here.on_main(lambda: storage.check_free(path, overwrite=overwrite))
    started = provenance.now()
    scores_file = out / paths.scores_path(benchmark.spec.id, name)
    with here.together():
        model = ModelRef(name=storage.check_model_name(name), **scorer.describe())
    settings = _settings(scorer, model, benchmark, seed)
    _agree_on_budget(scorer, settings, scores_file, here)
    with here.together():
        plan = scorer.plan([candidates for candidates, _ in blinded])
    transcript = _transcript(scorer, benchmark, name, settings, out=out, discard=overwrite, here=here)
    with (
        Journal(scores_file, _fingerprint(settings, scorer, plan), discard=overwrite, here=here) as journal,
        transcript,
    ):
        if isinstance(scorer, report.Judge):  # scores are read off the replies, which the transcript has
            journal.forget()
        with here.together(long=True):
            score_missing(scorer, plan, journal, here, progress=progress)
        journal.collect()
        memory = here.gather(_peak_memory(scorer))
        entries = [journal.done[index] for index in range(len(plan.batches))]

        def write() -> Finished:
            about = {
                "benchmark": benchmark_ref(benchmark).model_dump(mode="json"),
                "record": None if benchmark.spec.id in BENCHMARKS else spec_to_json(benchmark.spec),
                "model": model.model_dump(mode="json"),
                "notes": Notes(**plan.notes).model_dump(mode="json"),
                "run": _run_record(scorer, started, entries, seed, memory).model_dump(mode="json"),
            }
            frame = score_table(benchmark, [order for _, order in blinded], plan, entries)
            if isinstance(scorer, report.Judge):
                records = report.collect_records(benchmark, blinded, scorer)
                about |= report.describe_judging(records, frame, model, scorer)
                write_transcript(out / paths.transcript_path(benchmark.spec.id, name), records, about)
            write_scores(scores_file, frame, about)
            return write_aggregate(scores_file, out, overwrite=overwrite)

        finished = here.on_main(write)
        journal.remove()
        transcript.remove()
    return finished


def _transcript(
    scorer: Scorer,
    benchmark: Benchmark,
    name: str,
    settings: dict[str, Any],
    *,
    out: Path,
    discard: bool,
    here: Processes,
) -> Transcript:
    """Where the replies of a judge are kept until the run is complete; in memory, and empty, for other scorers."""
    if not isinstance(scorer, report.Judge):
        return Transcript()
    with here.together():
        if here.count > 1:
            raise ModelError(
                "a judge is asked by one process, which keeps many requests in flight: start it alone, and for many "
                "GPUs serve the model and give its address with --base-url"
            )
        report.check_benchmark(scorer, benchmark)
    journal = (out / paths.transcript_path(benchmark.spec.id, name)).with_suffix(".replies")
    transcript = Transcript(journal, settings, discard=discard)
    scorer.record(transcript)
    return transcript


def _settings(scorer: Scorer, model: ModelRef, benchmark: Benchmark, seed: int) -> dict[str, Any]:
    """What the scores depend on, but for the plan; the same in all processes. Of a judge what its replies depend on:
    they are read with this version's parser whenever they came, and a server does not mind what is installed here."""
    served = model.judge is not None and "local" not in model.judge.backend.split(", ")
    needed = () if served else ("torch", "transformers", "rb_core")
    versions = {name: version for name, version in provenance.versions().items() if name in needed}
    return {
        "model": model.model_dump(mode="json", exclude={"probe": True, "judge": {"parser"}}),
        "benchmark": benchmark.sha256,
        "seed": seed,
        "device": _device(scorer).partition(":")[0],
        "versions": versions,
    }


def _fingerprint(settings: dict[str, Any], scorer: Scorer, plan: Plan) -> dict[str, Any]:
    """All that the scores depend on. A journal is only continued by a run with the same."""
    cells = json.dumps([[list(cell) for cell in batch.cells] for batch in plan.batches])
    return {
        **settings,
        "batch_tokens": getattr(scorer, "batch_tokens", None),
        "plan": hashlib.sha256(cells.encode()).hexdigest(),
    }


def _agree_on_budget(scorer: Any, settings: dict[str, Any], scores_file: Path, here: Processes) -> None:
    """Let all processes plan with one budget of tokens, where the scorer found its own in free memory.

    What is free differs between devices, and from one start to the next: an unfinished run is finished with the budget
    it was begun with; a new one takes the smallest.
    """
    spec = getattr(scorer, "spec", None)
    if spec is None or spec.options.batch_tokens is not None:
        return
    then = [run.get("batch_tokens") for run in unfinished_runs(scores_file) if settings.items() <= run.items()]
    found = here.gather((then, scorer.batch_tokens))
    begun_with = [budget for budgets, _ in found for budget in budgets if isinstance(budget, int)]
    scorer.batch_tokens = begun_with[0] if begun_with else min(own for _, own in found)


def _run_record(scorer: Scorer, started: str, entries: Iterable[BatchScores], seed: int, memory: Sequence[int]) -> Run:
    commit, dirty = provenance.git_state()
    return Run(
        command=provenance.command_line(),
        started=started,
        duration=round(sum(entry.seconds for entry in entries), 3),
        seed=seed,
        batch_tokens=getattr(scorer, "batch_tokens", None),
        device=_device(scorer).partition(":")[0],
        device_name=_device_name(_device(scorer)),
        peak_memory=max(memory),
        processes=len(memory),
        git_commit=commit,
        git_dirty=dirty,
        versions=provenance.versions(),
    )


def _device(scorer: Scorer) -> str:
    return str(getattr(scorer, "device", "cpu"))


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return platform.machine()


def _peak_memory(scorer: Scorer) -> int:
    device = _device(scorer)
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    return provenance.peak_memory()


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
