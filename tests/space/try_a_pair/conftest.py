"""Helpers to score beside the page, and to fill in the form."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from gradio_client import Client
from playwright.sync_api import Locator, Page

from rb_core.space.limits import Limits
from rb_core.space.try_a_pair.available_models import ALWAYS_AVAILABLE, AvailableModels
from rb_core.space.try_a_pair.question import make_question
from rb_core.space.try_a_pair.result import PairResult
from rb_core.space.try_a_pair.scoring import PairScorer

TINY = "builtin/tiny-rm"
PROMPT = "How do I boil an egg?"
ANSWERS = ("Put it into boiling water for eight minutes, then cool it.", "No.")
MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@cache
def bundled_models() -> PairScorer:
    """The built-in model and the baselines."""
    return PairScorer(AvailableModels((), lambda name: False), Limits())


def score_text(model: str, prompt: str, completions: Sequence[str], system: str = "") -> PairResult:
    return bundled_models().score(make_question(model, prompt, completions, system, offered=ALWAYS_AVAILABLE))[0]


def uploaded(name: str, text: str) -> dict[str, Any]:
    """Return a file as the browser sends it."""
    content = text.encode()
    return {"name": name, "size": len(content), "content": base64.b64encode(content).decode()}


@pytest.fixture(scope="session")
def client(url: str) -> Client:
    return Client(url, verbose=False)


def fill(page: Page, prompt: str, *completions: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    for number, text in enumerate(completions, 1):
        page.get_by_label(f"Completion {number}", exact=True).fill(text)


def press_score(page: Page) -> Locator:
    """Press the button and wait for a result, or a message beside the button; a model may have to be loaded."""
    page.get_by_role("button", name="Score", exact=True).click()
    result = page.locator("#outcome .rb-outcome, #pair-note .rb-message")
    result.wait_for()
    return result


def choose(page: Page, *models: str) -> None:
    """Tick these models and no others."""
    boxes = page.locator(".rb-models").get_by_role("checkbox")
    boxes.first.wait_for()  # they are loaded when the tab is opened
    for box in boxes.all():
        box.set_checked(False)
    for model in models:
        page.get_by_role("checkbox", name=model, exact=True).check()
