"""The built-in model as it is shipped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.builtin import train_tiny_rm
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.resolve import resolve
from rb_core.scorers.classifier import ClassifierScorer

FOLDER = Path(train_tiny_rm.__file__).parent / "tiny_rm"
ANSWERS = {
    "How do I boil an egg?": (
        "Put the egg in a pot of boiling water for eight minutes, then cool it in cold water and peel the egg."
    ),
    "Why is the sky blue?": "The sky looks blue because the air scatters blue light from the sun more than red light.",
    "How can I fall asleep faster?": (
        "To fall asleep faster, keep your bedroom dark, go to bed at the same time, and avoid screens before you sleep."
    ),
    "Can you recommend a good book about the history of Rome?": (
        "A good book about the history of Rome is SPQR by Mary Beard. It tells how Rome grew from a village into an "
        "empire."
    ),
}
BAD_ANSWERS = ["asdkjh qwe zxmn lkjq", "You are an idiot, figure it out yourself.", "ok", "I don't know."]


@pytest.fixture(scope="module")
def scorer() -> ClassifierScorer:
    return ClassifierScorer.load(resolve("builtin/tiny-rm"))


def test_the_folder_is_small_and_holds_no_pickle() -> None:
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert sum(files.values()) < 9_000_000
    assert {Path(name).suffix for name in files} <= {".safetensors", ".json", ".jinja", ".md"}


def test_the_card_is_the_template_with_numbers() -> None:
    template = FOLDER.with_name("tiny_rm_card.md").read_text(encoding="utf-8")
    pattern = re.sub(r"\\\{.*?\\\}", "(.+?)", re.escape(template))
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.fullmatch(pattern, card, re.DOTALL)
    assert len(re.findall(r"\| (?:hh_helpful|other_prompt) \| \d+ \| [\d.]+ \| [\d.]+-[\d.]+ \|", card)) == 2


def test_it_runs_in_float32_with_the_shipped_template(scorer: ClassifierScorer) -> None:
    """It is batched, renders a system message, and is read at the token that closes the answer."""
    description = scorer.describe()
    assert (description["dtype"], description["batching"]) == ("float32", "packed")
    scorer.chat.check_system_role()
    assert description["scored_token"] == scorer.chat.tokenizer.eos_token


@pytest.mark.parametrize("prompt", ANSWERS)
def test_a_helpful_answer_beats_bad_answers_and_answers_to_other_questions(
    scorer: ClassifierScorer, prompt: str
) -> None:
    """Gibberish, an insult, an empty answer, no help, and the answers to three other questions score lower."""
    other_answers = [answer for other_prompt, answer in ANSWERS.items() if other_prompt != prompt]
    completions = (ANSWERS[prompt], *BAD_ANSWERS, *other_answers)
    conversation = (Message(role="user", content=prompt),)
    (scores,) = score_completion_sets(scorer, [CompletionSet(conversation, completions)])
    good, *others = (score.value for score in scores)
    assert good > max(others)
