"""The work behind the tab and the endpoint: rate limit, waiting line, models, GPU and the models' margins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gradio as gr

from rb_core.audits.robustness.changes import Change
from rb_core.benchmarks.prompt_rows import PromptRow
from rb_core.evaluation.percentiles import Percentiles
from rb_core.space.api import asked_by_agent
from rb_core.space.html import render
from rb_core.space.limits import InputError, RateLimiter, WaitingLine
from rb_core.space.results_source import ResultsSource
from rb_core.space.try_a_pair.available_models import ALWAYS_AVAILABLE
from rb_core.space.try_a_pair.beside_baseline import beside_baseline
from rb_core.space.try_a_pair.margin_percentile import MarginPercentile, find_percentile
from rb_core.space.try_a_pair.question import MAX_EXCHANGES, Question, make_question
from rb_core.space.try_a_pair.result import PairResult, ScoredFile
from rb_core.space.try_a_pair.result_html import ModelView
from rb_core.space.try_a_pair.scoring import PairScorer
from rb_core.space.try_a_pair.what_if import NOT_FOR_JUDGES, ChangeEffect, change_effects, changed_texts

# A decorator for functions that need a GPU, on Spaces that lend one for the length of a call.
GpuDecorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class PairService:
    """Answers questions within the host's limits."""

    def __init__(self, scorer: PairScorer, source: ResultsSource, on_gpu: GpuDecorator | None) -> None:
        self.scorer = scorer
        self.models = scorer.models
        self._source = source
        self._rate_limiter = RateLimiter(scorer.limits.per_minute)
        self._on_gpu = on_gpu

        # Spaces decorate plain functions, not methods.
        def score(question: Question, token_rewards: bool) -> list[PairResult]:
            return scorer.score(question, token_rewards)

        def score_texts(question: Question, texts: Sequence[str]) -> list[list[float | None]]:
            return scorer.score_texts(question, texts)

        def score_rows(model: str, rows: Sequence[PromptRow]) -> Iterator[str | ScoredFile]:
            yield from scorer.score_rows(model, rows)

        self._score: Callable[..., list[PairResult]] = on_gpu(score) if on_gpu else score
        self._score_texts: Callable[..., list[list[float | None]]] = on_gpu(score_texts) if on_gpu else score_texts
        self._score_rows: Callable[..., Iterator[str | ScoredFile]] = on_gpu(score_rows) if on_gpu else score_rows

    @contextmanager
    def rate_limited(self, request: gr.Request | None, line: WaitingLine | None = None) -> Iterator[None]:
        """Count a request and admit it to a waiting line, by default that of questions.

        Raises InputError if it exceeds a limit.
        """
        host = request.client.host if request is not None and request.client else None
        # Agents share the session of gradio's client.
        session = None if request is None or asked_by_agent(request) else request.session_hash
        self._rate_limiter.count(session, host)
        with (line or self.scorer.line).admit():
            yield

    def question(
        self, models: Any, prompt: Any, system: Any, score_empty: Any, exchanges: Any, completions: Any, *texts: Any
    ) -> Question:
        """Return the question in the form; `exchanges` and `completions` count the visible boxes. Raises InputError."""
        boxes = [text or "" for text in texts]  # a box that was never visible has no value
        turns = [
            {"role": "assistant" if index % 2 else "user", "content": text}
            for index, text in enumerate(boxes[: 2 * int(exchanges)])
        ]
        shown = boxes[2 * MAX_EXCHANGES :][: int(completions)]
        return make_question(models, prompt or "", shown, system, turns, score_empty, offered=self.models.names)

    def without_judges(self, question: Question) -> tuple[Question, list[str]]:
        """Return the question to the models that are no judges, and the judges. Raises InputError for judges only."""
        judges = [model for model in question.models if model in self.models.judges]
        models = tuple(model for model in question.models if model not in judges)
        if not models:
            raise InputError(f"What if is for reward models: {NOT_FOR_JUDGES} Choose another model.")
        return replace(question, models=models), judges

    def load(self, question: Question) -> Iterator[str]:
        """Load the question's models and yield progress messages; on a lent GPU the scoring call loads them."""
        if self._on_gpu is None:
            yield from self.scorer.load(question.models)

    def score(self, question: Question, token_rewards: bool) -> list[PairResult]:
        """Return one result per model. No GPU is borrowed to wait for servers."""
        judges = self.models.judges
        if all(model in judges and judges[model].base_url for model in question.models):
            return self.scorer.score(question, token_rewards)
        return self._score(question, token_rewards)

    @property
    def file_models(self) -> list[str]:
        """The models that score files: all but judges."""
        return [name for name in self.models.names if name not in self.models.judges]

    def score_file(self, model: Any, rows: Sequence[PromptRow]) -> Iterator[str | ScoredFile]:
        """Load a model and score the rows of a file; yield progress messages and then the scores. Raises InputError."""
        if model not in self.file_models:
            raise InputError(f"Choose one of these models for a file: {', '.join(self.file_models)}.")
        if self._on_gpu is None:
            yield from self.scorer.load([model])
        yield from self._score_rows(model, rows)

    def file_percentiles(self, scored: ScoredFile) -> Percentiles | None:
        return self._source.percentiles(scored.model)

    def percentiles(self, results: Sequence[PairResult]) -> list[MarginPercentile | None]:
        return [find_percentile(result, self._source) for result in results]

    def views(self, results: Sequence[PairResult]) -> list[ModelView]:
        """Return the results with what the page says of each model."""
        views = []
        for result, percentile in zip(results, self.percentiles(results), strict=True):
            standing = beside_baseline(result.model, self._source)
            verdict = standing.verdict(self._source) if standing else ""
            views.append(ModelView(result, percentile, standing, verdict))
        return views

    def waiting_html(self) -> str:
        """Return what the result area says before the first question."""
        return render("try_a_pair/waiting.html", standing=beside_baseline(ALWAYS_AVAILABLE[0], self._source))

    def change_effects(self, question: Question, changes: Sequence[Change]) -> list[ChangeEffect]:
        """Return the effect of each change on each model, which must not be a judge."""
        scores = self._score_texts(question, changed_texts(question.completions, changes))
        return change_effects(question.models, changes, len(question.completions), scores)
