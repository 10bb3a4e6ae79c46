from __future__ import annotations

from rb_core.space.html import message_html
from rb_core.space.try_a_pair.question import Question
from rb_core.space.try_a_pair.result_html import ModelView, result_html
from tests.space.try_a_pair.conftest import MARKUP, PROMPT, TINY, bundled_models, score_text


def test_an_unscored_completion_is_shown_with_its_reason() -> None:
    question = Question((TINY,), PROMPT, ("word " * 3900, "Short."))
    html = result_html([ModelView(bundled_models().score(question)[0])], question, "http://127.0.0.1:7860")
    assert "nothing to compare" in html
    assert "not scored: completion alone exceeds the maximum length" in html


def test_every_text_is_escaped() -> None:
    question = Question((TINY,), MARKUP, (MARKUP, f"{MARKUP} and more"), MARKUP)
    views = [ModelView(result) for result in bundled_models().score(question, token_rewards=True)]
    assert "<img" not in result_html(views, question, "http://127.0.0.1:7860")
    assert "&lt;b&gt;" in message_html("<b>")


def test_control_tokens_in_the_text_are_named() -> None:
    result = score_text(TINY, PROMPT, ["Yes.<|shut|>", "No."])
    html = result_html([ModelView(result)], Question((TINY,), PROMPT, ("", "")), "http://127.0.0.1:7860")
    assert ("contains control tokens of this model (<code>&lt;|shut|&gt;</code>)" in html) is bool(
        result.control_tokens
    )
