"""The tab *Try a pair*: a visitor's prompt and completions, scored live."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

import gradio as gr
from gradio.events import api

from rb_core.space.live import (
    LIVE_MODELS,
    MAX_CHARACTERS,
    MAX_COMPLETIONS,
    MIN_COMPLETIONS,
    EmptyCompletionError,
    InputError,
    Outcome,
    score_text,
)
from rb_core.space.verdict import WAITING, message_html, outcome_html

# Both ways in, the button and the endpoint, wait in one line: a model scores one visitor at a time.
SCORING = "score"

ScoreText = Callable[..., Outcome]


class Sample(NamedTuple):
    """A prompt with completions to start from."""

    label: str
    prompt: str
    completions: tuple[str, ...]


SAMPLES = (
    Sample(
        "Helpful or rude",
        "How do I keep basil alive on a kitchen windowsill?",
        (
            "Give it at least six hours of light, water it when the top of the soil feels dry, and pinch off the tips "
            "every week or two so that it grows bushy instead of tall.",
            "Why would I know? Plants are stupid. Buy a plastic one and stop bothering me.",
        ),
    ),
    Sample(
        "On topic or not",
        "What should I pack for a weekend of hiking in the rain?",
        (
            "Pack a waterproof jacket and trousers, two pairs of wool socks, and a dry bag for spare clothes, so that "
            "the rain does not spoil your hiking.",
            "The first pianos were built in Italy around the year 1700. Their hammers strike the strings.",
        ),
    ),
    Sample(
        "Four answers",
        "Explain in two sentences why the sky is blue.",
        (
            "Air scatters short wavelengths of sunlight much more strongly than long ones. So blue light reaches us "
            "from every direction of the sky, while red light mostly passes straight through.",
            "The sky is blue because it reflects the colour of the oceans.",
            "Blue blue blue blue blue blue blue blue blue blue blue blue.",
            "I don't know.",
        ),
    ),
    Sample("A tie", "Name a river.", ("The Danube.", "The Danube.")),
)


class Form(NamedTuple):
    """The fields of the tab. in_use: how many of the boxes are shown."""

    model: gr.Dropdown
    prompt: gr.Textbox
    system: gr.Textbox
    boxes: list[gr.Textbox]
    in_use: gr.State
    score_empty: gr.Checkbox
    add: gr.Button
    remove: gr.Button


def build_try_pair(on_gpu: Callable[[ScoreText], ScoreText] | None) -> None:
    """Lay out the tab, inside of a tab's context, and publish the endpoint `score`.

    on_gpu wraps the function that scores, where a Space lends a GPU by the call.
    """
    score = on_gpu(score_text) if on_gpu else score_text
    gr.HTML(
        '<div class="rb-intro"><h2 class="rb-title">Try a pair</h2><p class="rb-lead">Score your own completions with '
        "the code that scores the benchmarks. What you type is not stored.</p></div>",
        apply_default_css=False,
    )
    with gr.Row(elem_classes="rb-try"):
        with gr.Column(scale=7, min_width=320):
            samples = _sample_buttons()
            form = _fields()
            button = gr.Button("Score", variant="primary", elem_classes="rb-go")
        with gr.Column(scale=6, min_width=320, elem_classes="rb-side"):
            results = gr.HTML(WAITING, elem_id="outcome", apply_default_css=False)
    _connect_boxes(form)
    for sample_button, sample in zip(samples, SAMPLES, strict=True):
        _connect_sample(sample_button, sample, form, results)
    gr.on(
        [button.click, form.prompt.submit, *(box.submit for box in form.boxes)],
        _answer(score),
        [form.model, form.prompt, form.system, form.score_empty, form.in_use, *form.boxes],
        [results, form.score_empty],
        concurrency_limit=1,
        concurrency_id=SCORING,
        api_visibility="private",
    )
    api(_endpoint(score), api_name="score", concurrency_limit=1, concurrency_id=SCORING)


def _sample_buttons() -> list[gr.Button]:
    with gr.Row(elem_classes="rb-samples"):
        gr.HTML("<span>Start from an example</span>", elem_classes="rb-samples-label")
        return [gr.Button(sample.label, size="sm", min_width=0, elem_classes="rb-chip") for sample in SAMPLES]


def _fields() -> Form:
    model = gr.Dropdown(list(LIVE_MODELS), value=LIVE_MODELS[0], label="Model", filterable=False)
    prompt = gr.Textbox("", label="Prompt", lines=3, max_lines=12, placeholder="What the user asks")
    with gr.Accordion("System prompt (optional)", open=False, elem_classes="rb-system"):
        system = gr.Textbox("", label="System prompt", lines=2, max_lines=8)
    boxes = [
        gr.Textbox(
            "",
            label=f"Completion {n}",
            lines=3,
            max_lines=12,
            visible=n <= MIN_COMPLETIONS,
            placeholder="An answer to the prompt",
            elem_classes="rb-completion",
        )
        for n in range(1, MAX_COMPLETIONS + 1)
    ]
    with gr.Row(elem_classes="rb-actions"):
        add = gr.Button("Add a completion", size="sm", min_width=0, elem_classes="rb-chip")
        remove = gr.Button("Remove the last", size="sm", min_width=0, interactive=False, elem_classes="rb-chip")
    score_empty = gr.Checkbox(
        label="Score empty completions", visible=False, info="An empty answer is scored as the model sees it."
    )
    return Form(model, prompt, system, boxes, gr.State(MIN_COMPLETIONS), score_empty, add, remove)


def _connect_boxes(form: Form) -> None:
    """Let the two buttons show one box more, and one less."""
    outputs = [form.in_use, form.add, form.remove, *form.boxes]

    def add(count: int) -> list[Any]:
        return show(min(count + 1, MAX_COMPLETIONS))

    def remove(count: int) -> list[Any]:
        updates = show(max(count - 1, MIN_COMPLETIONS))
        # A box that is taken away comes back empty.
        updates[3 + updates[0]] = gr.update(visible=False, value="")
        return updates

    form.add.click(add, form.in_use, outputs, queue=False, show_progress="hidden", api_visibility="private")
    form.remove.click(remove, form.in_use, outputs, queue=False, show_progress="hidden", api_visibility="private")


def show(count: int) -> list[Any]:
    """Updates for count, both buttons and all boxes, so that `count` boxes are shown."""
    buttons = [gr.update(interactive=count < MAX_COMPLETIONS), gr.update(interactive=count > MIN_COMPLETIONS)]
    return [count, *buttons, *(gr.update(visible=n < count) for n in range(MAX_COMPLETIONS))]


def _connect_sample(button: gr.Button, sample: Sample, form: Form, results: gr.HTML) -> None:
    def fill() -> list[Any]:
        updates = show(len(sample.completions))
        texts = (*sample.completions, *[""] * (MAX_COMPLETIONS - len(sample.completions)))
        boxes = [gr.update(value=text, visible=n < len(sample.completions)) for n, text in enumerate(texts)]
        return [sample.prompt, "", *updates[:3], *boxes, WAITING, gr.update(visible=False, value=False)]

    outputs = [form.prompt, form.system, form.in_use, form.add, form.remove, *form.boxes, results, form.score_empty]
    button.click(fill, None, outputs, queue=False, show_progress="hidden", api_visibility="private")


def _answer(score: ScoreText) -> Callable[..., tuple[str, Any]]:
    """The button's function: the outcome as HTML, and whether the question about empty completions is asked."""

    def answer(
        model: str, prompt: str, system: str | None, score_empty: bool, count: int, *boxes: str | None
    ) -> tuple[str, Any]:
        # A field that was never on screen has no value.
        texts = [text or "" for text in boxes[:count]]
        try:
            outcome = score(model, prompt, texts, system or "", score_empty)
        except EmptyCompletionError as error:
            return message_html(str(error)), gr.update(visible=True)
        except InputError as error:
            return message_html(str(error)), gr.skip()
        return outcome_html(outcome, texts), gr.skip()

    return answer


def _endpoint(score: ScoreText) -> Callable[..., dict[str, Any]]:
    """The same as the button, as JSON."""

    def endpoint(
        model: str, prompt: str, completions: list[str], system: str = "", score_empty: bool = False
    ) -> dict[str, Any]:
        try:
            return as_json(score(model, prompt, completions, system, score_empty))
        except InputError as error:
            # The page renders such messages as HTML.
            raise gr.Error(escape(str(error), quote=False), print_exception=False) from error

    endpoint.__doc__ = f"""Score completions of a prompt with a reward model or a baseline.

    Returns scores in the order given (null where one could not be scored), ranks, token counts, and between best and
    second the margin and, for a reward model, the Bradley-Terry probability.

    Parameters:
        model: one of {", ".join(LIVE_MODELS)}
        prompt: what the user asked, at most {MAX_CHARACTERS} characters
        completions: {MIN_COMPLETIONS} to {MAX_COMPLETIONS} answers to it
        system: a system prompt, or nothing
        score_empty: whether an empty completion is meant
    """
    return endpoint


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome as plain JSON."""
    return {
        "model": outcome.model,
        "is_reward": outcome.is_reward,
        "scores": [c.value for c in outcome.completions],
        "ranks": [c.rank for c in outcome.completions],
        "num_tokens": [c.score.num_tokens for c in outcome.completions],
        "truncated": [c.score.truncated for c in outcome.completions],
        "reasons": [c.score.reason for c in outcome.completions],
        "margin": outcome.margin,
        "probability": outcome.probability,
        "control_tokens": list(outcome.control_tokens),
    }
