"""Scores of visitors' questions by models, beside the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rb_core.benchmarks.example import CompletionSet
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.resolve import resolve
from rb_core.scorers.load import load_scorer
from rb_core.space.limits import InputError, Limits
from rb_core.space.try_a_pair.available_models import ALWAYS_AVAILABLE, AvailableModels
from rb_core.space.try_a_pair.question import Question
from rb_core.space.try_a_pair.scoring import PairScorer, remove_paths
from tests.space.try_a_pair.conftest import ANSWERS, PROMPT, TINY, bundled_models, score_text

LLAMA = "local/llama"


@pytest.fixture(scope="module")
def llama(tiny_model: Callable[[str], Path]) -> PairScorer:
    return PairScorer(AvailableModels((str(tiny_model("llama")),), lambda name: False), Limits())


def limited(scorer: PairScorer, limits: Limits) -> PairScorer:
    """The same scorer with its loaded models, under other limits."""
    other = PairScorer(scorer.models, limits)
    other.cache = scorer.cache
    return other


@pytest.mark.parametrize("model", ALWAYS_AVAILABLE)
def test_every_bundled_model_gives_equal_texts_equal_scores(model: str) -> None:
    result = score_text(model, PROMPT, [*ANSWERS, ANSWERS[0]])
    values = [completion.value for completion in result.completions]
    assert None not in values
    assert values[0] == values[2]
    assert result.completions[0].rank == result.completions[2].rank


def test_scores_are_those_of_the_package(llama: PairScorer) -> None:
    result = llama.score(Question((LLAMA,), PROMPT, ANSWERS))[0]
    completions = CompletionSet(Question((), PROMPT, ()).conversation, ANSWERS)
    expected = score_completion_sets(llama.cache.get(LLAMA).scorer, [completions])[0]
    assert [completion.value for completion in result.completions] == [score.value for score in expected]


def test_system_prompt_and_earlier_turns_are_part_of_the_model_input() -> None:
    question = Question((TINY,), PROMPT, ANSWERS, "Answer like a pirate", (("I have a pan.", "Good, and water?"),))
    result = bundled_models().score(question)[0]
    before = "".join(piece.text for piece in result.completions[0].model_input if not piece.in_completion)
    assert all(text in before for text in ("pirate", "pan", "water"))
    assert [c.value for c in result.completions] != [c.value for c in score_text(TINY, PROMPT, ANSWERS).completions]


def test_a_system_prompt_that_a_template_refuses_is_refused_by_field(tiny_model: Callable[[str], Path]) -> None:
    scorer = PairScorer(AvailableModels((str(tiny_model("gemma2")),), lambda name: False), Limits())
    question = Question(("local/gemma2",), PROMPT, ANSWERS)
    assert scorer.score(question)[0].margin is not None
    with pytest.raises(InputError, match=r"accepts no system prompt.* Clear that field"):
        scorer.score(replace(question, system="Answer like a pirate"))


@pytest.mark.usefixtures("sanitizing_transformers")
def test_control_tokens_in_the_text_are_read_as_text_and_reported() -> None:
    token = load_scorer(resolve(TINY)).chat.tokenizer.all_special_tokens[0]
    plain, spelled = (score_text(TINY, PROMPT, [text, "No."]) for text in ("Yes.", f"Yes.{token}"))
    counts = [sum(piece.is_control_token for piece in result.completions[0].model_input) for result in (plain, spelled)]
    assert counts[0] == counts[1] > 0
    assert spelled.control_tokens == (token,)


def test_a_completion_beyond_the_models_limit_is_unscored_with_a_reason() -> None:
    result = score_text(TINY, PROMPT, ["word " * 3900, "Short."])
    assert (result.completions[0].value, result.completions[0].rank, result.margin) == (None, None, None)
    assert result.completions[0].score.reason == "completion alone exceeds the maximum length"


def test_too_many_tokens_are_refused_with_both_numbers(llama: PairScorer) -> None:
    with pytest.raises(InputError, match=r"For local/llama the question has \d+ tokens; at most 20 .* Shorten"):
        limited(llama, Limits(tokens=20)).score(Question((LLAMA,), PROMPT, ANSWERS))


def test_the_trace_of_a_classifier_ends_in_its_score(llama: PairScorer) -> None:
    result = llama.score(Question((LLAMA,), PROMPT, ANSWERS), token_rewards=True)[0]
    for completion in result.completions:
        assert completion.trace[-1].reward == pytest.approx(completion.value, abs=1e-4)


def test_a_model_without_a_reward_by_token_gives_scores_and_the_reason(
    llama: PairScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama.cache.get(LLAMA).scorer, "reads_a_token", False)
    result = llama.score(Question((LLAMA,), PROMPT, ANSWERS), token_rewards=True)[0]
    assert None not in [completion.value for completion in result.completions]
    assert "no reward per token" in result.no_trace


def test_traces_keep_to_the_token_limit(llama: PairScorer) -> None:
    """Scoring reads a long prompt once, but traces read it with every completion."""
    question = Question((LLAMA,), "word " * 60, tuple(f"answer {n}" for n in range(8)))
    complete = llama.score(question, token_rewards=True)[0]
    assert all(completion.trace for completion in complete.completions)
    tokens = 2 * max(completion.score.num_tokens for completion in complete.completions)
    bounded = limited(llama, Limits(tokens=tokens)).score(question, token_rewards=True)[0]
    assert [c.value for c in bounded.completions] == [c.value for c in complete.completions]
    assert not any(completion.trace for completion in bounded.completions)
    assert f"at most {tokens:,} are computed here" in bounded.no_trace


def test_a_model_that_cannot_be_loaded_is_refused_without_its_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = PairScorer(AvailableModels((str(tmp_path),), lambda name: False), Limits())
    with pytest.raises(InputError, match="cannot be loaded on this machine") as refusal:
        scorer.score(Question((f"local/{tmp_path.name}",), PROMPT, ANSWERS))
    assert str(tmp_path) not in str(refusal.value)
    assert str(tmp_path) in caplog.text
    assert PROMPT not in caplog.text


@pytest.mark.parametrize(
    ("message", "clean"),
    [
        ("/home/me/models/rm/config.json: not readable", "(a file): not readable"),
        ("see '/tmp/x/y' for more", "see '(a file)' for more"),
        ("org/name has 2/3 of A/B", "org/name has 2/3 of A/B"),
    ],
)
def test_absolute_paths_are_removed_from_messages_and_model_names_are_not(message: str, clean: str) -> None:
    assert remove_paths(message) == clean
