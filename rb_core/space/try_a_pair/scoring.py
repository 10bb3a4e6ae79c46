"""Scores what a visitor typed, with the code that scores benchmarks. No gradio, and no torch until a model needs it.

Nothing that is typed is stored or logged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from rb_core.benchmarks.example import CompletionSet, Conversation
from rb_core.errors import ModelError, RewardBenchError
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.chat_format import ChatFormat, Encoded
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import ModelSpec, resolve
from rb_core.results.score_table import Score
from rb_core.scorers.base import Batch, Cell, Scorer, TokenReward, scores_by_cell
from rb_core.scorers.load import load_scorer
from rb_core.space.limits import InputError, Limits, WaitingLine
from rb_core.space.try_a_pair.available_models import Offer
from rb_core.space.try_a_pair.judges import Judged, Judges, options_of
from rb_core.space.try_a_pair.model_cache import Loaded, LoadedModels
from rb_core.space.try_a_pair.question import Question

if TYPE_CHECKING:
    from rb_core.scorers.conversation_scorer import ConversationScorer
    from rb_core.scorers.judge.scorer import JudgeScorer

# An absolute path of this machine, which a message from further down may name.
_PATH = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'\",]+[/\\])+[^\s/\\:'\",]*")


# What stands along a completion: the score as it would be read after each token, or what each token adds to it.
AlongKind = Literal["running", "added"]


class Piece(NamedTuple):
    """A stretch of what a model was fed. control: one control token; completion: belongs to the completion's part."""

    text: str
    control: bool
    completion: bool


@dataclass(frozen=True)
class ScoredCompletion:
    """One completion's outcome. rank: 1 is best, equal scores share it, None is unscored; fed: empty for a baseline;
    dropped: prompt tokens that were cut off; along: the reward at each token, empty where it was not asked for."""

    score: Score
    rank: int | None
    fed: tuple[Piece, ...] = ()
    dropped: int = 0
    along: tuple[TokenReward, ...] = ()

    @property
    def value(self) -> float | None:
        return None if math.isnan(self.score.value) else self.score.value


@dataclass(frozen=True)
class Outcome:
    """What the page and the endpoint say of one question to one model.

    is_reward: the scores are rewards of a model, so that a difference is a log-odds; control_tokens: those of the
    model that stood in the visitor's text, and were fed as ordinary text; no_along: why there is no reward by token;
    judged: what a generative judge said, None for other models.
    """

    model: str
    is_reward: bool
    completions: tuple[ScoredCompletion, ...]
    control_tokens: tuple[str, ...] = ()
    along_kind: AlongKind = "running"
    no_along: str = ""
    judged: Judged | None = None

    @property
    def margin(self) -> float | None:
        """The best score minus the second; None with fewer than two scores."""
        values = sorted((c.value for c in self.completions if c.value is not None), reverse=True)
        return values[0] - values[1] if len(values) > 1 else None

    @property
    def probability(self) -> float | None:
        """The Bradley-Terry probability that the best is preferred to the second; None where scores have no scale."""
        margin = self.margin
        return sigmoid(margin) if self.is_reward and margin is not None else None


def sigmoid(margin: float) -> float:
    """1 / (1 + exp(-margin)), for margins of any size."""
    if margin < 0:
        return 1 - sigmoid(-margin)
    return 1 / (1 + math.exp(-margin))


class Live:
    """Scores questions one at a time with the models that are offered, each loaded when it is first asked for.

    One at a time: a fast tokenizer may not be used by two threads at once, and two cores are not faster shared. Those
    who wait for a judge's server stand in a line of their own, so that nobody else waits for it.
    """

    def __init__(self, offer: Offer, bounds: Limits) -> None:
        self.offer = offer
        self.bounds = bounds
        self.line = WaitingLine(bounds.queue)
        self.judges = Judges(bounds)
        self._served = WaitingLine(bounds.queue)
        self.loaded = LoadedModels(bounds.memory, self._spec, _load)

    def bring(self, models: Sequence[str]) -> Iterator[str]:
        """Load what is not loaded yet, with a word on how it goes. Raises InputError for what cannot be loaded."""
        for model in models:
            yield from self.loaded.bring(model)
        if asked := [model for model in models if model in self.offer.judges]:
            yield f"Asking {' and '.join(asked)}: what a judge says takes longer than a score."

    def score(self, question: Question, along: bool = False) -> list[Outcome]:
        """One outcome a model. along: with the reward at each token. Raises InputError where a model cannot."""
        return [self._score(model, question, along) for model in question.models]

    def values(self, question: Question, completions: Sequence[str]) -> list[list[float | None]]:
        """For each model the scores of any number of completions of the question's prompt, which are not explained.
        Raises InputError where a model cannot."""
        return [
            [completion.value for completion in self._score(model, question, False, tuple(completions)).completions]
            for model in question.models
        ]

    def _score(
        self, model: str, question: Question, along: bool, completions: tuple[str, ...] | None = None
    ) -> Outcome:
        candidates = CompletionSet(question.conversation, completions or question.completions)
        loaded = self.loaded.get(model)
        line = self._served if loaded.spec.options.judge.served else self.line
        with line.turn():
            try:
                if loaded.spec.kind == "baseline":
                    return _outcome(model, False, score_completion_sets(loaded.scorer, [candidates])[0])
                if loaded.spec.kind == "generative":
                    return self._ask(loaded, candidates, along)
                return self._read(loaded, candidates, along)
            except InputError:
                raise
            except RewardBenchError as error:
                raise InputError(without_paths(str(error))) from error

    def _spec(self, name: str) -> ModelSpec:
        judge = self.offer.judges.get(name)
        return resolve(self.offer.place(name), options_of(judge, self.bounds) if judge else ModelOptions())

    def _ask(self, loaded: Loaded, candidates: CompletionSet, along: bool) -> Outcome:
        """The outcome of a judge, which says something of whole completions."""
        scores, judged = self.judges.ask(cast("JudgeScorer", loaded.scorer), candidates)
        no_along = "a judge is asked about whole completions" if along else ""
        return replace(_outcome(loaded.name, False, scores), judged=judged, no_along=no_along)

    def _read(self, loaded: Loaded, candidates: CompletionSet, along: bool) -> Outcome:
        """The outcome of a model that reads conversations: what is shown is what is scored."""
        scorer = cast("ConversationScorer", loaded.scorer)
        chat = scorer.chat
        _check_system_prompt(loaded.name, chat, candidates.prompt)
        works = scorer.encode(candidates)
        batches = scorer.batches([works])
        self._check_tokens(loaded.name, batches)
        found = scores_by_cell(batches, scorer.stream(batches))
        scores = [found[Cell(0, i)] for i in range(len(works))]
        texts = [message["content"] for message in candidates.prompt]
        outcome = _outcome(
            loaded.name,
            True,
            scores,
            [pieces(chat, encoded) for encoded in works],
            [encoded.dropped for encoded in works],
            tuple(chat.control_tokens(*texts, *candidates.completions)),
        )
        outcome = replace(outcome, along_kind="added" if loaded.spec.kind == "implicit" else "running")
        if not along:
            return outcome
        # Here the prompt is read anew with each completion, which is not what the bound has allowed.
        tokens = sum(len(encoded.ids) for encoded in works)
        if tokens > self.bounds.tokens:
            why = f"it takes {tokens:,} tokens, and at most {self.bounds.tokens:,} are read here at once"
            return replace(outcome, no_along=why)
        return _with_along(outcome, scorer, candidates)

    def _check_tokens(self, model: str, batches: Sequence[Batch]) -> None:
        tokens = sum(batch.tokens for batch in batches)
        if tokens > self.bounds.tokens:
            raise InputError(
                f"To {model} this is {tokens:,} tokens; at most {self.bounds.tokens:,} are scored here at once. "
                "Shorten the texts, or take fewer completions."
            )


def _load(spec: ModelSpec) -> Scorer:
    """The scorer of a model. What a visitor types is text to it, never a control token of the model's."""
    scorer = load_scorer(spec)
    if spec.kind in ("baseline", "generative"):  # a judge's prompt takes every text for text by itself
        return scorer
    reader = cast("ConversationScorer", scorer)
    return replace(reader, chat=replace(reader.chat, sanitize=True))


def without_paths(message: str) -> str:
    """The message with every absolute path of this machine taken out."""
    return _PATH.sub("(a file)", message)


def _check_system_prompt(model: str, chat: ChatFormat, prompt: Conversation) -> None:
    if prompt[0]["role"] != "system" or chat.system_role == "fold":
        return
    try:
        chat.check_system_role()
    except ModelError as error:
        raise InputError(f"{model} takes no system prompt: its chat template refuses it. Clear that field.") from error


def _outcome(
    model: str,
    is_reward: bool,
    scores: Sequence[Score],
    fed: Sequence[tuple[Piece, ...]] | None = None,
    dropped: Sequence[int] | None = None,
    control_tokens: tuple[str, ...] = (),
) -> Outcome:
    values = [score.value for score in scores]
    ranks = [None if math.isnan(value) else 1 + sum(other > value for other in values) for value in values]
    shown, cut = fed or [()] * len(scores), dropped or [0] * len(scores)
    completions = tuple(ScoredCompletion(*each) for each in zip(scores, ranks, shown, cut, strict=True))
    return Outcome(model, is_reward, completions, control_tokens)


def _with_along(outcome: Outcome, scorer: Scorer, candidates: CompletionSet) -> Outcome:
    """The outcome with the reward at each token of what could be scored, or with the reason why there is none."""

    def along(scored: ScoredCompletion, text: str) -> ScoredCompletion:
        if scored.value is None:
            return scored
        return replace(scored, along=tuple(scorer.trace(candidates.prompt, text)))

    try:
        found = tuple(map(along, outcome.completions, candidates.completions))
    except ModelError as error:
        return replace(outcome, no_along=without_paths(str(error)))
    if not all(math.isfinite(token.reward) for completion in found for token in completion.along):
        return replace(outcome, no_along="it is not a finite number at every token")
    return replace(outcome, completions=found)


def pieces(chat: ChatFormat, encoded: Encoded) -> tuple[Piece, ...]:
    """What the model was fed, back from the token ids: control tokens one by one, text between them as a whole."""
    tokenizer = chat.tokenizer
    found: list[Piece] = []
    run: list[int] = []

    def close(completion: bool) -> None:
        if run:
            found.append(Piece(tokenizer.decode(run, clean_up_tokenization_spaces=False), False, completion))
            run.clear()

    for index, token in enumerate(encoded.ids):
        completion = index >= encoded.start
        if index == encoded.start:
            close(False)
        if token in chat.special_ids:
            close(completion)
            found.append(Piece(str(tokenizer.convert_ids_to_tokens(token)), True, completion))
        else:
            run.append(token)
    close(len(encoded.ids) > encoded.start)
    return tuple(found)
