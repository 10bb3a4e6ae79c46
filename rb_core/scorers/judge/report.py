"""The records of a run, and the figures about its judge: cost, failures, reliability."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import pandas as pd

from rb_core.benchmarks.example import CompletionSet
from rb_core.benchmarks.spec import Benchmark
from rb_core.errors import ModelError
from rb_core.models.options import Mode
from rb_core.results.judge_records import JudgeRef, Judging
from rb_core.results.paths import transcript_path
from rb_core.results.schema import ModelRef
from rb_core.scorers.base import RunContext, RunTranscript
from rb_core.scorers.judge.bias import Cell, judge_agreement, position_bias, preferences
from rb_core.scorers.judge.budget import Budget, Prices
from rb_core.scorers.judge.parsing import LETTERS
from rb_core.scorers.judge.protocols import PromptConfig, mean_points
from rb_core.scorers.judge.transcript import Transcript, write_transcript
from rb_core.scorers.judge.types import SERVER_ERROR, TOO_LONG, JudgeRecord, Reply

MAX_TOKENS = 1 << 40  # of one request; a larger count is an error of the server, and would not fit a file

Blinded = Sequence[tuple[CompletionSet, Sequence[int]]]


class SingleJudge(Protocol):
    """A judge or a panel's member, as the files of its run describe it."""

    mode: Mode
    config: PromptConfig
    budget: Budget
    author: str | None


class Judge(Protocol):
    """A judge or a panel of judges, as the files of its run need it."""

    @property
    def judges(self) -> Sequence[SingleJudge]: ...

    def record(self, transcript: Transcript) -> None: ...

    def records(self, completion_set: CompletionSet) -> list[JudgeRecord]: ...


class JudgedRun(RunTranscript):
    """The transcript of a judge's run, from whose replies the scores are computed.

    Raises ModelError for several processes, and if an option does not apply to the benchmark.
    """

    holds_scores = True

    def __init__(self, judge: Judge, run: RunContext) -> None:
        if run.num_processes > 1:
            raise ModelError(
                "a judge is asked by one process, which keeps many requests in flight: start it alone, and for many "
                "GPUs serve the model and give its address with --base-url"
            )
        check_benchmark(judge, run.benchmark)
        self._judge = judge
        self._run = run
        self._path = run.out / transcript_path(run.benchmark.spec.id, run.model.name)
        self._replies = Transcript(self._path.with_suffix(".replies"), dict(run.settings), discard=run.discard)
        judge.record(self._replies)

    def __enter__(self) -> JudgedRun:
        self._replies.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._replies.__exit__(kind, error, trace)

    def write(self, scores: pd.DataFrame, metadata: dict[str, Any]) -> dict[str, Any]:
        records = collect_records(self._run.benchmark, self._run.blinded, self._judge)
        metadata = metadata | describe_judging(records, scores, self._run.model, self._judge)
        write_transcript(self._path, records, metadata)
        return metadata

    def remove(self) -> None:
        self._replies.remove()


def check_benchmark(judge: Judge, benchmark: Benchmark) -> None:
    """Raise ModelError if an option does not apply to the benchmark, or listwise cannot be asked about an example."""
    first, spec = judge.judges[0], benchmark.spec
    rates = first.mode == "ratings" or any(section.metric.needs_ratings for section in spec.sections)
    if first.config.expected and not rates:
        raise ModelError(f"--expected applies to ratings: --mode {first.mode} rates nothing in {spec.id}")
    if first.config.structured and first.mode == "logprob" and not rates:
        raise ModelError(f"--structured asks for JSON: the replies of --mode logprob on {spec.id} are letters")
    if first.mode != "listwise":
        return
    for example in benchmark.examples:
        count = len(example.completions)
        if not spec.metric_of(example.subset).needs_ratings and (example.num_chosen > 1 or count > len(LETTERS)):
            what = f"{count} completions" if count > len(LETTERS) else f"{example.num_chosen} chosen completions"
            raise ModelError(
                f"--mode listwise finds the best of at most {len(LETTERS)} completions, and example {example.id} of "
                f"{spec.id} has {what}: use --mode pairwise, ratings or logprob"
            )


def collect_records(benchmark: Benchmark, blinded: Blinded, judge: Judge) -> list[JudgeRecord]:
    """Return the records of a run in the benchmark's order, completions numbered as in the score table."""
    records = []
    for example, (completion_set, order) in zip(benchmark.examples, blinded, strict=True):
        for record in judge.records(completion_set):
            shown = tuple(order[index] for index in record.order)
            authors = tuple(example.authors[index] for index in shown) if example.authors else ()
            reply = _storable(record.reply)
            records.append(replace(record, example_id=example.id, order=shown, authors=authors, reply=reply))
    return records


def _storable(reply: Reply) -> Reply:
    """Return a reply that files can hold, whatever the server sent.

    Lone surrogates become U+FFFD, and impossible token counts None.
    """

    def text(value: str) -> str:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def count(tokens: int | None) -> int | None:
        return None if tokens is None or tokens > MAX_TOKENS else tokens

    return reply._replace(
        text=text(reply.text),
        reasoning=text(reply.reasoning),
        finish=text(reply.finish),
        prompt_tokens=count(reply.prompt_tokens),
        completion_tokens=count(reply.completion_tokens),
    )


class Accounting(NamedTuple):
    """Facts about a run that its records do not hold.

    prices: US dollars per million prompt and completion tokens; author: the judge's name among the authors of
    completions, None for its own name.
    """

    prices: tuple[float, float] | None = None
    author: str | None = None


def describe_judging(
    records: Sequence[JudgeRecord], scores: pd.DataFrame, model: ModelRef, judge: Judge
) -> dict[str, Any]:
    """Return the metadata of a run's files about its judge: the figures, and what they were computed with."""
    if model.judge is None:
        raise ModelError(f"{model.name}: the description of the model has no judge settings")
    first = judge.judges[0]
    prices = first.budget.limits.prices
    accounting = Accounting(None if prices is None else (prices.prompt, prices.completion), first.author)
    judging = compute_judging(records, scores, model.judge, accounting)
    return {"judging": judging.model_dump(mode="json"), **accounting._asdict()}


def compute_judging(
    records: Sequence[JudgeRecord], scores: pd.DataFrame, judge: JudgeRef, accounting: Accounting
) -> Judging:
    """Return cost and reliability of a judge, or of a panel and each of its members.

    `scores` is the run's score table, which has the labels and lengths of completions.
    """
    cells = list(zip(scores["example_id"], scores["completion"], strict=True))
    lengths = dict(zip(cells, scores["num_completion_tokens"], strict=True))
    is_chosen = dict(zip(cells, scores["is_chosen"], strict=True))

    def of_judge(name: str, records: Sequence[JudgeRecord]) -> Judging:
        requests = _unique(records, lambda record: record.prompt_sha256)
        # two completions with the same text have no order
        distinct = _unique(records, lambda record: (record.example_id, record.prompt_sha256))
        plain = sum(record.mode == "ratings" and not record.error and not record.from_logprobs for record in requests)
        is_own = _own_completions(records, accounting.author or name)
        return Judging(
            **_usage(requests, accounting.prices),
            injections=sum(record.injections for record in records),
            plain_ratings=plain if judge.expected else 0,
            **position_bias(distinct)._asdict(),
            **preferences(records, lengths, is_own, is_chosen)._asdict(),
        )

    by_judge: dict[str, list[JudgeRecord]] = {}
    for record in records:
        by_judge.setdefault(record.judge, []).append(record)
    if not judge.panel:
        ((name, own_records),) = by_judge.items()
        return of_judge(name, own_records)
    values = {
        name: {cell: value for cell, (value, _) in by_cell.items()} for name, by_cell in score_cells(records).items()
    }
    return Judging(
        **_usage(_unique(records, lambda record: (record.judge, record.prompt_sha256)), accounting.prices),
        agreement=judge_agreement([values[name] for name in judge.panel]),
        members={name: of_judge(name, by_judge[name]) for name in judge.panel},
    )


def _unique(records: Iterable[JudgeRecord], key: Callable[[JudgeRecord], Hashable]) -> list[JudgeRecord]:
    first: dict[Hashable, JudgeRecord] = {}
    for record in records:
        first.setdefault(key(record), record)
    return list(first.values())


def _usage(requests: Sequence[JudgeRecord], prices: tuple[float, float] | None) -> dict[str, Any]:
    """Return requests, failures, tokens and cost. Requests without a reply have no tokens."""
    replies = [record.reply for record in requests if record.reply.error not in (TOO_LONG, SERVER_ERROR)]
    prompt = _total(reply.prompt_tokens for reply in replies)
    completion = _total(reply.completion_tokens for reply in replies)
    cost = None
    if prices is not None and prompt is not None and completion is not None:
        cost = Prices(*prices).cost(prompt, completion)
    errors = sorted(record.error for record in requests if record.error)
    return {
        "requests": len(requests),
        "problems": {error: errors.count(error) for error in dict.fromkeys(errors)},
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cost": cost,
    }


def _total(counts: Iterable[int | None]) -> int | None:
    """Return the sum; None if one count is unknown."""
    values = list(counts)
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _own_completions(records: Iterable[JudgeRecord], judge: str) -> dict[Cell, bool]:
    """Return, for completions with a known author, True if it has the judge's name or the last part of it."""
    names = {judge.lower(), judge.rpartition("/")[2].lower()}
    return {
        (record.example_id, completion): author.lower() in names
        for record in records
        for completion, author in zip(record.order, record.authors, strict=False)
        if author
    }


def score_cells(records: Iterable[JudgeRecord]) -> dict[str, dict[Cell, tuple[float, str]]]:
    """Return (score, reason) by judge and cell; the score is NaN with a reason if the completion is unscored."""
    groups: dict[tuple[str, str], list[JudgeRecord]] = {}
    for record in records:
        groups.setdefault((record.judge, record.example_id), []).append(record)
    cells: dict[str, dict[Cell, tuple[float, str]]] = {}
    for (judge, example), group in groups.items():
        for completion in sorted({index for record in group for index in record.order}):
            cells.setdefault(judge, {})[example, completion] = mean_points(completion, group)
    return cells
