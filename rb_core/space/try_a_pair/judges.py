"""Ask generative judges within the host's limits. No gradio, no torch.

Nothing of a question is kept: its transcript is in memory, and is replaced at the end.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import NotScoredError, RewardBenchError
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.options import JudgeOptions, Mode, ModelOptions
from rb_core.results.failures import SERVER_ERROR
from rb_core.results.score_table import Score
from rb_core.scorers.judge.budget import BudgetSpent, most_tokens
from rb_core.scorers.judge.prompt_templates import is_injection
from rb_core.scorers.judge.protocols import make_queries
from rb_core.scorers.judge.scorer import JudgeScorer
from rb_core.scorers.judge.transcript import Transcript
from rb_core.scorers.judge.types import JudgeRecord
from rb_core.space.limits import InputError, Limits
from rb_core.space.try_a_pair.available_models import ListedJudge

log = logging.getLogger(__name__)

RETRY_PERIOD = 60.0  # seconds before a server that did not answer is asked again
MAX_REPLY_SHOWN = 6_000  # characters; the middle of a longer reply is left out, because its end has the verdict

_SERVER_MESSAGE = re.compile(r"\((HTTP \d+): .*\)", re.DOTALL)


class RecordGroup(NamedTuple):
    """The records of the same completions in different orders."""

    records: list[JudgeRecord]

    @property
    def consistent(self) -> bool | None:
        """True if every order has the same winner, None unless several orders have a verdict."""
        if len(self.records) < 2 or any(record.error for record in self.records):
            return None
        winners = {record.winner for record in self.records}
        return len(winners) == 1 and None not in winners


@dataclass(frozen=True)
class JudgeResult:
    """The records of a judge about one question."""

    mode: Mode
    records: tuple[JudgeRecord, ...]
    injections: int  # completions that address the judge

    @property
    def groups(self) -> list[RecordGroup]:
        groups: dict[frozenset[int], list[JudgeRecord]] = {}
        for record in self.records:
            groups.setdefault(frozenset(record.order), []).append(record)
        return list(map(RecordGroup, groups.values()))

    @property
    def agreement(self) -> tuple[int, int]:
        """The numbers (consistent, comparable) of groups: the same verdict in all orders, and a verdict in all."""
        consistent = [group.consistent for group in self.groups]
        return consistent.count(True), len(consistent) - consistent.count(None)


def judge_options(judge: ListedJudge, limits: Limits) -> ModelOptions:
    """Return the options with which the page asks a judge."""
    options = JudgeOptions(mode=judge.mode, max_new_tokens=limits.judge_reply)
    if judge.base_url is not None:
        options = replace(
            options,
            base_url=judge.base_url,
            deadline=limits.judge_seconds,
            concurrency=limits.judge_requests,
            max_tokens_total=limits.judge_total,
        )
    return ModelOptions(name=judge.name, kind="generative", judge=options)


class LimitedJudges:
    """Asks judges one question at a time, and does not ask a server again soon after it did not answer."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._failed_at: dict[str, float] = {}

    def ask(self, scorer: JudgeScorer, completions: CompletionSet) -> tuple[list[Score], JudgeResult]:
        """Return a score per completion, and the records. Raises InputError beyond a limit or without an answer."""
        name = scorer.name
        if self._clock() - self._failed_at.get(name, -RETRY_PERIOD) < RETRY_PERIOD:
            raise InputError(_no_answer(name))
        self._check_limits(scorer, completions)
        scorer.record(Transcript())
        try:
            (scores,) = score_completion_sets(scorer, [completions])
            records = scorer.records(completions)
        except BudgetSpent as error:
            log.warning("%s: %s", name, error)
            raise InputError(f"{name} has used up its token budget on this page. Choose another model.") from error
        except NotScoredError as error:
            raise self._did_not_answer(name, _public(error)) from error
        except RewardBenchError as error:
            log.warning("%s cannot be asked: %s", name, _public(error))
            raise InputError(
                f"{name} could not be asked; the reason is in this page's log. Choose another model."
            ) from error
        finally:
            scorer.record(Transcript())
        if all(record.reply.error == SERVER_ERROR for record in records):
            raise self._did_not_answer(name, f"{len(records)} requests failed")
        injections = sum(map(is_injection, completions.completions))
        return scores, JudgeResult(scorer.mode, tuple(map(_shortened, records)), injections)

    def _did_not_answer(self, name: str, reason: str) -> InputError:
        self._failed_at[name] = self._clock()
        log.warning("%s did not answer within %g s: %s", name, self._limits.judge_seconds, reason)
        return InputError(_no_answer(name))

    def _check_limits(self, scorer: JudgeScorer, completions: CompletionSet) -> None:
        queries, count = scorer.queries(completions), len(completions.completions)
        max_requests = self._limits.judge_requests
        if len(queries) > max_requests:
            fewer = [n for n in range(2, count) if _num_requests(scorer.mode, completions, n) <= max_requests]
            hint = f"Give at most {fewer[-1]} completions." if fewer else "Choose another model."
            raise InputError(
                f"{scorer.name} needs {len(queries)} requests for {count} completions; at most {max_requests} are sent "
                f"for one question. {hint}"
            )
        bounds = [most_tokens(scorer.request(query, completions)) for query in queries]
        tokens = sum(bound.prompt_tokens + bound.completion_tokens for bound in bounds)
        if tokens > self._limits.judge_tokens:
            raise InputError(
                f"For {scorer.name} this may be {tokens:,} tokens in {len(queries)} requests, if each byte is one; at "
                f"most {self._limits.judge_tokens:,} are sent for one question. Shorten the texts, or give fewer "
                "completions."
            )


def _public(error: RewardBenchError) -> str:
    """Return an error for the log, without the server's message, which may repeat the request."""
    return _SERVER_MESSAGE.sub(r"(\1)", str(error))


def _num_requests(mode: Mode, completions: CompletionSet, count: int) -> int:
    return len(make_queries(mode, CompletionSet(completions.prompt, completions.completions[:count])))


def _no_answer(name: str) -> str:
    return f"{name} does not answer: its server may be down or busy. Try again in a minute, or choose another model."


def _shortened(record: JudgeRecord) -> JudgeRecord:
    reply = record.reply
    return replace(record, reply=reply._replace(text=shorten(reply.text), reasoning=shorten(reply.reasoning)))


def shorten(text: str, max_length: int = MAX_REPLY_SHOWN) -> str:
    """Leave out the middle of a long text."""
    if len(text) <= max_length:
        return text
    half = max_length // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"
