"""From a model and a benchmark to a result: score what is missing, then aggregate what stands in the score file.

Under `accelerate launch` every process plans the whole benchmark alike and scores its share of the batches. So a batch
is computed in the same way whoever gets it, and the score table does not depend on the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from rb_core import judging, metrics, published, results
from rb_core.benchmarks import BENCHMARKS, Benchmark, load, spec_to_json
from rb_core.conversation import Conversation
from rb_core.errors import ModelError, ScoreTableError
from rb_core.example import Candidates, blind
from rb_core.models import ModelOptions, ModelSpec, resolve
from rb_core.outcomes import check_rows, spec_of
from rb_core.processes import Processes, current, deal
from rb_core.results import BenchmarkRef, ModelRef, Notes, Published, Result, Run, ScoreFile, from_json
from rb_core.scorers.base import Cell, Plan, Scorer, by_cell, score_all
from rb_core.scorers.baseline import BaselineScorer
from rb_core.scorers.judge.records import Judging
from rb_core.scorers.judge.transcript import Transcript, write_transcript
from rb_core.table import (
    COLUMNS,
    BatchScores,
    Journal,
    Score,
    read_scores,
    unfinished_runs,
    write_atomically,
    write_scores,
)


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

    A run that was killed goes on where it stopped when it is started again alike, by as many processes or another
    number. Raises RewardBenchError for the user's mistakes, in all processes: nothing that stands in `out` is replaced
    unless `overwrite` says so.
    """
    here = current()
    with here.together():
        spec = resolve(model, options or ModelOptions())
        results.check_model_name(spec.name)
        loaded = load(benchmark, data=data, revision=data_revision, prior=prior, limit=limit)
    path = out / results.result_path(loaded.spec.id, spec.name)
    here.on_main(lambda: results.check_free(path, overwrite=overwrite))  # before a large model is loaded for nothing
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


def _blinded(benchmark: Benchmark, seed: int) -> list[tuple[Candidates, list[int]]]:
    spec = benchmark.spec
    return [blind(each, seed, graded=spec.metric_of(each.subset) == "ties") for each in benchmark.examples]


def _run(
    scorer: Scorer,
    name: str,
    benchmark: Benchmark,
    blinded: Sequence[tuple[Candidates, Sequence[int]]],
    *,
    seed: int,
    out: Path,
    overwrite: bool,
    progress: bool,
) -> Finished:
    """As `run`. blinded: the benchmark's examples without their labels, each in the order that the seed gives."""
    here = current()
    path = out / results.result_path(benchmark.spec.id, name)
    here.on_main(lambda: results.check_free(path, overwrite=overwrite))
    started = results.now()
    scores_file = out / results.scores_path(benchmark.spec.id, name)
    with here.together():
        model = ModelRef(name=results.check_model_name(name), **scorer.describe())
    settings = _settings(scorer, model, benchmark, seed)
    _agree_on_budget(scorer, settings, scores_file, here)
    with here.together():
        plan = scorer.plan([candidates for candidates, _ in blinded])
    transcript = _transcript(scorer, benchmark, name, settings, out=out, discard=overwrite, here=here)
    with (
        Journal(scores_file, _fingerprint(settings, scorer, plan), discard=overwrite, here=here) as journal,
        transcript,
    ):
        if isinstance(scorer, judging.Judge):  # scores are read off the replies, which the transcript has
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
            if isinstance(scorer, judging.Judge):
                rows = judging.transcript_table(benchmark, blinded, scorer)
                about |= judging.describe(rows, frame, model, scorer)
                write_transcript(out / results.transcript_path(benchmark.spec.id, name), rows, about)
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
    if not isinstance(scorer, judging.Judge):
        return Transcript()
    with here.together():
        if here.count > 1:
            raise ModelError(
                "a judge is asked by one process, which keeps many requests in flight: start it alone, and for many "
                "GPUs serve the model and give its address with --base-url"
            )
        judging.check_benchmark(scorer, benchmark)
    journal = (out / results.transcript_path(benchmark.spec.id, name)).with_suffix(".replies")
    transcript = Transcript(journal, settings, discard=discard)
    scorer.record(transcript)
    return transcript


def make_scorer(spec: ModelSpec, seed: int = 0, upcoming: Sequence[Candidates] = ()) -> Scorer:
    """Load the scorer of a model, for this process's device. Raises ModelError when it cannot be.

    upcoming: what is going to be scored; it is tokenised while the weights are loaded.
    """
    if spec.kind == "baseline":
        return BaselineScorer(spec.checkpoint.location.removeprefix("baseline/"), seed)
    if spec.kind == "generative":
        from rb_core.scorers.judge.load import load_judge

        return load_judge(spec, seed)
    here = current()
    if spec.options.device_map is None:
        spec = replace(spec, options=replace(spec.options, device=here.device(spec.options.device)))
    elif here.local_index:
        raise ModelError("--device-map spreads one model over all GPUs of a machine: start one process on each machine")
    if spec.kind == "implicit":
        from rb_core.scorers.implicit import ImplicitScorer

        return ImplicitScorer.load(spec, upcoming)
    from rb_core.scorers.classifier import ClassifierScorer

    return ClassifierScorer.load(spec, upcoming)


# --------------------------------------------------------------------------------------------------------------------
# Scoring


def score_missing(scorer: Scorer, plan: Plan, journal: Journal, here: Processes, *, progress: bool = False) -> None:
    """Score this process's share of the batches of the plan that the journal does not have yet."""
    missing = [index for index in range(len(plan.batches)) if index not in journal.done]
    share = [missing[i] for i in deal([plan.batches[index].tokens for index in missing], here.count)[here.index]]
    done, mine = (sum(len(plan.batches[index].cells) for index in indices) for indices in (journal.done, share))
    shown = progress and here.is_main
    begin = time.perf_counter()
    with tqdm(total=done + mine, initial=done, unit="completion", disable=not shown) as bar:
        for index, scores in zip(share, scorer.stream(plan.batches[i] for i in share), strict=True):
            end = time.perf_counter()
            journal.append(BatchScores(index, tuple(scores), round(end - begin, 6)))
            bar.update(len(scores))
            begin = end


def score_candidates(scorer: Scorer, candidates: Sequence[Candidates]) -> list[list[Score]]:
    """Score a few candidates at once, with the code that scores benchmarks. One list per candidates, in order."""
    return score_all(scorer, candidates)


class TokenReward(NamedTuple):
    """A token of a completion, as text, and the reward at it."""

    text: str
    reward: float


def trace(scorer: Scorer, prompt: Conversation, completion: str) -> list[TokenReward]:
    """The reward along a completion, its closing tokens included, by one forward pass.

    Of a classifier: its score if it were read after this token; at the token it is read at, the score. Of an implicit
    reward: what the token adds to the score (reference-free: its log-probability). Raises ModelError for a scorer that
    has no reward per token, and for a completion that does not fit.
    """
    from rb_core.scorers.conversations import ConversationScorer

    if not isinstance(scorer, ConversationScorer):
        raise ModelError(f"{type(scorer).__name__} scores a completion as a whole: it has no reward per token")
    (encoded,) = scorer.encode(Candidates(prompt, (completion,)))
    if encoded.reason:
        raise ModelError(f"the completion cannot be scored: {encoded.reason}")
    rewards = scorer.trace(encoded)
    tokens = encoded.ids[len(encoded.ids) - len(rewards) :]
    texts = (scorer.chat.tokenizer.decode([token]) for token in tokens)
    return [TokenReward(*each) for each in zip(texts, rewards, strict=True)]


def score_table(
    benchmark: Benchmark, orders: Sequence[Sequence[int]], plan: Plan, entries: Iterable[BatchScores]
) -> pd.DataFrame:
    """Put the labels back: one row a completion, in the benchmark's order."""
    found = by_cell(plan.batches, (entry.scores for entry in entries))
    rows = []
    for index, (example, order) in enumerate(zip(benchmark.examples, orders, strict=True)):
        place = {completion: position for position, completion in enumerate(order)}
        for completion in range(len(example.completions)):
            score = found[Cell(index, place[completion])]
            chosen = completion < example.num_chosen
            rows.append((example.id, example.subset, example.group, completion, chosen, *score))
    labels = ("example_id", "subset", "group", "completion", "is_chosen", "score")
    frame = pd.DataFrame(rows, columns=[*labels, *Score._fields[1:]])
    counts = dict.fromkeys(("completion", "num_tokens", "num_completion_tokens"), "int32")
    return frame.astype({"score": "float32", **counts}).reindex(columns=COLUMNS)


def _settings(scorer: Scorer, model: ModelRef, benchmark: Benchmark, seed: int) -> dict[str, Any]:
    """What the scores depend on, but for the plan; the same in all processes. Of a judge what its replies depend on:
    they are read with this version's parser whenever they came, and a server does not mind what is installed here."""
    served = model.judge is not None and "local" not in model.judge.backend.split(", ")
    needed = () if served else ("torch", "transformers", "rb_core")
    versions = {name: version for name, version in results.versions().items() if name in needed}
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
    commit, dirty = results.git_state()
    return Run(
        command=results.command_line(),
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
        versions=results.versions(),
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
    """Derive the result from a score file alone, of a run or of published scores.

    Raises ScoreTableError when the file is damaged, lacks rows, or its benchmark is unknown to this version.
    """
    frame, about = read_scores(scores_file)
    check_rows(frame, scores_file)
    try:
        benchmark, model = BenchmarkRef(**about["benchmark"]), from_json(ModelRef, about["model"])
        judged = from_json(Judging, about["judging"]) if "judging" in about else None
        notes = None if about["notes"] is None else Notes(**about["notes"])
        run_record = Run(**about["run"]) if "run" in about or "published" not in about else None
        source = Published(**about["published"]) if run_record is None else None
        accuracies = {str(name): float(value) for name, value in about.get("accuracies", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ScoreTableError(f"{scores_file}: its description of the run is not complete: {error}") from error
    spec = spec_of(benchmark.id, about, frame, scores_file)
    computed = metrics.compute(frame, spec, run_record.seed if run_record else 0)
    if accuracies:
        headline, sections, subsets, absent = published.estimates_from(spec, accuracies, computed)
        computed = computed._replace(headline=headline, sections=sections, subsets=subsets, absent=absent)
    return Result(
        status="run" if run_record else "published",
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
        judging=judged,
        run=run_record,
        scores=ScoreFile(
            path=results.scores_path(benchmark.id, model.name).as_posix(),
            sha256=hashlib.sha256(scores_file.read_bytes()).hexdigest(),
        ),
        published=source,
    )


def reread(transcript: Path, out: Path, *, overwrite: bool = False) -> Finished:
    """Read the replies of a judge again with this version's parser, without asking anyone, and write the transcript,
    the scores and the result that come of it below `out`. Raises ScoreTableError as `judging.reread`, ResultError as
    `write_result`."""
    scores, rows, about = judging.reread(transcript)
    benchmark, model = str(about["benchmark"]["id"]), str(about["model"]["name"])
    results.check_free(out / results.result_path(benchmark, model), overwrite=overwrite)
    write_transcript(out / results.transcript_path(benchmark, model), rows, about)
    scores_file = out / results.scores_path(benchmark, model)
    write_scores(scores_file, scores, about)
    return write_aggregate(scores_file, out, overwrite=overwrite)


def write_aggregate(scores_file: Path, out: Path, *, overwrite: bool = False) -> Finished:
    """Aggregate and write the result below `out`, with its score file beside it."""
    result = aggregate(scores_file)
    path = results.write_result(out, result, overwrite=overwrite)
    place = out / results.scores_path(result.benchmark.id, result.model.name)
    if place.resolve() != scores_file.resolve():
        write_atomically(place, scores_file.read_bytes())
    return Finished(result, path)
