"""The tab *Try a pair* and its endpoint, from what is typed to what is shown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Locator, Page, expect

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.resolve import resolve
from rb_core.scorers.load import load_scorer
from rb_core.space.html import message_html
from rb_core.space.limits import InputError, Limits
from rb_core.space.try_a_pair.available_models import ALWAYS, Offer
from rb_core.space.try_a_pair.question import MAX_CHARACTERS, MAX_COMPLETIONS, Question
from rb_core.space.try_a_pair.result_html import outcome_html
from rb_core.space.try_a_pair.scoring import Live, Outcome, without_paths
from rb_core.space.try_a_pair.tab import SAMPLES, Sample
from tests.space.conftest import OpenPage, score_text

TINY = "builtin/tiny-rm"
PROMPT = "How do I boil an egg?"
ANSWERS = ["Put it into boiling water for eight minutes, then cool it.", "No."]


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


def fill(page: Page, prompt: str, *completions: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    for number, text in enumerate(completions, 1):
        page.get_by_label(f"Completion {number}", exact=True).fill(text)


def score(page: Page) -> Locator:
    """Press the button and wait for an outcome or a message; the first time a model has to be loaded."""
    page.get_by_role("button", name="Score", exact=True).click()
    result = page.locator(".rb-outcome, .rb-message")
    result.wait_for(timeout=60_000)
    return result


def choose(page: Page, *models: str) -> None:
    """Tick these models, and take the tick off the one that is there at first."""
    for model in models:
        page.get_by_role("checkbox", name=model, exact=True).check()
    if TINY not in models:
        page.get_by_role("checkbox", name=TINY, exact=True).uncheck()


def shown(outcome: Outcome, *texts: str) -> str:
    """An outcome as the page shows it."""
    return outcome_html([outcome], Question((outcome.model,), PROMPT, texts), [None], "http://127.0.0.1:7860")


def test_a_pair_is_scored_with_the_built_in_model(open_page: OpenPage) -> None:
    """Both rewards, their order, margin and Bradley-Terry probability agree with the scorer and with each other."""
    page = open_page(tab="Try a pair")
    fill(page, PROMPT, *ANSWERS)
    result = score(page)
    expected = score_text(TINY, PROMPT, ANSWERS)
    values = [c.value for c in expected.completions]
    assert None not in values
    best = values.index(max(values)) + 1
    expect(result.get_by_role("heading", name=f"Completion {best} is ahead")).to_be_visible()
    margin = abs(values[0] - values[1])
    expect(result).to_contain_text(f"Margin {margin:.4g}")
    expect(result).to_contain_text(f"{100 / (1 + math.exp(-margin)):.1f}%")
    assert result.locator(".rb-value").all_inner_texts() == [f"{v:.4f}" for v in sorted(values, reverse=True)]
    result.get_by_text("The text the model was fed").click()
    fed = result.locator(".rb-fed pre").first
    expect(fed).to_be_visible()
    assert fed.locator(".rb-control").count() > 0
    assert ANSWERS[0].lower() in fed.inner_text().lower()


def test_a_baseline_says_that_its_number_is_no_reward(open_page: OpenPage) -> None:
    """A baseline gives an order, but no probability and no text that a model was fed."""
    page = open_page(tab="Try a pair")
    choose(page, "baseline/longest")
    fill(page, PROMPT, *ANSWERS)
    result = score(page)
    expect(result).to_contain_text("no Bradley-Terry probability applies")
    expect(result).to_contain_text("Completion 1 is ahead")
    expect(result.locator(".rb-one")).not_to_contain_text("%")
    expect(result.locator(".rb-one details")).to_have_count(0)


def test_completions_are_added_up_to_eight_and_taken_away_again(open_page: OpenPage) -> None:
    """There are two boxes at least and eight at most, all are scored, and one taken away comes back empty."""
    page = open_page(tab="Try a pair")
    choose(page, "baseline/shortest")
    add, remove = (
        page.get_by_role("button", name="Add a completion"),
        page.get_by_role("button", name="Remove the last"),
    )
    expect(remove).to_be_disabled()
    for number in range(3, MAX_COMPLETIONS + 1):
        add.click()
        expect(page.get_by_label(f"Completion {number}", exact=True)).to_be_visible()
    expect(add).to_be_disabled()
    fill(page, PROMPT, *("x" * n for n in range(1, MAX_COMPLETIONS + 1)))
    expect(score(page).locator(".rb-value")).to_have_count(MAX_COMPLETIONS)
    remove.click()
    expect(page.get_by_label("Completion 8", exact=True)).to_be_hidden()
    add.click()
    expect(page.get_by_label("Completion 8", exact=True)).to_have_value("")


def test_an_example_fills_the_form(open_page: OpenPage) -> None:
    """An example brings prompt and as many boxes as it has completions; the same text twice is called a tie."""
    page = open_page(tab="Try a pair")
    page.get_by_role("button", name="Four answers").click()
    expect(page.get_by_label("Completion 4", exact=True)).to_have_value("I don't know.")
    page.get_by_role("button", name="A tie").click()
    expect(page.get_by_label("Completion 3", exact=True)).to_be_hidden()
    result = score(page)
    expect(result.get_by_role("heading", name="A tie between completions 1 and 2")).to_be_visible()
    expect(result).to_contain_text("50.0%")


def test_an_empty_completion_is_asked_about_first(open_page: OpenPage) -> None:
    """An empty completion is not scored until the visitor says that it is meant."""
    page = open_page(tab="Try a pair")
    choose(page, "baseline/longest")
    box = page.get_by_role("checkbox", name="Score empty completions")
    expect(box).to_be_hidden()
    fill(page, PROMPT, "An answer")
    expect(score(page)).to_contain_text("Completion 2 is empty")
    box.check()
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator(".rb-outcome")).to_contain_text("Completion 1 is ahead")
    expect(page.locator(".rb-outcome em")).to_have_text("empty")


def test_too_long_a_text_is_refused_by_name(open_page: OpenPage) -> None:
    """What is too long is not cut but refused, with the field's name and both numbers."""
    page = open_page(tab="Try a pair")
    fill(page, PROMPT, "ok", "y" * (MAX_CHARACTERS + 1))
    expect(score(page)).to_contain_text("Completion 2 has 20,001 characters; at most 20,000")


@pytest.mark.parametrize("model", [TINY, "baseline/longest"])
def test_what_a_visitor_types_is_shown_as_text(open_page: OpenPage, model: str) -> None:
    """Markup and template syntax in prompt and completions come out as typed, wherever they are shown."""
    evil = (
        "<img src=x onerror=\"document.title='owned'\">${7*7} {{7*7}} `${alert(1)}` \\${x} </pre></details>"
        "<script>document.title='owned'</script>"
    )
    page = open_page(tab="Try a pair")
    choose(page, model)
    fill(page, evil, evil, evil + " and more")
    result = score(page)
    expect(result.locator(".rb-excerpt").first).to_contain_text("{{7*7}} `${alert(1)}` \\${x} </pre>")
    if model == TINY:
        result.get_by_text("The text the model was fed").click()
        expect(result.locator("pre").first).to_contain_text("${7*7} {{7*7}}")
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == "RewardBench"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.label)
def test_the_examples_come_out_as_they_promise(sample: Sample) -> None:
    """The built-in model puts the first completion of every example first, and the tie is one."""
    outcome = score_text("builtin/tiny-rm", sample.prompt, sample.completions)
    ranks = [completion.rank for completion in outcome.completions]
    assert ranks == ([1, 1] if sample.label == "A tie" else sorted(ranks))
    assert len(set(sample.completions)) == len(set(ranks))


@pytest.mark.usefixtures("sanitizing_transformers")
def test_control_tokens_in_the_text_are_fed_as_text_and_named(open_page: OpenPage) -> None:
    """A control token that is typed gives the model no extra control token, and the page says that it was there."""
    token = load_scorer(resolve(TINY)).chat.tokenizer.all_special_tokens[0]
    plain, spelled = (score_text(TINY, PROMPT, [text, "No."]) for text in ("Yes.", f"Yes.{token}"))
    count = [sum(piece.control for piece in outcome.completions[0].fed) for outcome in (plain, spelled)]
    assert count[0] == count[1] > 0
    assert spelled.control_tokens == (token,)
    page = open_page(tab="Try a pair")
    fill(page, PROMPT, f"Yes.{token}", "No.")
    expect(score(page)).to_contain_text(f"Your text contains control tokens of this model ({token})")


def test_the_endpoint_gives_what_the_package_gives(client: Client) -> None:
    """The named endpoint returns the very scores of evaluate.score_completion_sets."""
    for model in (TINY, "baseline/prompt-overlap"):
        found = client.predict(model, PROMPT, ANSWERS, api_name="/score")
        candidates = CompletionSet((Message(role="user", content=PROMPT),), tuple(ANSWERS))
        expected = [s.value for s in score_completion_sets(load_scorer(resolve(model)), [candidates])[0]]
        assert found["scores"] == expected
        assert found["is_reward"] is (model == TINY)
        assert (found["probability"] is None) is (model != TINY)
        assert found["margin"] == abs(expected[0] - expected[1])


@pytest.mark.parametrize(
    ("model", "prompt", "completions", "message"),
    [
        ("org/other", PROMPT, ANSWERS, "This page scores with"),
        (TINY, " ", ANSWERS, "The prompt is empty"),
        (TINY, PROMPT, ["one"], "Give 2 to 8 completions"),
        (TINY, PROMPT, ["x"] * 9, "Give 2 to 8 completions"),
        (TINY, PROMPT, ["x", ""], "Completion 2 is empty"),
        (TINY, PROMPT, ["x", 3], "are text"),
        (TINY, "p" * (MAX_CHARACTERS + 1), ANSWERS, "The prompt has 20,001 characters"),
    ],
)
def test_the_endpoint_refuses_with_a_reason(
    client: Client, model: str, prompt: str, completions: list[str], message: str
) -> None:
    """What cannot be scored is refused with the message that the page would show."""
    with pytest.raises(AppError, match=re.escape(message)):
        client.predict(model, prompt, completions, api_name="/score")


def test_boards_can_be_taken_away_by_name(client: Client) -> None:
    """The endpoint `leaderboard` gives a board with its columns' roles, and names the boards where there is none."""
    board = client.predict("rewardbench-2", api_name="/leaderboard")
    assert [column["role"] for column in board["columns"]][:2] == ["rank", "model"]
    assert len(board["rows"]) > 100
    with pytest.raises(AppError, match="known are: rewardbench"):
        client.predict("nope", api_name="/leaderboard")


@pytest.mark.parametrize("model", ALWAYS)
def test_every_model_on_offer_scores(model: str) -> None:
    """Each of the models a visitor can choose gives a number for each completion, equal ones for equal texts."""
    outcome = score_text(model, PROMPT, [*ANSWERS, ANSWERS[0]])
    values = [c.value for c in outcome.completions]
    assert None not in values
    assert values[0] == values[2]
    assert outcome.completions[0].rank == outcome.completions[2].rank


def test_a_system_prompt_reaches_the_model() -> None:
    """What stands in the system prompt's field is part of what the model is fed, before the completion."""
    outcome = score_text(TINY, PROMPT, ANSWERS, system="Answer like a pirate")
    assert "pirate" in "".join(piece.text for piece in outcome.completions[0].fed if not piece.completion)


def test_a_system_prompt_that_a_template_refuses_says_which_field_to_clear(
    tiny_model: Callable[[str], Path],
) -> None:
    """Where the model's template refuses system messages, the message is about the page's field, not about a flag."""
    live = Live(Offer((str(tiny_model("gemma2")),), lambda name: False), Limits())
    question = Question(("local/gemma2",), PROMPT, tuple(ANSWERS))
    assert live.score(question)[0].margin is not None
    with pytest.raises(InputError, match=r"takes no system prompt.* Clear that field"):
        live.score(replace(question, system="Answer like a pirate"))


def test_a_model_that_cannot_be_loaded_names_no_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The visitor reads that the model is not to be had; why and where stands in the log, without what was typed."""
    live = Live(Offer((str(tmp_path),), lambda name: False), Limits())
    question = Question((f"local/{tmp_path.name}",), PROMPT, tuple(ANSWERS))
    with pytest.raises(InputError, match="cannot be loaded on this machine") as refusal:
        live.score(question)
    assert str(tmp_path) not in str(refusal.value)
    assert str(tmp_path) in caplog.text
    assert PROMPT not in caplog.text


def test_a_text_beyond_the_models_limit_is_unscored_with_a_reason() -> None:
    """A completion that does not fit gets no number; the outcome says why, and does not compare."""
    outcome = score_text(TINY, PROMPT, ["word " * 3900, "Short."])
    assert outcome.completions[0].value is None
    assert outcome.completions[0].rank is None
    assert outcome.margin is None
    html = shown(outcome, "word", "Short.")
    assert "nothing to compare" in html
    assert "not scored: completion alone exceeds the maximum length" in html


@pytest.mark.parametrize(
    ("message", "clean"),
    [
        ("/home/me/models/rm/config.json: not readable", "(a file): not readable"),
        ("see '/tmp/x/y' for more", "see '(a file)' for more"),
        ("org/name has 2/3 of A/B", "org/name has 2/3 of A/B"),
    ],
)
def test_messages_name_no_path_of_the_machine(message: str, clean: str) -> None:
    """Absolute paths are taken out of what a visitor reads; names of models are not."""
    assert without_paths(message) == clean


def test_messages_are_escaped() -> None:
    """A message that quotes markup shows it."""
    assert "&lt;b&gt;" in message_html("<b>")
