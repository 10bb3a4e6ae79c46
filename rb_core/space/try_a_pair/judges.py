"""Generative judges in *Try a pair*: how much one question may ask of them, and what they said. No gradio, no torch.

Nothing that is typed outlives its question: the transcript is in memory, and a new one takes its place at the end.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import RewardBenchError
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.options import JudgeOptions, Mode, ModelOptions
from rb_core.results.score_table import Score
from rb_core.scorers.judge.budget import BudgetSpent, bound
from rb_core.scorers.judge.prompt_templates import is_injection
from rb_core.scorers.judge.protocols import make_queries
from rb_core.scorers.judge.scorer import JudgeScorer
from rb_core.scorers.judge.transcript import Transcript
from rb_core.scorers.judge.types import SERVER_ERROR, JudgeRecord
from rb_core.space.limits import InputError, Limits
from rb_core.space.try_a_pair.available_models import ListedJudge

log = logging.getLogger(__name__)


RETRY = 60.0  # seconds for which a server that did not answer is not asked again


MOST_SHOWN = 6_000  # characters of one reply: its beginning, and its end, where a verdict stands


# What a server says of a request may repeat the request.
_SERVER_SAYS = re.compile(r"\((HTTP \d+): .*\)", re.DOTALL)


@dataclass(frozen=True)
class Judged:
    """The records of a judge about one question. injections: how many of the completions address the judge."""

    mode: Mode
    records: tuple[JudgeRecord, ...]
    injections: int

    @property
    def groups(self) -> list[list[JudgeRecord]]:
        """Records grouped by the completions shown, whatever their order."""
        groups: dict[frozenset[int], list[JudgeRecord]] = {}
        for record in self.records:
            groups.setdefault(frozenset(record.order), []).append(record)
        return list(groups.values())

    @property
    def agreeing(self) -> tuple[int, int]:
        """In how many groups every order has the same verdict, and in how many every order has one."""
        found = [agrees(group) for group in self.groups]
        return found.count(True), len(found) - found.count(None)


def agrees(group: Sequence[JudgeRecord]) -> bool | None:
    """Whether the same completion was named in every order; None where not every order has a verdict."""
    if len(group) < 2 or any(record.error for record in group):
        return None
    return group[0].winner is not None and len({record.winner for record in group}) == 1


def options_of(judge: ListedJudge, bounds: Limits) -> ModelOptions:
    """How a judge is asked on the page."""
    asked = JudgeOptions(mode=judge.mode, max_new_tokens=bounds.judge_reply)
    if judge.base_url is not None:
        asked = replace(
            asked,
            base_url=judge.base_url,
            deadline=bounds.judge_seconds,
            concurrency=bounds.judge_requests,
            max_tokens_total=bounds.judge_total,
        )
    return ModelOptions(name=judge.name, kind="generative", judge=asked)


class Judges:
    """Asks judges within bounds, and remembers for a minute which servers did not answer. One question at a time."""

    def __init__(self, bounds: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self._away: dict[str, float] = {}

    def ask(self, scorer: JudgeScorer, candidates: CompletionSet) -> tuple[list[Score], Judged]:
        """A score a completion, and what was said. Raises InputError where it is too much, or nobody answers."""
        name = scorer.name
        if self._clock() - self._away.get(name, -RETRY) < RETRY:
            raise InputError(_no_answer(name))
        self._check(scorer, candidates)
        scorer.record(Transcript())
        try:
            (scores,) = score_completion_sets(scorer, [candidates])
            records = scorer.records(candidates)
        except BudgetSpent as error:
            log.warning("%s: %s", name, error)
            raise InputError(f"{name} has answered as much as this page lets it. Choose another model.") from error
        except RewardBenchError as error:
            log.warning("%s cannot be asked: %s", name, _SERVER_SAYS.sub(r"(\1)", str(error)))
            raise InputError(f"{name} could not be asked: ask the host to look. Choose another model.") from error
        finally:
            scorer.record(Transcript())
        if all(record.reply.error == SERVER_ERROR for record in records):
            self._away[name] = self._clock()
            log.warning("%s did not answer within %g s", name, self._bounds.judge_seconds)
            raise InputError(_no_answer(name))
        speaking = sum(map(is_injection, candidates.completions))
        return scores, Judged(scorer.mode, tuple(map(_shortened, records)), speaking)

    def _check(self, scorer: JudgeScorer, candidates: CompletionSet) -> None:
        """Raises InputError for more requests, or longer ones, than one question may make."""
        queries = scorer.queries(candidates)
        most, count = self._bounds.judge_requests, len(candidates.completions)
        if len(queries) > most:
            fewer = [n for n in range(2, count) if _requests(scorer.mode, candidates, n) <= most]
            hint = f"Take at most {fewer[-1]} completions." if fewer else "Choose another model."
            raise InputError(
                f"{scorer.name} would be asked {len(queries)} times about {count} completions, and at most {most} "
                f"requests are made here for one question. {hint}"
            )
        tokens = 0
        for query in queries:
            wanted = bound(scorer.request(query, candidates))
            tokens += wanted.prompt_tokens + wanted.completion_tokens
        if tokens > self._bounds.judge_tokens:
            raise InputError(
                f"To {scorer.name} this may be {tokens:,} tokens in {len(queries)} requests, counting each byte as "
                f"one; at most {self._bounds.judge_tokens:,} are sent here for one question. Shorten the texts, or "
                "take fewer completions."
            )


def _requests(mode: Mode, candidates: CompletionSet, count: int) -> int:
    return len(make_queries(mode, CompletionSet(candidates.prompt, candidates.completions[:count])))


def _no_answer(name: str) -> str:
    return f"{name} does not answer: its server may be down or busy. Try again in a minute, or choose another model."


def _shortened(record: JudgeRecord) -> JudgeRecord:
    """Return the record with the middle of a long reply left out."""
    reply = record.reply
    return replace(record, reply=reply._replace(text=shortened(reply.text), reasoning=shortened(reply.reasoning)))


def shortened(text: str, most: int = MOST_SHOWN) -> str:
    """A text with the middle left out where it is long: a server may send what it likes."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"
