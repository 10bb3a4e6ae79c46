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
from rb_core.evaluation.score import score_candidates
from rb_core.models.options import JudgeOptions, Mode, ModelOptions
from rb_core.results.score_table import Score
from rb_core.scorers.judge import protocols
from rb_core.scorers.judge.bias import winner
from rb_core.scorers.judge.budget import BudgetSpent, bound
from rb_core.scorers.judge.prompt_templates import is_injection
from rb_core.scorers.judge.scorer import Exchange, JudgeScorer
from rb_core.scorers.judge.transcript import Transcript
from rb_core.scorers.judge.types import SERVER_ERROR
from rb_core.space.limits import InputError, Limits
from rb_core.space.try_a_pair.available_models import ListedJudge

log = logging.getLogger(__name__)


RETRY = 60.0  # seconds for which a server that did not answer is not asked again


MOST_SHOWN = 6_000  # characters of one reply: its beginning, and its end, where a verdict stands


# What a server says of a request may repeat the request.
_SERVER_SAYS = re.compile(r"\((HTTP \d+): .*\)", re.DOTALL)


@dataclass(frozen=True)
class Said:
    """One request with its reply. order: the completions it showed, first to last; shares: what each of these got,
    empty where there is a reason; asked: the messages as text; text, reasoning: of the reply, the middle of a long one
    left out; tokens: of the reply, None where the server does not count."""

    order: tuple[int, ...]
    shares: tuple[float, ...]
    reason: str
    asked: str
    text: str
    reasoning: str
    tokens: int | None

    @property
    def best(self) -> int | None:
        """The completion that it is for; None for a rating, where there is a reason, and where two got the same."""
        return winner(self.order, self.shares) if len(self.order) > 1 else None


@dataclass(frozen=True)
class Judged:
    """What a judge said of a question. injections: how many of the completions speak to the judge."""

    mode: Mode
    said: tuple[Said, ...]
    injections: int

    @property
    def groups(self) -> list[list[Said]]:
        """What was said of the same completions, in one order and in others."""
        found: dict[frozenset[int], list[Said]] = {}
        for each in self.said:
            found.setdefault(frozenset(each.order), []).append(each)
        return list(found.values())

    @property
    def agreeing(self) -> tuple[int, int]:
        """In how many groups every order has the same verdict, and in how many every order has one."""
        found = [agrees(group) for group in self.groups]
        return found.count(True), len(found) - found.count(None)


def agrees(group: Sequence[Said]) -> bool | None:
    """Whether the same completion was named in every order; None where not every order has a verdict."""
    if len(group) < 2 or any(each.reason for each in group):
        return None
    return group[0].best is not None and len({each.best for each in group}) == 1


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
            (scores,) = score_candidates(scorer, [candidates])
            exchanges = scorer.exchanges(candidates)
        except BudgetSpent as error:
            log.warning("%s: %s", name, error)
            raise InputError(f"{name} has answered as much as this page lets it. Choose another model.") from error
        except RewardBenchError as error:
            log.warning("%s cannot be asked: %s", name, _SERVER_SAYS.sub(r"(\1)", str(error)))
            raise InputError(f"{name} could not be asked: ask the host to look. Choose another model.") from error
        finally:
            scorer.record(Transcript())
        if all(each.reply.problem == SERVER_ERROR for each in exchanges):
            self._away[name] = self._clock()
            log.warning("%s did not answer within %g s", name, self._bounds.judge_seconds)
            raise InputError(_no_answer(name))
        speaking = sum(map(is_injection, candidates.completions))
        return scores, Judged(scorer.mode, tuple(map(_said, exchanges)), speaking)

    def _check(self, scorer: JudgeScorer, candidates: CompletionSet) -> None:
        """Raises InputError for more requests, or longer ones, than one question may make."""
        asked = protocols.asks(scorer.mode, candidates)
        most, count = self._bounds.judge_requests, len(candidates.completions)
        if len(asked) > most:
            fewer = [n for n in range(2, count) if _requests(scorer.mode, candidates, n) <= most]
            hint = f"Take at most {fewer[-1]} completions." if fewer else "Choose another model."
            raise InputError(
                f"{scorer.name} would be asked {len(asked)} times about {count} completions, and at most {most} "
                f"requests are made here for one question. {hint}"
            )
        tokens = 0
        for each in asked:
            wanted = bound(protocols.question(each, candidates, scorer.wording).request)
            tokens += wanted.prompt_tokens + wanted.completion_tokens
        if tokens > self._bounds.judge_tokens:
            raise InputError(
                f"To {scorer.name} this may be {tokens:,} tokens in {len(asked)} requests, counting each byte as one; "
                f"at most {self._bounds.judge_tokens:,} are sent here for one question. Shorten the texts, or take "
                "fewer completions."
            )


def _requests(mode: Mode, candidates: CompletionSet, count: int) -> int:
    return len(protocols.asks(mode, CompletionSet(candidates.prompt, candidates.completions[:count])))


def _no_answer(name: str) -> str:
    return f"{name} does not answer: its server may be down or busy. Try again in a minute, or choose another model."


def _said(exchange: Exchange) -> Said:
    return Said(
        order=exchange.ask.order,
        shares=exchange.answer.shares,
        reason=exchange.answer.reason,
        asked="\n\n".join(message["content"] for message in exchange.request.messages),
        text=shortened(exchange.reply.text),
        reasoning=shortened(exchange.reply.reasoning),
        tokens=exchange.reply.completion_tokens,
    )


def shortened(text: str, most: int = MOST_SHOWN) -> str:
    """A text with the middle left out where it is long: a server may send what it likes."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"
