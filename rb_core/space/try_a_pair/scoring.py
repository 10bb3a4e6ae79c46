"""Score a visitor's question with the code that scores benchmarks. No gradio, and no torch until a model needs it.

Nothing that a visitor types is stored or logged.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, cast

from rb_core.benchmarks.example import CompletionSet
from rb_core.benchmarks.prompt_rows import PromptRow
from rb_core.errors import ModelError, RewardBenchError
from rb_core.evaluation.evaluate import describe_model
from rb_core.evaluation.prompt_windows import Window, WindowPlan
from rb_core.evaluation.score import score_completion_sets
from rb_core.evaluation.scored_prompts import ScoredPrompt
from rb_core.models.chat_format import ChatFormat, Encoded
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import ModelSpec, resolve
from rb_core.results.score_table import Score
from rb_core.scorers.base import Cell, Scorer, scores_by_cell
from rb_core.scorers.load import load_scorer
from rb_core.space.limits import InputError, Limits, WaitingLine
from rb_core.space.try_a_pair.available_models import AvailableModels
from rb_core.space.try_a_pair.judges import LimitedJudges, judge_options
from rb_core.space.try_a_pair.model_cache import PROGRESS_PERIOD, LoadedModel, ModelCache
from rb_core.space.try_a_pair.question import Question
from rb_core.space.try_a_pair.result import PairResult, ScoredCompletion, ScoredFile, TextPiece, ranks_of

if TYPE_CHECKING:
    from rb_core.scorers.conversation_scorer import ConversationScorer
    from rb_core.scorers.judge.scorer import JudgeScorer

# An absolute path of this machine, which an error message of a library may contain.
_PATH = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'\",]+[/\\])+[^\s/\\:'\",]*")


class PairScorer:
    """Scores questions with the available models, one question at a time; a model is loaded when it is first used.

    One at a time, because two threads may not share a fast tokenizer and two cores are no faster when shared. Requests
    to a judge's server wait in a line of their own, so that nobody else waits for the server.
    """

    def __init__(self, models: AvailableModels, limits: Limits) -> None:
        self.models = models
        self.limits = limits
        self.line = WaitingLine(limits.queue)
        self.judges = LimitedJudges(limits)
        self.cache = ModelCache(limits.memory, self._resolve, _load)
        self.file_line = WaitingLine(limits.files - 1)
        self._server_line = WaitingLine(limits.queue)

    def load(self, names: Sequence[str]) -> Iterator[str]:
        """Load models, and yield progress messages. Raises InputError if one cannot be loaded."""
        for name in names:
            yield from self.cache.load(name)
        if judges := [name for name in names if name in self.models.judges]:
            yield f"Waiting for {' and '.join(judges)}. A judge takes longer than a reward model."

    def score(self, question: Question, token_rewards: bool = False) -> list[PairResult]:
        """Return one result per model. Raises InputError if a model cannot score the question."""
        completions = CompletionSet(question.conversation, question.completions)
        return [self._score(model, completions, token_rewards) for model in question.models]

    def score_texts(self, question: Question, texts: Sequence[str]) -> list[list[float | None]]:
        """Return, for each model, the scores of any number of completions of the question's prompt.

        Raises InputError if a model cannot score them.
        """
        completions = CompletionSet(question.conversation, tuple(texts))
        return [[c.value for c in self._score(model, completions).completions] for model in question.models]

    def score_rows(self, name: str, rows: Sequence[PromptRow]) -> Iterator[str | ScoredFile]:
        """Score the rows of a file; yield progress messages and then the scores.

        Others' questions are scored between two rows. The model is no judge. Raises InputError if it cannot score the
        rows.
        """
        with _errors_for_visitors():
            model = self.cache.get(name)
            total = sum(len(row.completions) for row in rows)
            yield f"0 of {total:,} completions are scored."
            shown = time.monotonic()
            planned = [self._plan_row(model, row, number) for number, row in enumerate(rows, start=1)]
            self._check_file_tokens(model, sum(batch.tokens for row in planned for batch in row.plan.batches))
            prompts: list[ScoredPrompt] = []
            done = 0
            for row in planned:
                with self.line.turn():
                    scores = list(model.scorer.stream(row.plan.batches))
                prompts += row.window.scored_prompts(row.scores_in_order(scores))
                done += row.window.num_completions
                if time.monotonic() - shown >= PROGRESS_PERIOD:
                    yield f"{done:,} of {total:,} completions are scored."
                    shown = time.monotonic()
            yield ScoredFile(describe_model(model.scorer, name), prompts)

    def _plan_row(self, model: LoadedModel, row: PromptRow, number: int) -> WindowPlan:
        """Plan a row. Raises InputError, with its line, if the model's template refuses it."""
        window = Window(number, ((row,),))
        blinded = window.blinded(seed=0)
        try:
            with self.line.turn():
                plan = model.scorer.plan([each.completion_set for each in blinded])
        except RewardBenchError as error:
            raise InputError(f"{row.location}: {remove_paths(str(error))}") from error
        return WindowPlan(window, blinded, plan, {})

    def _check_file_tokens(self, model: LoadedModel, tokens: int) -> None:
        if model.spec.kind != "baseline" and tokens > self.limits.file_tokens:
            raise InputError(
                f"For {model.name} the file has {tokens:,} tokens; at most {self.limits.file_tokens:,} are scored "
                "here. Leave out rows, or choose a baseline."
            )

    def _resolve(self, name: str) -> ModelSpec:
        judge = self.models.judges.get(name)
        return resolve(self.models.location(name), judge_options(judge, self.limits) if judge else ModelOptions())

    def _score(self, name: str, completions: CompletionSet, token_rewards: bool = False) -> PairResult:
        model = self.cache.get(name)
        line = self._server_line if model.spec.options.judge.served else self.line
        with line.turn(), _errors_for_visitors():
            if model.spec.kind == "baseline":
                return _plain_result(name, score_completion_sets(model.scorer, [completions])[0])
            if model.spec.kind == "generative":
                return self._ask_judge(model, completions, token_rewards)
            return self._score_conversations(model, completions, token_rewards)

    def _ask_judge(self, model: LoadedModel, completions: CompletionSet, token_rewards: bool) -> PairResult:
        scores, judge_result = self.judges.ask(cast("JudgeScorer", model.scorer), completions)
        reason = "a judge is asked about whole completions" if token_rewards else ""
        return replace(_plain_result(model.name, scores), judge=judge_result, no_trace=reason)

    def _score_conversations(self, model: LoadedModel, completions: CompletionSet, token_rewards: bool) -> PairResult:
        """Score with a model that reads conversations. The model input shown is the one that is scored."""
        scorer = cast("ConversationScorer", model.scorer)
        chat = scorer.chat
        _check_system_prompt(model.name, chat, completions)
        encoded = scorer.encode(completions)
        batches = scorer.batches([encoded])
        if (tokens := sum(batch.tokens for batch in batches)) > self.limits.tokens:
            raise InputError(
                f"For {model.name} the question has {tokens:,} tokens; at most {self.limits.tokens:,} are scored here. "
                "Shorten the texts, or give fewer completions."
            )
        scores_of_cells = scores_by_cell(batches, scorer.stream(batches))
        scores = [scores_of_cells[Cell(0, i)] for i in range(len(encoded))]
        result = PairResult(
            model=model.name,
            is_reward=True,
            completions=tuple(
                ScoredCompletion(score, rank, text_pieces(chat, sequence), sequence.dropped)
                for score, rank, sequence in zip(scores, ranks_of(scores), encoded, strict=True)
            ),
            control_tokens=tuple(
                chat.control_tokens(*(message["content"] for message in completions.prompt), *completions.completions)
            ),
            trace_kind="added" if model.spec.kind == "implicit" else "running",
        )
        return self._add_token_rewards(result, scorer, completions, encoded) if token_rewards else result

    def _add_token_rewards(
        self, result: PairResult, scorer: Scorer, completions: CompletionSet, encoded: Sequence[Encoded]
    ) -> PairResult:
        """Add the reward at each token of the scored completions, or the reason why there is none."""
        # Here the model reads the prompt again with each completion, so this may exceed a limit that scoring keeps.
        if (tokens := sum(len(sequence.ids) for sequence in encoded)) > self.limits.tokens:
            reason = f"this needs {tokens:,} tokens, and at most {self.limits.tokens:,} are computed here"
            return replace(result, no_trace=reason)
        try:
            explained = tuple(
                completion
                if completion.value is None
                else replace(completion, trace=tuple(scorer.trace(completions.prompt, text)))
                for completion, text in zip(result.completions, completions.completions, strict=True)
            )
        except ModelError as error:
            return replace(result, no_trace=remove_paths(str(error)))
        if not all(math.isfinite(token.reward) for completion in explained for token in completion.trace):
            return replace(result, no_trace="the reward is not a finite number at every token")
        return replace(result, completions=explained)


def _load(spec: ModelSpec) -> Scorer:
    """Load a scorer that reads control tokens in a visitor's text as ordinary text."""
    scorer = load_scorer(spec)
    if spec.kind in ("baseline", "generative"):  # a judge's prompt never contains control tokens of the texts
        return scorer
    conversation_scorer = cast("ConversationScorer", scorer)
    return replace(conversation_scorer, chat=replace(conversation_scorer.chat, sanitize=True))


@contextmanager
def _errors_for_visitors() -> Iterator[None]:
    """Raise InputError, without paths of this machine, for the errors of a model."""
    try:
        yield
    except InputError:
        raise
    except RewardBenchError as error:
        raise InputError(remove_paths(str(error))) from error


def _plain_result(model: str, scores: Sequence[Score]) -> PairResult:
    return PairResult(model, False, tuple(map(ScoredCompletion, scores, ranks_of(scores))))


def _check_system_prompt(model: str, chat: ChatFormat, completions: CompletionSet) -> None:
    if completions.prompt[0]["role"] != "system" or chat.system_role == "fold":
        return
    try:
        chat.check_system_role()
    except ModelError as error:
        raise InputError(f"The chat template of {model} accepts no system prompt. Clear that field.") from error


def text_pieces(chat: ChatFormat, encoded: Encoded) -> tuple[TextPiece, ...]:
    """Decode a model's input: each control token is a piece, and so is the text between two of them."""
    tokenizer, pieces = chat.tokenizer, []
    runs = groupby(enumerate(encoded.ids), lambda item: (item[0] >= encoded.start, item[1] in chat.special_ids))
    for (in_completion, is_control_token), run in runs:
        ids = [token for _, token in run]
        if is_control_token:
            pieces += [TextPiece(str(name), True, in_completion) for name in tokenizer.convert_ids_to_tokens(ids)]
        else:
            text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
            pieces.append(TextPiece(text, False, in_completion))
    return tuple(pieces)


def remove_paths(message: str) -> str:
    """Replace every absolute path of this machine in a message."""
    return _PATH.sub("(a file)", message)
