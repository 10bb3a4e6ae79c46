"""The part of a judge's run that single judges and panels share: their base class, and the transcript of the run."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from rb_core.benchmarks.example import CompletionSet
from rb_core.benchmarks.spec import Benchmark
from rb_core.errors import ModelError, NotScoredError, ScoreTableError
from rb_core.models.options import Mode
from rb_core.results.failures import FAILED
from rb_core.results.paths import transcript_path
from rb_core.results.score_table import Score
from rb_core.scorers.base import Batch, RunContext, RunTranscript, Scorer
from rb_core.scorers.http.replies import Reply
from rb_core.scorers.judge.budget import Budget
from rb_core.scorers.judge.chat_completions import CHANGES
from rb_core.scorers.judge.parsing import LETTERS
from rb_core.scorers.judge.protocols import PromptConfig
from rb_core.scorers.judge.report import compute_judging
from rb_core.scorers.judge.transcript import Transcript, read_transcript, write_transcript
from rb_core.scorers.judge.types import JudgeRecord


class Judge(Scorer):
    """A generative judge, or a panel of judges with the same settings."""

    kind = "generative"
    mode: Mode
    config: PromptConfig
    budget: Budget
    author: str | None  # name among the authors of completions; None for the name of the model

    @abstractmethod
    def record(self, transcript: Transcript) -> None:
        """Take replies from this transcript from now on, and add new ones to it."""

    @abstractmethod
    def records(self, completion_set: CompletionSet) -> list[JudgeRecord]:
        """Return the records of a scored completion set. Raises KeyError if a reply is missing."""

    def score(self, batch: Batch) -> list[Score]:
        (scores,) = self.stream([batch])
        return scores

    def open_transcript(self, run: RunContext) -> JudgedRun:
        return JudgedRun(self, run)

    def keep_replies(self, path: Path, settings: Mapping[str, Any], num_processes: int) -> Transcript:
        check_single_process(num_processes)
        replies = Transcript(path, dict(settings))
        self.record(replies)
        return replies


class JudgedRun(RunTranscript):
    """The transcript of a judge's run, from whose replies the scores are computed.

    Raises ModelError for several processes, and if an option does not apply to the benchmark.
    """

    def __init__(self, judge: Judge, run: RunContext) -> None:
        check_single_process(run.num_processes)
        check_benchmark(judge, run.benchmark)
        self._judge = judge
        self._run = run
        self._path = run.out / transcript_path(run.benchmark.spec.id, run.model.name)
        journal = self._path.with_suffix(".replies")
        finished = [] if run.discard else finished_records(self._path, run.settings)
        self.continues = any(r.reply.error in FAILED for r in finished) or (bool(finished) and journal.exists())
        self._replies = Transcript(journal, dict(run.settings), discard=run.discard, finished=finished)
        judge.record(self._replies)

    def __enter__(self) -> JudgedRun:
        self._replies.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._replies.__exit__(kind, error, trace)

    def keeps(self, scores: Sequence[Score]) -> bool:
        """Return False: scores are computed again from the stored replies, without asking the judge."""
        return False

    def write(self, scores: pd.DataFrame, metadata: dict[str, Any]) -> dict[str, Any]:
        """Write the records, and return the metadata with the figures about the judge and what they depend on."""
        if self._run.model.judge is None:
            raise ModelError(f"{self._run.model.name}: the description of the model has no judge settings")
        records = collect_records(self._run, self._judge)
        check_answered(self._run.model.name, records)
        prices, author = self._judge.budget.limits.prices, self._judge.author
        judging = compute_judging(records, scores, self._run.model.judge, prices, author)
        metadata |= {"judging": judging.model_dump(mode="json"), "author": author}
        metadata |= {"prices": prices and [prices.prompt, prices.completion]}
        metadata["model"]["judge"]["adapted"] = describe_changes(records)
        write_transcript(self._path, records, metadata | {"settings": dict(self._run.settings)})
        return metadata

    def remove(self) -> None:
        self._replies.remove()


def check_single_process(num_processes: int) -> None:
    if num_processes > 1:
        raise ModelError(
            "a judge runs in one process, which keeps many requests in flight: start one process, and to use many "
            "GPUs serve the model and give its address with --base-url"
        )


def finished_records(path: Path, settings: Mapping[str, Any]) -> list[JudgeRecord]:
    """Return the records of a finished run with these settings; none without one."""
    try:
        records, metadata = read_transcript(path)
    except ScoreTableError:
        return []
    return records if metadata.get("settings") == json.loads(json.dumps(dict(settings))) else []


def check_answered(name: str, records: Sequence[JudgeRecord]) -> None:
    """Raise NotScoredError if every request failed."""
    if records and all(record.reply.error in FAILED for record in records):
        reply = records[0].reply
        words = f" ({reply.text})" if reply.text else ""
        raise NotScoredError(
            f"{name}: none of {len(records)} requests has a reply: {reply.error}{words}; nothing is written, and the "
            "same command asks again"
        )


def describe_changes(records: Iterable[JudgeRecord]) -> list[str]:
    """Return how requests differed from their usual form, with the name of the judge where there are several."""
    changes = sorted({(record.judge, change) for record in records for change in record.reply.changes})
    several = len({record.judge for record in records}) > 1
    return [(f"{judge}: " if several else "") + CHANGES.get(change, change) for judge, change in changes]


def check_benchmark(judge: Judge, benchmark: Benchmark) -> None:
    """Raise ModelError if an option does not apply to the benchmark, or listwise cannot be asked about an example."""
    spec = benchmark.spec
    rates = judge.mode == "ratings" or any(section.metric.needs_ratings for section in spec.sections)
    if judge.config.expected and not rates:
        raise ModelError(f"--expected applies to ratings: --mode {judge.mode} rates nothing in {spec.id}")
    if judge.config.structured and judge.mode == "logprob" and not rates:
        raise ModelError(f"--structured asks for JSON: the replies of --mode logprob on {spec.id} are letters")
    if judge.mode != "listwise":
        return
    for example in benchmark.examples:
        count = len(example.completions)
        if not spec.metric_of(example.subset).needs_ratings and (example.num_chosen > 1 or count > len(LETTERS)):
            what = f"{count} completions" if count > len(LETTERS) else f"{example.num_chosen} chosen completions"
            raise ModelError(
                f"--mode listwise finds the best of at most {len(LETTERS)} completions, and example {example.id} of "
                f"{spec.id} has {what}: use --mode pairwise, ratings or logprob"
            )


def collect_records(run: RunContext, judge: Judge) -> list[JudgeRecord]:
    """Return the records of a complete run in the benchmark's order, completions numbered as in the score table."""
    records = []
    for example, (completion_set, order) in zip(run.benchmark.examples, run.blinded, strict=True):
        for record in judge.records(completion_set):
            shown = tuple(order[index] for index in record.order)
            authors = tuple(example.authors[index] for index in shown) if example.authors else ()
            reply = _storable(record.reply)
            records.append(replace(record, example_id=example.id, order=shown, authors=authors, reply=reply))
    return records


def _storable(reply: Reply) -> Reply:
    """Return a reply that files can hold, whatever the server sent: lone surrogates become U+FFFD."""

    def text(value: str) -> str:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    return reply._replace(text=text(reply.text), reasoning=text(reply.reasoning), finish=text(reply.finish))
